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
for i = 1, #KEYS, 2 do
  local key, job = KEYS[i], KEYS[i + 1]
  local place = (i + 1) / 2
  local seen = redis.call('HMGET', key, 'status', 'attempt_token')
  if not working[seen[1]] then
    jobs[place] = false
  else
    if seen[2] ~= ARGV[1] then
      local attempts = redis.call('HINCRBY', key, 'attempts', 1)
      redis.call('HSET', key, 'attempt_token', ARGV[1], 'status', 'running', 'worker', ARGV[2], 'began', now)
      redis.call('HSETNX', key, 'started', now)
      redis.call('HDEL', key, 'next_attempt')
      if job ~= key then
        redis.call('HSETNX', job, 'started', now)
        redis.call('HSET', job, 'status', 'running')
        if attempts > tonumber(redis.call('HGET', job, 'attempts') or '0') then
          redis.call('HSET', job, 'attempts', attempts)
        end
      end
    end
    jobs[place] = redis.call('HMGET', key, 'kind', 'project', 'payload', 'attempts', 'submitted', 'settled', 'strong')
    jobs[place][8] = redis.call('HGET', job, 'cancel')
  end
end
return jobs
