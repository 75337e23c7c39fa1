-- What the module does where no client can see it.

require "spec.support.init";

local loop = require "spec.support.loop";

local inspect = {};

-- For code that runs in the server: upvalue(name) returns the value of a local
-- variable of the module, and a function that changes it in all files that have it.
local upvalue = [[
	local function upvalue(name)
		local places, seen = {}, {};
		local function search(f)
			if type(f) ~= "function" or seen[f] then return; end
			seen[f] = true;
			if not debug.getinfo(f, "S").source:find("/mod_cloud_notify/", 1, true) then return; end
			for i = 1, debug.getinfo(f, "u").nups do
				local key, value = debug.getupvalue(f, i);
				if key == name then places[#places + 1] = { f = f; i = i; value = value }; end
				search(value);
			end
		end
		local _, libs = debug.getupvalue(hosts["home.test"].modules.cloud_notify.module.lib, 1);
		for _, lib in pairs(libs) do
			for _, exported in pairs(lib) do search(exported); end
		end
		local first = places[1] or error("the module has no variable " .. name);
		for _, place in ipairs(places) do
			assert(rawequal(place.value, first.value), "the module has several variables " .. name);
		end
		return first.value, function (new_value)
			for _, place in ipairs(places) do debug.setupvalue(place.f, place.i, new_value); end
		end;
	end
]];

-- Runs code in the server that may use upvalue().
function inspect.eval(server, code, ...)
	return server:eval(upvalue .. code, ...);
end

-- What a method of the engine returns.
function inspect.engine(server, method)
	return inspect.eval(server, [[
		local engine = upvalue("engine");
		return engine[...](engine);
	]], method);
end

-- How many pushes wait for their answers.
function inspect.in_flight(server)
	return inspect.engine(server, "in_flight");
end

-- How many devices wait for a push.
function inspect.waiting(server)
	return inspect.engine(server, "waiting");
end

function inspect.wait_waiting(server, count)
	loop.wait_for(function () return inspect.waiting(server) == count; end, nil, ("%d devices to wait"):format(count));
end

-- Has the module begin again with an engine that knows nothing, and the records in the store.
function inspect.begin_again(server)
	server:unload_module("cloud_notify", "home.test");
	server:eval([[assert(require "core.storagemanager".open("home.test", "cloud_notify_owed"):set(nil, nil))]]);
	server:load_module("cloud_notify", "home.test");
end

function inspect.wait_all_answered(server, timeout)
	loop.wait_for(function () return inspect.in_flight(server) == 0; end, timeout, "all pushes to be answered");
end

-- How many events of the host have handlers, and how many there are for iq/host.
function inspect.handlers(server)
	return server:eval([[
		local events = hosts["home.test"].events;
		local count = 0;
		for _ in pairs(events._event_map) do count = count + 1; end
		return { events = count; iq = #events.get_handlers("iq/host") };
	]]);
end

local levels = { debug = 1; info = 2; warn = 3; error = 4 };

-- The lines of a level that the module has logged since a mark. They may be of the
-- module itself or of a session on its behalf.
function inspect.logged(server, level, mark)
	local lines = {};
	for line in server:log_since(mark or 0):gmatch("[^\n]+") do
		if line:find("cloud_notify\t" .. level .. "\t", 1, true) then
			lines[#lines + 1] = line;
		end
	end
	return lines;
end

-- All that anybody has logged above debug since a mark.
function inspect.log_above_debug(server, mark)
	local lines, wanted = {}, false;
	for line in server:log_since(mark or 0):gmatch("[^\n]+") do
		-- What a message has after a newline is indented.
		local level = line:match("^%u%l%l [%d ]%d %d%d:%d%d:%d%d [^\t]*\t(%l+)\t");
		if level then wanted = levels[level] > levels.debug; end
		if wanted then lines[#lines + 1] = line; end
	end
	return table.concat(lines, "\n");
end

return inspect;
