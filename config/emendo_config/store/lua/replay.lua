-- Queues one dead letter again under its own id, so that no effect happens twice.
--
-- Returns {'replayed', notify? (1 or 0)}, or {the reason it was not, 0}: 'unknown' or the record's status.
--
-- Items that succeeded stay settled, and so do refused ones, which no replay can change. If earlier releases kept a dead
-- letter of nothing but refused items, these are tried again.
-- A batch job takes the chunk out of its account and is open again.
-- The record names the run that replayed it, so one run replays a dead letter once, however often it asks.
-- If two runs meet, one wins. The other finds no dead letter, or one that failed at another time, and leaves it alone.
-- So the script may run twice: the second call finds its own run in the record and only repeats the answer.
--
-- It runs at the memory limit: the record is there already, and its results go.
use_windows(windows_from, windows_to)
local function reopen(failed, total)
  count(job, 'open', 1)
  count(job, 'dead', -1)
  count(job, 'failed', -failed)
  count(job, 'succeeded', failed - total)
  count(job, 'done', -total)
  if redis.call('HEXISTS', job, 'finished') == 1 then
    redis.call('HDEL', job, 'cancel')  -- it was obeyed when the job ended; the replay was asked for later
  end
  redis.call('HSET', job, 'status', 'running')
  redis.call('HDEL', job, 'finished', 'error')
  redis.call('PERSIST', job)
end

local function put_back(results, lane, submitted)
  local items = document_of(results)
  local refusals = {}
  for _, code in ipairs({refused()}) do refusals[code] = true end
  local failed, replayable = {}, {}
  for i, item in ipairs(items) do
    if type(item) == 'table' and type(item.error) == 'table' then
      failed[#failed + 1] = i
      if not refusals[item.error.code or ''] then replayable[#replayable + 1] = i end
    end
  end
  local again = #replayable > 0 and replayable or failed
  for _, i in ipairs(again) do items[i] = cjson.null end
  -- Reads that fail where the writes below would: a key of another type leaves nothing half done.
  redis.call('XLEN', inbox)
  redis.call('SCARD', shards)
  if has_windows and open_jobs ~= '' then redis.call('ZCARD', open_jobs) end
  guard_window(lane, project)
  unlist_dead(dead, unsorted_dead, dead_projects, dead_of_prefix, record_id, record, project)
  redis.call('HSET', record, 'status', 'queued', 'attempts', 0, 'replayed_by', run)
  redis.call('HDEL', record, 'finished', 'error', 'results', 'next_attempt', 'attempt_token')
  if #items > #again then redis.call('HSET', record, 'settled', cjson.encode(items)) end
  redis.call('PERSIST', record)
  if job ~= record and has_account(job) then reopen(#failed, #items) end
  if has_windows and open_jobs ~= '' then
    redis.call('ZADD', open_jobs, string.match(submitted or '', '^%d+$') or 0, record_id)
    redis.call('EXPIRE', open_jobs, windows_ttl)
  end
  if enters_window(lane, project, shard, record_id) then
    redis.call('XADD', inbox, '*', 'job', record_id)
    redis.call('SADD', shards, shard)
    redis.call('SET', wakeup, woken_by, 'NX', 'PX', wakeup_ttl_ms)
  end
end

local status, owner, replayed_by, results, lane, submitted =
  unpack(fields_of(record, 'status', 'project', 'replayed_by', 'results', 'lane', 'submitted'), 1, 6)
if not status or owner ~= project then return {'unknown', 0} end
if replayed_by ~= run then
  local score = failed_when(dead, unsorted_dead, record_id)
  if not score or failed_at and tonumber(score) ~= failed_at then return {status, 0} end
  put_back(results, lane, submitted)
end
-- Dead letters of one shard share the value of the wake-up key. So each of them says that the caller must notify.
return {'replayed', redis.call('GET', wakeup) == woken_by and 1 or 0}
