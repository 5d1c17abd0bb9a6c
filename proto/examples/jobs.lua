-- Submits a job description to actd, waits by events, lists the results. LuaSocket and lua-cjson; one JSON value a line.
local json = require('cjson')
local unix = require('socket.unix')

local runtime = os.getenv('XDG_RUNTIME_DIR')
local path = runtime and runtime .. '/actd/default.sock' or '/tmp/actd-' .. io.popen('id -u'):read() .. '/default.sock'
local stream = unix.stream and unix.stream() or unix()
assert(stream:connect(path), 'no daemon at ' .. path .. ': actctl daemon start')

local last, events = 0, {}

local function read()
  local line, why = stream:receive('*l')
  assert(line, 'the daemon has gone: ' .. tostring(why))
  return json.decode(line)
end

-- Calls a method by name; events that arrive meanwhile are kept.
local function call(method, params)
  last = last + 1
  -- An empty table would be an empty array; no parameters are the same as none.
  if params and next(params) == nil then params = nil end
  stream:send(json.encode({ jsonrpc = '2.0', id = last, method = method, params = params }) .. '\n')
  while true do
    local message = read()
    if message.id == last then
      if message.error then error(method .. ': ' .. message.error.message, 0) end
      return message.result
    end
    table.insert(events, message.params.result)
  end
end

local function one_of(word, ...)
  for _, other in ipairs({ ... }) do
    if word == other then return true end
  end
  return false
end

local function ended(job)
  return one_of(job.phase, 'stored', 'closed') or one_of(job.arcstate, 'failed', 'donefailed', 'cancelled', 'lost')
end

local file = assert(io.popen("realpath -- '" .. arg[1]:gsub("'", "'\\''") .. "'"):read())
local text = assert(io.open(file)):read('*a')
call('daemon.hello', { client = 'jobs.lua', protocol = 1 })
-- Before the submission, so that no event is missed.
call('events.subscribe', { types = { 'job' } })
local reply = call('jobs.submit', {
  descriptions = { { text = text, path = file, base_dir = file:match('^(.*)/') } },
  client_ref = os.time() .. '-' .. tostring(stream),
})
local waiting, keys, left = {}, {}, 0
for _, item in ipairs(reply.items) do
  if item.error ~= json.null then error('not submitted: ' .. item.error, 0) end
  waiting[item.key], left = true, left + 1
  table.insert(keys, item.key)
end
while left > 0 do
  local event = table.remove(events, 1) or read().params.result
  if event.type == 'end' then error(event.text, 0) end
  if waiting[event.key] and event.after ~= json.null and ended(event.after) then
    waiting[event.key], left = nil, left - 1
  end
end
local good = true
for _, job in ipairs(call('jobs.list', { filter = { select = keys }, closed = true }).items) do
  good = good and job.arcstate == 'done'
  print(job.key .. ' ' .. job.name .. ' ' .. job.arcstate)
  if job.results ~= json.null then
    for _, entry in ipairs(call('jobs.files', { job = job.key }).files) do
      print(('  %s %d'):format(entry.path, entry.size))
    end
  end
end
os.exit(good and 0 or 1)
