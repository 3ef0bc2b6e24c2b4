-- Changes one memory: hash, vectors, history, waiting conflicts and applied keys in one atomic step, unless another
-- worker was faster.
--
-- Returns 'committed', or 'stale' when the version, its commit or the spaces differ, or one of the jobs was applied
-- before. A stale commit changes nothing. A commit releases the lock if it is still the caller's.
--
-- Safety rests on these checks and the applied keys, not on the lock. A lost lock costs work, never a change.
-- After a failover one version number can name two states, so the version counts together with the commit that made it.
-- A backfill adds a space without a new version. A change that does not know the space would leave an old text's vector.
-- A history entry's id is made of its version, so any version is found without a search. The stream itself refuses a
-- version that was written before.
-- If older entries are removed, each entry says where the history starts, so that a missing beginning is no damage.
-- Erasing leaves the given fields. The history moves aside as it is, however long; `move_erased.lua` brings back what
-- may stay, in bounded steps. Until then `history_page` in shared/history_page.lua hides the content. The tombstone
-- names the memory's user until then, so that the user's own name goes from the history.
--
-- At the memory limit Redis refuses it, except for an erasure: that ends with less memory.
local version, made_by, listed = unpack(redis.call('HMGET', memory, 'version', commit_field, 'embedding_space'))
if (version or '0') ~= based_on or (made_by or '') ~= based_on_commit then return 'stale' end
if (listed or '') ~= spaces then return 'stale' end
if redis.call('EXISTS', unpack(KEYS, changes_first_key)) > 0 then return 'stale' end

local function apply(command, key, from, to)
  if from <= to then redis.call(command, key, unpack(ARGV, from, to)) end
end

-- The first version that the history keeps, if this commit removes older ones: a bounded number of them. Versions have
-- no gaps, so the length tells which one is the oldest.
local function history_start()
  local last = based_on + #KEYS - changes_first_key + 1
  local first = based_on - redis.call('XLEN', history) + 1
  local wanted = math.min(last + 1 - kept_entries, first + most_trimmed)
  return wanted > first and string.format('%.0f', wanted)
end

local subject = erase and redis.call('HGET', memory, 'user_id')
local holds_lock = redis.call('GET', lock) == token
-- Commands that may be refused come first, so that a refusal leaves nothing half done.
redis.call('HEXISTS', conflicts, '')
local start = kept_entries > 0 and history_start()
for applied, value, entry_id, entry_from, entry_to in changes do
  if start then
    redis.call('XADD', history, 'MINID', start, entry_id, 'history_start', start, unpack(ARGV, entry_from, entry_to))
  else
    redis.call('XADD', history, entry_id, unpack(ARGV, entry_from, entry_to))
  end
  redis.call('SET', applied, value, 'EX', ttl)
end
if erase then redis.call('UNLINK', memory) end
apply('HSET', memory, fields_from, fields_to)
apply('HDEL', memory, removed_from, removed_to)
apply('HSET', conflicts, disputed_from, disputed_to)
apply('HDEL', conflicts, resolved_from, resolved_to)

if erase then
  redis.call('UNLINK', conflicts)  -- including those that arose in this step
  redis.call('RENAME', history, erased_history)
  if subject and subject ~= '' then redis.call('HSET', memory, 'erased_user', subject) end
end
if holds_lock then redis.call('DEL', lock) end
return 'committed'
