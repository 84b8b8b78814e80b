-- What came late can explain a finding; who leads a unit is not judged by it.

-- 1 when the accesses are by somebody who leads the unit, or one above it.
ALTER TABLE findings ADD COLUMN user_leads_unit BIGINT NOT NULL DEFAULT 0;
-- When what came late explained it; null for all others. Its status is then closed, its outcome none.
ALTER TABLE findings ADD COLUMN settled_at BIGINT;
CREATE INDEX findings_by_settling ON findings (status, settles_at);

-- Findings of earlier runs that this one found explained.
ALTER TABLE runs ADD COLUMN settled BIGINT NOT NULL DEFAULT 0;
