-- Settles that an operation of a cancelled job has no effect, unless it has one.
--
-- Returns the applied value: the one that is there, or else the one that says that the operation is cancelled.
--
-- An older attempt may stand still before its commit. It finds the applied key, and commits nothing. Safe to run twice.
--
-- It runs at the memory limit: the key is small and expires.
--
-- It runs at the memory limit: the key is small and expires, and a cancelled job gives its payload back.
local found = redis.call('GET', applied)
if found then return found end
redis.call('SET', applied, value, 'EX', ttl)
return value
