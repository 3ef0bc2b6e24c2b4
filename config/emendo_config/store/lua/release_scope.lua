-- Gives the lock of a scope back, if it is still the token's.
--
-- Returns 1 when it was.
if redis.call('GET', lock) ~= token then return 0 end
local around = {}
for key in broader do
  redis.call('SCARD', key)  -- fails where the write below would
  around[#around + 1] = key
end
for _, key in ipairs(around) do redis.call('SREM', key, lock) end
return redis.call('DEL', lock)
