-- What was measured of rules and of explanations, each time whole. Counts only. Times are µs since 1970, UTC.

CREATE TABLE measurements (
    kind        TEXT   NOT NULL,                         -- rules, explanations
    measured_at BIGINT NOT NULL,
    measured_by TEXT   NOT NULL,
    from_at     BIGINT,                                  -- the period that was asked for; null: everything on that side
    to_at       BIGINT,
    body        TEXT   NOT NULL,                         -- JSON
    PRIMARY KEY (kind, measured_at)
);
