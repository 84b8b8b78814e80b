-- Findings, what was stated of them, who decided what, and runs. Times are µs since 1970, UTC.

CREATE TABLE runs (
    run_id     TEXT   NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL,
    body       TEXT   NOT NULL,                          -- the whole record, JSON
    made       BIGINT NOT NULL,                          -- findings not seen before
    joined     BIGINT NOT NULL,
    unchanged  BIGINT NOT NULL
);
CREATE INDEX runs_by_start ON runs (started_at);

-- A finding as it is shown: what was stated of it, joined. One identity has at most one finding that is not decided.
CREATE TABLE findings (
    finding_id    TEXT   NOT NULL PRIMARY KEY,
    identity      TEXT   NOT NULL,                       -- rule, who, whose, window
    ordinal       BIGINT NOT NULL,                       -- 0, and one more for each that follows a decided one
    follows       TEXT   REFERENCES findings (finding_id),
    rule_id       TEXT   NOT NULL,
    rule_version  BIGINT NOT NULL,
    level         TEXT   NOT NULL,
    score         BIGINT NOT NULL,
    status        TEXT   NOT NULL,
    outcome       TEXT   NOT NULL,
    settles_at    BIGINT,
    user_id       TEXT   NOT NULL,
    user_key      TEXT   NOT NULL,                       -- upper case, for comparing
    subject_id    TEXT,
    care_unit_id  TEXT,
    controller_id TEXT,
    first_at      BIGINT NOT NULL,
    last_at       BIGINT NOT NULL,
    event_count   BIGINT NOT NULL,
    event_ids     TEXT   NOT NULL,                       -- JSON
    title_sv      TEXT   NOT NULL,
    title_en      TEXT   NOT NULL,
    reasons       TEXT   NOT NULL,                       -- JSON
    evidence      TEXT   NOT NULL,                       -- JSON: a copy of the rows it rested on
    words         TEXT   NOT NULL,                       -- lower case, for searching
    created_at    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL,
    assigned_to   TEXT   REFERENCES users (user_id),
    decided_at    BIGINT,
    UNIQUE (identity, ordinal)
);
CREATE INDEX findings_by_rank ON findings (score, last_at, finding_id);
CREATE INDEX findings_by_user ON findings (user_key);
CREATE INDEX findings_by_subject ON findings (subject_id);
CREATE INDEX findings_by_unit ON findings (care_unit_id, status);

-- Which accesses a finding is about.
CREATE TABLE finding_events (
    finding_id TEXT NOT NULL REFERENCES findings (finding_id),
    event_id   TEXT NOT NULL,
    PRIMARY KEY (finding_id, event_id)
);
CREATE INDEX finding_events_by_event ON finding_events (event_id);

-- What runs stated of a finding, each the fullest of its kind; `findings` is made from these.
CREATE TABLE finding_statements (
    finding_id TEXT   NOT NULL REFERENCES findings (finding_id),
    ordinal    BIGINT NOT NULL,
    body       TEXT   NOT NULL,                          -- a finding, JSON
    PRIMARY KEY (finding_id, ordinal)
);

-- What happened to a finding. Rows are added and never changed or removed.
CREATE TABLE finding_history (
    finding_id TEXT   NOT NULL REFERENCES findings (finding_id),
    ordinal    BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    kind       TEXT   NOT NULL,                          -- made, joined, assigned, asked, decided, closed
    by_user_id TEXT,                                     -- null for a run
    by_name    TEXT   NOT NULL,                          -- as it was then; the run's id for a run
    to_user_id TEXT,
    outcome    TEXT,
    comment    TEXT,
    PRIMARY KEY (finding_id, ordinal)
);
