local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local max_errors = 3;

local permanent = {
	{ "cancel", "item-not-found" };
	{ "cancel", "not-allowed" };
	{ "auth", "forbidden" };
	{ "cancel", "gone" };
	{ "modify", "gone" };
	{ "auth", "not-authorized" };
	{ "modify", "bad-request" };
	{ "modify", "policy-violation" };
	{ "cancel", "policy-violation" };
	{ "modify", "not-acceptable" };
	{ "cancel", "not-acceptable" };
	{ "modify", "jid-malformed" };
	{ "cancel", "conflict" };
	{ "cancel", "feature-not-implemented" };
	{ "auth", "registration-required" };
	{ "auth", "subscription-required" };
	{ "cancel", "undefined-condition" };
};

local transient = {
	{ "cancel", "remote-server-not-found" };
	{ "cancel", "remote-server-timeout" };
	{ "cancel", "recipient-unavailable" };
	{ "cancel", "service-unavailable" };
	{ "cancel", "internal-server-error" };
	{ "modify", "service-unavailable" };
	{ "wait", "resource-constraint" };
	{ "wait", "recipient-unavailable" };
	{ "wait", "remote-server-timeout" };
	{ "wait", "internal-server-error" };
	{ "wait", "unexpected-request" };
	{ "wait", "item-not-found" };
	{ "wait", "policy-violation" };
	{ "wait", "forbidden" };
	{ "wait", "undefined-condition" };
};

-- With these the node is dead for good.
local final = { ["item-not-found"] = true; ["gone"] = true };

local call = st.stanza("propose", { xmlns = "urn:xmpp:jingle-message:0"; id = "c1" });

