-- Adds entries to a history stream: the id of each, how many fields and values it has, and these.
local function add_entries(stream, from, to)
  while from <= to do
    local last = from + 1 + ARGV[from + 1]
    redis.call('XADD', stream, ARGV[from], unpack(ARGV, from + 2, last))
    from = last + 1
  end
end
