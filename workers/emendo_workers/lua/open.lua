-- Locks one memory and reads it, with the marks of the jobs that want to change it.
--
-- KEYS  1 lock   2 memory   3... applied marks, one for each job
-- ARGV  1 token   2 lock TTL (ms)
-- Returns false when another worker holds the lock, else {values of the fields, applied values}.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local applied = {}
for i = 3, #KEYS do applied[i - 2] = redis.call('GET', KEYS[i]) end
return {redis.call('HMGET', KEYS[2], @FIELDS@), applied}
