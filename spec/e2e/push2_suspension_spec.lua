-- Push 2.0: registrations that are suspended, tried, in force again once no error has come, or removed.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";

local taken = push2_service.taken;

local function describe_all(version, error_of)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version; components = { ["gw.test"] = "secret" };
			options = {
				push_answer_timeout = 1; push_coalesce_window = 0; push_max_errors = 2; push_max_failures = 0;
				push_max_per_minute = 0; push_retry_max = 3600; push_retry_min = 3600;
			};
		});
		push = push2_service.connect(server, "gw.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push.answer = taken;
		push:clear();
	end);

	-- Sends a message; what its push has led to is over when this returns.
	local function say(phone, body)
		rosa:message({ to = phone.jid; body = body or "Hello" });
		rosa:ping();
		push:ping();
		push:ping();
	end

	local function record_of(phone)
		local _, record = next(push2.stored(server, phone.jid) or {});
		return record;
	end

	-- What has happened last: "suspended by service: forbidden" and the like
	local function last_of(phone)
		local entries = inspect.eval(server, [[return (upvalue("history").read(...));]], phone.username);
		local last = entries[#entries];
		return ("%s by %s%s"):format(last.what, last.by, last.why and ": " .. last.why or "");
	end

	local function suspended(options)
		local phone = push2.away(push, options);
		push.answer = error_of("cancel", "forbidden");
		for _ = 1, 2 do say(phone); end
		assert.equal("suspended by service: forbidden", last_of(phone));
		assert.equal("forbidden", record_of(phone).suspended.condition);
		push.answer = taken;
		push:clear();
		return phone;
	end

	-- Has the time of its trial come, so many days after it was suspended.
	local function try(phone, days)
		inspect.eval(server, [[
			local user, days = ...;
			local records = upvalue("load_records")(user);
			local identifier, record = next(records);
			record.suspended["until"], record.suspended.since = os.time() - 1, os.time() - days * 86400;
			assert(upvalue("save_records")(user, records));
			upvalue("arm")(upvalue("engine"):suspend(user, identifier, 0));
		]], phone.username, days or 1);
		push2.await(phone, 1);
		push:ping();
		push:ping();
	end

	local function await_force(phone)
		loop.wait_for(function () return not record_of(phone).suspended; end, nil, "the registration to be in force again");
	end

	it("gets nothing until its trial, and is in force again once no error has come to that", function ()
		local phone = suspended();
		say(phone, "Anybody?");
		assert.same({}, push2.pushed(phone));
		try(phone);
		await_force(phone);
		local decisions = inspect.eval(server, [[return upvalue("explain").decisions(...);]], phone.username);
		assert.equal("taken, the registration is in force again: no error came", decisions[#decisions].text);
		assert.equal("revived by service", last_of(phone));
		say(phone, "Hello again");
		assert.equal("Hello again", push2.read(push2.await(phone, 2), phone):get_child_text("body"));
	end);

	it("detaches its session, which the trial attaches again", function ()
		local phone = push2.hibernated(push, { resource = "phone" });
		local function attached()
			return server:eval([[return prosody.full_sessions[...].push2_identifier;]], phone.full_jid);
		end
		local identifier = attached();
		assert.truthy(identifier);
		push.answer = error_of("cancel", "forbidden");
		for _ = 1, 2 do say(phone); end
		assert.truthy(record_of(phone).suspended);
		assert.is_nil(attached());
		push.answer = taken;
		push:clear();
		try(phone);
		await_force(phone);
		assert.equal(identifier, attached());
	end);

	it("stays suspended if an error comes to its trial", function ()
		local phone = suspended();
		say(phone);
		push.answer = error_of("cancel", "not-allowed");
		try(phone);
		assert.equal("suspended by service: trial 1 failed with not-allowed", last_of(phone));
		assert.equal(1, record_of(phone).suspended.trials);
		push.answer = taken;
		say(phone);
		assert.equal(1, #push2.pushed(phone));
	end);

	it("is removed by the error to its last trial", function ()
		local phone = suspended();
		push.answer = error_of("cancel", "forbidden");
		try(phone, 31);
		assert.equal("removed by service: the last trial failed with forbidden", last_of(phone));
		assert.is_nil(push2.stored(server, phone.jid));
	end);

	it("is removed instead where the service does not know its client", function ()
		local phone = push2.away(push);
		push.answer = error_of("cancel", "item-not-found");
		say(phone);
		assert.is_nil(record_of(phone).suspended);
		say(phone);
		assert.equal("removed by service: item-not-found", last_of(phone));
		assert.is_nil(push2.stored(server, phone.jid));
	end);

	it("is in force again when its client enables push", function ()
		local phone = suspended({ resource = "phone" });
		local again = push2.away(push, { jid = phone.jid; resource = "phone" });
		assert.equal("enabled by client", last_of(phone));
		say(phone, "Welcome back");
		assert.equal("Welcome back", push2.read(push2.await(again, 1), again):get_child_text("body"));
	end);
end

for _, version in ipairs(prosody.versions) do
	for how, error_of in pairs({
		["with the id of the notification"] = push2_service.error;
		["without an id"] = push2_service.error_with_payload;
	}) do
		describe(("a registration of Push 2.0 that is suspended by errors %s, with Prosody %s:"):format(how, version),
			function () describe_all(version, error_of); end);
	end
end
