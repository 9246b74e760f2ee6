"""The report script that wrk runs at the end: one line, `<marker> {json}`, and nothing else of wrk's output is parsed.

The agent puts REPORT_LUA in a file of its own and calls
`wrk -tT -cC -dDs --timeout (D+5)s --latency -s FILE URL -- MARKER`.
The marker is random per run and made of letters and digits, so nothing a server sends can look like the line.
"""

from __future__ import annotations

from typing import Final

# wrk gives its script arguments to init(), which runs once in each thread's own Lua state; done() runs in another one, which
# sees neither the arguments nor the threads' globals. setup() runs in done()'s state and is handed each thread, whose globals
# can be asked for with thread:get(). No response() and no dynamic request(): defining either slows the generator down.
REPORT_LUA: Final = """\
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  marker = args[1]
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
