-- Reads one memory and the first page of its history as they are at one moment; changes nothing.
--
-- Returns {fields and values of the hash in turn, the page}. In place of a missing key, or one of another type, it has
-- the name of the type.
local found = redis.call('TYPE', memory).ok
local fields = found == 'hash' and redis.call('HGETALL', memory) or found
return {fields, history_page(memory, history, erased_history, '-', count, set_of(kept_when_erased()))}
