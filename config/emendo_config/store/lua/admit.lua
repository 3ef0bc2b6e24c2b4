-- The sweeper's look at one window: takes out records that ended without giving their place back, and admits others.
--
-- Returns the shards for which the caller must publish a drain.
--
-- An old release ends records without this account, and a record may be lost. Safe to run twice.
--
-- It runs at the memory limit: a record moves from one list to another.
use_windows(windows_from, windows_to)
local name = lane .. ':' .. project
for _, record_id in ipairs(redis.call('SMEMBERS', admitted_prefix .. name)) do
  if not is_open[status_of(record_id)] then
    redis.call('SREM', admitted_prefix .. name, record_id)
  end
end
local woken = {}
local refusal = fill_window(lane, project, woken)
if refusal then return refusal end
if redis.call('EXISTS', waiting_prefix .. name) == 0 then
  redis.call('SREM', waiting_lanes, name)
else
  redis.call('EXPIRE', waiting_lanes, windows_ttl)
end
return woken
