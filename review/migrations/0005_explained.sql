-- How much of what was looked at is explained, by local day, source, unit and controller; '' where the log does not say.
-- Each run writes the whole days that it judged anew.

CREATE TABLE explained_days (
    day           TEXT   NOT NULL,
    source        TEXT   NOT NULL,
    care_unit_id  TEXT   NOT NULL,
    controller_id TEXT   NOT NULL,
    looks         BIGINT NOT NULL,
    explained     BIGINT NOT NULL,
    only_by_user  BIGINT NOT NULL,
    unknown       BIGINT NOT NULL,
    PRIMARY KEY (day, source, care_unit_id, controller_id)
);
