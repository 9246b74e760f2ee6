-- Connections of the open-loop generator: what the kernel and libssl are asked, in plain numbers.
--
-- Kernel constants and structures are those of 64-bit little-endian Linux on x86-64 and AArch64. Sizes and counts that fit
-- 31 bits are declared as int, so that LuaJIT needs no boxed 64-bit integers.

local ffi = require("ffi")
local C = ffi.C

local DECLARED = [[
struct connection {
  void *tls;
  int32_t fd, generation, state, queued;
  int32_t served, retried;             /* answers on this TCP connection; whether its request was sent again */
  int32_t request;                     /* its place in the list of requests, -1: none */
  int32_t in_body, have, scanned;      /* of the answer: head bytes in the buffer, and how far they were looked at */
  int32_t mode, chunk, digits, extra;
  int32_t status, closing;
  double due, since, retry_at;         /* seconds on our clock */
  double left, wire;                   /* bytes still to come, bytes that came */
};
struct event { uint32_t events; EVENT_PAD uint32_t who, generation; };
int socket(int, int, int);
int connect(int, const void *, unsigned);
int close(int);
int recv(int, void *, size_t, int);
int send(int, const void *, size_t, int);
int setsockopt(int, int, int, const void *, unsigned);
int getsockopt(int, int, int, void *, unsigned *);
int inet_pton(int, const char *, void *);
int epoll_create1(int);
int epoll_ctl(int, int, int, struct event *);
int epoll_wait(int, struct event *, int, int);
char *strerror(int);
void *signal(int, void *);
]]
-- struct epoll_event is packed on x86-64 alone.
ffi.cdef((DECLARED:gsub("EVENT_PAD", ffi.arch == "x64" and "" or "uint32_t pad;")))

local line = { AGAIN = -1, BROKEN = -2, READY = 0, WANTS_READ = 1, WANTS_WRITE = 4 }
local EAGAIN, EINTR = 11, 4
local NO_SIGNAL = 0x4000

local plain = {}

-- The bytes read, 0 at the end of what the server sends, AGAIN, or BROKEN.
function plain.receive(c, at, room)
  local size = C.recv(c.fd, at, room, 0)
  if size >= 0 then
    return size
  end
  local problem = ffi.errno()
  return (problem == EAGAIN or problem == EINTR) and line.AGAIN or line.BROKEN
end

-- Whether all of it went out. A request is small and the socket's buffer empty, so a part is as good as nothing.
function plain.send(c, at, size)
  return C.send(c.fd, at, size, NO_SIGNAL) == size
end

function plain.begin(_)
  return line.READY
end

plain.go_on = plain.begin

function plain.over(_) end

local secure = {}

-- The same over TLS, to the server called `name`. No certificate is checked: wrk doesn't either.
local function over_tls(name)
  ffi.cdef([[
  void *TLS_client_method(void);
  void *SSL_CTX_new(void *);
  void *SSL_new(void *);
  void SSL_free(void *);
  int SSL_set_fd(void *, int);
  void SSL_set_connect_state(void *);
  long SSL_ctrl(void *, int, long, void *);
  int SSL_do_handshake(void *);
  int SSL_read(void *, void *, int);
  int SSL_write(void *, const void *, int);
  int SSL_get_error(void *, int);
  void ERR_clear_error(void);
  ]])
  local ZERO_RETURN, WANT_READ, WANT_WRITE = 6, 2, 3
  local SERVER_NAME = 55
  local found, ssl = pcall(ffi.load, "libssl.so.3")
  local _, crypto = pcall(ffi.load, "libcrypto.so.3")
  if not found then
    ssl, crypto = ffi.load("libssl.so.1.1"), ffi.load("libcrypto.so.1.1")
  end
  local context = ssl.SSL_CTX_new(ssl.TLS_client_method())
  local called = name and ffi.new("char[?]", #name + 1, name)

  function secure.receive(c, at, room)
    crypto.ERR_clear_error()
    local size = ssl.SSL_read(c.tls, at, room)
    if size > 0 then
      return size
    end
    local problem = ssl.SSL_get_error(c.tls, size)
    if problem == WANT_READ or problem == WANT_WRITE then
      return line.AGAIN
    end
    return problem == ZERO_RETURN and 0 or line.BROKEN
  end

  function secure.send(c, at, size)
    crypto.ERR_clear_error()
    return ssl.SSL_write(c.tls, at, size) == size
  end

  function secure.go_on(c)
    crypto.ERR_clear_error()
    local done = ssl.SSL_do_handshake(c.tls)
    if done == 1 then
      return line.READY
    end
    local problem = ssl.SSL_get_error(c.tls, done)
    if problem == WANT_READ then
      return line.WANTS_READ
    end
    return problem == WANT_WRITE and line.WANTS_WRITE or line.BROKEN
  end

  function secure.begin(c)
    c.tls = ssl.SSL_new(context)
    ssl.SSL_set_fd(c.tls, c.fd)
    if called then
      ssl.SSL_ctrl(c.tls, SERVER_NAME, 0, called)
    end
    ssl.SSL_set_connect_state(c.tls)
    return secure.go_on(c)
  end

  function secure.over(c)
    if c.tls ~= nil then
      ssl.SSL_free(c.tls)
      c.tls = nil
    end
  end

  C.signal(13, ffi.cast("void *", 1)) -- libssl writes where SIGPIPE would end us
  return secure
end

-- The kind of connection that is wanted: `server_name` nil is plain, "" TLS without a name.
function line.kind(server_name)
  return server_name and over_tls(server_name ~= "" and server_name or nil) or plain
end

local function socket_address(address, port)
  local family = address:find(":", 1, true) and 10 or 2
  local bytes = ffi.new("uint8_t[28]")
  bytes[0], bytes[2], bytes[3] = family, math.floor(port / 256), port % 256
  if C.inet_pton(family, address, bytes + (family == 2 and 4 or 8)) ~= 1 then
    error("not an address: " .. address)
  end
  return family, bytes, family == 2 and 16 or 28
end

-- A function that begins to connect `c`, and is true where that could be begun; errno says why not.
function line.connector(address, port)
  local family, where, length = socket_address(address, port)
  local one = ffi.new("int[1]", 1)
  local STREAM, TCP, NO_DELAY, IN_PROGRESS = 0x80801, 6, 1, 115 -- SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
  return function(c)
    c.fd = C.socket(family, STREAM, 0)
    if c.fd < 0 then
      return false
    end
    C.setsockopt(c.fd, TCP, NO_DELAY, one, 4)
    return C.connect(c.fd, where, length) == 0 or ffi.errno() == IN_PROGRESS
  end
end

local problem, size = ffi.new("int[1]"), ffi.new("unsigned[1]")

-- 0 when a connection is there, else why not, as an errno.
function line.problem(c)
  size[0] = 4
  return C.getsockopt(c.fd, 1, 4, problem, size) == 0 and problem[0] or ffi.errno()
end

return line
