-- Replaces the payload of a record, when it is still the one the replacement was made from.
--
-- KEYS  1 record
-- ARGV  1 payload as it was read   2 payload to keep
-- Returns 1 when it was replaced.
if redis.call('HGET', KEYS[1], 'payload') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'payload', ARGV[2])
return 1
