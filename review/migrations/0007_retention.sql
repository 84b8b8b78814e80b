-- What may go, because somebody decided it, and what must not. Times are µs since 1970, UTC; days are as 2026-11-21.

-- Decisions that accesses may go (gallringsbeslut). A part that is null is no condition.
CREATE TABLE retention_decisions (
    decision_id   TEXT   NOT NULL PRIMARY KEY,
    authority     TEXT   NOT NULL,                       -- who decided
    number        TEXT   NOT NULL,                       -- under which number
    decided_on    TEXT   NOT NULL,
    controller_id TEXT,
    source        TEXT,
    legal_area    TEXT,
    data_category TEXT,
    after_years   BIGINT,                                -- what is older may go, from now on
    before_day    TEXT,                                  -- what happened before may go
    registered_at BIGINT NOT NULL,
    registered_by TEXT   NOT NULL,
    withdrawn_at  BIGINT,
    withdrawn_by  TEXT,
    withdrawn_why TEXT
);

-- What stays, whatever was decided.
CREATE TABLE retention_holds (
    hold_id      TEXT   NOT NULL PRIMARY KEY,
    reason       TEXT   NOT NULL,
    placed_at    BIGINT NOT NULL,
    placed_by    TEXT   NOT NULL,
    released_at  BIGINT,
    released_by  TEXT,
    released_why TEXT
);

-- Whom or what a hold is about. kind: subject, user, case. Gone once it is released: it names persons.
CREATE TABLE retention_held (
    hold_id TEXT NOT NULL REFERENCES retention_holds (hold_id),
    kind    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (hold_id, kind, value)
);
