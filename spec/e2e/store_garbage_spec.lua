-- A store that has been damaged, or written by somebody else: whatever it has, messages arrive and
-- good registrations are pushed to.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";

-- As Lua source, since not all of them can be said in another way. Whole numbers are the largest and the least.
local values = {
	"7"; "0"; "-1"; "1.5"; "0/0"; "1/0"; "-1/0"; "1e300"; "-1e300"; "1.8446744073709550e19"; "0x7fffffffffffffff";
	"0x8000000000000000"; "true"; "false"; [["text"]]; [["2000-01-01"]]; [["\255\254"]]; [[""]]; "{}"; "{ 1, 2, 3 }";
	"{ {}, deep = { deeper = { deepest = {} } } }";
};

-- One of each kind, for what takes a load of the module each, and for the second Prosody.
local kinds = {
	"7"; "0/0"; "1e300"; "true"; [["text"]]; "{ 1, 2, 3 }"; "{ {}, deep = { deeper = { deepest = {} } } }";
};

local fields = {
	"jid"; "node"; "include_payload"; "options"; "timestamp"; "sequence"; "client_id"; "resource"; "language";
	"encryption";
	"suspended";
};

local suspension_fields = { "since"; "trials"; "until"; "condition"; "text" };

-- The path of a user's file in the server's store, or of the host's.
local write_file = [[
	local user, store, source = ...;
	local datamanager = require "util.datamanager";
	local file = assert(io.open(datamanager.getpath(user, "home.test", store, "dat", true), "w"));
	assert(file:write("return " .. source));
	assert(file:close());
]];

