-- The reply of a command that may fail on a damaged key. A refusal for lack of rights is no damage: it ends the script.
local function allowed(reply)
  local problem = type(reply) == 'table' and reply.err
  if problem and (string.find(problem, 'ACL failure', 1, true) or string.find(problem, 'executing the script', 1, true)) then
    error(reply)
  end
  return reply
end
