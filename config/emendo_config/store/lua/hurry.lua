-- Makes delayed jobs due now; those that are not delayed are left alone.
--
-- Returns how many there are. Safe to run twice.
--
-- It runs at the memory limit: it only changes what is there.
local count = 0
for _, member in ipairs({unpack(ARGV, members_from, members_to)}) do
  if redis.call('ZSCORE', delayed, member) then
    redis.call('ZADD', delayed, 0, member)
    count = count + 1
  end
end
return count
