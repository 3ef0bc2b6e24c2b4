-- Takes a lease that no other token has.
--
-- Returns 1 when it is the token's now, also when it was before: the script may run twice.
--
-- It runs at the memory limit: the lease is small and expires.
local held = redis.call('GET', lease)
if held and held ~= token then return 0 end
redis.call('SET', lease, token, 'PX', ttl_ms)
return 1
