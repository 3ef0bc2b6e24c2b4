-- Reads one memory and its history as they are at one moment, so that a commit cannot come between; changes nothing.
--
-- KEYS  1 memory   2 history
-- Returns {fields and values of the hash in turn, entries of the stream}; in place of one that is not there, or is
-- no hash or stream, the name of its type.
local function read(key, kind, ...)
  local found = redis.call('TYPE', key).ok
  if found ~= kind then return found end
  return redis.call(...)
end
return {read(KEYS[1], 'hash', 'HGETALL', KEYS[1]), read(KEYS[2], 'stream', 'XRANGE', KEYS[2], '-', '+')}
