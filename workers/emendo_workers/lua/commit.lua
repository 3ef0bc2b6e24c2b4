-- Changes one memory: hash, vector, history and applied marks in one atomic step, if nobody was faster.
--
-- KEYS  1 memory   2 history   3 lock   4... applied marks, one for each change
-- ARGV  1 version the decision was based on (0: no such memory)   2 lock token   3 applied TTL (s)
--       4 number of fields to set, then field, value pairs   next: number of fields to remove, then fields
--       next, for each change: applied value, number of history values, then field, value pairs
-- Returns 'committed', or 'stale' when the version is another or one of the jobs was applied before;
-- then nothing was changed. Releases the lock when it committed and the lock is still ours.
--
-- Safety rests on this version check and the marks, not on the lock: a lost lock costs work, never a change.
local memory, history, lock = KEYS[1], KEYS[2], KEYS[3]
if (redis.call('HGET', memory, 'version') or '0') ~= ARGV[1] then return 'stale' end
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 'stale' end
end

local at = 4
local function take()
  local count = tonumber(ARGV[at])
  local from = at + 1
  at = from + count
  return count, from, at - 1
end

local _, first, last = take()
redis.call('HSET', memory, unpack(ARGV, first, last))
local removed
removed, first, last = take()
if removed > 0 then redis.call('HDEL', memory, unpack(ARGV, first, last)) end
for i = 4, #KEYS do
  local value = ARGV[at]
  at = at + 1
  _, first, last = take()
  redis.call('XADD', history, '*', unpack(ARGV, first, last))
  redis.call('SET', KEYS[i], value, 'EX', ARGV[3])
end
if redis.call('GET', lock) == ARGV[2] then redis.call('DEL', lock) end
return 'committed'
