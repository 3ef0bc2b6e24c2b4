-- A history entry without its content: the fields that stay when the memory is erased. An author who is the memory's own
-- user goes, too.
local function set_of(...)
  local names = {}
  for _, name in ipairs({...}) do names[name] = true end
  return names
end
local function skeleton(fields, is_kept, subject)
  local kept, by_subject = {}, false
  for f = 1, #fields, 2 do
    if fields[f] == 'actor_id' and fields[f + 1] == subject then by_subject = true end
  end
  for f = 1, #fields, 2 do
    local is_author = fields[f] == 'actor_id' or fields[f] == 'role'
    if is_kept[fields[f]] and not (by_subject and is_author) then
      kept[#kept + 1] = fields[f]
      kept[#kept + 1] = fields[f + 1]
    end
  end
  return kept
end
