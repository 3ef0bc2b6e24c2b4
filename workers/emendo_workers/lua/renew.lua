-- Prolongs a lease (a drain's bell, or a memory's lock) while it is still ours.
--
-- KEYS  1 the lease
-- ARGV  1 token   2 TTL (ms)
-- Returns 1, or 0 when it was lost.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
