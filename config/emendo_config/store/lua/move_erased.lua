-- Moves entries of an erased memory's history back to `history` without their content, oldest first.
--
-- Returns 1 when further entries remain, else 0.
--
-- The script may run twice: entries that were moved are no longer there to move. Each call moves a bounded number of
-- entries, so that an erasure makes nobody wait.
--
-- It runs at the memory limit: content goes.
local entries = redis.call('XRANGE', erased_history, '-', until_id, 'COUNT', count)
if #entries > 0 then
  local is_kept = set_of(kept_when_erased())
  local subject = redis.call('HGET', memory, 'erased_user')
  for _, entry in ipairs(entries) do
    redis.call('XADD', history, entry[1], unpack(skeleton(entry[2], is_kept, subject)))
  end
  local ms = string.match(entries[#entries][1], '^%d+')
  redis.call('XTRIM', erased_history, 'MINID', string.format('%.0f', ms + 1))
end
if redis.call('XLEN', erased_history) > 0 then return 1 end
redis.call('HDEL', memory, 'erased_user')
redis.call('UNLINK', erased_history)  -- Redis keeps the key of an empty stream
return 0
