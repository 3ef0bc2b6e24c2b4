-- The account of a batch job: counters in its record. A counter that is no number begins again.
local function has_account(job)
  return redis.call('TYPE', job).ok == 'hash'
end
local function count(job, name, by)
  local total = allowed(redis.pcall('HINCRBY', job, name, by))
  if type(total) == 'number' then return total end
  total = math.max(0, by)
  redis.call('HSET', job, name, total)
  return total
end
