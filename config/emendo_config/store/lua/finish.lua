-- Records the outcomes of a batch's jobs and chunks and acknowledges their inbox entries. No job ends anywhere else.
--
-- Returns how many ended or were put aside, and the shards to which waiting records were admitted in their places. The
-- places of the outcomes that were not recorded follow, then the id and status of each batch job that ended with its
-- last chunk.
--
-- A record that is put aside keeps its place in its project's window, so an outage does not fill the inboxes.
--
-- A record that is final already is left alone, and only its entry is acknowledged. So the script may run twice.
-- If two readers worked one job, the first result wins. Only the latest attempt may record a failure or a retry, once.
-- A stale attempt may not know what the latest one did. It records nothing and does not acknowledge the entry.
--
-- It runs at the memory limit: an ended job gives its payload back, and one put aside must not be lost.
use_windows(windows_from, windows_to)
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local open = {queued = true, retrying = true, running = true}
local woken, freed, unrecorded = {}, {}, {}
local ended, entries = {0, woken, unrecorded}, {}
local somebody_cancels = redis.call('SCARD', cancelling) > 0

-- The changes that a newer attempt has settled and published in the feed, without this attempt's knowledge.
local function told_of(record)
  local told = {}
  for _, item in ipairs(document_of(redis.call('HGET', record, 'settled'))) do
    if type(item) == 'table' and type(item.version) == 'number' and item.memory_id then
      told[item.memory_id] = told[item.memory_id] or {}
      told[item.memory_id][string.format('%.0f', item.version)] = true
    end
  end
  return told
end

-- Indexes a record that keeps its payload by the memories of that, so that their erasure finds it; takes another one
-- out of the index.
local function index(record, outcome, indexed)
  local memories = outcome.memories and cjson.encode(outcome.memories)
  -- An attempt that could not read the record does not name its memories.
  if memories == indexed or (not memories and outcome.status == 'retrying') then return end
  for _, memory_id in ipairs(document_of(indexed)) do redis.call('SREM', dead_of_prefix .. memory_id, outcome.job) end
  if not memories then
    redis.call('HDEL', record, 'dead_of')
    return
  end
  redis.call('HSET', record, 'dead_of', memories)
  for _, memory_id in ipairs(outcome.memories) do redis.call('SADD', dead_of_prefix .. memory_id, outcome.job) end
end

local function put_aside(record, job, project, submitted, outcome)
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + outcome.due
  if outcome.shard then redis.call('HSET', record, 'shard', outcome.shard) end
  local member = delayed_member(redis.call('HGET', record, 'shard'), outcome.job)
  if outcome.behind then
    due = due + queue_for_lock(lock_queue_prefix .. outcome.behind, delayed, member, submitted)
    redis.call('HSET', record, 'behind', outcome.behind)
  end
  redis.call('HSET', record, 'status', 'retrying', 'next_attempt', string.format('%.0f', due * 1000))
  redis.call('HDEL', record, 'attempt_token', 'deaths')
  if outcome.error then
    redis.call('HSET', record, 'error', outcome.error)
    if job ~= record and has_account(job) then redis.call('HSET', job, 'last_error', outcome.error) end
  end
  if outcome.settled then redis.call('HSET', record, 'settled', outcome.settled) end
  if outcome.payload then redis.call('HSET', record, 'payload', outcome.payload) end
  if outcome.refund then redis.call('HINCRBY', record, 'attempts', -1) end
  redis.call('ZADD', delayed, string.format('%.0f', due), member)
  if has_windows and project then redis.call('EXPIRE', open_prefix .. project, windows_ttl) end
end

-- Lists a dead letter. Its record has no TTL, since a replay needs its payload.
local function list_dead(outcome)
  local project = outcome.project or ''
  redis.call('ZADD', dead_prefix .. project, now, outcome.job)
  redis.call('SADD', dead_projects, project)
end

