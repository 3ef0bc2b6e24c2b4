-- Prolongs a lease (a shard's wake-up key, or a memory's lock) while it is still the token's.
--
-- Returns 1, or 0 when it was lost.
--
-- It runs at the memory limit: nothing is added.
if redis.call('GET', lease) ~= token then return 0 end
redis.call('PEXPIRE', lease, ttl_ms)
return 1
