-- Writes one memory of an export in one atomic step: hash, vectors, history and applied keys.
--
-- Returns one of
-- - 'imported'
-- - 'stale': the memory is no longer as the import saw it, or was erased; nothing is changed
-- - 'lost': entries that were put aside are gone; nothing is changed
--
-- Like commit.lua it needs no lock: a worker that has opened the memory finds another commit, and decides again.
-- An erased memory stays erased, whatever a file says.
-- The applied keys are those of the history's recent jobs: such a job that still waits finds its effect.
-- A second run finds the memory written, and is stale.
--
-- At the memory limit Redis refuses it, and the import waits for room.
local version, made_by, erased = unpack(redis.call('HMGET', memory, 'version', commit_field, 'erased'))
if erased or (version or '0') ~= based_on or (made_by or '') ~= based_on_commit then return 'stale' end
if staged_entries > 0 and redis.call('XLEN', staged) ~= staged_entries then return 'lost' end
redis.call('UNLINK', memory, history)
if staged_entries > 0 then
  redis.call('RENAME', staged, history)
  redis.call('PERSIST', history)
end
add_entries(history, entries_from, entries_to)
redis.call('HSET', memory, unpack(ARGV, fields_from, fields_to))
for applied, value, ttl in effects do redis.call('SET', applied, value, 'EX', ttl) end
return 'imported'
