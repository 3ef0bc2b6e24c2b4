-- Changes one memory: hash, vectors, history, waiting conflicts and applied marks in one atomic step, if nobody was
-- faster.
--
-- KEYS  1 memory   2 history   3 lock   4 conflicts   5... applied marks, one for each change
-- ARGV  1 version the decision was based on (0: no such memory)   2 lock token   3 applied TTL (s)
--       4 erase? (1 or 0)   5 `embedding_space` the decision was based on ('': none)
--       five lists, each a count and then as many values: fields of the hash to set (field, value, ...),
--       fields to remove, conflicts to add (mark, document, ...), conflicts to remove (marks);
--       next, for each change: applied value (`<event>:<version>`), number of history values, then field, value pairs
-- Returns 'committed', or 'stale' when the version or the spaces are others or one of the jobs was applied before;
-- then nothing was changed. Releases the lock when it committed and the lock is still ours.
--
-- A backfill adds a space without a new version; a change that does not know it would leave it an old text's vector.
-- Safety rests on these checks and the marks, not on the lock: a lost lock costs work, never a change.
-- A history entry's id is its version (`<version>-0`), so that any version is found without a search, and the
-- stream itself refuses a version that was written before.
-- Erasing leaves the given fields and, of each history entry, when, what and by whom: no content stays.
local memory, history, lock, conflicts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local FIRST_MARK = 5
local version, spaces = unpack(redis.call('HMGET', memory, 'version', 'embedding_space'))
if (version or '0') ~= ARGV[1] or (spaces or '') ~= ARGV[5] then return 'stale' end
if redis.call('EXISTS', unpack(KEYS, FIRST_MARK)) > 0 then return 'stale' end

local at = 6
local function take()
  local count = tonumber(ARGV[at])
  local from = at + 1
  at = from + count
  return count, from, at - 1
end
local function apply(command, key)
  local count, first, last = take()
  if count > 0 then redis.call(command, key, unpack(ARGV, first, last)) end
end

local erase = ARGV[4] == '1'
if erase then redis.call('DEL', memory) end
apply('HSET', memory)
apply('HDEL', memory)
apply('HSET', conflicts)
apply('HDEL', conflicts)
for i = FIRST_MARK, #KEYS do
  local value = ARGV[at]
  at = at + 1
  local _, first, last = take()
  redis.call('XADD', history, string.match(value, '%d+$') .. '-0', unpack(ARGV, first, last))
  redis.call('SET', KEYS[i], value, 'EX', ARGV[3])
end

if erase then
  redis.call('DEL', conflicts)  -- those that arose just now, too
  local kept = {version = 1, event = 1, created_at = 1, updated_at = 1, is_deleted = 1, actor_id = 1, role = 1,
    job_id = 1, item = 1}
  local entries = redis.call('XRANGE', history, '-', '+')
  redis.call('DEL', history)
  for _, entry in ipairs(entries) do
    local fields = {}
    for f = 1, #entry[2], 2 do
      if kept[entry[2][f]] then
        fields[#fields + 1] = entry[2][f]
        fields[#fields + 1] = entry[2][f + 1]
      end
    end
    redis.call('XADD', history, entry[1], unpack(fields))
  end
end
if redis.call('GET', lock) == ARGV[2] then redis.call('DEL', lock) end
return 'committed'
