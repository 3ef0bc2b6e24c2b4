-- Begins an attempt at each of a batch's jobs.
--
-- KEYS  the job records
-- ARGV  1 token of this attempt   2 worker
-- Returns for each job {kind, project, payload, attempts, submitted, shard}, or false for one that is not
-- to be worked: gone, or final already (cancelled, or done by a reader whose acknowledgement was lost).
--
-- Safe to run twice: the token tells a repeated call from a new attempt.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local working = {queued = true, retrying = true, running = true}
local jobs = {}
for i, key in ipairs(KEYS) do
  local seen = redis.call('HMGET', key, 'status', 'attempt_token')
  if not working[seen[1]] then
    jobs[i] = false
  else
    if seen[2] ~= ARGV[1] then
      redis.call('HINCRBY', key, 'attempts', 1)
      redis.call('HSET', key, 'attempt_token', ARGV[1], 'status', 'running', 'worker', ARGV[2])
      redis.call('HSETNX', key, 'started', now)
      redis.call('HDEL', key, 'next_attempt')
    end
    jobs[i] = redis.call('HMGET', key, 'kind', 'project', 'payload', 'attempts', 'submitted', 'shard')
  end
end
return jobs
