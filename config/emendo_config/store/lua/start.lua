-- Begins an attempt at each of a batch's jobs and chunks.
--
-- Returns one of these for each:
-- - its fields, with the names of those that are damaged
-- - false: it is final already. It may be cancelled, or done by a reader whose acknowledgement was lost.
-- - 'gone': there is no such record
-- - 'type': the key holds another type
-- - 'newer': a newer release wrote it, or its job's record, in a format that this worker cannot read
-- - 'later': the payloads before it fill the budget; its attempt has not begun
--
-- Safe to run twice: the token tells a repeated call from a new attempt.
--
-- It runs at the memory limit: a few fields are added, and the job's end takes them away.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local open = {queued = true, retrying = true, running = true}
local final = {succeeded = true, partially_succeeded = true, failed = true, cancelled = true}
local OWN = 6  -- fields that are read for the script itself, before those it returns
local reply = {}
local bytes = 0

-- A stored count; nil for anything else, as for `nan` and `1e400`, which Lua takes for numbers.
local function number(stored)
  return stored and #stored < 10 and string.find(stored, '^%d+$') and tonumber(stored) or nil
end

local function begin(record, job, attempts, is_first)
  redis.call('HSET', record, 'attempts', attempts, 'attempt_token', token, 'status', 'running', 'worker', worker,
    'began', now, unpack(is_first and {'started', now} or {}))
  if job == record or not has_account(job) then return end
  redis.call('HSETNX', job, 'started', now)
  redis.call('HSET', job, 'status', 'running')
  if attempts > (number(redis.call('HGET', job, 'attempts')) or 0) then
    redis.call('HSET', job, 'attempts', attempts)
  end
end

local function damage_of(found, whole)
  local names = {}
  if not open[found[1]] then names[#names + 1] = 'status' end
  if not found[4] then names[#names + 1] = 'id' end
  if not found[5] then names[#names + 1] = 'shard' end
  if found[6] and not number(found[6]) then names[#names + 1] = 'format' end
  if found[OWN + ATTEMPTS] and not number(found[OWN + ATTEMPTS]) then names[#names + 1] = 'attempts' end
  -- A chunk is worked in its batch job's project.
  if whole[3] and whole[3] ~= found[OWN + PROJECT] then names[#names + 1] = 'project' end
  return names[1] and table.concat(names, ',') or false
end

for record, job in records do
  if budget and bytes >= budget then
    reply[#reply + 1] = 'later'
  else
    local found = fields_of(record, 'status', 'attempt_token', 'started', 'id', 'shard', 'format', started_fields())
    local status, latest, started = found[1], found[2], found[3]
    local whole = job ~= record and fields_of(job, 'cancel', 'format', 'project') or {}
    if final[status or ''] then
      reply[#reply + 1] = false
    elseif #found == 0 then
      reply[#reply + 1] = 'type'
    elseif not status and redis.call('EXISTS', record) == 0 then
      reply[#reply + 1] = 'gone'
    elseif (number(found[6]) or 0) > RECORD_FORMAT or (number(whole[2]) or 0) > RECORD_FORMAT then
      reply[#reply + 1] = 'newer'
    else
      local damage = damage_of(found, whole)
      if latest ~= token then
        local attempts = (number(found[OWN + ATTEMPTS]) or 0) + 1
        begin(record, job, attempts, not started)
        if status == 'retrying' then redis.call('HDEL', record, 'next_attempt') end
        found[OWN + ATTEMPTS] = attempts
      end
      if job ~= record then found[OWN + CANCEL] = whole[1] or false end
      bytes = bytes + #(found[OWN + PAYLOAD] or '')
      found[#found + 1] = damage
      if traced then
        found[#found + 1], found[#found + 2] = unpack(fields_of(record, 'traceparent', 'tracestate'))
      end
      reply[#reply + 1] = {unpack(found, OWN + 1)}
    end
  end
end
return reply
