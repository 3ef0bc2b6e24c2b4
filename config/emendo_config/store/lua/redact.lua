-- Replaces the payload of a record, if it is still the one that the replacement was made from.
--
-- Returns 1 when it was replaced.
--
-- It runs at the memory limit: content goes.
if redis.call('HGET', record, 'payload') ~= payload then return 0 end
redis.call('HSET', record, 'payload', kept)
return 1
