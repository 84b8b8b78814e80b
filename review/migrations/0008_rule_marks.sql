-- How far each rule has judged: `body` says which version of the lake it has read, by which setting and context tables, and what it
-- has still to judge. JSON; it names no person.

CREATE TABLE rule_marks (
    rule_id      TEXT   NOT NULL PRIMARY KEY,
    rule_version BIGINT NOT NULL,
    setting      TEXT   NOT NULL,
    lake_version BIGINT NOT NULL,
    judged_at    BIGINT NOT NULL,
    run_id       TEXT   NOT NULL,
    body         TEXT   NOT NULL
);
