-- Begins an attempt at each of a batch's jobs and chunks.
--
-- KEYS  for each: 1 its record   2 its job's record (the same, unless it is a chunk of a batch job)
-- ARGV  1 token of this attempt   2 worker
-- Returns for each {kind, project, payload, attempts, submitted, settled, strong, cancelled}, or false for one that
-- is not to be worked: gone, or final already (cancelled, or done by a reader whose acknowledgement was lost).
--
-- Safe to run twice: the token tells a repeated call from a new attempt.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local working = {queued = true, retrying = true, running = true}
local jobs = {}

local function begin(key, job, attempts, is_first)
  redis.call('HSET', key, 'attempts', attempts, 'attempt_token', ARGV[1], 'status', 'running', 'worker', ARGV[2],
    'began', now, unpack(is_first and {'started', now} or {}))
  if job == key then return end
  redis.call('HSETNX', job, 'started', now)
  redis.call('HSET', job, 'status', 'running')
  if attempts > tonumber(redis.call('HGET', job, 'attempts') or '0') then
    redis.call('HSET', job, 'attempts', attempts)
  end
end

for i = 1, #KEYS, 2 do
  local key, job = KEYS[i], KEYS[i + 1]
  local place = (i + 1) / 2
  local found = redis.call('HMGET', key, 'kind', 'project', 'payload', 'attempts', 'submitted', 'settled', 'strong',
    'cancel', 'status', 'attempt_token', 'started')
  local status, token, started = found[9], found[10], found[11]
  if not working[status] then
    jobs[place] = false
  else
    if token ~= ARGV[1] then
      found[4] = tonumber(found[4] or '0') + 1
      begin(key, job, found[4], not started)
      if status == 'retrying' then redis.call('HDEL', key, 'next_attempt') end
    end
    if job ~= key then found[8] = redis.call('HGET', job, 'cancel') end
    jobs[place] = {unpack(found, 1, 8)}
  end
end
return jobs
