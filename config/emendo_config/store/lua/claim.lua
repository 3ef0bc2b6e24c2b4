-- Makes one drain the shard's only reader.
--
-- Returns 1 when the shard is the drain's, 0 when another drain reads it. A wake-up key that says a drain is on its
-- way, or that has expired, is free to take. Safe to run twice.
--
-- It runs at the memory limit: without a reader nothing could be erased or end.
local held = redis.call('GET', wakeup)
if held and held ~= owner and string.sub(held, 1, #drain_prefix) == drain_prefix then return 0 end
redis.call('SET', wakeup, owner, 'PX', lease_ms)
return 1
