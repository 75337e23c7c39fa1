-- The event loop of the test process. Everything a test waits for is waited for
-- in here, so that all its clients and push services stay alive meanwhile.

require "spec.support.init";

local loopback = require "spec.support.loopback";
local socket = require "socket";
local monotonic = require "util.time".monotonic;

-- Predicates may look at things no socket tells about (files, processes), so
-- they are asked again after this many seconds even when nothing arrived.
local tick = 0.01;
-- For what must come: it says how busy a machine may be, and costs nothing where all is well.
local default_timeout = 30;

local loop = {};

local connections = {}; -- luasocket object -> connection
local timers = {};

loop.now = monotonic;

local connection_methods = {};
local connection_mt = { __index = connection_methods };

local function forget(connection)
	connections[connection.socket] = nil;
	connection.closed = true;
	connection.outbox = "";
	connection.socket:close();
end

local function flush(connection)
	local sent, err, last_sent = connection.socket:send(connection.outbox);
	if err == "closed" then
		-- Reading still yields what the peer sent before, and then the end.
		connection.outbox = "";
	else
		connection.outbox = connection.outbox:sub((sent or last_sent) + 1);
	end
end

local function read(connection)
	local data, err, partial = connection.socket:receive(65536);
	data = data or partial;
	if data ~= "" then
		connection.on_data(data);
	end
	if err and err ~= "timeout" and not connection.closed then
		forget(connection);
		connection.on_close();
	end
end

function connection_methods:send(data)
	if self.closed then return false; end
	self.outbox = self.outbox .. data;
	flush(self);
	return true;
end

-- Closes without a word; on_close is only called when the peer closes.
function connection_methods:close()
	if self.closed then return; end
	self.socket:shutdown("both");
	forget(self);
end

-- Opens a TCP connection to a port of one of our servers. The callbacks run
-- inside the loop and must not wait themselves.
function loop.connect(port, on_data, on_close)
	local conn, err = socket.connect(loopback.address, port);
	if not conn then return nil, err; end
	conn:settimeout(0);
	conn:setoption("tcp-nodelay", true);
	local connection = setmetatable({
		socket = conn;
		outbox = "";
		on_data = on_data;
		on_close = on_close;
	}, connection_mt);
	connections[conn] = connection;
	return connection;
end

-- Calls back once, after the given number of seconds.
function loop.after(seconds, callback)
	timers[{ due = monotonic() + seconds; callback = callback }] = true;
end

local function run_timers()
	local now = monotonic();
	local due = {};
	for timer in pairs(timers) do
		if timer.due <= now then
			due[#due + 1] = timer;
			timers[timer] = nil;
		end
	end
	table.sort(due, function (a, b) return a.due < b.due; end);
	for _, timer in ipairs(due) do
		timer.callback();
	end
end

local function pump(timeout)
	local reading, writing = {}, {};
	for conn, connection in pairs(connections) do
		reading[#reading + 1] = conn;
		if connection.outbox ~= "" then
			writing[#writing + 1] = conn;
		end
	end
	local readable, writable = socket.select(reading, writing, timeout);
	-- A callback may close any of the connections that are still to be served.
	for _, conn in ipairs(writable) do
		if connections[conn] then flush(connections[conn]); end
	end
	for _, conn in ipairs(readable) do
		if connections[conn] then read(connections[conn]); end
	end
	run_timers();
end

-- Runs the loop until predicate() is true, and returns what it returned.
function loop.wait_for(predicate, timeout, what)
	local deadline = monotonic() + (timeout or default_timeout);
	while true do
		local value = predicate();
		if value then return value; end
		if monotonic() >= deadline then
			error("timed out waiting for " .. tostring(what), 2);
		end
		pump(tick);
	end
end

-- Returns what attempt() does in time. Of what the server does by itself after a while, a busy machine
-- may see nothing but that it has been done: then attempt() returns nothing, and has another chance.
function loop.in_time(attempt)
	for _ = 1, 10 do
		local value = attempt();
		if value then return value; end
	end
	error("too late each time", 2);
end

-- Runs the loop for a given time, to show that something does not happen.
function loop.settle(seconds)
	local deadline = monotonic() + seconds;
	repeat
		pump(math.max(0, math.min(tick, deadline - monotonic())));
	until monotonic() >= deadline;
end

return loop;
