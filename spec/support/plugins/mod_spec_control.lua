-- Lets the test process run code inside Prosody: one serialised request per line,
-- one serialised reply per line, on a loopback port (spec_control_ports).
-- The test process keeps a connection open for as long as it wants Prosody to
-- live: when it is gone, so is Prosody.

-- luacheck: globals module prosody

module:set_global();

local envload = require "util.envload".envload;
local modulemanager = require "core.modulemanager";
local serialization = require "util.serialization";
local timer = require "util.timer";

local serialize = serialization.new({ preset = "oneline"; multiref = true });
local deserialize = serialization.deserialize;

local time_to_connect = 30;

local buffers = {}; -- open connections -> what has been received of the next line
local stopping = false;

local environment = setmetatable({
	prosody = prosody;
	hosts = prosody.hosts;
	st = require "util.stanza";
	jid = require "util.jid";
	module = function (host, name)
		local loaded = modulemanager.get_module(host, name);
		return loaded and loaded.module;
	end;
}, { __index = _G });

-- The frames below the evaluated code are always the same.
local function traceback(err)
	return (debug.traceback(tostring(err), 2):gsub("\n%s*%[C%]: in function '[%w.]*xpcall'.*", ""));
end

local function evaluate(request)
	local chunk, err = envload(request.code, "=eval", setmetatable({}, { __index = environment }));
	if not chunk then return false, err; end
	return xpcall(chunk, traceback, table.unpack(request.arguments, 1, request.arguments.n));
end

local function answer(line)
	local results = table.pack(evaluate(deserialize(line)));
	local ok, reply = pcall(serialize, results);
	return ok and reply or serialize({ false, reply });
end

local function quit_if_alone()
	if not stopping and next(buffers) == nil then
		os.exit(1);
	end
end

local listener = {};

function listener.onconnect(conn)
	buffers[conn] = "";
end

function listener.onincoming(conn, data)
	local lines = buffers[conn] .. data;
	local consumed = 0;
	for line, position in lines:gmatch("([^\n]*)\n()") do
		consumed = position - 1;
		conn:write(answer(line) .. "\n");
	end
	buffers[conn] = lines:sub(consumed + 1);
end

function listener.ondisconnect(conn)
	buffers[conn] = nil;
	quit_if_alone();
end

function listener.onreadtimeout()
	return true;
end

-- Prosody closes the connections itself when it is told to stop.
module:hook("server-stopping", function ()
	stopping = true;
end);

timer.add_task(time_to_connect, quit_if_alone);

module:provides("net", {
	name = "spec_control";
	listener = listener;
	private = true;
});
