-- Sets fields of a small hash that housekeeping keeps.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: the fields are small, and without them erasures would not end.
redis.call('HSET', hash, unpack(ARGV, fields_from, fields_to))
return 1
