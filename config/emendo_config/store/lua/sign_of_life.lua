-- Records that a worker lives, and the fault for which it claims no jobs, by Redis's clock.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: the entries are small, and a worker without one would look dead.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HLEN', faults)  -- fails where the writes below would
redis.call('ZADD', workers, string.format('%.0f', now), worker)
redis.call('ZREMRANGEBYSCORE', workers, '-inf', string.format('%.0f', now - forget_ms))
if fault == '' then
  redis.call('HDEL', faults, worker)
else
  redis.call('HSET', faults, worker, fault)
  redis.call('PEXPIRE', faults, forget_ms)
end
return 1
