-- The key with which a peer finds this instance's onion service, if the service hides (restricted discovery).
ALTER TABLE peer ADD COLUMN discovery BLOB;
ALTER TABLE invite ADD COLUMN discovery BLOB;
