-- Moves the re-embedding on, if nobody did since its state was read.
--
-- KEYS  1 migration   2 feed   3 failures
-- ARGV  1 job   2 revision that was read   3 feed length   4 how long the state is kept when it is over (s)
--       5 over? (1 or 0)   three lists, each a count and then as many values: fields to set (field, value, ...),
--       fields to remove, and what the feed is told (field, value, ...)
-- Returns 1, or 0 when somebody else was faster; then nothing was changed.
--
-- What the feed is told and the step it tells of are one: it is told once. Run twice the second run changes nothing.
local migration = KEYS[1]
local job, revision = unpack(redis.call('HMGET', migration, 'job', 'revision'))
if job ~= ARGV[1] or revision ~= ARGV[2] then return 0 end

local at = 6
local function take()
  local count = tonumber(ARGV[at])
  local from = at + 1
  at = from + count
  return count, from, at - 1
end
local count, from, to = take()
if count > 0 then redis.call('HSET', migration, unpack(ARGV, from, to)) end
count, from, to = take()
if count > 0 then redis.call('HDEL', migration, unpack(ARGV, from, to)) end
count, from, to = take()
if count > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, from, to)) end
redis.call('HINCRBY', migration, 'revision', 1)
if ARGV[5] == '1' then
  redis.call('HDEL', migration, 'active')
  redis.call('EXPIRE', migration, ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
end
return 1
