-- Sets fields of a small hash: what housekeeping remembers, or a key of the gateway.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: the fields are small. Without them erasures would not end, and no key could be revoked.
redis.call('HSET', hash, unpack(ARGV, fields_from, fields_to))
return 1
