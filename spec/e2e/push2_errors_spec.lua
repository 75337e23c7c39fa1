-- Push 2.0: what push services say went wrong, in whatever way, and what becomes of it.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local st = require "util.stanza";

local taken = push2_service.taken;

-- The ways of saying what went wrong that say of which notification.
local ways = {
	["with the id of the notification"] = push2_service.error;
	["without an id, with what the notification was"] = push2_service.error_with_payload;
};

-- A test says when there is another attempt, and when silence means that a push was taken.
local patient = {
	push_coalesce_window = 0; push_max_errors = 3; push_max_failures = 0; push_max_per_minute = 0;
	push_retry_max = 3600; push_retry_min = 3600;
};

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version; modules = { "admin_shell" }; options = patient; components = { ["gw.test"] = "secret" };
			hosts = { "home.test"; "away.test" };
		});
		push = push2_service.connect(server, "gw.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function configure(options)
		local all = {};
		for name, value in pairs(patient) do all[name] = value; end
		for name, value in pairs(options or {}) do all[name] = value; end
		server:reconfigure({ options = all });
	end

	before_each(function ()
		if push.stream.closed then push:reconnect(); end
		configure();
		inspect.begin_again(server);
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

	local function body_of(phone, n)
		return push2.read(push2.await(phone, n), phone):get_child_text("body");
	end

	for how, error_of in pairs(ways) do
		describe("an error " .. how, function ()
			it("counts if it is for good, and the last one suspends the registration", function ()
				local phone = push2.away(push);
				push.answer = error_of("cancel", "not-allowed");
				for i = 1, 3 do
					assert.is_nil(record_of(phone).suspended);
					say(phone);
					assert.equal(i, #push2.pushed(phone));
				end
				assert.truthy(record_of(phone).suspended);
				push.answer = taken;
				say(phone);
				assert.equal(3, #push2.pushed(phone));
				assert.equal(0, inspect.in_flight(server));
			end);

			it("is forgotten once a push is taken", function ()
				local phone = push2.away(push);
				for _ = 1, 2 do
					configure();
					push.answer = error_of("cancel", "not-allowed");
					for _ = 1, 2 do say(phone); end
					configure({ push_answer_timeout = 1 });
					push.answer = taken;
					say(phone);
					inspect.wait_all_answered(server);
				end
				assert.is_nil(record_of(phone).suspended);
				assert.equal(6, #push2.pushed(phone));
			end);

			it("leads to another attempt if it is to wait, with the same message, and counts for nothing", function ()
				configure({ push_retry_min = 0.1; push_retry_max = 0.1 });
				local phone = push2.away(push);
				for i = 1, 5 do
					push.answer = push2_service.first(error_of("wait", "resource-constraint"));
					say(phone, "Hello " .. i);
					assert.equal("Hello " .. i, body_of(phone, 2 * i - 1));
					assert.equal("Hello " .. i, body_of(phone, 2 * i));
					assert.not_equal(push2.await(phone, 2 * i - 1).payload, push2.await(phone, 2 * i).payload);
				end
				assert.is_nil(record_of(phone).suspended);
				assert.equal(10, #push2.pushed(phone));
			end);

			it("is about one device", function ()
				local phone, watch = push2.away(push), push2.away(push);
				push.answer = function (got, service)
					if got.node == phone.node then error_of("wait", "resource-constraint")(got, service); end
				end;
				say(phone);
				inspect.wait_waiting(server, 1);
				say(watch);
				say(watch);
				assert.equal(2, #push2.pushed(watch));
				assert.equal(1, #push2.pushed(phone));
			end);

			it("is nobody's that has no push under way", function ()
				local phone = push2.away(push);
				push.answer = function (got, service)
					for _ = 1, 10 do error_of("cancel", "not-allowed")(got, service); end
				end;
				say(phone);
				push.answer = taken;
				say(phone);
				assert.equal(2, #push2.pushed(phone));
				assert.is_nil(record_of(phone).suspended);
			end);
		end);
	end

	it("an error that says nothing of a push is about none", function ()
		local phone = push2.away(push);
		push.answer = push2_service.bare_error("cancel", "service-unavailable");
		for i = 1, 4 do
			say(phone);
			assert.equal(i, #push2.pushed(phone));
		end
		assert.is_nil(record_of(phone).suspended);
	end);

	it("errors of others are none", function ()
		local phone = push2.away(push);
		local eve = client.connect(server, devices.new_user(server));
		push.answer = function (got)
			for _ = 1, 4 do
				local reply = st.error_reply(got.stanza, "cancel", "not-allowed"):reset();
				reply.attr.from, reply.attr.to = nil, "home.test";
				eve:send(reply);
				reply = st.clone(reply):add_child(st.clone(got.notification));
				reply.attr.id = nil;
				eve:send(reply);
			end
		end;
		say(phone);
		eve:ping();
		eve:close();
		push.answer = taken;
		say(phone);
		assert.equal(2, #push2.pushed(phone));
		assert.equal(0, inspect.waiting(server));
	end);

	it("an error reaches no client, nor the archive", function ()
		local phone = push2.new(push, { resource = "phone" });
		local desk = client.connect(server, phone.jid, { resource = "desk" });
		phone:cut();
		local before = #push2.archived(server, phone.jid);
		push.answer = push2_service.error("cancel", "not-allowed");
		say(phone);
		desk:ping();
		for _, stanza in ipairs(desk.received) do assert.not_equal("error", stanza.attr.type); end
		assert.equal(before + 1, #push2.archived(server, phone.jid));
		desk:close();
	end);

	for _, host in ipairs({ "home.test"; "away.test" }) do
		for name, form in pairs({ ["the bare JID"] = "%s"; ["a full JID"] = "%s/phone" }) do
			it(("%s of a user of %s who is offline is no push service, and that user is left nothing to read")
				:format(name, host), function ()
				local anna = devices.new_user(server, host);
				local eve = client.connect(server, devices.new_user(server));
				push2.enable(eve, { service = form:format(anna); client = "Buy!"; matches = { { profile = "all" } } });
				eve:close();
				say(eve);
				rosa:ping();
				assert.equal(1, inspect.waiting(server));
				local desk = client.connect(server, anna, { resource = "desk" });
				desk:send(st.presence());
				desk:ping();
				for _, stanza in ipairs(desk.received) do assert.not_equal("message", stanza.name); end
				desk:close();
			end);
		end
	end

	it("silence means that it was taken", function ()
		configure({ push_answer_timeout = 1; push_retry_min = 0.1; push_retry_max = 0.1 });
		local phone = push2.away(push);
		say(phone);
		inspect.wait_all_answered(server);
		assert.equal(0, inspect.waiting(server));
		push:disconnect();
		push:reconnect();
		assert.equal(1, #push2.pushed(phone));
		say(phone);
		assert.equal(2, #push2.pushed(phone));
	end);

	it("any number of pushes may be silent, and the service is as good as ever", function ()
		configure({ push_answer_timeout = 1; push_max_failures = 1 });
		local phone = push2.away(push);
		for i = 1, 3 do
			say(phone);
			assert.equal(i, #push2.pushed(phone));
			inspect.wait_all_answered(server);
		end
	end);

	it("what a service that is away gets back is pushed when it is there again", function ()
		local phone = push2.away(push);
		push:disconnect();
		rosa:message({ to = phone.jid; body = "Hello" });
		rosa:ping();
		inspect.wait_waiting(server, 1);
		push:reconnect();
		assert.equal("Hello", body_of(phone, 1));
		push:ping();
		assert.equal(1, #push2.pushed(phone));
		assert.is_nil(record_of(phone).suspended);
	end);

	it("what is owed outlives a restart, without the message", function ()
		local phone = push2.away(push);
		push:disconnect();
		rosa:message({ to = phone.jid; body = "Hello" });
		rosa:ping();
		inspect.wait_waiting(server, 1);
		server:restart();
		push:reconnect();
		rosa = client.connect(server, rosa.jid);
		local got = push2.await(phone, 1);
		assert.same({ "normal", nil, nil, 2 }, { got.priority, got.payload, got.jwt, got.elements });
		assert.equal(1, #push2.pushed(phone));
	end);

	it("what may have been taken is not pushed again after a restart", function ()
		local phone = push2.away(push);
		say(phone);
		assert.equal(1, inspect.in_flight(server));
		server:restart();
		push:reconnect();
		rosa = client.connect(server, rosa.jid);
		assert.equal(1, #push2.pushed(phone));
		say(phone);
		assert.equal(2, #push2.pushed(phone));
	end);

	it("nor when the connection of the push service ends", function ()
		local phone = push2.away(push);
		say(phone);
		push:disconnect();
		push:reconnect();
		assert.equal(1, #push2.pushed(phone));
		assert.equal(0, inspect.waiting(server));
	end);

	it("push explain says why there was no push, or none yet", function ()
		local function explain(phone)
			local output, status = server:shell("push", "explain", phone.jid);
			assert.equal(0, status, output);
			return (output:gsub("%s+", " "));
		end
		local phone = push2.away(push, { matches = { { profile = "important" } } });
		rosa:message({ to = phone.jid; st.stanza("received", { xmlns = "urn:xmpp:receipts"; id = "m0" }) });
		rosa:ping();
		assert.truthy(explain(phone):find("none of the client's match profiles wants it", 1, true));

		phone = push2.away(push, { matches = { { grace = 3600 } } });
		local desk = client.connect(server, phone.jid);
		desk:message({ to = rosa.jid; body = "I am here" });
		desk:ping();
		say(phone);
		assert.truthy(explain(phone):find("user is active on another device", 1, true));
		desk:close();

		phone = push2.away(push, { matches = { { filters = { { jid = rosa.jid } } } } });
		say(phone);
		assert.truthy(explain(phone):lower():find("muted", 1, true));

		phone = push2.away(push);
		push.answer = push2_service.error("wait", "resource-constraint");
		say(phone);
		assert.truthy(explain(phone):find("resource-constraint", 1, true));
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("errors of Push 2.0 with Prosody " .. version, function () describe_all(version); end);
end
