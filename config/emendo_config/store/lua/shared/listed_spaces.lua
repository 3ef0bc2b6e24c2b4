-- The value of a memory's `embedding_space`, as `formats.listed_spaces` and `formats.spaces_value` in Python.
local function listed_without(value, space)
  local names, found = {}, false
  for name in string.gmatch(value or '', '[^,]+') do
    if name == space then found = true else names[#names + 1] = name end
  end
  return names, found
end
local function spaces_value(names)
  table.sort(names)
  return table.concat(names, ',')
end
