-- Locks one memory and reads it, with the applied keys of the operations that are to change it.
--
-- Returns false when another worker holds the lock, else {values of the fields, applied values}. Safe to run twice.
--
-- It runs at the memory limit: the lock is small and expires, and an erasure needs it.
if not redis.call('SET', lock, token, 'NX', 'PX', ttl_ms) then
  if redis.call('GET', lock) ~= token then return false end
  redis.call('PEXPIRE', lock, ttl_ms)
end
local values = {}
for key in applied do values[#values + 1] = redis.call('GET', key) end
return {redis.call('HMGET', memory, opened_fields()), values}
