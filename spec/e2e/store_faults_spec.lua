-- A store that fails: nothing is lost that can be kept, messages arrive, and the log has a line.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local busy = push_service.error("wait", "resource-constraint");
local refuses = push_service.error("cancel", "forbidden");
local dead = push_service.error("cancel", "item-not-found");

local function faulty_options(failing)
	return {
		storage = { accounts = "faulty"; cloud_notify = "faulty"; cloud_notify_owed = "faulty" };
		spec_failing = failing;
		push_coalesce_window = 0;
		push_max_errors = 2;
		push_max_failures = 0;
		push_max_per_minute = 0;
		push_retry_min = 0.1;
		push_retry_max = 0.2;
	};
end

local function describe_all(version, how)
	local server, push, sender;

	local function reconnect()
		push = push_service.connect(server, "push.test", "secret");
		sender = client.connect(server, devices.new_user(server));
	end

	before_each(function ()
		server = prosody.start({ version = version; options = faulty_options() });
		reconnect();
	end);

	after_each(function ()
		prosody.stop_all();
		-- A store that raises says where.
		if how == "error" then assert.same({}, server:faults()); end
	end);

	local function fail(what, with)
		server:eval([[
			local what, how = ...;
			module("home.test", "storage_faulty"):shared("failing")[what] = how;
		]], what, with);
	end

	local function restart(failing)
		server:restart({ options = faulty_options(failing) });
		reconnect();
	end

	local function forget_cached_records()
		server:reload_module("cloud_notify", "home.test");
	end

	local function waiting()
		return inspect.waiting(server);
	end

	local function wait_until_waiting(count)
		inspect.wait_waiting(server, count);
	end

	local function message(phone, body)
		sender:message({ to = phone.jid; body = body });
		sender:ping();
	end

	local function message_and_answer(phone, body)
		message(phone, body);
		push:ping();
		push:ping();
	end

	local function assert_delivered(phone, ...)
		local again = client.connect(server, phone.jid, { resource = "again" });
		for _, body in ipairs({ ... }) do again:expect({ name = "message"; body = body }); end
		again:close();
	end

	-- A phone that is owed a push: its service could not take the first.
	local function owed_phone()
		local phone = phones.away(push);
		push.answer = busy;
		message(phone, "Hello");
		phones.await(phone, 1);
		wait_until_waiting(1);
		return phone;
	end

	local function suspended(phone)
		local record = devices.stored(server, phone.jid)[phone.identifier];
		return record.suspended;
	end

	it("registrations that cannot be read when a device's turn comes are read later, and it is pushed", function ()
		local phone = owed_phone();
		local mark = server:log_mark();
		fail("cloud_notify/get", how);
		forget_cached_records();
		push.answer = push_service.result;
		push:clear();
		server:wait_log("cannot be read", nil, mark);
		message(phone, "Hello again"); -- which finds the store as it is
		server:wait_log("debug\tPush registrations of " .. phone.username .. " cannot be read", nil, mark);
		assert.same({}, push.received);
		assert.equal(1, waiting());
		assert.equal(1, #inspect.logged(server, "error", mark));
		fail("cloud_notify/get", nil);
		assert.same({ phones.important }, phones.await(phone, 1));
		inspect.wait_all_answered(server);
		assert.equal(0, waiting());
		assert.equal(1, #inspect.logged(server, "error", mark));
		assert_delivered(phone, "Hello", "Hello again");
	end);

	it("accounts that cannot be read, either, are not taken for deleted ones", function ()
		local phone = owed_phone();
		local mark = server:log_mark();
		fail("get", how);
		forget_cached_records();
		push:clear();
		push.answer = push_service.result;
		server:wait_log("cannot be read", nil, mark);
		fail("get", nil);
		assert.same({ phones.important }, phones.await(phone, 1));
		inspect.wait_all_answered(server);
		assert.equal(0, waiting());
	end);

	it("a suspension that cannot be written is made up for with the next error", function ()
		local phone = phones.away(push);
		push.answer = refuses;
		message_and_answer(phone, "1");
		local mark = server:log_mark();
		fail("cloud_notify/set", how);
		message_and_answer(phone, "2");
		assert.is_nil(suspended(phone));
		assert.equal(1, #inspect.logged(server, "error", mark));
		push:clear();
		message_and_answer(phone, "3");
		assert.equal(1, #push.received, "it is still in force");
		fail("cloud_notify/set", nil);
		message_and_answer(phone, "4");
		assert.same({ trials = 0; condition = "forbidden" },
			{ trials = suspended(phone).trials; condition = suspended(phone).condition });
		assert_delivered(phone, "1", "2", "3", "4");
	end);

	it("the end of a registration that cannot be written is made up for, too", function ()
		local phone = phones.away(push);
		push.answer = dead;
		fail("cloud_notify/set", how);
		message_and_answer(phone, "1");
		message_and_answer(phone, "2");
		assert.same({ phone.identifier }, devices.identifiers(server, phone.jid));
		fail("cloud_notify/set", nil);
		message_and_answer(phone, "3");
		assert.same({}, devices.identifiers(server, phone.jid));
		assert_delivered(phone, "1", "2", "3");
	end);

	it("a revival that cannot be written is made up for with the next trial", function ()
		local phone = phones.away(push);
		server:eval([[
			local user, identifier = ...;
			local store = module("home.test", "cloud_notify"):open_store();
			local records = store:get(user);
			records[identifier].suspended = { since = os.time() - 90000, trials = 0, ["until"] = os.time() - 1 };
			assert(store:set(user, records));
		]], phone.username, phone.identifier);
		forget_cached_records();
		fail("cloud_notify/set", how);
		message(phone, "1");
		phones.await(phone, 1);
		inspect.wait_all_answered(server);
		push:ping();
		assert.equal(0, suspended(phone).trials);
		fail("cloud_notify/set", nil);
		message(phone, "2");
		phones.await(phone, 2);
		inspect.wait_all_answered(server);
		push:ping();
		assert.is_nil(suspended(phone));
		assert_delivered(phone, "1", "2");
	end);

	it("what is owed and cannot be written when the server stops is lost with a line, and nothing else is", function ()
		local phone = owed_phone();
		local mark = server:log_mark();
		fail("cloud_notify_owed/set", how);
		restart();
		local errors = inspect.logged(server, "error", mark);
		assert.equal(1, #errors);
		assert.truthy(errors[1]:find("owed a push", 1, true));
		assert.truthy(errors[1]:find("the disk is on fire -- check the storage", 1, true));
		assert.equal(0, waiting());
		assert.same({ phone.identifier }, devices.identifiers(server, phone.jid));
		message(phone, "Hello again");
		phone.service = push;
		phones.await(phone, 1);
		assert_delivered(phone, "Hello", "Hello again");
	end);

	it("what is owed and cannot be read when the server starts is kept for the next start", function ()
		local phone = owed_phone();
		local mark = server:log_mark();
		restart({ ["cloud_notify_owed/get"] = how });
		local errors = inspect.logged(server, "error", mark);
		assert.equal(1, #errors);
		assert.truthy(errors[1]:find("owed a push", 1, true));
		assert.same({}, push.received);
		assert.equal(0, waiting());
		restart();
		phone.service = push;
		assert.same({ phones.important }, phones.await(phone, 1));
		assert_delivered(phone, "Hello");
	end);

	it("what is owed and cannot be removed from the store when the server starts is not sent", function ()
		local phone = owed_phone();
		local mark = server:log_mark();
		restart({ ["cloud_notify_owed/set"] = how });
		local errors = inspect.logged(server, "error", mark);
		assert.equal(1, #errors);
		assert.truthy(errors[1]:find("owed a push", 1, true));
		assert.truthy(errors[1]:find("the disk is on fire -- check the storage", 1, true));
		assert.same({}, push.received);
		assert.equal(0, waiting());
		restart();
		phone.service = push;
		phones.await(phone, 1);
		inspect.wait_all_answered(server);
		restart();
		assert.equal(0, waiting(), "once only");
		assert_delivered(phone, "Hello");
	end);

	it("a store that fails for many users says so once", function ()
		local jids = {};
		for i = 1, 100 do
			jids[i] = phones.away(push);
		end
		forget_cached_records();
		local mark = server:log_mark();
		fail("cloud_notify/get", how);
		for i = 1, 100 do sender:message({ to = jids[i].jid; body = "Hello" }); end
		sender:ping();
		assert.equal(1, #inspect.logged(server, "error", mark));
		fail("cloud_notify/get", nil);
		for i = 1, 100 do sender:message({ to = jids[i].jid; body = "Hello again" }); end
		push:wait(100);
		assert.equal(1, #inspect.logged(server, "error", mark));
		assert_delivered(jids[50], "Hello", "Hello again");
	end);
end

for _, version in ipairs(prosody.versions) do
	for _, how in ipairs({ "error"; "raise" }) do
		describe(("a store that fails (%s) with Prosody %s:"):format(how, version), function ()
			describe_all(version, how);
		end);
	end
end
