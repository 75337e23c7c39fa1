-- The clock jumps. What matters to nobody but the server is measured in time that only grows.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local day = 24 * 3600;
local busy = push_service.error("wait", "resource-constraint");

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			own_clock = true;
			options = {
				push_answer_timeout = 1;
				push_coalesce_window = 0.5;
				push_max_errors = 1;
				push_max_failures = 0;
				push_max_per_minute = 0;
				push_retry_max = 0.5;
				push_retry_min = 0.5;
			};
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push.answer = push_service.result;
		push:clear();
	end);

	after_each(function () server:set_clock(0); end);

	local function message(phone, body)
		rosa:message({ to = phone.jid; body = body or "Hello" });
		rosa:ping();
	end

	-- When the server's own time is this far from ours.
	local function jump(seconds)
		server:set_clock(seconds);
		local off = server:eval([[return os.time();]]) - os.time();
		assert.is_true(math.abs(off - seconds) <= 2, "the clock has not been set");
	end

	local function suspension(phone)
		return devices.stored(server, phone.jid)[phone.identifier].suspended;
	end

	-- Seconds until what waits for a phone is pushed, as the engine has it.
	local function due_in(phone)
		local owed = inspect.engine(server, "owed");
		for _, device in ipairs(owed and owed.devices or {}) do
			if device.user == phone.username then return device.due_in; end
		end
	end

	local function suspended_phone()
		local phone = phones.away(push);
		push.answer = push_service.error("cancel", "forbidden");
		message(phone);
		push:ping();
		push:ping();
		assert.equal(0, suspension(phone).trials);
		push.answer = push_service.result;
		push:clear();
		return phone;
	end

	for name, seconds in pairs({ ["a day forth"] = day; ["a day back"] = -day }) do
		it("registrations keep their order of age, and the newest are kept: " .. name, function ()
			local phone = client.connect(server, devices.new_user(server));
			for i = 1, 3 do devices.enable(phone, { jid = "push.test"; node = ("a%d"):format(i) }); end
			jump(seconds);
			for i = 1, 3 do devices.enable(phone, { jid = "push.test"; node = ("b%d"):format(i) }); end
			assert.same({ "push.test<a2"; "push.test<a3"; "push.test<b1"; "push.test<b2"; "push.test<b3" },
				devices.identifiers(server, phone.jid));
			jump(0);
			for i = 1, 3 do devices.enable(phone, { jid = "push.test"; node = ("c%d"):format(i) }); end
			assert.same({ "push.test<b2"; "push.test<b3"; "push.test<c1"; "push.test<c2"; "push.test<c3" },
				devices.identifiers(server, phone.jid));
			phone:close();
		end);

		it("pushes go on, and so do their time limits: " .. name, function ()
			local phone = phones.away(push);
			push.answer = push_service.never;
			message(phone);
			phones.await(phone, 1);
			assert.equal(1, inspect.in_flight(server));
			jump(seconds);
			assert.equal(1, inspect.in_flight(server), "not over yet");
			push.answer = push_service.result;
			phones.await(phone, 2);
			inspect.wait_all_answered(server);
			message(phone, "Hello again");
			phones.await(phone, 3);
		end);

		it("what is owed is tried again as before: " .. name, function ()
			local phone = phones.away(push);
			push.answer = busy;
			message(phone);
			phones.await(phone, 1);
			push:ping();
			jump(seconds);
			phones.await(phone, 3);
			push.answer = push_service.result;
			jump(0);
			phones.await(phone, 4);
			inspect.wait_all_answered(server);
		end);

		it("what waits for the end of a window does so no longer: " .. name, function ()
			local phone = phones.hibernated(push);
			rosa:send(st.message({ to = phone.full_jid }):tag("composing", { xmlns = "http://jabber.org/protocol/chatstates" }));
			rosa:ping();
			jump(seconds);
			assert.same({ phones.unimportant }, phones.await(phone, 1));
			phone:resume();
			phone:close();
		end);

		it("a suspension waits for its trial, and is not over before: " .. name, function ()
			local phone = suspended_phone();
			local before = due_in(phone);
			jump(seconds);
			message(phone, "Hello again");
			push:expect_none();
			local after = due_in(phone);
			assert.is_true(after <= before and after > before - 60, "the engine's time does not jump");
			assert.equal(0, suspension(phone).trials);
		end);

		it("a suspension that is found in the store waits for its pause at most: " .. name, function ()
			local phone = suspended_phone();
			jump(seconds);
			inspect.begin_again(server);
			message(phone, "Hello again");
			if seconds > 0 then
				phones.await(phone, 1); -- as far as anybody can tell, its time is over
				inspect.wait_all_answered(server);
				push:ping();
				assert.is_nil(suspension(phone));
			else
				push:expect_none();
				assert.is_true(due_in(phone) <= day);
			end
		end);

		it("a trial that fails suspends for a pause, and does not end the registration early: " .. name, function ()
			local phone = suspended_phone();
			jump(seconds);
			push.answer = push_service.error("cancel", "forbidden");
			-- The engine's time for the trial
			inspect.eval(server, [[
				local user, identifier = ...;
				local engine = upvalue("engine");
				engine:suspend(user, identifier, 0);
				upvalue("arm")(0);
			]], phone.username, phone.identifier);
			if seconds > 0 then
				-- While it is tried, it is not suspended.
				loop.wait_for(function ()
					local suspended = suspension(phone);
					return suspended and suspended.trials == 1;
				end, nil, "the trial to fail");
				assert.is_true(due_in(phone) <= 2 * day);
			else
				-- By the clock it is not time yet; it cannot be two days away, either.
				loop.wait_for(function () return (due_in(phone) or 0) > 60; end, nil, "another pause");
				assert.is_true(due_in(phone) <= day);
			end
			assert.same({ phone.identifier }, devices.identifiers(server, phone.jid));
		end);

		it("what is owed outlives a restart with another time, unless it is too old by then: " .. name, function ()
			local phone = phones.away(push);
			push.answer = busy;
			message(phone);
			phones.await(phone, 1);
			push:ping();
			server:stop({ keep = true });
			server:set_clock(seconds);
			server:restart();
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, rosa.jid);
			phone.service = push;
			if seconds < 0 then
				phones.await(phone, 1);
			else
				-- As far as anybody can tell, the server was off for a day.
				assert.is_nil(due_in(phone));
			end
			message(phone, "Hello again");
			phones.await(phone, seconds < 0 and 2 or 1);
		end);
	end
end

for _, version in ipairs(prosody.versions) do
	describe("a clock that jumps, with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
