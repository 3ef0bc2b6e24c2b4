-- Adds a drain's counts to the metrics.
--
-- Returns 1; 0 when the same counts were added before, or when the key holds another type: metrics must stop no drain.
--
-- Safe to run twice: `counted` remembers the first run for longer than a connection is tried again.
--
-- It runs at the memory limit: mostly it changes numbers that are there.
if redis.call('EXISTS', counted) == 1 then return 0 end
local held = redis.call('TYPE', metrics).ok
if held ~= 'hash' and held ~= 'none' then return 0 end
redis.call('SET', counted, '', 'PX', kept_ms)
for place = counts_from, counts_to, 2 do
  count(metrics, ARGV[place], ARGV[place + 1])
end
return 1
