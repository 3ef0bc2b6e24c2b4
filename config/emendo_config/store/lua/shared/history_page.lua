-- One page of a history: its entries, or the type of a history key that is missing or no stream.
--
-- While an erasure moves entries, `history` has the older ones and `erased_history` the rest, which lose their content
-- here. So an erased text is gone for readers from the commit on.
local function history_page(memory, history, erased_history, after, count, is_kept)
  local kind, aside = redis.call('TYPE', history).ok, redis.call('TYPE', erased_history).ok == 'stream'
  if kind ~= 'stream' and not (kind == 'none' and aside) then return kind end
  local from = after == '-' and after or '(' .. after
  local entries = redis.call('XRANGE', history, from, '+', 'COUNT', count)
  if aside and #entries < count then
    local subject = redis.call('HGET', memory, 'erased_user')
    for _, entry in ipairs(redis.call('XRANGE', erased_history, from, '+', 'COUNT', count - #entries)) do
      entries[#entries + 1] = {entry[1], skeleton(entry[2], is_kept, subject)}
    end
  end
  return entries
end
