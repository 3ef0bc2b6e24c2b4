-- Takes the lock of a scope, unless somebody infers in this scope, in a broader or in a narrower one.
--
-- Returns 1 when it is the token's now, also when it was before: the script may run twice.
--
-- A broader scope's search finds the memories of a narrower one, so the two must not infer at once. Each lock is listed
-- with its broader scopes. A scope with locked narrower ones is marked as wanted. No further one may begin then, or a
-- broad scope would never have its turn.
local held = redis.call('GET', lock)
if held then return held == token and 1 or 0 end
for _, narrower in ipairs(redis.call('SMEMBERS', inner)) do
  if redis.call('EXISTS', narrower) == 1 then
    redis.call('SET', wanted, token, 'PX', ttl_ms)
    return 0
  end
  redis.call('SREM', inner, narrower)  -- its worker died
end
local around = {}
for broader_lock, broader_inner, broader_wanted in broader do
  if redis.call('EXISTS', broader_lock, broader_wanted) > 0 then return 0 end
  redis.call('SCARD', broader_inner)  -- fails where the write below would
  around[#around + 1] = broader_inner
end
for _, broader_inner in ipairs(around) do
  redis.call('SADD', broader_inner, lock)
  redis.call('PEXPIRE', broader_inner, listed_ms)
end
redis.call('SET', lock, token, 'PX', ttl_ms)
redis.call('DEL', wanted)
return 1