local function finish(record, outcome, results, is_weak)
  local set = {'status', outcome.status, 'finished', now, 'results', results}
  local gone = {'next_attempt', 'attempt_token', 'worker', 'settled', 'cancel', 'deaths'}
  local function keep(name, value)
    if value then set[#set + 1], set[#set + 2] = name, value else gone[#gone + 1] = name end
  end
  for name, value in pairs(outcome.repaired or {}) do keep(name, value) end
  keep('error', outcome.error)
  if outcome.payload or not outcome.dead then keep('payload', outcome.dead and outcome.payload) end
  redis.call('HSET', record, unpack(set))
  redis.call('HDEL', record, unpack(gone))
  if outcome.dead then
    list_dead(outcome)
  elseif is_weak then
    redis.call('DEL', record)
  else
    redis.call('EXPIRE', record, ttl)
  end
  if somebody_cancels then redis.call('SREM', cancelling, outcome.job) end
end

-- How many chunks are open, by their own records.
local function recount(job)
  local found = 0
  local stored = fields_of(job, 'chunks')[1] or ''
  -- A damaged number may be so large that the loop would never end.
  local chunks = #stored < 8 and string.find(stored, '^%d+$') and tonumber(stored) or 0
  for number = 0, chunks - 1 do
    if open[fields_of(job .. ':' .. number, 'status')[1]] then found = found + 1 end
  end
  redis.call('HSET', job, 'open', found)
  return found
end

-- Adds an ended chunk to its job's account, and ends the job after its last chunk.
local function account(job, outcome)
  if not has_account(job) then return end
  count(job, 'done', outcome.succeeded + outcome.failed)
  count(job, 'succeeded', outcome.succeeded)
  count(job, 'failed', outcome.failed)
  if outcome.dead then count(job, 'dead', 1) end
  if outcome.error then redis.call('HSETNX', job, 'error', outcome.error) end
  local left = allowed(redis.pcall('HINCRBY', job, 'open', -1))
  if type(left) ~= 'number' then left = recount(job) end
  local all = redis.call('HMGET', job, 'sealed', 'succeeded', 'failed', 'dead', 'cancel', 'id', 'weak')
  if left > 0 or not all[1] then return end
  local status = 'partially_succeeded'
  if all[3] == '0' then status = 'succeeded'
  elseif all[2] == '0' then status = all[5] and 'cancelled' or 'failed' end
  redis.call('HSET', job, 'status', status, 'finished', now)
  redis.call('HDEL', job, 'last_error')
  if (all[4] or '0') == '0' then  -- its dead chunks are replayed through it
    if all[7] then redis.call('DEL', job) else redis.call('EXPIRE', job, ttl) end
  end
  redis.call('SREM', cancelling, all[6])
  redis.call('PUBLISH', channel_prefix .. all[6], status)
  ended[#ended + 1] = all[6]
  ended[#ended + 1] = status
end

-- Reads that fail where the writes below would: a key of another type leaves nothing half done.
redis.call('XLEN', inbox)
redis.call('XLEN', feed)
redis.call('ZCARD', delayed)
redis.call('SCARD', dead_projects)
local guarded = {}
local function guard(command, key)
  if guarded[key] then return end
  redis.call(command, key)
  guarded[key] = true
end
local function guard_ending(conflicts, outcome, lane, project, behind, indexed)
  if outcome.disputed or outcome.resolved then guard('ZCARD', conflicts) end
  if behind then guard('ZCARD', lock_queue_prefix .. behind) end
  if outcome.behind then guard('ZCARD', lock_queue_prefix .. outcome.behind) end
  if outcome.dead then guard('ZCARD', dead_prefix .. (outcome.project or '')) end
  if outcome.memories then
    for _, memory_id in ipairs(outcome.memories) do guard('SCARD', dead_of_prefix .. memory_id) end
  end
  if indexed then
    for _, memory_id in ipairs(document_of(indexed)) do guard('SCARD', dead_of_prefix .. memory_id) end
  end
  if project and outcome.status ~= 'retrying' then
    local window = lane and lane .. ':' .. project or project
    if not guarded[window] then guard_leaving(lane, project) end
    guarded[window] = true
  end
end

local OF_RECORD = 9
local function read(record)
  return fields_of(record, 'attempt_token', 'status', 'weak', 'lane', 'project', 'behind', 'shard', 'submitted',
    'dead_of')
end
local to_end, is_known, ended_of = {}, {}, {}
for record, job, conflicts, outcome, results in endings do
  outcome = cjson.decode(outcome)
  local fields = read(record)
  guard_ending(conflicts, outcome, fields[4], fields[5], fields[6], fields[9])
  -- Of two entries of one record, the second one sees what the first one's ending wrote.
  to_end[#to_end + 1] = {record, job, conflicts, outcome, results, not is_known[record] and fields}
  is_known[record] = true
end

for place, ending in ipairs(to_end) do
  local record, job, conflicts, outcome, results, fields = unpack(ending, 1, 6)
  local token, status, is_weak, lane, project, behind, shard, submitted, indexed =
    unpack(fields or read(record), 1, OF_RECORD)
  local is_latest = outcome.attempt == token
  local is_stale = outcome.status ~= 'succeeded' and not is_latest
  if not is_stale and open[status or ''] then
    local told = is_latest and {} or told_of(record)
    for _, change in ipairs(outcome.feed or {}) do
      local versions = told[change[MEMORY_ID]]
      if not (versions and versions[change[VERSION]]) then
        redis.call('XADD', feed, 'MAXLEN', '~', feed_length, '*', 'memory_id', change[MEMORY_ID],
          'project', outcome.project, 'event', change[EVENT], 'version', change[VERSION], 'job_id', outcome.of)
      end
    end
    for _, conflict in ipairs(outcome.disputed or {}) do redis.call('ZADD', conflicts, now, conflict) end
    for _, conflict in ipairs(outcome.resolved or {}) do redis.call('ZREM', conflicts, conflict) end
    if behind and not outcome.behind then
      redis.call('HDEL', record, 'behind')
      redis.call('ZREM', lock_queue_prefix .. behind, delayed_member(shard, outcome.job))
      freed[lock_queue_prefix .. behind] = true
    end
    index(record, outcome, indexed or nil)
    if outcome.status == 'retrying' then
      put_aside(record, job, project, submitted, outcome)
    else
      finish(record, outcome, results, is_weak)
      ended_of[#ended_of + 1] = {lane, project, outcome.job, shard}
      if job ~= record then account(job, outcome) end
      redis.call('PUBLISH', channel_prefix .. outcome.job, outcome.status)  -- also a chunk's: one is replayed by itself
    end
    ended[1] = ended[1] + 1
  else
    unrecorded[#unrecorded + 1] = place
  end
  if not is_stale then entries[#entries + 1] = outcome.entry end
end
for queue in pairs(freed) do
  release_queue(queue, delayed, time[1] * 1000 + math.floor(time[2] / 1000))
end
if #entries > 0 then
  redis.call('XACK', inbox, 'workers', unpack(entries))
  redis.call('XDEL', inbox, unpack(entries))
end
-- Once their entries are gone, since the next chunk goes to the emptiest inbox.
for _, left in ipairs(ended_of) do leave(left[1], left[2], left[3], woken, left[4]) end
return ended
