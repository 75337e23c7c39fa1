-- What has happened to registrations: each change is written down, by whom and why, and outlives what it is about.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local day = 24 * 3600;
local node = "token-0123456789abcdef";
local forbidden = push_service.error("cancel", "forbidden", "Not with " .. node);
local gone = push_service.error("cancel", "item-not-found");

local options = {
	storage = { accounts = "faulty"; cloud_notify = "faulty"; cloud_notify_history = "faulty" };
	push_coalesce_window = 0;
	push_max_devices = 2;
	push_max_errors = 2;
	push_max_failures = 0;
	push_max_per_minute = 0;
};

local function describe_all(version)
	local server, push, rosa;

	local function connect()
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end

	setup(function ()
		server = prosody.start({ version = version; options = options; own_clock = true });
		connect();
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push.answer = push_service.result;
		push:clear();
	end);

	after_each(function ()
		server:eval([[
			local failing = module("home.test", "storage_faulty"):shared("failing");
			for name in pairs(failing) do failing[name] = nil; end
		]]);
		server:set_clock(0);
	end);

	local function stored(phone)
		return server:store_get("home.test", "cloud_notify_history", phone.username);
	end

	local function store(phone, data)
		server:eval([[
			local user, data = ...;
			assert(require "core.storagemanager".open("home.test", "cloud_notify_history"):set(user, data));
		]], phone.username, data);
	end

	-- Calls a function of a file of the module.
	local function call(file, name, ...)
		return inspect.eval(server, [[
			local file, name = ...;
			local _, libs = debug.getupvalue(hosts["home.test"].modules.cloud_notify.module.lib, 1);
			return libs[file][name](select(3, ...));
		]], file, name, ...);
	end

	-- What has happened: "enabled by client" and the like, with why if there is a reason
	local function history(phone)
		local events = {};
		for i, entry in ipairs(call("history", "read", phone.username)) do
			events[i] = entry.what .. " by " .. entry.by .. (entry.why and ": " .. entry.why or "");
		end
		return events;
	end

	local function last(phone)
		local events = history(phone);
		return events[#events];
	end

	local function new_phone(resource)
		return client.connect(server, devices.new_user(server), { resource = resource or "phone" });
	end

	local function enable(phone, name, service)
		devices.enable(phone, { jid = service or "push.test"; node = name or node });
		phone.identifier = (service or "push.test") .. "<" .. (name or node);
		return phone;
	end

	-- How often the store has been written by what f does.
	local function writes(f)
		inspect.eval(server, [[
			local store = upvalue("history_store");
			local set, count = store.set, 0;
			rawset(store, "set", function (...) count = count + 1; return set(...); end);
			rawset(store, "count", function () rawset(store, "set", nil); return count; end);
		]]);
		f();
		return inspect.eval(server, [[return upvalue("history_store").count();]]);
	end

	local function fail(what, how)
		server:eval([[
			local what, how = ...;
			module("home.test", "storage_faulty"):shared("failing")[what] = how;
		]], what, how);
	end

	local function text(phone, answer, times)
		push.answer = answer;
		for _ = 1, times or 1 do
			push:clear();
			rosa:message({ to = phone.jid; body = "Wake up" });
			push:wait(1);
			push:ping();
			push:ping();
		end
		push.answer = push_service.result;
	end

	local function suspend(phone)
		phone:close();
		text(phone, forbidden, 2);
		assert.truthy(devices.stored(server, phone.jid)[phone.identifier].suspended);
	end

	-- Has the time of its trial come, so many days after the first one.
	local function try(phone, days)
		inspect.eval(server, [[
			local user, identifier, days = ...;
			local records = upvalue("load_records")(user);
			local suspended = records[identifier].suspended;
			suspended["until"], suspended.since = os.time() - 1, os.time() - (days or 1) * 86400;
			assert(upvalue("save_records")(user, records));
			upvalue("arm")(upvalue("engine"):suspend(user, identifier, 0));
		]], phone.username, phone.identifier, days);
	end

	describe("an event is written down:", function ()
		it("enabled", function ()
			local before = os.time();
			local phone = enable(new_phone());
			local entry = call("history", "read", phone.username)[1];
			assert.is_true(entry.at >= before - 2 and entry.at <= os.time() + 2);
			assert.same({ "enabled"; "push.test"; "phone"; "client"; call("history", "name_of", phone.identifier) },
				{ entry.what; entry.jid; entry.client; entry.by; entry.name });
			assert.same({ "enabled by client" }, history(phone));
		end);

		it("replaced by the same client, evicted by another one", function ()
			local phone = enable(enable(enable(new_phone(), "first"), "second"), "third");
			assert.same({ "enabled by client"; "enabled by client"; "replaced by client"; "enabled by client" },
				history(phone));
			local tablet = client.connect(server, phone.jid, { resource = "tablet" });
			enable(tablet, "fourth");
			enable(client.connect(server, phone.jid, { resource = "pc" }), "fifth");
			assert.same({
				"evicted by server: push_max_devices is reached"; "enabled by client";
				"evicted by server: push_max_devices is reached"; "enabled by client";
			}, { table.unpack(history(phone), 5) });
		end);

		it("disabled, each of those that are", function ()
			local phone = enable(enable(new_phone(), "first"), "second");
			devices.disable(phone, { jid = "push.test" });
			assert.same({ "disabled by client"; "disabled by client" }, { table.unpack(history(phone), 3) });
			assert.equal(2, writes(function ()
				enable(phone);
				devices.disable(phone, { jid = "push.test"; node = "none" }); -- There is none
				devices.disable(phone, { jid = "push.test" });
			end));
		end);

		it("ended by the push service", function ()
			local phone = enable(new_phone());
			push:send(st.message({ from = "push.test"; to = phone.jid })
				:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub"; node = node })
					:tag("affiliation", { jid = phone.jid; affiliation = "none" }));
			push:ping();
			assert.equal("removed by service: ended by its push service", last(phone));
		end);

		it("suspended, revived by a trial, and enabled again", function ()
			local phone = enable(new_phone());
			suspend(phone);
			local name = call("history", "name_of", phone.identifier);
			assert.equal("suspended by service: forbidden: Not with " .. name, last(phone));
			push:clear();
			try(phone);
			push:wait(1);
			loop.wait_for(function () return last(phone) == "revived by service"; end, nil, "the trial to succeed");
			suspend(phone);
			enable(client.connect(server, phone.jid, { resource = "phone" }));
			assert.equal("enabled by client", last(phone));
		end);

		it("removed, as the last trial has failed or the node is dead", function ()
			local phone = enable(new_phone());
			suspend(phone);
			push.answer = push_service.error("cancel", "forbidden");
			try(phone, 31);
			loop.wait_for(function ()
				return last(phone) == "removed by service: the last trial failed with forbidden";
			end, nil, "the trial to fail");
			phone = enable(new_phone());
			phone:close();
			text(phone, gone, 2);
			assert.equal("removed by service: item-not-found", last(phone));
		end);

		it("suspended by the server, as nobody could reach the push service", function ()
			local phone = enable(new_phone());
			call("reports", "give_up", phone.username, phone.identifier);
			assert.equal("suspended by server: remote-server-timeout: Nobody could reach the push service for 30 days",
				last(phone));
		end);

		it("removed or pruned by the administrator", function ()
			local phone = enable(enable(new_phone(), "first"), "second");
			assert(call("administration", "remove", phone.username, call("history", "name_of", "push.test<first")));
			assert.equal("removed by admin", last(phone));
			phone:close();
			server:set_clock(8 * day);
			call("administration", "prune", 7, true);
			assert.equal("pruned by admin: unused for 7 days", last(phone));
			assert.is_nil(devices.stored(server, phone.jid));
		end);
	end);

	it("is not written by a client that enables the same again", function ()
		local phone = enable(new_phone());
		assert.equal(0, writes(function ()
			enable(phone);
			devices.enable(phone, { jid = "push.test"; node = node; options = { secret = "another" } });
		end));
		assert.same({ "enabled by client" }, history(phone));
	end);

	it("has no node in it, nor has the name of a registration", function ()
		local phone = enable(new_phone());
		suspend(phone);
		enable(client.connect(server, phone.jid, { resource = "phone" }), "other");
		local file = assert(io.open(("%s/home%%2etest/cloud_notify_history/%s.dat"):format(server.data, phone.username)));
		local content = file:read("*a");
		file:close();
		assert.is_nil(content:find(node, 1, true));
		assert.truthy(content:find("toke-", 1, true));
		for _, short in ipairs({ "a"; "abc" }) do
			assert.truthy(call("history", "name_of", "push.test<" .. short):find("^%x%x%x%x%x%x%x%x$"));
			assert.equal("a, abc", call("history", "without_node", "a, abc", "push.test<" .. short));
		end
		assert.truthy(call("history", "name_of", "push.test<a/\27+0123456789abcdef"):find("^a%-%x%x%x%x%x%x%x%x$"));
	end);

	it("has no part of a node in it where what the push service says is cut", function ()
		for _, length in ipairs({ 150; 195; 300 }) do
			local long_node = ("0123456789abcdef"):rep(20):sub(1, length);
			local phone = enable(new_phone(), long_node);
			phone:close();
			text(phone, push_service.error("cancel", "forbidden", ("No device has the token " .. long_node)), 2);
			local name = call("history", "name_of", phone.identifier);
			assert.equal("suspended by service: forbidden: No device has the token " .. name, last(phone));
			assert.equal("No device has the token " .. name,
				call("administration", "list", phone.username)[1].suspended.text);
		end
	end);

	it("survives a restart, and goes with its account", function ()
		local phone = enable(new_phone());
		server:restart();
		connect();
		assert.same({ "enabled by client" }, history(phone));
		local again = enable(client.connect(server, phone.jid, { resource = "phone" }), "other");
		assert.same({ "enabled by client"; "enabled by client" }, history(phone));
		server:delete_user(phone.username, "home.test");
		assert.is_nil(stored(phone));
		server:add_user(phone.username, "secret", "home.test");
		assert.same({}, history(phone));
		again = enable(client.connect(server, again.jid, { resource = "phone" }));
		assert.same({ "enabled by client" }, history(again));
	end);

	it("is kept of nobody, if another process deletes the account", function ()
		local phone = enable(new_phone());
		server:set_clock(2 * day);
		server:prosodyctl_deluser(phone.jid);
		phone:close();
		loop.wait_for(function () return not server:session(phone.full_jid); end, nil, "the session to end");
		call("registrations", "remove", phone.username, { phone.identifier }, "removed", "admin");
		assert.is_nil(stored(phone));
	end);

	it("has the last fifty events, in some kilobytes", function ()
		local phone = new_phone(("long"):rep(200));
		for i = 1, 40 do enable(phone, "n" .. i, ("push%d.test"):format(i)); end
		local kept = stored(phone).entries;
		assert.equal(50, #kept);
		assert.truthy(kept[50]:find("push40.test", 1, true));
		assert.equal(256, #call("history", "read", phone.username)[50].client);
		assert.equal("replaced by client", history(phone)[49]);
	end);

	it("is cut between characters, and has an event in each line", function ()
		local phone = enable(new_phone("x" .. ("ä"):rep(200)));
		assert.equal("x" .. ("ä"):rep(127), call("history", "read", phone.username)[1].client);
		call("history", "add", phone.username,
			{ what = "tried"; identifier = phone.identifier; by = "admin"; why = "one\ttwo\nthree" });
		assert.equal("tried by admin: one two three", last(phone));
	end);

	describe("a store that fails", function ()
		for _, how in ipairs({ "error"; "raise" }) do
			it("costs one line, and nothing else: " .. how, function ()
				local phone = new_phone();
				for _, method in ipairs({ "get"; "set" }) do
					fail("cloud_notify_history/" .. method, how);
					local mark = server:log_mark();
					for i = 1, 3 do enable(phone, method .. i); end
					devices.disable(phone, { jid = "push.test"; node = method .. 3 });
					assert.same({ "push.test<" .. method .. 2 }, devices.identifiers(server, phone.jid));
					local errors = inspect.logged(server, "error", mark);
					assert.equal(1, #errors);
					assert.truthy(errors[1]:find("What happens to push registrations of " .. phone.username
						.. (method == "get" and " cannot be read: " or " cannot be written: "), 1, true));
					fail("cloud_notify_history/" .. method, nil);
					mark = server:log_mark();
					enable(phone, method .. 4);
					assert.equal("enabled by client", last(phone));
					assert.equal(1, select(2, server:log_since(mark):gsub("can be written again", "")));
				end
			end);
		end
	end);

	it("costs one line where a store fails for one user and works for others", function ()
		local phone, other = new_phone(), new_phone();
		fail("cloud_notify_history/get/" .. phone.username, "error");
		local mark = server:log_mark();
		for i = 1, 3 do
			enable(phone, "one" .. i);
			enable(other, "other" .. i);
		end
		assert.equal(1, #inspect.logged(server, "error", mark));
		assert.is_nil(server:log_since(mark):find("can be written again", 1, true));
		fail("cloud_notify_history/get/" .. phone.username, nil);
		enable(phone, "one4");
		assert.truthy(server:log_since(mark):find("can be written again", 1, true));
	end);

	it("may be anything in the store", function ()
		local phone = enable(new_phone());
		for _, data in ipairs({
			{}; { 1; 2 }; { entries = 1 }; { entries = { 1; "x"; {}; false } };
			{ entries = { "now\tenabled\tclient\tn"; "1.5\tx\tx\tx"; "" } };
			{ entries = { "nan\tx\tx\tx"; "1"; "1\t\t\t"; "\t\t\t\t\t\t\t\t\t" } };
			{ entries = { "1\t\tx\tx"; "1\tx\t\tx"; "1\tx\tx" } };
			{ entries = { { at = 1; what = {}; name = {} }; ("1\tx\tx\tx"):rep(1000) }; last_seen = { 1; 2; x = "y"; y = {} } };
			{ entries = {}; last_seen = 5; version = 99; more = { "things" } };
		}) do
			store(phone, data);
			assert.same({}, history(phone));
			assert.truthy(call("administration", "list", phone.username)[1]);
			enable(phone, "other");
			devices.disable(phone, { jid = "push.test"; node = "other" });
			assert.same({ "enabled by client"; "disabled by client" }, history(phone));
		end
		inspect.eval(server, [[rawset(upvalue("history_store"), "get", function () return 5; end)]]);
		assert.same({}, history(phone));
		inspect.eval(server, [[rawset(upvalue("history_store"), "get", nil)]]);
		server:eval([[
			local many, long = {}, ("x"):rep(1000);
			for i = 1, 1000 do many[i] = i .. "\t" .. long .. "\tclient\tn\t\27[2J\t\tyes\tmore"; end
			assert(require "core.storagemanager".open("home.test", "cloud_notify_history"):set(..., {
				entries = many; last_seen = { [long] = 1 };
			}));
		]], phone.username);
		local entries, last_seen = call("history", "read", phone.username);
		assert.equal(50, #entries);
		assert.same({ at = 1000; what = ("x"):rep(256); by = "client"; name = "n"; why = "yes" }, entries[50]);
		assert.same({}, last_seen);
	end);

	describe("when a registration was last attached to a session", function ()
		local function last_seen(phone)
			return (stored(phone).last_seen or {})[call("history", "name_of", phone.identifier)];
		end

		local function end_session(phone)
			phone:close();
			loop.wait_for(function () return not server:session(phone.full_jid); end, nil, "the session to end");
		end

		it("is written once a day, whatever its sessions do", function ()
			local phone = enable(client.connect(server, devices.new_user(server), { resource = "phone"; sm = "resume" }));
			assert.is_nil(last_seen(phone));
			assert.equal(1, writes(function ()
				end_session(phone);
				for _ = 1, 3 do end_session(client.connect(server, phone.jid, { resource = "phone" })); end
			end));
			local first = last_seen(phone);
			assert.is_true(math.abs(first - os.time()) <= 2);
			server:set_clock(day);
			assert.equal(1, writes(function ()
				for _ = 1, 3 do end_session(client.connect(server, phone.jid, { resource = "phone" })); end
			end));
			assert.is_true(math.abs(last_seen(phone) - first - day) <= 30);
		end);

		it("is not written once more after a restart", function ()
			local phone = enable(new_phone());
			end_session(phone);
			server:restart();
			connect();
			assert.equal(0, writes(function ()
				end_session(client.connect(server, phone.jid, { resource = "phone" }));
			end));
		end);

		it("is written when a session is resumed", function ()
			local phone = enable(client.connect(server, devices.new_user(server), { sm = "resume" }));
			phone:cut();
			server:set_clock(3 * day);
			assert.equal(1, writes(function () phone:resume(); end));
			assert.is_true(math.abs(last_seen(phone) - os.time() - 3 * day) <= 30);
		end);

		it("goes with the registration", function ()
			local phone = enable(new_phone());
			end_session(phone);
			assert.truthy(last_seen(phone));
			local again = client.connect(server, phone.jid, { resource = "phone" });
			devices.disable(again, { jid = "push.test" });
			assert.is_nil(last_seen(phone));
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("the history of registrations on Prosody " .. version, function () describe_all(version); end);
end
