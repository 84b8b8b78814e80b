-- People and programs. Times are µs since 1970, UTC. Yes and no are 1 and 0.

CREATE TABLE users (
    user_id             TEXT   NOT NULL PRIMARY KEY,
    login               TEXT   NOT NULL UNIQUE,          -- lower case
    name                TEXT   NOT NULL,
    staff_user_id       TEXT,                            -- as access logs know the person
    password            TEXT   NOT NULL,                 -- argon2id, PHC form
    second_factor       TEXT   NOT NULL,                 -- totp, enrol, waived
    totp_secret         TEXT,                            -- base32
    totp_pending        TEXT,                            -- base32, shown and not yet confirmed
    totp_last_step      BIGINT NOT NULL,                 -- codes of this 30 s step and earlier ones are spent
    disabled            BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    password_changed_at BIGINT NOT NULL
);

-- What a user or a token was given. kind: role, unit, controller, account, action.
CREATE TABLE grants (
    owner_id TEXT NOT NULL,
    kind     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (owner_id, kind, value)
);

-- By hash of what was typed as login, known or not: nobody learns from it which logins exist.
CREATE TABLE sign_in_attempts (
    login_hash   TEXT   NOT NULL PRIMARY KEY,
    failures     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);

CREATE TABLE sessions (
    token_hash   TEXT   NOT NULL PRIMARY KEY,
    user_id      TEXT   NOT NULL REFERENCES users (user_id),
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE tokens (
    token_id     TEXT   NOT NULL PRIMARY KEY,
    token_hash   TEXT   NOT NULL UNIQUE,
    name         TEXT   NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL,
    created_by   TEXT   NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

CREATE TABLE settings (
    key        TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    value      TEXT   NOT NULL,                          -- JSON
    changed_at BIGINT NOT NULL,
    changed_by TEXT   NOT NULL,
    PRIMARY KEY (key, version)
);
