-- Sets fields of a small hash: what housekeeping remembers, or a key of the gateway.
--
-- Returns 1, or 0 for a hash that must be there and is not: it would never expire. Safe to run twice.
--
-- It runs at the memory limit: the fields are small. Without them erasures would not end, and no key could be revoked.
if must_exist and redis.call('EXISTS', hash) == 0 then return 0 end
redis.call('HSET', hash, unpack(ARGV, fields_from, fields_to))
return 1
