-- The windows of a project: how many of its records of one lane stand in inboxes. The others wait on a list, in order.
--
-- The window is a set of record ids, and no counter. So a record that ended elsewhere can be found and taken out.
-- A script that was not told the windows admits everything.
local has_windows, inbox_prefix, wakeup_prefix, job_prefix, open_prefix, admitted_prefix, waiting_prefix, waiting_lanes,
  all_shards, woken_by_window, window_wakeup_ttl_ms, windows_ttl, window_chunks, window_conversations, chunk_shards
local MOST_LOOKED_AT = 200  -- records of a waiting list in one step; most of those that ended meanwhile were cancelled
local is_open = {queued = true, retrying = true, running = true}

-- False for a record that is gone, and for one that cannot be read.
local function status_of(record_id)
  local status = allowed(redis.pcall('HGET', job_prefix .. record_id, 'status'))
  return type(status) == 'string' and status
end

-- The number of the project's open jobs and chunks, if so many more would be beyond its quota; false when they fit.
-- An old release ends records without this account, so some of the members are looked at before anything is refused.
local function beyond_quota(open_jobs, more, most)
  if most == 0 or redis.call('ZCARD', open_jobs) + more <= most then return false end
  for _, some in ipairs({redis.call('ZRANGE', open_jobs, 0, 49), redis.call('ZRANDMEMBER', open_jobs, 50)}) do
    for _, record_id in ipairs(some) do
      if not is_open[status_of(record_id)] then
        redis.call('ZREM', open_jobs, record_id)
      end
    end
  end
  local count = redis.call('ZCARD', open_jobs)
  return count + more > most and count
end

local function admitted_to(name) return redis.call('SCARD', admitted_prefix .. name) end

-- Takes over the script's argument `windows`.
local function use_windows(from, to)
  has_windows = to >= from
  inbox_prefix, wakeup_prefix, job_prefix, open_prefix, admitted_prefix, waiting_prefix, waiting_lanes, all_shards,
    woken_by_window, window_wakeup_ttl_ms, windows_ttl, window_chunks, window_conversations, chunk_shards =
    unpack(ARGV, from, to)
end

local function window_of(lane)
  return tonumber(lane == 'bulk' and window_chunks or window_conversations)
end

-- Fails where `enters_window` would, on a key of another type, and changes nothing.
local function guard_window(lane, project)
  if not (has_windows and lane and lane ~= '') then return end
  redis.call('LLEN', waiting_prefix .. lane .. ':' .. project)
  redis.call('SCARD', admitted_prefix .. lane .. ':' .. project)
  redis.call('SCARD', waiting_lanes)
end

-- The same for `leave`.
local function guard_leaving(lane, project)
  if not (has_windows and project) then return end
  redis.call('ZCARD', open_prefix .. project)
  if not lane then return end
  redis.call('LLEN', waiting_prefix .. lane .. ':' .. project)
  redis.call('SCARD', admitted_prefix .. lane .. ':' .. project)
  redis.call('SCARD', all_shards)
end

local function chunk_place(shard) return tonumber(string.match(shard or '', '^bulk%-(%d+)$')) end

-- The shard for a record that is admitted. A chunk goes to the one whose inbox has the fewest entries. Among equals it
-- takes that of the ended chunk, else its own. Other records keep their shard, and with it their order.
-- So a project's chunks stand side by side. Another project's chunk waits for one of them and not for several.
local function emptiest(lane, own, freed)
  local first = has_windows and lane == 'bulk' and chunk_place(own)
  if not first then return own end  -- handed over to a shard that may ask the chat model
  first = chunk_place(freed) or first
  local found, least = own, math.huge
  for step = 0, chunk_shards - 1 do
    local shard = string.format('bulk-%d', (first + step) % chunk_shards)
    local entries = allowed(redis.pcall('XLEN', inbox_prefix .. shard))
    if type(entries) == 'number' and entries < least then found, least = shard, entries end
    if least == 0 then break end
  end
  return found
end

local function take_place(name, record_id)
  redis.call('SADD', admitted_prefix .. name, record_id)
  redis.call('EXPIRE', admitted_prefix .. name, windows_ttl)
end

-- True when the record may go to its inbox now; otherwise it is on the waiting list.
local function enters_window(lane, project, shard, record_id)
  if not (has_windows and lane and lane ~= '') then return true end
  local name = lane .. ':' .. project
  if redis.call('EXISTS', waiting_prefix .. name) == 0 and admitted_to(name) < window_of(lane) then
    take_place(name, record_id)
    return true
  end
  redis.call('RPUSH', waiting_prefix .. name, shard .. ':' .. record_id)
  redis.call('SADD', waiting_lanes, name)
  redis.call('EXPIRE', waiting_lanes, windows_ttl)
  return false
end

-- Moves waiting records to their inboxes while the window has room. Appends shards that must be woken to `woken`;
-- without it the sweeper wakes them. Returns the error of an inbox that is of another type: the rest goes on waiting.
local function fill_window(lane, project, woken, freed)
  local name = lane .. ':' .. project
  local room = window_of(lane) - admitted_to(name)
  for _ = 1, MOST_LOOKED_AT do
    local member = room > 0 and redis.call('LINDEX', waiting_prefix .. name, 0)
    if not member then return end
    local shard, record_id = string.match(member, '^([^:]*):(.*)$')
    local is_waiting = record_id and is_open[status_of(record_id)]
    local own = shard
    shard = is_waiting and emptiest(lane, own, freed) or own
    local added = is_waiting and allowed(redis.pcall('XADD', inbox_prefix .. shard, '*', 'job', record_id))
    if type(added) == 'table' and added.err then return added end
    redis.call('LPOP', waiting_prefix .. name)
    if is_waiting then
      room = room - 1
      if shard ~= own then redis.call('HSET', job_prefix .. record_id, 'shard', shard) end
      take_place(name, record_id)
      redis.call('SADD', all_shards, shard)
      if woken and redis.call('SET', wakeup_prefix .. shard, woken_by_window, 'NX', 'PX', window_wakeup_ttl_ms) then
        woken[#woken + 1] = shard
      end
    end
  end
end

-- Takes an ended record out of what its project occupies, and admits the next one.
local function leave(lane, project, record_id, woken, shard)
  if not (has_windows and project) then return end
  redis.call('ZREM', open_prefix .. project, record_id)
  if lane and redis.call('SREM', admitted_prefix .. lane .. ':' .. project, record_id) == 1 then
    fill_window(lane, project, woken, shard)
  end
end
