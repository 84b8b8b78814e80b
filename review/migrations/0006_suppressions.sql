-- What a decision said of later accesses that are like those it judged. Rows are reviewed and end; none is removed.

CREATE TABLE suppressions (
    suppression_id   TEXT   NOT NULL PRIMARY KEY,
    finding_id       TEXT   NOT NULL REFERENCES findings (finding_id),   -- the decided one that it rests on
    covers           TEXT   NOT NULL,                                    -- person: this user and record from this unit; unit: this rule and unit
    rule_id          TEXT,                                               -- null: any rule that may be covered
    user_id          TEXT,
    user_key         TEXT,
    subject_id       TEXT,
    care_unit_id     TEXT,
    controller_id    TEXT,
    level            TEXT   NOT NULL,                                    -- no finding of a higher one is covered
    because          TEXT   NOT NULL,
    made_at          BIGINT NOT NULL,
    made_by          TEXT   NOT NULL,
    made_by_name     TEXT   NOT NULL,
    made_by_keys     TEXT   NOT NULL,                                    -- their own accounts: never covered by themself
    expires_at       BIGINT NOT NULL,
    reviewed_at      BIGINT,
    reviewed_by      TEXT,
    reviewed_by_name TEXT,
    reviewed_by_keys TEXT,
    review_comment   TEXT,
    kept             BIGINT                                              -- 1 or 0; null: nobody else has looked at it
);
CREATE INDEX suppressions_by_user ON suppressions (user_key, subject_id);
CREATE INDEX suppressions_by_unit ON suppressions (care_unit_id, rule_id);

-- By which it is kept out of the queue, as long as that holds.
ALTER TABLE findings ADD COLUMN suppressed_by TEXT REFERENCES suppressions (suppression_id);
-- By which it would be, had it not been drawn to be looked at all the same.
ALTER TABLE findings ADD COLUMN sampled_of TEXT REFERENCES suppressions (suppression_id);
CREATE INDEX findings_by_suppression ON findings (suppressed_by);
