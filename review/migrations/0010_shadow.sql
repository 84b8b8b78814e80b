-- What rules in the shadow would have found: by week (its Monday, local) and unit ('' where the log does not say). It says neither who
-- looked nor whose record it was; `finding_id` is there so that nothing is counted twice.

CREATE TABLE shadow_findings (
    finding_id    TEXT   NOT NULL PRIMARY KEY,
    rule_id       TEXT   NOT NULL,
    rule_version  BIGINT NOT NULL,
    week          TEXT   NOT NULL,
    care_unit_id  TEXT   NOT NULL,
    controller_id TEXT   NOT NULL,
    level         TEXT   NOT NULL,
    run_id        TEXT   NOT NULL
);

CREATE INDEX shadow_findings_by_rule ON shadow_findings (rule_id, week);
