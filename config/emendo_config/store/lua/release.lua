-- Gives a lease back, if it is still the token's.
--
-- Returns 1 when it was.
--
-- It runs at the memory limit: a key goes.
if redis.call('GET', lease) ~= token then return 0 end
return redis.call('DEL', lease)
