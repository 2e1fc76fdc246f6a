-- The target that something was done at: copied to, looked at, pruned. NULL if it was none, or all of them.
ALTER TABLE run ADD COLUMN target TEXT;
