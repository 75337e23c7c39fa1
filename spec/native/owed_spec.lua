local native = require "spec.support.native";
local st = require "util.stanza";
local sleep = require "socket".sleep;

local user = native.user;
local identifier = "push.test<n1";
local _, record = native.records();

local function greeting()
	return st.message({ from = "rosa@home.test", to = native.account }, "Hello Anna");
end

local function fail(engine, push)
	assert.equal("failed", (engine:answered(push.id, "push.test", true, "wait", "remote-server-timeout")));
end

local function attempt(engine)
	sleep(0.4);
	assert.same({ user = user; identifier = identifier }, select(2, engine:expire())[1]);
	return (assert(engine:release(user, identifier, record)));
end

describe("what a device is owed", function ()
	local options = { push_retry_min = 0.1; push_retry_max = 0.2; push_notification_with_body = true };

	it("says in each attempt what it is for", function ()
		local engine = native.engine(options);
		local push = native.archive(engine, greeting(), record);
		for _ = 1, 3 do
			assert.matches("Hello Anna", tostring(push.stanza), 1, true);
			fail(engine, push);
			push = attempt(engine);
		end
	end);

	it("is settled by a push without a stanza, which speaks for all that is unimportant", function ()
		local engine = native.engine(options);
		local state = st.message({ from = "rosa@home.test", to = native.account })
			:tag("composing", { xmlns = "http://jabber.org/protocol/chatstates" });
		fail(engine, native.archive(engine, state, record));
		assert.equal(1, engine:waiting());
		local ping = engine:ping(user, identifier, record);
		assert.equal("delivered", (engine:answered(ping.id, "push.test", false)));
		assert.equal(0, engine:waiting());
	end);

	it("is kept for an extension that has content of its own", function ()
		local kept = setmetatable({}, { __mode = "v" });
		for _, encryption in ipairs({ false; true }) do
			local engine = native.engine();
			local archived = engine:readers();
			local records = { [identifier] = { jid = "push.test"; node = "n1"; encryption = encryption } };
			kept[1] = greeting();
			assert.is_true(archived(user, records, nil, kept[1], native.archive_id()));
			assert.truthy((select(5, engine:settle(kept[1], records, false))));
			collectgarbage();
			collectgarbage();
			assert.equal(encryption, kept[1] ~= nil);
		end
	end);

	it("is not kept when it has arrived", function ()
		local kept = setmetatable({}, { __mode = "v" });
		local function is_kept()
			collectgarbage();
			collectgarbage();
			return kept[1] ~= nil;
		end
		local engine = native.engine(options);
		kept[1] = greeting();
		local id = native.archive(engine, kept[1], record).id;
		assert.is_true(is_kept());
		assert.equal("delivered", (engine:answered(id, "push.test", false)));
		assert.is_false(is_kept());

		-- Nor when nobody is to be pushed to any more.
		kept[1] = greeting();
		fail(engine, native.archive(engine, kept[1], record));
		sleep(0.4);
		engine:expire();
		assert.is_true(is_kept());
		local sessions = { pc = { push_identifier = identifier; push_settings = record } };
		assert.is_nil((engine:release(user, identifier, record, sessions)));
		assert.is_false(is_kept());

		kept[1] = greeting();
		fail(engine, native.archive(engine, kept[1], record));
		engine:back(user, identifier);
		engine:expire();
		assert.is_false(is_kept());
	end);

	it("is older after a restart by the time that this took", function ()
		local function restored(elapsed)
			local engine = native.engine();
			local devices = { { user = user; identifier = identifier; important = true; suspended = false;
				age = 1000; due_in = 300; failures = 3; failing_for = 2000 } };
			local services = { { jid = "push.test"; failures = 4; age = 3000 } };
			local count = engine:restore({ devices = devices; services = services }, elapsed);
			if count == 0 then return; end
			local owed = engine:owed();
			return owed.devices[1], owed.services[1];
		end

		for _, elapsed in ipairs({ 0, 100, 3600 }) do
			local device, service = restored(elapsed);
			assert.is_true(math.abs(1000 + elapsed - device.age) <= 1);
			assert.is_true(math.abs(math.max(0, 300 - elapsed) - device.due_in) <= 1);
			assert.is_true(math.abs(2000 + elapsed - device.failing_for) <= 1);
			assert.is_true(math.abs(3000 + elapsed - service.age) <= 1);
			assert.same({ 3, 4, true, false }, { device.failures, service.failures, device.important, device.suspended });
		end
		assert.is_nil(restored(86400), "it is too old");
	end);
end);
