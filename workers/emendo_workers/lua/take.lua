-- Takes a lease that nobody else has.
--
-- KEYS  1 the lease
-- ARGV  1 token   2 TTL (ms)
-- Returns 1 when it is ours now, also when it was before: the script may run twice.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
