-- What the instance could see when it was told: what it could not see then is not settled. Older marks do not say, and do not count.
ALTER TABLE axon_settled ADD COLUMN sight TEXT NOT NULL DEFAULT '';