local function describe_all(version)
	local server, push, sender;
	local nodes = 0;

	local options = {
		push_answer_timeout = 1;
		push_coalesce_window = 0;
		push_max_errors = max_errors;
		push_max_failures = 0;
		push_max_per_minute = 0;
		push_retry_max = 3600;
		push_retry_min = 3600;
	};

	setup(function ()
		server = prosody.start({
			version = version;
			s2s = true;
			options = options;
			config = [[Component "local.test" "spec_push_service"]];
		});
		push = push_service.connect(server, "push.test", "secret");
		sender = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- Each test begins with an engine that knows nothing.
	before_each(function ()
		inspect.begin_again(server);
		push.answer = push_service.result;
		push:clear();
	end);

	local function new_node()
		nodes = nodes + 1;
		return ("node%d"):format(nodes);
	end

	-- A user who is away, and what is pushed to instead.
	local function absent_user(push_jid, node)
		local jid = devices.new_user(server);
		local registration = { jid = push_jid or "push.test"; node = node or new_node() };
		registration.identifier = registration.jid .. "<" .. registration.node;
		local phone = client.connect(server, jid, { resource = "phone" });
		devices.enable(phone, registration);
		phone:close();
		return jid, registration;
	end

	local function send(count, message)
		for _ = 1, count or 1 do
			sender:message(message);
		end
		sender:ping();
		-- No sign of life of the push service, upon which what is owed would go out.
		push:ping("somebody@push.test");
		push:ping("somebody@push.test");
	end

	-- Sends messages, and returns when the answers to all pushes have arrived.
	local function message(jid, count)
		send(count, { to = jid; body = "Wake up" });
	end

	-- The same with calls, which do not wait for the next attempt where a push is owed.
	local function ring(jid, count)
		send(count, { to = jid; call });
	end

	local function errors(jid, registration)
		return devices.push_errors(server, jid, registration.identifier);
	end

	local function record_of(jid, registration)
		return (devices.stored(server, jid) or {})[registration.identifier];
	end

	local function is_registered(jid, registration)
		return record_of(jid, registration) ~= nil;
	end

	local function refuse(publish, service)
		push_service.error("cancel", "item-not-found")(publish, service);
	end

	describe("a permanent error", function ()
		for _, error in ipairs(permanent) do
			local type, condition = table.unpack(error);

			it(("counts, and the last of several in a row %s the registration: %s of type %s")
				:format(final[condition] and "ends" or "suspends", condition, type), function ()
				local jid, registration = absent_user();
				push.answer = push_service.error(type, condition);
				for count = 1, max_errors - 1 do
					message(jid);
					assert.equal(count, errors(jid, registration));
					assert.is_nil(record_of(jid, registration).suspended);
				end
				local mark = server:log_mark();
				message(jid);
				local record = record_of(jid, registration);
				if final[condition] then
					assert.is_nil(record);
					assert.is_nil(errors(jid, registration));
				else
					assert.equal(condition, record.suspended.condition);
				end
				local warnings = inspect.logged(server, "warn", mark);
				assert.equal(1, #warnings);
				assert.truthy(warnings[1]:find(condition, 1, true) and warnings[1]:find("push.test", 1, true));

				push:clear();
				message(jid);
				ring(jid);
				assert.same({}, push.received);
			end);
		end

		it("is forgiven with the next success", function ()
			local jid, registration = absent_user();
			for _ = 1, 3 do
				push.answer = refuse;
				message(jid, max_errors - 1);
				assert.equal(max_errors - 1, errors(jid, registration));
				push.answer = push_service.result;
				message(jid);
				assert.equal(0, errors(jid, registration));
			end
			assert.is_true(is_registered(jid, registration));
		end);

		it("is forgiven when the client enables push again", function ()
			local jid, registration = absent_user();
			push.answer = refuse;
			message(jid, max_errors - 1);
			local phone = client.connect(server, jid, { resource = "phone" });
			devices.enable(phone, registration);
			phone:close();
			assert.is_falsy((errors(jid, registration) or 0) > 0);
			message(jid, max_errors - 1);
			assert.is_true(is_registered(jid, registration));
		end);

		it("counts for each user of one and the same node", function ()
			local node = new_node();
			local anna, registration = absent_user("push.test", node);
			local bert = absent_user("push.test", node);
			push.answer = refuse;
			message(anna, max_errors - 1);
			message(bert, max_errors - 1);
			assert.is_true(is_registered(anna, registration));
			assert.is_true(is_registered(bert, registration));

			push.answer = push_service.result;
			message(bert);
			push.answer = refuse;
			message(anna);
			assert.is_false(is_registered(anna, registration));
			assert.is_true(is_registered(bert, registration));
			message(bert, max_errors - 1);
			assert.is_true(is_registered(bert, registration));
			message(bert);
			assert.is_false(is_registered(bert, registration));
		end);

		it("counts for each registration of a user", function ()
			local jid, first = absent_user();
			local second = { jid = "push.test"; node = new_node() };
			second.identifier = "push.test<" .. second.node;
			local tablet = client.connect(server, jid, { resource = "tablet" });
			devices.enable(tablet, second);
			tablet:close();
			push.answer = function (publish, service)
				(publish.node == first.node and refuse or push_service.result)(publish, service);
			end;
			message(jid, max_errors);
			assert.is_false(is_registered(jid, first));
			assert.is_true(is_registered(jid, second));
			assert.equal(0, errors(jid, second));
		end);

		it("counts once, however often it is said", function ()
			local jid, registration = absent_user();
			push.answer = function (publish, service)
				for _ = 1, max_errors do refuse(publish, service); end
			end;
			message(jid);
			assert.equal(1, errors(jid, registration));
			assert.is_true(is_registered(jid, registration));
		end);

		it("detaches the live session of a registration that it ends", function ()
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone" });
			local node = new_node();
			devices.enable(phone, { jid = "push.test"; node = node });
			assert.equal("push.test<" .. node, devices.attached(phone).identifier);
			push.answer = refuse;
			for _ = 1, max_errors do sender:message({ to = jid; call }); end
			sender:ping();
			push:ping();
			push:ping();
			assert.same({}, devices.attached(phone));
			assert.same({}, devices.identifiers(server, jid));
			phone:ping();
			phone:close();
		end);

		it("gives the hibernated session of a registration that it ends its normal time back", function ()
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone"; sm = "resume" });
			devices.enable(phone, { jid = "push.test"; node = new_node() });
			local function timeout()
				return server:eval([[return prosody.full_sessions[...].hibernating_watchdog.timeout]], phone.full_jid);
			end
			phone:cut();
			local long = timeout();
			push.answer = refuse;
			for _ = 1, max_errors do
				assert.equal(long, timeout());
				sender:message({ to = jid; st.stanza("composing", { xmlns = "http://jabber.org/protocol/chatstates" }) });
				sender:ping();
				push:ping();
				push:ping();
			end
			assert.equal(max_errors, #push.received);
			assert.same({}, devices.attached(phone));
			assert.equal(600, timeout());
			assert.is_true(long > 600);
		end);
	end);

	describe("a transient error", function ()
		for _, error in ipairs(transient) do
			local type, condition = table.unpack(error);

			it(("never counts: %s of type %s"):format(condition, type), function ()
				local jid, registration = absent_user();
				push.answer = push_service.error(type, condition);
				ring(jid, max_errors + 1);
				assert.equal(max_errors + 1, #push.received);
				assert.equal(0, errors(jid, registration));
				assert.is_nil(record_of(jid, registration).suspended);
				assert.equal(0, inspect.in_flight(server));
				message(jid);
				assert.equal(max_errors + 1, #push.received);
			end);
		end

		it("leaves the count of permanent ones as it is", function ()
			local jid, registration = absent_user();
			push.answer = refuse;
			message(jid, max_errors - 1);
			push.answer = push_service.error("wait", "resource-constraint");
			ring(jid, 2);
			assert.equal(max_errors - 1, errors(jid, registration));
			push.answer = refuse;
			ring(jid);
			assert.is_false(is_registered(jid, registration));
		end);

		it("is it when the push service is not connected", function ()
			local jid, registration = absent_user();
			push:disconnect();
			for _ = 1, max_errors + 1 do sender:message({ to = jid; call }); end
			sender:ping();
			assert.equal(0, inspect.in_flight(server));
			assert.equal(0, errors(jid, registration));
			assert.is_nil(record_of(jid, registration).suspended);
			push:reconnect();
			push:wait(1);
			assert.equal(0, errors(jid, registration));
		end);

		it("is it when there is no such server", function ()
			local jid, registration = absent_user("localhost");
			local mark = server:log_mark();
			ring(jid, max_errors + 1);
			inspect.wait_all_answered(server);
			local failed = ("A push for %s to %s failed: "):format(jid:match("^[^@]+"), registration.identifier);
			assert.truthy(server:log_since(mark):find(failed, 1, true));
			assert.equal(0, errors(jid, registration));
			assert.is_nil(record_of(jid, registration).suspended);
		end);

		it("is it when there is no answer", function ()
			local jid, registration = absent_user();
			push.answer = refuse;
			message(jid, max_errors - 1);
			push.answer = push_service.never;
			push:clear();
			message(jid, max_errors);
			assert.truthy(push.received[1]);
			inspect.wait_all_answered(server);
			assert.equal(max_errors - 1, errors(jid, registration));
			assert.is_true(is_registered(jid, registration));
		end);
	end);

	describe("an answer", function ()
		it("counts from the address that was asked only", function ()
			local jid, registration = absent_user();
			local genuine;
			push.answer = function (publish, service)
				genuine = st.error_reply(publish.stanza, "cancel", "gone");
				local forged = st.clone(genuine);
				forged.attr.from = "somebody@push.test";
				service:send(forged);
				forged = st.clone(genuine);
				forged.attr.from = "push.test/resource";
				service:send(forged);
			end;
			message(jid);
			assert.equal(0, errors(jid, registration));
			assert.equal(1, inspect.in_flight(server));
			push:send(genuine);
			push:ping();
			assert.equal(1, errors(jid, registration));
			assert.equal(0, inspect.in_flight(server));
		end);

		it("does not count from a client", function ()
			local jid, registration = absent_user();
			local id;
			push.answer = function (publish) id = publish.id; end;
			message(jid);
			sender:send(st.iq({ type = "error"; id = id; to = "home.test" }):add_child(
				st.error_reply(st.iq({ type = "get"; id = "1" }), "cancel", "gone").tags[1]));
			sender:send(st.iq({ type = "result"; id = id; to = "home.test" }));
			sender:ping();
			assert.equal(0, errors(jid, registration));
			assert.equal(1, inspect.in_flight(server));
		end);

		it("counts with the id that was sent only", function ()
			local jid, registration = absent_user();
			push.answer = function (publish, service)
				for _, id in ipairs({ "x"; "push-"; "push-0000000000000000"; publish.id .. "0"; publish.id:upper() }) do
					local reply = st.error_reply(publish.stanza, "cancel", "gone");
					reply.attr.id = id;
					service:send(reply);
				end
			end;
			message(jid);
			assert.equal(0, errors(jid, registration));
			assert.equal(1, inspect.in_flight(server));
		end);

		it("is too late after the time limit", function ()
			local jid, registration = absent_user();
			local late;
			push.answer = function (publish) late = st.error_reply(publish.stanza, "cancel", "gone"); end;
			message(jid);
			inspect.wait_all_answered(server);
			push:send(late);
			push:ping();
			assert.equal(0, errors(jid, registration));
			assert.is_true(is_registered(jid, registration));
		end);

		it("does not bring back what has ended", function ()
			local jid, registration = absent_user();
			local answers = {};
			push.answer = function (publish) answers[#answers + 1] = st.reply(publish.stanza); end;
			message(jid, 2);
			local phone = client.connect(server, jid, { resource = "phone" });
			devices.disable(phone, registration);
			for _, answer in ipairs(answers) do push:send(answer); end
			push:ping();
			assert.is_nil(errors(jid, registration));
			assert.same({}, devices.identifiers(server, jid));
			assert.equal(0, inspect.in_flight(server));
			phone:close();
		end);

		it("leaves no handler behind, and neither does its absence", function ()
			local jid = absent_user();
			message(jid);
			local before = inspect.handlers(server);
			message(jid, 20);
			push:clear();
			push.answer = push_service.never;
			options.push_answer_timeout = 120;
			server:reconfigure();
			message(jid, 20);
			assert.same(before, inspect.handlers(server));
			assert.equal(20, inspect.in_flight(server));
			for _, publish in ipairs(push.received) do push_service.result(publish, push); end
			inspect.wait_all_answered(server);
			options.push_answer_timeout = 1;
			server:reconfigure();
			message(jid, 20);
			inspect.wait_all_answered(server);
			-- What the device is owed now goes out when the push service gives a sign of life: this one.
			push:clear();
			push.answer = push_service.result;
			push:ping();
			push:wait(1);
			inspect.wait_all_answered(server);
			assert.same(before, inspect.handlers(server));
		end);
	end);

	describe("a push service inside the server", function ()
		local function answer_with(type, condition)
			server:eval([[
				local answer = module("local.test", "spec_push_service"):shared("answer");
				answer.type, answer.condition = ...;
			]], type, condition);
		end

		local function received(node)
			return server:eval([[return module("local.test", "spec_push_service"):shared("received")[...] ]], node);
		end

		before_each(function ()
			answer_with(nil, nil);
		end);

		it("may answer at once", function ()
			local jid, registration = absent_user("local.test");
			message(jid, 2);
			assert.equal(2, received(registration.node));
			assert.equal(0, inspect.in_flight(server));
			assert.equal(0, errors(jid, registration));
		end);

		it("may change what it gets, which is nobody else's", function ()
			server:eval([[module("local.test", "spec_push_service"):shared("answer").change = true;]]);
			local jid, registration = absent_user("local.test");
			message(jid, 2);
			assert.equal(2, received(registration.node));
			server:eval([[module("local.test", "spec_push_service"):shared("answer").change = nil;]]);
			jid = absent_user();
			message(jid);
			local publish = push:wait(1);
			assert.equal("New Message!", publish.form["last-message-body"]);
			assert.is_nil(publish.stanza.tags[1].tags[1].tags[1].attr.id);
		end);

		it("may end a registration in the middle of the pushes for one message", function ()
			local jid = devices.new_user(server);
			local registered = {};
			for i = 1, 5 do
				local phone = client.connect(server, jid, { resource = ("phone%d"):format(i) });
				registered[i] = { jid = "local.test"; node = new_node() };
				devices.enable(phone, registered[i]);
				phone:close();
			end
			answer_with("cancel", "item-not-found");
			message(jid, max_errors - 1);
			assert.equal(5, #devices.identifiers(server, jid));
			message(jid);
			assert.same({}, devices.identifiers(server, jid));
			message(jid);
			for i = 1, 5 do assert.equal(max_errors, received(registered[i].node)); end
			assert.equal(0, inspect.in_flight(server));
		end);

		it("may end a registration in the middle of the pushes for one session", function ()
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone"; sm = "resume" });
			local node = new_node();
			devices.enable(phone, { jid = "local.test"; node = node });
			phone.withhold_acks = true;
			message(jid, max_errors + 3);
			answer_with("cancel", "item-not-found");
			phone:cut();
			assert.equal(max_errors, received(node));
			assert.same({}, devices.attached(phone));
			assert.same({}, devices.identifiers(server, jid));
			message(jid);
			assert.equal(max_errors, received(node));
			assert.equal(phone, phone:resume());
			phone:close();
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
