-- What others write to the store: prosodyctl in a process of its own, and a second server on one database.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local busy = push_service.error("wait", "resource-constraint");
local refuses = push_service.error("cancel", "forbidden");
local dead = push_service.error("cancel", "item-not-found");

local function waiting(server)
	return inspect.waiting(server);
end

-- Waits until nothing that was read before is trusted any more.
local function await_end_of_trust(server)
	loop.wait_for(function ()
		return inspect.eval(server, [[return next((upvalue("fresh"))) == nil and next((upvalue("without"))) == nil;]]);
	end, nil, "the cached registrations to be too old");
end

local function describe_deleted_accounts(version)
	local server, push, rosa;

	local function start(push_cache_age)
		server = prosody.start({ version = version; options = {
			push_cache_age = push_cache_age;
			push_max_errors = 1; push_max_failures = 0; push_retry_min = 0.1; push_retry_max = 0.2;
		} });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end

	before_each(function () start(3600); end);

	after_each(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function message(jid)
		rosa:message({ to = jid; body = "Hello" });
		rosa:ping();
	end

	-- Another person has the name from now on.
	local function pass_on(jid)
		server:prosodyctl_deluser(jid);
		server:prosodyctl_adduser(jid, "secret");
	end

	it("leaves no device to the next owner, who logs in", function ()
		local old = phones.away(push, { resource = "phone" });
		assert.same({ old.node }, devices.woken(push, rosa, old.jid));
		assert.equal(0, devices.push_errors(server, old.jid, old.identifier));
		pass_on(old.jid);
		local new = client.connect(server, old.jid, { resource = "phone" });
		assert.same({}, devices.attached(new));
		assert.is_nil(devices.push_errors(server, old.jid, old.identifier));
		new:close();
		assert.same({}, devices.woken(push, rosa, old.jid));
	end);

	it("leaves no device to the next owner, who enables push", function ()
		local old = phones.away(push, { resource = "phone" });
		assert.same({ old.node }, devices.woken(push, rosa, old.jid));
		pass_on(old.jid);
		local new = client.connect(server, old.jid, { resource = "phone" });
		message(old.jid); -- which may be a reason to read them, too
		devices.enable(new, { jid = "push.test"; node = "new" });
		assert.same({ "push.test<new" }, devices.identifiers(server, old.jid));
		new:close();
		assert.same({ "new" }, devices.woken(push, rosa, old.jid));
	end);

	it("leaves no device to the next owner for longer than push_cache_age", function ()
		server:stop();
		start(1);
		local old = phones.away(push);
		assert.same({ old.node }, devices.woken(push, rosa, old.jid));
		pass_on(old.jid);
		await_end_of_trust(server);
		assert.same({}, devices.woken(push, rosa, old.jid));
		assert.is_nil(devices.push_errors(server, old.jid, old.identifier));
	end);

	it("is noticed by a session that enabled push and is there still", function ()
		local live = phones.new(push, { resource = "live" });
		local hibernated = phones.new(push, { jid = live.jid; resource = "hibernated" });
		hibernated:cut();
		pass_on(live.jid);
		local new = client.connect(server, live.jid, { resource = "new" });
		assert.same({}, devices.attached(live));
		assert.same({}, devices.attached(hibernated));
		assert.equal(600, server:eval([[
			return prosody.full_sessions[...].hibernating_watchdog.timeout;
		]], hibernated.full_jid));
		devices.enable(new, { jid = "push.test"; node = "new" });
		new:close();
		assert.same({ "new" }, devices.woken(push, rosa, live.jid));
	end);

	it("gets no push that it is owed", function ()
		local old = phones.away(push);
		push.answer = busy;
		message(old.jid);
		phones.await(old, 1);
		inspect.wait_waiting(server, 1);
		pass_on(old.jid);
		local new = client.connect(server, old.jid);
		push:clear();
		push.answer = push_service.result;
		assert.equal(0, waiting(server));
		new:close();
		assert.same({}, devices.woken(push, rosa, old.jid));
	end);

	for what, answer in pairs({ ["that suspends it"] = refuses; ["that ends it"] = dead }) do
		it("is not written back by an answer " .. what, function ()
			local old = phones.away(push);
			phones.away(push, { jid = old.jid });
			push.answer = push_service.never;
			message(old.jid);
			local publish = push:wait(2);
			pass_on(old.jid);
			answer(publish, push);
			push:ping();
			assert.is_nil(devices.stored(server, old.jid));
			assert.same({}, devices.woken(push, rosa, old.jid));
		end);
	end

	it("is not written back by a push service that ends it", function ()
		local old = phones.away(push);
		phones.away(push, { jid = old.jid });
		assert.equal(2, #devices.woken(push, rosa, old.jid));
		pass_on(old.jid);
		push:send(("<message from='push.test' to='%s'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='%s'>"
			.. "<affiliation jid='%s' affiliation='none'/></pubsub></message>"):format(old.jid, old.node, old.jid));
		push:ping();
		assert.is_nil(devices.stored(server, old.jid));
	end);

	it("has no registrations though its store could not be purged", function ()
		server:eval([[
			local records = { ["push.test<n1"] = { jid = "push.test"; node = "n1"; timestamp = 1 } };
			assert(require "core.storagemanager".open("home.test", "cloud_notify"):set("nobody", records));
			hosts["home.test"].events.fire_event("cloud-notify-ping", { user = "nobody" });
		]]);
		push:ping();
		assert.same({}, push.received);
	end);
end

local function describe_two_servers(version)
	local one, two, push, push_two, rosa;

	local function start_one(database, push_cache_age)
		return prosody.start({ version = version; options = {
			-- What mod_cron writes when it likes would lock the database for the other server.
			storage = { cron = "internal" }; default_storage = "sql"; sql = { driver = "SQLite3"; database = database };
			push_cache_age = push_cache_age; push_retry_min = 60; push_retry_max = 60;
		} });
	end

	local function start(push_cache_age)
		one = start_one("shared.sqlite", push_cache_age);
		two = start_one(one.data .. "/shared.sqlite", push_cache_age);
		push = push_service.connect(one, "push.test", "secret");
		push_two = push_service.connect(two, "push.test", "secret");
		rosa = client.connect(one, devices.new_user(one));
	end

	before_each(function () start(3600); end);

	after_each(function ()
		two:stop(); -- The database goes with the other one
		prosody.stop_all();
		assert.same({}, one:faults());
		assert.same({}, two:faults());
	end);

	local function write(phone, changes)
		two:eval([[
			local user, identifier, changes = ...;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local records = store:get(user);
			for name, value in pairs(changes) do records[identifier][name] = value or nil; end
			assert(store:set(user, records));
		]], phone.username, phone.identifier, changes);
	end

	local suspension = { since = 1700000000; trials = 0; ["until"] = 4000000000 };

	it("enables: the first one pushes to it, too, and keeps it", function ()
		local phone = phones.away(push);
		assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
		local other = client.connect(two, phone.jid);
		devices.enable(other, { jid = "push.test"; node = "n2" });
		local mine = client.connect(one, phone.jid);
		devices.enable(mine, { jid = "push.test"; node = "n3" });
		mine:close();
		assert.same({ "push.test<n2"; "push.test<n3"; phone.identifier }, devices.identifiers(one, phone.jid));
		assert.same({ "n2"; "n3"; phone.node }, devices.woken(push, rosa, phone.jid));
	end);

	it("enables for a user who had none: the first one pushes after push_cache_age", function ()
		prosody.stop_all();
		start(1);
		local jid = devices.new_user(one);
		assert.same({}, devices.woken(push, rosa, jid));
		devices.enable(client.connect(two, jid), { jid = "push.test"; node = "n1" });
		await_end_of_trust(one);
		assert.same({ "n1" }, devices.woken(push, rosa, jid));
	end);

	it("enables: the first one can disable it", function ()
		local phone = phones.new(push);
		devices.enable(client.connect(two, phone.jid), { jid = "push.test"; node = "n2" });
		devices.disable(phone, { jid = "push.test"; node = "n2" });
		assert.same({ phone.identifier }, devices.identifiers(one, phone.jid));
	end);

	it("disables: the first one detaches sessions and forgets what it knew", function ()
		local phone = phones.hibernated(push);
		push.answer = busy;
		rosa:message({ to = phone.jid; body = "Hello" });
		phones.await(phone, 1);
		inspect.wait_waiting(one, 1);
		devices.disable(client.connect(two, phone.jid), { jid = "push.test" });
		client.connect(one, phone.jid, { resource = "other" });
		assert.same({}, devices.attached(phone));
		assert.equal(0, waiting(one));
		assert.is_nil(devices.push_errors(one, phone.jid, phone.identifier));
	end);

	it("enables again: the first one uses the new record, which sessions have, too", function ()
		local phone = phones.new(push, { resource = "phone" });
		local again = client.connect(two, phone.jid, { resource = "phone" });
		devices.enable(again, { jid = "push.test"; node = phone.node; options = { secret = "new" } });
		client.connect(one, phone.jid, { resource = "other" });
		assert.is_true(inspect.eval(one, [[
			local full_jid, user, identifier = ...;
			return prosody.full_sessions[full_jid].push_settings == upvalue("load_records")(user)[identifier];
		]], phone.full_jid, phone.username, phone.identifier));
		phone:close();
		assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
		assert.equal("new", push.received[1].options.secret);
	end);

	it("has another client enable the same: sessions of the first one's are detached", function ()
		local phone = phones.new(push, { resource = "phone" });
		local again = client.connect(two, phone.jid, { resource = "elsewhere" });
		devices.enable(again, { jid = "push.test"; node = phone.node });
		client.connect(one, phone.jid, { resource = "other" });
		assert.same({}, devices.attached(phone));
	end);

	it("suspends: the first one's sessions are detached, and attached again when it is in force", function ()
		local phone = phones.hibernated(push, { resource = "phone" });
		write(phone, { suspended = suspension });
		client.connect(one, phone.jid, { resource = "other" });
		assert.same({}, devices.attached(phone));
		assert.same({}, devices.woken(push, rosa, phone.jid));
		write(phone, { suspended = false });
		client.connect(one, phone.jid, { resource = "another" });
		assert.equal(phone.identifier, devices.attached(phone).identifier);
		assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
	end);

	it("deletes the account: the first one knows no device of it any more", function ()
		local phone = phones.away(push);
		assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
		two:delete_user(phone.username, "home.test");
		two:add_user(phone.username, "secret", "home.test");
		local new = client.connect(one, phone.jid);
		assert.same({}, devices.attached(new));
		new:close();
		assert.same({}, devices.woken(push, rosa, phone.jid));
		assert.same({}, push_two.received);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe(("an account that is deleted in another process with Prosody %s"):format(version), function ()
		describe_deleted_accounts(version);
	end);

	describe(("a second server on one database with Prosody %s"):format(version), function ()
		describe_two_servers(version);
	end);
end