local function describe_all(version)
	local tried = version == "0.12" and values or kinds; -- It is the engine that reads them, with any Prosody
	local server, push, sender;

	local function connect()
		push = push_service.connect(server, "push.test", "secret");
		sender = client.connect(server, devices.new_user(server));
	end

	setup(function ()
		server = prosody.start({
			version = version;
			options = {
				push_coalesce_window = 0;
				push_max_errors = 1;
				push_max_failures = 0;
				push_max_per_minute = 0;
				push_retry_max = 10;
				push_retry_min = 10;
			};
		});
		connect();
	end);

	teardown(function () prosody.stop_all(); end);

	after_each(function ()
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push:clear();
		push.answer = push_service.result;
	end);

	-- A user of whom the store has this and the module has nothing yet.
	local function user_with(source)
		local jid = devices.new_user(server);
		server:eval(write_file, jid:match("^[^@]+"), "cloud_notify", source);
		return jid;
	end

	local good = [[{ jid = "push.test"; node = "good"; timestamp = 2000000000; resource = "tablet" }]];

	-- A record as good as another, but for what the source of more fields says.
	local function user_with_bad(more)
		return user_with(([[{
			["push.test<good"] = %s;
			["push.test<bad"] = { jid = "push.test"; node = "bad"; timestamp = 1000; sequence = 1; resource = "phone"; %s };
		}]]):format(good, more));
	end

	-- Returns when all is answered, and nothing is due.
	local function settle()
		loop.wait_for(function ()
			push:ping();
			return inspect.eval(server, [[
				local engine = upvalue("engine");
				local owed = engine:owed();
				for _, device in ipairs(owed and owed.devices or {}) do
					if device.due_in == 0 then return false; end
				end
				return engine:in_flight() == 0;
			]]);
		end, nil, "what is due to be over");
	end

	-- Sends a message; returns node -> how many pushes came of it.
	local function pushed(jid, body)
		push:clear();
		sender:message({ to = jid; body = body or "Hello" });
		sender:ping();
		settle();
		local counts = {};
		for _, publish in ipairs(push.received) do
			counts[publish.node] = (counts[publish.node] or 0) + 1;
		end
		return counts;
	end

	local function assert_delivered(jid, body)
		local again = client.connect(server, jid, { resource = "phone" });
		again:expect({ name = "message"; body = body });
		return again;
	end

	-- What a record with something damaged goes through in its life.
	local function assert_stops_nothing(jid, what)
		assert.equal(1, pushed(jid).good, what);
		local phone = assert_delivered(jid, "Hello");
		devices.enable(phone, { jid = "push.test"; node = "bad" });
		phone:close();
		assert.same({ good = 1; bad = 1 }, pushed(jid, "Hello at last"), what);
	end

	for _, field in ipairs(fields) do
		it("has something else for the field " .. field .. " of a record", function ()
			for _, value in ipairs(tried) do
				-- What goes to no address is never answered.
				if field ~= "jid" or value ~= [[""]] then
					local jid = user_with_bad(("[%q] = %s"):format(field, value));
					assert_stops_nothing(jid, value);
				end
			end
		end);
	end

	for _, field in ipairs(suspension_fields) do
		local all_good = { since = "os.time() - 90000"; trials = "0"; ["until"] = "os.time() - 3600" };

		-- Source of a suspension that waits for its trial, but for one field.
		local function suspension(value)
			local source = {};
			for name, good_value in pairs(all_good) do
				if name ~= field then
					-- The file that it goes to knows no functions.
					local number = server:eval("return " .. good_value);
					source[#source + 1] = ("[%q] = %d;"):format(name, number);
				end
			end
			return ("suspended = { [%q] = %s; %s }"):format(field, value, table.concat(source, " "));
		end

		it("has something else for the field " .. field .. " of a suspension", function ()
			for _, value in ipairs(tried) do
				assert_stops_nothing(user_with_bad(suspension(value)), value);
			end
		end);

		it("has something else for the field " .. field .. " of a suspension, and its trial is due", function ()
			for _, value in ipairs(tried) do
				local jid = user_with_bad(suspension(value));
				push.answer = function (publish, service)
					local answer = publish.node == "good" and push_service.result or push_service.error("cancel", "forbidden");
					answer(publish, service);
				end;
				local counts = pushed(jid);
				-- A number may stand for a time to come.
				assert.is_true(counts.bad == 1 or field == "until", value);
				local record = devices.stored(server, jid)["push.test<bad"];
				local suspended = record and record.suspended;
				if suspended and counts.bad then
					assert.equal("forbidden", suspended.condition, value);
					for _, name in ipairs({ "since"; "trials"; "until" }) do
						assert.equal("number", type(suspended[name]), value);
					end
				end
				push.answer = push_service.result;
				assert_stops_nothing(jid, value);
			end
		end);
	end

	it("has what a later version will write, and keeps it", function ()
		local later = [[later = { ["a/b"] = { true, { 1.5 } }; text = "\195\164" }; version = 2]];
		local jid = user_with_bad(later);
		local before = devices.stored(server, jid)["push.test<bad"];
		local phone = client.connect(server, jid, { resource = "pc" });
		devices.enable(phone, { jid = "push.test"; node = "other" });
		phone:close();
		assert.same(before, devices.stored(server, jid)["push.test<bad"]);

		push.answer = push_service.error("cancel", "forbidden");
		pushed(jid);
		local suspended = devices.stored(server, jid)["push.test<bad"];
		assert.equal("forbidden", suspended.suspended.condition);
		suspended.suspended = nil;
		assert.same(before, suspended);
	end);

	it("has a text of a push service that was cut in the middle of a character", function ()
		for cut = 0, 3 do
			local jid = user_with_bad("");
			local text = ("x"):rep(197 + cut) .. ("\240\159\147\177"):rep(50);
			push.answer = push_service.error("cancel", "forbidden", text);
			pushed(jid);
			local suspended = devices.stored(server, jid)["push.test<bad"].suspended;
			assert.equal("forbidden", suspended.condition);
			assert.equal(text:sub(1, 197 + cut), suspended.text);
		end
	end);

	for name, source in pairs({
		["a number"] = "7"; ["a string"] = [["push.test"]]; ["true"] = "true"; ["NaN"] = "0/0"; ["nothing"] = "nil";
		["a list"] = "{ 1, 2, 3 }"; ["no Lua"] = "{ 1, 2"; ["a string of bytes"] = [["\255\0\254"]]; ["no value"] = "";
	}) do
		it("has no table for a user but " .. name, function ()
			local jid = user_with(source);
			local mark = server:log_mark();
			assert.same({}, pushed(jid));
			assert.is_true(#inspect.logged(server, "error", mark) <= 1);
			local phone = assert_delivered(jid, "Hello");
			phone:close();
		end);
	end

	describe("has ten thousand registrations of one user,", function ()
		local function user_with_many(record)
			local jid = devices.new_user(server);
			server:eval([[
				local user, record = ...;
				local datamanager = require "util.datamanager";
				local file = assert(io.open(datamanager.getpath(user, "home.test", "cloud_notify", "dat", true), "w"));
				assert(file:write("return {\n"));
				for i = 1, 10000 do
					assert(file:write((record:gsub("N", ("%d"):format(i))), ";\n"));
				end
				assert(file:write("}"));
				assert(file:close());
			]], jid:match("^[^@]+"), record);
			return jid;
		end

		local function in_memory(jid)
			return inspect.eval(server, [[
				local count = 0;
				for _ in pairs(upvalue("accounts"):get(...) or {}) do count = count + 1; end
				return count;
			]], jid:match("^[^@]+"));
		end

		for name, record in pairs({
			["all of them good"] = [=[["push.test<nN"] = { jid = "push.test"; node = "nN"; timestamp = N }]=];
			["none of them with a service"] = [=[["push.test<nN"] = { node = "nN"; timestamp = N }]=];
			["with names that are no text"] = [=[["push.test<nN\255"] = { jid = "push.test"; node = "nN"; timestamp = N }]=];
			["which are none"] = [=[["push.test<nN"] = N]=];
			["in a list"] = [=[{ jid = "push.test"; node = "nN"; timestamp = N }]=];
		}) do
			it(name .. ", of which the newest count", function ()
				local jid = user_with_many(record);
				local counts = pushed(jid);
				assert.is_true(in_memory(jid) <= 5);
				if name == "all of them good" then
					assert.same({ n9996 = 1; n9997 = 1; n9998 = 1; n9999 = 1; n10000 = 1 }, counts);
				else
					assert.same({}, counts);
				end
				local phone = assert_delivered(jid, "Hello");
				devices.enable(phone, { jid = "push.test"; node = "new" });
				phone:close();
				assert.is_true(#devices.identifiers(server, jid) <= 5);
				assert.equal(1, pushed(jid).new);
			end);
		end
	end);

	describe("has what devices are owed, but damaged:", function ()
		-- Has the module find this when it is loaded.
		local function load_with(source)
			server:unload_module("cloud_notify", "home.test");
			server:eval(write_file, nil, "cloud_notify_owed", source);
			server:load_module("cloud_notify", "home.test");
			assert.is_true(server:eval([[return module("home.test", "cloud_notify") ~= nil;]]));
			assert.is_nil(server:store_get("home.test", "cloud_notify_owed"));
		end

		local function user_with_good()
			return user_with(("{ [%q] = %s }"):format("push.test<good", good));
		end

		local function assert_still_pushed(jid)
			assert.same({ good = 1 }, pushed(jid, "Hello"));
			assert_delivered(jid, "Hello"):close();
		end

		local function entry_of(jid, bad)
			return ("{ user = %q; identifier = \"push.test<good\"; important = true; age = 1; due_in = 0; %s };\n")
				:format(jid:match("^[^@]+"), bad or "");
		end

		-- Devices with damaged entries and services, all in one file, and a device with a good entry.
		local function assert_passed_over(bad_entries, bad_services)
			local entries, jids = {}, {};
			for _, bad in ipairs(bad_entries) do
				jids[#jids + 1] = user_with_good();
				entries[#entries + 1] = entry_of(jids[#jids], bad);
			end
			local other = user_with_good();
			entries[#entries + 1] = entry_of(other);
			load_with(("{ saved = %d; devices = { %s }; services = { %s { jid = \"push.test\"; failures = 1; age = 1 } } }")
				:format(os.time(), table.concat(entries), table.concat(bad_services or {})));
			settle();
			assert.truthy(push.received[1]);
			assert.equal(1, pushed(other, "Hello").good);
			-- A number may be a time to come, but not a long one.
			local waiting = inspect.engine(server, "owed");
			for _, device in ipairs(waiting and waiting.devices or {}) do
				assert.is_true(device.due_in <= 16 * 86400);
				assert.is_true(device.suspended or device.due_in <= 10);
			end
			return jids;
		end

		-- FORMAT with each of the values.
		local function with_each(format)
			local all = {};
			for i, value in ipairs(tried) do all[i] = format:gsub("VALUE", (value:gsub("%%", "%%%%"))); end
			return all;
		end

		for _, field in ipairs({ "user"; "identifier"; "important"; "age"; "due_in"; "suspended" }) do
			it("the field " .. field .. " of a device", function ()
				for _, jid in ipairs(assert_passed_over(with_each(("[%q] = VALUE"):format(field)))) do
					assert.equal(1, pushed(jid, "Hello").good);
				end
			end);
		end

		it("a device that is suspended for ever", function ()
			assert_passed_over(with_each("suspended = true; due_in = VALUE; age = VALUE"));
		end);

		for _, field in ipairs({ "jid"; "failures"; "age" }) do
			it("the field " .. field .. " of a service", function ()
				local service = ("{ jid = \"push.test\"; failures = 1; age = 1; [%q] = VALUE };\n"):format(field);
				assert_passed_over({}, with_each(service));
			end);
		end

		for _, field in ipairs({ "saved"; "devices"; "services" }) do
			it("the field " .. field, function ()
				for _, value in ipairs(field == "saved" and tried or kinds) do
					local jid = user_with_good();
					load_with(([[{
						saved = 1;
						devices = { { user = %q; identifier = "push.test<good"; important = true; age = 1; due_in = 0 } };
						[%q] = %s;
					}]]):format("nobody", field, value));
					assert_still_pushed(jid);
				end
			end);
		end

		it("no table at all", function ()
			for _, value in ipairs(kinds) do
				if not value:find("{", 1, true) then
					local jid = user_with_good();
					server:unload_module("cloud_notify", "home.test");
					server:eval(write_file, nil, "cloud_notify_owed", value);
					server:load_module("cloud_notify", "home.test");
					assert_still_pushed(jid);
				end
			end
			server:eval([[assert(require "core.storagemanager".open("home.test", "cloud_notify_owed"):set(nil, nil));]]);
		end);

		it("lists with holes, and of other things", function ()
			local jid, other = user_with_good(), user_with_good();
			local entry = [[{ user = %q; identifier = "push.test<good"; important = true; age = 1; due_in = 0 }]];
			load_with(("{ saved = %d; devices = { 1, true, %s, {}, \"x\", { {} }, %s, [100] = {}, x = {} };"
				.. " services = { 1, {}, \"\" } }")
				:format(os.time(), entry:format(jid:match("^[^@]+")), entry:format(other:match("^[^@]+"))));
			push:wait(2);
			inspect.wait_all_answered(server);
		end);

		it("more entries than there is room for", function ()
			local jid = user_with_good();
			server:unload_module("cloud_notify", "home.test");
			server:eval([[
				local user = ...;
				local datamanager = require "util.datamanager";
				local file = assert(io.open(datamanager.getpath(nil, "home.test", "cloud_notify_owed", "dat", true), "w"));
				assert(file:write("return { saved = ", ("%d"):format(os.time()), "; devices = {\n"));
				assert(file:write(("{ user = %q; identifier = \"push.test<good\"; important = true; "
					.. "age = 1; due_in = 0 };\n"):format(user)));
				for i = 1, 140000 do
					assert(file:write(("{ user = \"u%d\"; identifier = \"push.test<n\"; age = 1; due_in = 0 };\n"):format(i)));
				end
				assert(file:write("}; services = {\n"));
				for i = 1, 20000 do
					assert(file:write(("{ jid = \"s%d.test\"; failures = 3; age = 1 };\n"):format(i)));
				end
				assert(file:write("} }"));
				assert(file:close());
			]], jid:match("^[^@]+"));
			server:load_module("cloud_notify", "home.test");
			push:wait(1);
			inspect.wait_all_answered(server);
			local waiting = inspect.waiting(server);
			assert.is_true(waiting <= 131072 and waiting > 100000);
			push:clear();
			sender:message({ to = jid; body = "Hello" });
			push:wait(1);
			assert_delivered(jid, "Hello"):close();
			-- To store all of them again would take longest.
			server:kill();
			server:restart();
			connect();
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("a store with Prosody " .. version, function ()
		describe_all(version);
	end);
end
