-- Confirms one change of a memory: renews its applied key, so that a WAIT on this connection covers the change.
--
-- Returns 1 when the change is there, else 0. A failover may have lost it.
--
-- The applied key says so. When that has expired, the history entry does. Safe to run twice.
-- The content of an erased memory goes after its commit, and must be gone too.
--
-- It runs at the memory limit: it only writes keys that are there.
if erased_history ~= '' and redis.call('EXISTS', erased_history) == 1 then return 0 end
local found = redis.call('GET', applied)
if not found then
  local entry = redis.call('XRANGE', history, entry_id, entry_id)[1]
  if not entry then return 0 end
  local fields = {}
  for f = 1, #entry[2], 2 do fields[entry[2][f]] = entry[2][f + 1] end
  if fields.job_id ~= job_id or (fields.item or '') ~= item then return 0 end
elseif found ~= value then
  return 0
end
redis.call('SET', applied, value, 'EX', ttl)
return 1
