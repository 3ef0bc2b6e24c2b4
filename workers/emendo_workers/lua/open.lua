-- Locks one memory and reads it, with the marks of the jobs that want to change it.
--
-- KEYS  1 lock   2 memory   3... applied marks, one for each job
-- ARGV  1 token   2 lock TTL (ms)   3... fields of the memory
-- Returns false when another worker holds the lock, else {field values, applied values}.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local applied = {}
for i = 3, #KEYS do applied[i - 2] = redis.call('GET', KEYS[i]) end
return {redis.call('HMGET', KEYS[2], unpack(ARGV, 3)), applied}
