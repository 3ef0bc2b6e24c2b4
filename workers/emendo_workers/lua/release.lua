-- Gives a lease back, when it is still ours.
--
-- KEYS  1 the lease
-- ARGV  1 token
-- Returns 1 when it was ours.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
