-- Confirms the state upon which an operation found nothing to do. It writes once, so that a WAIT on this connection
-- covers that state.
--
-- Returns 1 when the state is there, or was: later changes rest on it. Returns 0 when a failover may have lost it.
--
-- Safe to run twice.
-- The content of an erased memory goes after its commit, and must be gone too.
--
-- It runs at the memory limit: the key is small and expires.
if erased_history ~= '' and redis.call('EXISTS', erased_history) == 1 then return 0 end
local version_now, made_by = unpack(redis.call('HMGET', memory, 'version', commit_field))
if version_now ~= version or (made_by or '') ~= commit_id then
  local entry = redis.call('XRANGE', history, entry_id, entry_id)[1]
  if not entry then return 0 end
  local fields = {}
  for f = 1, #entry[2], 2 do fields[entry[2][f]] = entry[2][f + 1] end
  if (fields[commit_field] or '') ~= commit_id then return 0 end
end
redis.call('SET', confirmed, version, 'EX', ttl)
return 1
