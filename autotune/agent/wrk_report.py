"""The script that wrk runs: the requests of a load of several URLs, and one line, `<marker> {json}`, at the end.

Nothing else of wrk's output is parsed. The agent puts REPORT_LUA in a file of its own and calls
`wrk -tT -cC -dDs --timeout (D+5)s --latency -s FILE URL -- MARKER [LIST THREADS]`.
The marker is random per run and made of letters and digits, so nothing a server sends can look like the line.
LIST is a file with one target (path and query) per line: data that the script reads, never a piece of its text.
"""

from __future__ import annotations

from typing import Final

# wrk gives its script arguments to init(), which runs once in each thread's own Lua state; done() runs in another one, which
# sees neither the arguments nor the threads' globals. setup() runs in done()'s state, before the thread's init(), and is handed
# each thread, whose globals can be set and, at the end, asked for. No response(): it slows the generator down. Nor a global
# request() while one URL will do: wrk looks for it after init(), and without it sends one request made beforehand for ever,
# without a call into Lua. With several URLs every request costs that call; the requests themselves are still made beforehand.
# Each thread begins at another place of the list, so that they don't ask for the same files in step.
REPORT_LUA: Final = """\
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

function init(args)
  marker = args[1]
  if args[2] then
    mix(args[2], tonumber(args[3]))
  end
end

function mix(list, of)
  local requests, made = {}, {}
  for target in io.lines(list) do
    made[target] = made[target] or wrk.format(nil, target)
    requests[#requests + 1] = made[target]
  end
  local size = #requests
  local place = math.floor((number - 1) * size / of)
  function request()
    place = place % size + 1
    return requests[place]
  end
end

-- A frozen server leaves no latencies: their mean is then not a number, which JSON has no word for.
local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then
    return "0"
  end
  return string.format("%.3f", value)
end

function done(summary, latency, requests)
  local name = threads[1]:get("marker")
  if type(name) ~= "string" or not name:match("^%w+$") then
    error("the report script needs a marker of letters and digits after --")
  end
  local errors = summary.errors
  io.write(
    "\\n", name,
    string.format(' {"requests":%d,"duration_us":%d,"bytes":%.0f,', summary.requests, summary.duration, summary.bytes),
    string.format(
      '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d},',
      errors.connect, errors.read, errors.write, errors.status, errors.timeout
    ),
    '"latency_us":{"mean":', number(latency.mean),
    ',"p50":', number(latency:percentile(50)),
    ',"p90":', number(latency:percentile(90)),
    ',"p95":', number(latency:percentile(95)),
    ',"p99":', number(latency:percentile(99)),
    ',"p999":', number(latency:percentile(99.9)),
    ',"max":', number(latency.max),
    "}}\\n"
  )
  io.flush()
end
"""
