-- Reads one page of a memory's history as it is at one moment; changes nothing.
--
-- Returns the page, see shared/history_page.lua. It is bounded, so that a long history makes nobody wait.
return history_page(memory, history, erased_history, after, count, set_of(kept_when_erased()))
