-- Requests at a fixed rate, whatever the server does: request k is due at start + k / rate, waits for a free connection, and
-- its latency counts from the moment it was due to the last byte of its answer. So a stall counts for everyone it held up.
--
-- luajit FILE MARKER ADDRESS PORT HOST SERVER_NAME RATE CONNECTIONS PROCESSES RUN_IN_S DURATION_S DRAIN_S LIST
--   HOST         what the Host header says; SERVER_NAME: "-" for plain HTTP, else TLS, to that name ("" for none)
--   RUN_IN_S     at the rate too, but not recorded: fresh connections, and this program compiles itself
--   DRAIN_S      how long after the end what is still unanswered is waited for; then it counts with the time it has waited
--   LIST         a file with one target (path and query) per line; request k asks for number k, round and round
-- Prints one line, `MARKER {json}`. Exit code 1, with words on stderr, when nobody can be reached.
--
-- Process i of n has the requests k with k mod n = i and an equal part of the connections; their counts are added exactly.

local ffi = require("ffi")
local C = ffi.C
package.path = arg[0]:match("^(.*/)") .. "?.lua"
local line = require("open_loop_line")
local answer = require("open_loop_answer")
local tally = require("open_loop_tally")

ffi.cdef([[
int clock_gettime(int, int32_t *);
int timerfd_create(int, int);
int timerfd_settime(int, int, const int64_t *, void *);
int getrusage(int, int32_t *);
int fork(void);
int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long);
int waitpid(int, int *, int);
void _exit(int);
int poll(void *, unsigned long, int);
void *mmap(void *, size_t, int, int, int, int64_t);
void *memmove(void *, const void *, size_t);
]])

local marker, address, port = arg[1], arg[2], tonumber(arg[3])
local rate, connections, processes = tonumber(arg[6]), tonumber(arg[7]), tonumber(arg[8])
local run_in_s, duration_s, drain_s = tonumber(arg[9]), tonumber(arg[10]), tonumber(arg[11])
local CONNECTING, HANDSHAKING, FREE, BUSY, AWAY = 1, 2, 3, 4, 5
local READABLE, WRITABLE, ADD, CHANGE = 1, 4, 1, 3
local CONNECT_WITHIN_S, RETRY_AFTER_S, LOOK_EVERY_MS = 5, 0.05, 100
local SCRATCH = 262144
local OK = 200

if not marker:match("^%w+$") then
  error("the marker is not made of letters and digits")
end

-- Seconds since this program began, the same in all its processes. The low halves of both 64-bit numbers are enough.
local stamp = ffi.new("int32_t[4]")
C.clock_gettime(1, stamp)
local epoch_s = stamp[0]
local function clock()
  C.clock_gettime(1, stamp)
  return stamp[0] - epoch_s + stamp[2] * 1e-9
end

local usage = ffi.new("int32_t[64]")
local function cpu_s()
  C.getrusage(0, usage)
  return usage[0] + usage[4] + (usage[2] + usage[6]) * 1e-6
end

-- Memory of zeros that takes no room before it is used; `shared` with the processes to come.
local function memory(bytes, shared)
  local READ_WRITE, SHARED, PRIVATE = 3, 0x21, 0x22
  local at = C.mmap(nil, bytes, READ_WRITE, shared and SHARED or PRIVATE, -1, 0)
  if ffi.cast("intptr_t", at) == -1 then
    error("no memory")
  end
  return at
end

