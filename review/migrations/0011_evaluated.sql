-- What runs could judge, by local day (as 2026-03-04). Rules, units and numbers; no persons.

-- Accesses; '' where the log does not say. Each run writes the whole days that it judged anew.
CREATE TABLE access_days (
    day           TEXT   NOT NULL,
    source        TEXT   NOT NULL,
    care_unit_id  TEXT   NOT NULL,
    controller_id TEXT   NOT NULL,
    accesses      BIGINT NOT NULL,
    PRIMARY KEY (day, source, care_unit_id, controller_id)
);

-- What became of a rule from one day to another; the last run that judged a day has the last word of it. Where care_unit_id is null,
-- of all accesses. Else, and in place of that, of those at one unit; or, where it is '', of so many a day that name no unit.
CREATE TABLE rule_days (
    rule_id       TEXT NOT NULL,
    first_day     TEXT NOT NULL,
    last_day      TEXT NOT NULL,
    state         TEXT NOT NULL,                          -- evaluated, not_evaluated, failed
    care_unit_id  TEXT,
    source        TEXT,
    controller_id TEXT,
    accesses      BIGINT,
    why           TEXT
);
CREATE INDEX rule_days_by_rule ON rule_days (rule_id, first_day);
