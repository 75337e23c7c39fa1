-- Whatever stands in the configuration: the module loads, says in one line what is wrong, and uses the default.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local push_service = require "spec.support.push_service";

local function with(metamethods)
	return ("Lua.setmetatable({}, { %s })"):format(metamethods);
end

-- As it may stand in a configuration, which is Lua
local anything = {
	["Latin-1"] = [["Gr\252\223e"]];
	["half a character"] = [["\226\130"]];
	["a control character"] = [["a\27b"]];
	["NUL"] = [["a\0b"]];
	["no character"] = [["\239\191\191"]];
	["a surrogate"] = [["\237\160\128"]];
	["a line that looks like one of the log"] = "\"x\\nNov 25 00:00:00 home.test\\terror\\tThe sky falls\"";
	["formats"] = [["%s %d %q %100000s %"]];
	["a string of a megabyte"] = [[("x"):rep(2^20)]];
	["a string of a megabyte of Latin-1"] = [[("\252"):rep(2^20)]];
	["not a number"] = "0/0";
	["infinity"] = "1/0";
	["minus infinity"] = "-1/0";
	["a huge number"] = "1e308";
	["a whole number of 65 bits"] = "2^64";
	["the least integer"] = "-2^63";
	["the string of a huge number"] = [["1e999"]];
	["the string that is no number"] = [["nan"]];
	["a function"] = "function () Lua.error('called') end";
	["a coroutine"] = "Lua.coroutine.create(function () end)";
	["a file"] = "Lua.io.stderr";
	["a list"] = [[{ "x", "y" }]];
	["a table with itself in it"] = "(function () local t = {}; t[1], t.t = t, t; return t end)()";
	["a table that raises"] = with("__index = raise, __len = raise, __eq = raise, __lt = raise, __mod = raise");
	["a table that cannot be printed"] = with("__tostring = raise");
	["a table that prints no text"] = with("__tostring = function () return {} end");
	["a table that prints another line"] = with([[__tostring = function () return "\n\27[2J%s" end]]);
	["a table that is like anything"] = with("__eq = yes, __lt = yes, __le = yes, __index = Lua.string, __len = yes");
};

-- What of it is right for some
local good = {
	["not a number"] = { push_notification_important_body = true };
	["infinity"] = { push_notification_important_body = true };
	["minus infinity"] = { push_notification_important_body = true };
	["a huge number"] = { push_notification_important_body = true };
	["a whole number of 65 bits"] = { push_notification_important_body = true };
	["the least integer"] = { push_notification_important_body = true };
	["formats"] = { push_notification_important_body = true };
	["the string of a huge number"] = { push_notification_important_body = true };
	["the string that is no number"] = { push_notification_important_body = true };
	["a line that looks like one of the log"] = { push_notification_important_body = true };
};

local names = {
	"contact_uri"; "push_answer_timeout"; "push_cache_age"; "push_coalesce_window"; "push_max_devices"; "push_max_errors";
	"push_max_failures"; "push_max_hibernation_timeout"; "push_max_in_flight"; "push_max_per_minute";
	"push_notification_count"; "push_notification_important_body";
	"push_notification_with_body"; "push_notification_with_sender"; "push_notify_on"; "push_notify_read";
	"push_protocols"; "push_recovery_rate";
	"push_retry_age"; "push_retry_max"; "push_retry_min"; "push_trace";
	"push_wake_before_timeout"; "push_wake_on_start";
};

-- COMPAT 0.12: Lua's own functions go by their own names there
local preamble = [[
	local Lua = Lua or { setmetatable = setmetatable, coroutine = coroutine, io = io, error = error, string = string }
	local function raise() Lua.error("raised") end
	local function yes() return true end
]];

local function config_of(value)
	local lines = {};
	for i, name in ipairs(names) do lines[i] = name .. " = " .. value; end
	return preamble .. 'VirtualHost "home.test"\n' .. table.concat(lines, "\n");
end

local function describe_all(version)
	local server, push, sender, defaults;

	setup(function ()
		server = prosody.start({ version = version });
		defaults = inspect.eval(server, [[return (upvalue("options"));]]);
		push = push_service.connect(server, "push.test", "secret");
		sender = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
	end);

	local function pushes_arrive()
		push:clear();
		local phone = client.connect(server, devices.new_user(server));
		devices.enable(phone, { jid = "push.test"; node = "n1" });
		phone:close();
		sender:message({ to = phone.jid; body = "Hello" });
		return push:wait(1).form;
	end

	local function check(mark, value)
		local errors = inspect.logged(server, "error", mark);
		local found = {};
		for _, line in ipairs(errors) do
			assert.is_true(#line < 800, line);
			local name = line:match("Option ([%w_]+) .*: using the default, ");
			assert.is_nil(found[name]);
			found[assert(name, line)] = true;
		end
		local in_force = inspect.eval(server, [[
			local options = {};
			for name, value in pairs(upvalue("options")) do options[name] = value; end
			options.push_notification_important_body = nil;
			return options;
		]]);
		for _, name in ipairs(names) do
			local is_good = (good[value] or {})[name];
			assert.equal(not is_good or nil, found[name], name);
			if name ~= "push_notification_important_body" then assert.same(defaults[name], in_force[name], name); end
		end
		local expected = not good[value] and "New Message!" or nil;
		local text = pushes_arrive()["last-message-body"];
		if expected then assert.equal(expected, text); else assert.is_string(text); end
		assert.is_nil(server:log_since(mark):find("\n%u%l%l %d+ [%d:]+ [^\t]*\terror\tThe sky falls"));
		assert.is_nil(server:log_since(mark):find("\27", 1, true));
	end

	for what, value in pairs(anything) do
		it("are " .. what .. ", when the configuration is read again", function ()
			local mark = server:log_mark();
			server:reconfigure({ config = config_of(value) });
			check(mark, what);
		end);
	end

	it("are read anew when they were bad before", function ()
		server:reconfigure({ config = config_of(anything["Latin-1"]) });
		server:reconfigure({ config = [[VirtualHost "home.test" push_notification_important_body = "Ring"]] });
		assert.equal("Ring", pushes_arrive()["last-message-body"]);
	end);

	it("are all bad at the start", function ()
		local other = prosody.start({ version = version; config = config_of(anything["Latin-1"]) });
		assert.equal(#names, #inspect.logged(other, "error"));
		assert.same(defaults, inspect.eval(other, [[return (upvalue("options"));]]));
		other:stop();
		assert.same({}, other:faults());
	end);

	it("cannot be read at all", function ()
		local mark = server:log_mark();
		inspect.eval(server, [[
			local config = require "core.configmanager";
			local get = config.get;
			function config.get(host, name)
				if name:find("^push_") or name == "contact_uri" then error({}); end
				return get(host, name);
			end
			prosody.events.fire_event("config-reloaded");
			config.get = get;
		]]);
		assert.equal(#names, #inspect.logged(server, "error", mark));
		assert.same(defaults, inspect.eval(server, [[return (upvalue("options"));]]));
		assert.equal("New Message!", pushes_arrive()["last-message-body"]);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("options with Prosody " .. version .. ", where the values", function ()
		describe_all(version);
	end);
end