-- The requests' texts with their sizes, and which of them each place of the list asks for.
local function requests_of(path, host)
  local texts, places, number_of = {}, {}, {}
  for target in io.lines(path) do
    if not number_of[target] then
      texts[#texts + 1] = string.format("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host)
      number_of[target] = #texts - 1
    end
    places[#places + 1] = number_of[target]
  end
  local bytes, sizes = {}, {}
  for number, text in ipairs(texts) do
    bytes[number - 1], sizes[number - 1] = ffi.new("char[?]", #text, text), #text
  end
  return bytes, sizes, ffi.new("int32_t[?]", #places, places), #places
end

-- One process's part of the load: `number` of `processes`, written into `seen`. `go` gives the start, once all are ready.
local function work(seen, number, go)
  local count = connections / processes
  local kind = line.kind(arg[5] ~= "-" and arg[5] or nil)
  local connect = line.connector(address, port)
  local texts, sizes, list, listed = requests_of(arg[12], arg[4])
  -- Pointers are made beforehand: what LuaJIT has to make on the way must be collected on the way.
  local conns, heads = {}, {}
  local conns_at = ffi.cast("struct connection *", memory(count * ffi.sizeof("struct connection")))
  local heads_at = ffi.cast("uint8_t *", memory(count * answer.HEAD_CAP))
  for index = 0, count - 1 do
    conns[index], heads[index] = conns_at + index, heads_at + index * answer.HEAD_CAP
  end
  local scratch = ffi.cast("uint8_t *", memory(SCRATCH))
  local events, event = ffi.new("struct event[256]"), ffi.new("struct event")
  local ring = ffi.new("int32_t[?]", count)
  local first, queued, free, away = 0, 0, 0, 0
  local poller = C.epoll_create1(0)
  local alarm = C.timerfd_create(1, 0x800)
  local alarm_at, wanted = -1, ffi.new("int64_t[4]")
  local next_k, total, start, from, stop = number, 0, 0, 0, math.huge
  local unanswered = 0

  local function watch(what, c, index, how)
    event.events, event.who, event.generation = how, index, c.generation
    return C.epoll_ctl(poller, what, c.fd, event)
  end

  local function record(due, now)
    if due >= from then
      local seconds = now - due
      seen.due = seen.due + 1
      seen.sum_s = seen.sum_s + seconds
      seen.longest_s = math.max(seen.longest_s, seconds)
      local place = tally.bucket(seconds)
      seen.latency[place] = seen.latency[place] + 1
    end
  end

  local function hang_up(c)
    kind.over(c)
    if c.fd >= 0 then
      C.close(c.fd)
      c.fd = -1
    end
    if c.state == FREE then
      free = free - 1
    end
  end

  local function put_away(c, now)
    hang_up(c)
    c.state, c.retry_at = AWAY, now + RETRY_AFTER_S
    away = away + 1
    seen.connect = seen.connect + 1
  end

  local function reconnect(c, index, now)
    hang_up(c)
    c.generation = c.generation + 1
    c.served, c.state = 0, CONNECTING
    if not connect(c) then
      put_away(c, now)
    elseif watch(ADD, c, index, WRITABLE) ~= 0 then
      error("epoll_ctl: " .. ffi.string(C.strerror(ffi.errno())))
    end
  end

  local function fail(c, index, now)
    record(c.due, now)
    unanswered = unanswered - 1
    c.request, c.retried = -1, 0
    reconnect(c, index, now)
  end

  -- The server hung up, or what it says is no answer. A request that nothing came back for on a connection that has served
  -- others is sent once more, as browsers do (RFC 9110, 9.2.2): the server may have been closing an idle connection.
  local function broken(c, index, now)
    if c.state == BUSY then
      if c.served > 0 and c.have == 0 and c.retried == 0 then
        c.retried = 1
        seen.retried = seen.retried + 1
        reconnect(c, index, now)
      else
        seen.read = seen.read + 1
        fail(c, index, now)
      end
    else
      reconnect(c, index, now)
    end
  end

  local function send(c, index, now)
    local text = list[c.request % listed]
    c.state, c.in_body, c.have, c.scanned = BUSY, 0, 0, 0
    if not kind.send(c, texts[text], sizes[text]) then
      if c.served > 0 and c.retried == 0 then
        broken(c, index, now)
      else
        seen.write = seen.write + 1
        fail(c, index, now)
      end
    end
  end

  -- Sends what is due as long as connections are free. Late is how long both had been so already.
  local function issue(now)
    while free > 0 and next_k < total do
      local due = start + next_k / rate
      if due > now then
        return
      end
      local index = ring[first]
      first, queued = (first + 1) % count, queued - 1
      local c = conns[index]
      c.queued = 0
      if c.state == FREE then
        free = free - 1
        if due >= from then
          local late = now - math.max(due, c.since)
          local place = tally.bucket(late)
          seen.late[place] = seen.late[place] + 1
          seen.late_longest_s = math.max(seen.late_longest_s, late)
        end
        c.request, c.due = next_k, due
        unanswered = unanswered + 1
        next_k = next_k + processes
        send(c, index, now)
        now = clock()
      end
    end
  end

  local function set_free(c, index, now)
    c.state, c.since = FREE, now
    free = free + 1
    if c.queued == 0 then
      c.queued = 1
      ring[(first + queued) % count] = index
      queued = queued + 1
    end
    issue(now)
  end

  local function is_there(c, index, now)
    watch(CHANGE, c, index, READABLE)
    if c.request >= 0 then
      send(c, index, now)
    else
      set_free(c, index, now)
    end
  end

  local function complete(c, index, now)
    record(c.due, now)
    unanswered = unanswered - 1
    if now >= from and now < stop then
      seen.answered, seen.bytes = seen.answered + 1, seen.bytes + c.wire
    end
    if c.status ~= OK then
      seen.status = seen.status + 1
    end
    c.request, c.retried, c.served = -1, 0, c.served + 1
    if c.closing == 1 then
      reconnect(c, index, now)
    else
      set_free(c, index, now)
    end
  end

  local function shook_hands(c, index, now, result)
    if result == line.READY then
      is_there(c, index, now)
    elseif result == line.BROKEN then
      put_away(c, now)
    else
      c.state = HANDSHAKING
      watch(CHANGE, c, index, result)
    end
  end

  local function reached(c, now)
    if line.problem(c) ~= 0 then
      put_away(c, now)
      return false
    end
    return true
  end

  -- What came of an answer: `size` bytes at `at`, of which the body begins at p.
  local function take_body(c, index, now, at, p, size)
    local stop_at = answer.body(c, at, p, size)
    if stop_at == answer.MORE then
      c.wire = c.wire + size - p
    elseif stop_at == size then
      c.wire = c.wire + size - p
      complete(c, index, now)
    else -- no answer, or more than one
      broken(c, index, now)
    end
  end

  local function take_head(c, index, now, head)
    while true do
      local stop_at = answer.head(c, head, c.have)
      if stop_at == answer.MORE then
        return
      elseif stop_at == answer.BAD then
        return broken(c, index, now)
      elseif c.mode == answer.INTERIM then
        c.have, c.scanned = c.have - stop_at, 0
        C.memmove(head, head + stop_at, c.have)
      else
        c.in_body, c.wire = 1, stop_at
        return take_body(c, index, now, head, stop_at, c.have)
      end
    end
  end

  local function readable(c, index)
    local generation = c.generation
    while c.generation == generation do
      local head = heads[index]
      local at, room = scratch, SCRATCH
      if c.in_body == 0 then
        at, room = c.have == 0 and head or head + c.have, answer.HEAD_CAP - c.have
      end
      local size = kind.receive(c, at, room)
      local now = clock()
      if size == line.AGAIN then
        return
      elseif c.state == BUSY and size > 0 then
        if c.in_body == 0 then
          c.have = c.have + size
          take_head(c, index, now, head)
        else
          take_body(c, index, now, at, 0, size)
        end
      elseif c.state == BUSY and size == 0 and answer.ends_with_close(c) then
        complete(c, index, now)
      else
        broken(c, index, now)
      end
    end
  end

  local function happened(c, index)
    if c.state == CONNECTING then
      local now = clock()
      if reached(c, now) then
        shook_hands(c, index, now, kind.begin(c))
      end
    elseif c.state == HANDSHAKING then
      shook_hands(c, index, clock(), kind.go_on(c))
    else
      readable(c, index)
    end
  end

  local function come_back(now)
    for index = 0, count - 1 do
      local c = conns[index]
      if c.state == AWAY and now >= c.retry_at then
        away = away - 1
        c.state = CONNECTING
        reconnect(c, index, now)
      end
    end
  end

  -- How many milliseconds epoll is to wait. They are whole ones, so what is due next wakes it by a timer, to the microsecond.
  local function sleep_until_due(now, over)
    local wait_ms = math.min(LOOK_EVERY_MS, math.max(0, math.ceil((over - now) * 1000)))
    if free == 0 or next_k >= total then
      return wait_ms
    end
    local due = start + next_k / rate
    if due <= now then
      return 0
    end
    if alarm_at ~= due then
      alarm_at = due
      wanted[2] = epoch_s + math.floor(due)
      wanted[3] = (due - math.floor(due)) * 1e9
      C.timerfd_settime(alarm, 1, wanted, nil)
    end
    return wait_ms
  end

  local function turn(wait_ms)
    local happenings = C.epoll_wait(poller, events, 256, wait_ms)
    for place = 0, happenings - 1 do
      local index = events[place].who
      if index < count and conns[index].generation == events[place].generation then
        happened(conns[index], index)
      end
    end
    local now = clock()
    if away > 0 then
      come_back(now)
    end
    issue(now)
    return now
  end

  event.events, event.who, event.generation = 0x80000001, 0xffffffff, 0 -- edge-triggered: nobody need read the timer
  C.epoll_ctl(poller, ADD, alarm, event)
  for index = 0, count - 1 do
    local c = conns[index]
    c.fd, c.request = -1, -1
    reconnect(c, index, clock())
  end
  local now, until_s = clock(), clock() + CONNECT_WITHIN_S
  while free < count and now < until_s and not (free == 0 and seen.connect >= count) do
    now = turn(10)
  end
  if free == 0 then
    io.stderr:write("unable to connect to ", address, ":", port, "\n")
    seen.ready = -1
    return false
  end
  seen.connect, seen.ready = 0, 1
  start = go()
  if start < 0 then
    return false
  end
  from, stop = start + run_in_s, start + run_in_s + duration_s
  total = math.ceil((run_in_s + duration_s) * rate - 1e-6)
  collectgarbage() -- from here on some 20 bytes a request, collected in steps too small to be seen
  now = clock()
  while now < from do
    now = turn(sleep_until_due(now, from))
  end
  local began, used_from = now, cpu_s()
  while now < stop do
    now = turn(sleep_until_due(now, stop))
  end
  seen.closed_s, seen.busy = now - from, (cpu_s() - used_from) / (now - began)
  while now < stop + drain_s and (unanswered > 0 or next_k < total) do
    now = turn(sleep_until_due(now, stop + drain_s))
  end
  local answered = seen.due
  for index = 0, count - 1 do
    if conns[index].request >= 0 then
      record(conns[index].due, now)
    end
  end
  for k = next_k, total - 1, processes do
    record(start + k / rate, now)
  end
  seen.unanswered = seen.due - answered
  return true
end

local function main()
  local parts = ffi.cast("struct part *", memory(processes * ffi.sizeof("struct part"), true))
  local start = ffi.cast("double *", memory(8, true)) -- 0: not yet, -1: never
  local children = {}
  local function wait_for_start()
    while start[0] == 0 do
      C.poll(nil, 0, 1)
    end
    return start[0]
  end
  for number = 1, processes - 1 do
    local child = C.fork()
    if child == 0 then
      C.prctl(1, 9, 0, 0, 0) -- PR_SET_PDEATHSIG: nobody is left to be told of what it finds
      local done, problem = pcall(work, parts[number], number, wait_for_start)
      if not done then
        io.stderr:write(tostring(problem), "\n")
        parts[number].ready = -1
      end
      C._exit(done and problem and 0 or 1)
    end
    children[number] = child
  end
  local function start_all()
    for number = 1, processes - 1 do
      while parts[number].ready == 0 do
        C.poll(nil, 0, 1)
      end
      if parts[number].ready < 0 then
        start[0] = -1
        return -1
      end
    end
    start[0] = clock() + 0.005
    return start[0]
  end
  local fine = work(parts[0], 0, start_all)
  if not fine and start[0] == 0 then
    start[0] = -1
  end
  local status = ffi.new("int[1]")
  for _, child in pairs(children) do
    C.waitpid(child, status, 0)
    fine = fine and status[0] == 0
  end
  if not fine then
    os.exit(1)
  end
  tally.report(marker, parts, processes)
end

main()
