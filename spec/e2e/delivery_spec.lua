local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

local day = 24 * 3600;
local megabyte = 2^20;
local max_errors = 3;

-- Nothing happens by itself: a test says what it needs.
local patient = {
	component_stanza_size_limit = 16 * megabyte;
	push_coalesce_window = 0;
	push_max_errors = max_errors;
	push_max_failures = 0;
	push_max_per_minute = 0;
	push_retry_max = 3600;
	push_retry_min = 3600;
};

-- One failure, and the push service is left alone until it gives a sign of life.
local fragile = { push_max_failures = 1 };

local transient = {
	{ "wait", "resource-constraint" };
	{ "wait", "item-not-found" };
	{ "wait", "undefined-condition" };
	{ "cancel", "remote-server-not-found" };
	{ "cancel", "remote-server-timeout" };
	{ "cancel", "recipient-unavailable" };
	{ "cancel", "service-unavailable" };
	{ "cancel", "internal-server-error" };
	{ "modify", "resource-constraint" };
};

-- Errors that blame nobody in particular.
local senseless = {
	["nothing"] = "";
	["an error without anything"] = "<error/>";
	["an error without a type"] = "<error><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
	["an error of a type that nobody knows"] =
		"<error type='nonsense'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
	["an error to wait without a condition"] = "<error type='wait'/>";
	["an error with two conditions"] =
		"<error type='wait'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><gone/></error>";
	["an error in another namespace"] = "<error xmlns='urn:x' type='cancel'/>";
	["text"] = "text";
	["nonsense"] = "<nonsense xmlns='urn:x'><error type='cancel'/></nonsense>";
};

local function error_with(content)
	return function (publish, service)
		service:send(("<iq type='error' from='push.test' to='home.test' id='%s'>%s</iq>"):format(publish.id, content));
	end
end

local unavailable = push_service.error("wait", "resource-constraint"); -- Said of a device
local broken = push_service.error("wait", "internal-server-error"); -- Said of itself
local no_route = push_service.error("wait", "remote-server-timeout");
local forbidden = push_service.error("auth", "forbidden", "You may not");
local not_found = push_service.error("cancel", "item-not-found");

local function describe_all(version)
	local server, push, rosa;

	-- Changes options until the end of the test.
	local function configure(options)
		local all = {};
		for name, value in pairs(patient) do all[name] = value; end
		for name, value in pairs(options or {}) do all[name] = value; end
		server:reconfigure({ options = all });
	end

	setup(function ()
		server = prosody.start({
			version = version; s2s = true; options = patient; config = [[Component "local.test" "spec_push_service"]];
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function in_flight()
		return inspect.in_flight(server);
	end

	-- How many devices wait for a push.
	local function waiting()
		return inspect.waiting(server);
	end

	-- The push services that are left alone.
	local function out()
		return inspect.engine(server, "out");
	end

	local function wait_until(count, n, what)
		loop.wait_for(function () return count() == n; end, nil, ("%d %s"):format(n, what));
	end

	local function wait_waiting(n)
		wait_until(waiting, n, "devices that wait");
	end

	local function wait_in_flight(n)
		wait_until(in_flight, n, "pushes under way");
	end

	-- Each test begins with an engine that knows nothing.
	before_each(function ()
		if push.stream.closed then push:reconnect(); end
		configure();
		inspect.begin_again(server);
		push.answer = push_service.result;
		push:clear();
	end);

	-- Sends a message, which the server has handled when this returns.
	local function text(phone, body)
		rosa:message({ to = phone.jid; body = body or "Wake up" });
		rosa:ping();
	end

	local function ring(phone)
		rosa:message({ to = phone.jid; payloads.propose() });
		rosa:ping();
	end

	local function type_to(phone)
		rosa:message({ to = phone.full_jid; payloads.composing() });
		rosa:ping();
	end

	local function record_of(phone)
		return (devices.stored(server, phone.jid) or {})[phone.identifier];
	end

	local function pushes_to(phone)
		local pushed = {};
		for _, publish in ipairs(push.received) do
			if publish.node == phone.node then pushed[#pushed + 1] = publish.form["last-message-body"] or false; end
		end
		return pushed;
	end

	-- A phone that is owed a push for a text.
	local function owed(phone)
		local before = waiting();
		push.answer = unavailable;
		text(phone);
		wait_waiting(before + 1);
		push:clear();
		push.answer = push_service.result;
		return phone;
	end

	describe("a push that failed", function ()
		for _, error in ipairs(transient) do
			local type, condition = table.unpack(error);

			it(("is tried again: %s of type %s"):format(condition, type), function ()
				configure({ push_retry_min = 0.1 });
				local phone = phones.away(push);
				push.answer = push_service.error(type, condition);
				text(phone);
				push:wait(1);
				push.answer = push_service.result;
				phones.await(phone, 2);
				wait_in_flight(0);
				assert.equal(0, waiting());
				local pushed = pushes_to(phone);
				assert.equal(important, pushed[#pushed]);
				assert.is_nil(record_of(phone).suspended);
			end);
		end

		for name, content in pairs(senseless) do
			it("is tried again, whatever the push service says: " .. name, function ()
				configure({ push_retry_min = 0.1 });
				local phone = phones.away(push);
				push.answer = error_with(content);
				text(phone);
				push:wait(1);
				push.answer = push_service.result;
				phones.await(phone, 2);
				wait_in_flight(0);
				assert.equal(0, waiting());
				assert.equal(0, devices.push_errors(server, phone.jid, phone.identifier));
			end);
		end

		it("is tried again after a flood of text, which does not flood the log", function ()
			configure({ push_retry_min = 0.1 });
			local phone = phones.away(push);
			local mark = server:log_mark();
			push.answer = push_service.error("wait", "resource-constraint", ("long text\n"):rep(100000));
			text(phone);
			push:wait(1);
			push.answer = push_service.result;
			phones.await(phone, 2);
			assert.is_true(#inspect.log_above_debug(server, mark) < 3 * 1024);
		end);

		it("is tried again where it was not answered in time", function ()
			configure({ push_answer_timeout = 1; push_retry_min = 0.1 });
			local phone = phones.away(push);
			push.answer = push_service.never;
			text(phone);
			push:wait(1);
			push.answer = push_service.result;
			assert.same({ important; important }, phones.await(phone, 2));
			wait_waiting(0);
		end);

		for name, answer in pairs({
			["with another id"] = push_service.wrong_id;
			["from another address"] = push_service.wrong_jid("somebody@push.test");
		}) do
			it("is tried again where it was answered " .. name, function ()
				configure({ push_answer_timeout = 1; push_retry_min = 0.1 });
				local phone = phones.away(push);
				push.answer = answer;
				text(phone);
				push:wait(1);
				push:ping();
				assert.equal(1, in_flight());
				push.answer = push_service.result;
				phones.await(phone, 2);
			end);
		end

		it("is tried again once, although the error comes twice", function ()
			local phone = phones.away(push);
			push.answer = function (publish, service)
				unavailable(publish, service);
				unavailable(publish, service);
			end;
			configure({ push_max_failures = 2; push_retry_min = 0.3 });
			text(phone);
			push:wait(1);
			push:ping();
			assert.same({}, out());
			push.answer = push_service.twice;
			phones.await(phone, 2);
			wait_in_flight(0);
			assert.equal(0, waiting());
			assert.equal(2, #push.received);
		end);

		it("is not tried again for an error that blames the registration", function ()
			configure({ push_retry_min = 0.1 });
			for _, content in ipairs({
				"<error type='cancel'/>";
				"<error type='auth'><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>No</text></error>";
				"<error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
			}) do
				local phone = phones.away(push);
				push.answer = error_with(content);
				text(phone);
				push:wait(1);
				push:ping();
				assert.equal(0, in_flight());
				assert.equal(0, waiting());
				assert.equal(1, devices.push_errors(server, phone.jid, phone.identifier));
				push:clear();
			end
		end);

		it("keeps its message no longer than until it is answered", function ()
			local phone = phones.away(push);
			server:eval([[
				local kept = setmetatable({}, { __mode = "k" });
				rawset(_G, "spec_kept", kept);
				rawset(_G, "spec_keep", function (event) kept[event.original_stanza] = true; end);
				hosts["home.test"].events.add_handler("cloud_notify/push", spec_keep);
			]]);
			finally(function ()
				server:eval([[hosts["home.test"].events.remove_handler("cloud_notify/push", spec_keep);]]);
			end);
			local function is_kept()
				return server:eval([[
					collectgarbage();
					collectgarbage();
					return next(spec_kept) ~= nil;
				]]);
			end
			push.answer = push_service.never;
			text(phone);
			local publish = push:wait(1);
			assert.is_true(is_kept());
			push_service.result(publish, push);
			push:ping();
			assert.is_false(is_kept());
		end);

		-- Never earlier, whatever the machine does besides.
		it("is tried again after times that grow", function ()
			configure({ push_retry_min = 0.2 });
			local phone = phones.away(push);
			push.answer = unavailable;
			text(phone);
			push:wait(4);
			for i = 1, 3 do
				local pause = push.received[i + 1].at - push.received[i].at;
				assert.is_true(pause > 0.2 * 2^(i - 1) - 0.05, ("attempt %d came after %.2f s"):format(i + 1, pause));
			end
		end);

		it("is tried again after push_retry_max at the latest", function ()
			configure({ push_retry_min = 0.1; push_retry_max = 0.2 });
			local phone = phones.away(push);
			push.answer = unavailable;
			text(phone);
			push:wait(10); -- Without a maximum that would take a minute
		end);

		it("is not tried again when it is too old", function ()
			configure({ push_retry_age = 0; push_retry_min = 0.2 });
			local phone = owed(phones.away(push));
			wait_waiting(0);
			assert.same({}, phones.pushed(phone, rosa));
		end);

		it("is as old as the last message that it is for", function ()
			configure({ push_max_failures = 1; push_retry_age = 1 });
			local old, young = phones.away(push), phones.away(push);
			push:disconnect();
			text(old);
			text(young);
			assert.equal(2, waiting());
			loop.settle(1.1);
			text(young, "Wake up, again");
			push:reconnect();
			phones.await(young, 1);
			wait_waiting(0);
			assert.same({}, pushes_to(old));
			assert.same({ important }, pushes_to(young));
		end);
	end);

	describe("what comes meanwhile", function ()
		it("is merged into one push, for the most important", function ()
			configure(fragile);
			local phone = phones.hibernated(push);
			push:disconnect();
			type_to(phone);
			assert.equal(1, waiting());
			for i = 1, 20 do text(phone, ("Text %d"):format(i)); end
			type_to(phone);
			assert.equal(1, waiting());
			push:reconnect();
			phones.await(phone, 1);
			wait_in_flight(0);
			assert.equal(0, waiting());
			assert.same({ important }, phones.pushed(phone, rosa));
		end);

		it("stays unimportant if nothing important was missed", function ()
			configure(fragile);
			local phone = phones.hibernated(push);
			push:disconnect();
			type_to(phone);
			type_to(phone);
			push:reconnect();
			phones.await(phone, 1);
			wait_in_flight(0);
			assert.same({ unimportant }, phones.pushed(phone, rosa));
		end);

		it("does not make a call wait that the push service can take", function ()
			local phone = owed(phones.away(push));
			text(phone);
			assert.same({}, phones.pushed(phone, rosa));
			ring(phone);
			phones.await(phone, 1);
			-- The device learns of the rest, too.
			wait_in_flight(0);
			assert.equal(0, waiting());
		end);

		it("is merged also where pushes carry the text", function ()
			configure({ push_max_failures = 1; push_notification_with_body = true });
			local phone = phones.hibernated(push);
			push:disconnect();
			type_to(phone);
			text(phone, "one");
			text(phone, "two");
			assert.equal(1, waiting());
			push:reconnect();
			phones.await(phone, 1);
			wait_in_flight(0);
			assert.equal(0, waiting());
			assert.same({ "one" }, phones.pushed(phone, rosa));
		end);
	end);

	describe("a device that is owed a push is owed none any more", function ()
		local ways = {
			["when its session is resumed"] = function ()
				local phone = owed(phones.hibernated(push));
				assert.equal(phone, phone:resume());
				return phone;
			end;
			["when it logs in"] = function ()
				local phone = owed(phones.away(push, { resource = "phone" }));
				return phones.login(phone, { resource = "phone" });
			end;
			["when it enables push"] = function ()
				local phone = owed(phones.away(push));
				local again = phones.login(phone);
				assert.equal(1, waiting()); -- It has not said yet which device it is
				devices.enable(again, { jid = "push.test"; node = phone.node });
				return again;
			end;
			["when push is disabled"] = function ()
				local phone = owed(phones.away(push));
				local again = phones.login(phone);
				devices.disable(again, { jid = "push.test"; node = phone.node });
				return again;
			end;
			["when the push service ends the registration"] = function ()
				local phone = owed(phones.away(push));
				push:send(st.message({ from = "push.test"; to = phone.jid })
					:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub"; node = phone.node })
						:tag("affiliation", { jid = phone.jid; affiliation = "none" }));
				push:ping();
				return phone;
			end;
			["when the account is deleted"] = function ()
				local phone = owed(phones.away(push));
				server:delete_user(phone.username, "home.test");
				return phone;
			end;
		};

		for name, act in pairs(ways) do
			it(name, function ()
				local phone = act();
				assert.equal(0, waiting());
				assert.same({}, phones.pushed(phone, rosa));
			end);
		end

		it("and gets none, while others do", function ()
			configure({ push_retry_min = 1 });
			local resumed, online = phones.hibernated(push), phones.away(push, { resource = "phone" });
			local away = phones.away(push);
			push.answer = unavailable;
			for _, phone in ipairs({ resumed; online; away }) do text(phone); end
			push:wait(3);
			push:clear();
			push.answer = push_service.result;
			assert.equal(resumed, resumed:resume());
			phones.login(online, { resource = "phone" });
			phones.await(away, 1);
			loop.settle(0.6); -- The jitter's share
			assert.same({}, pushes_to(resumed));
			assert.same({}, pushes_to(online));
			assert.same({ important }, pushes_to(away));
		end);

		it("when it comes back before the push has failed", function ()
			local phone = phones.hibernated(push);
			push.answer = push_service.never;
			text(phone);
			push:wait(1);
			assert.equal(phone, phone:resume());
			unavailable(push.received[1], push);
			wait_in_flight(0);
			assert.equal(0, waiting());
		end);
	end);

	describe("a late answer", function ()
		-- A phone whose push was given up; returns the push, too.
		local function given_up()
			configure({ push_answer_timeout = 1 });
			local phone = phones.away(push);
			push.answer = push_service.never;
			text(phone);
			local publish = push:wait(1);
			wait_in_flight(0);
			assert.equal(1, waiting());
			return phone, publish;
		end

		it("settles what is owed", function ()
			local phone, publish = given_up();
			push_service.twice(publish, push);
			push:ping();
			assert.equal(0, waiting());
			assert.equal(0, devices.push_errors(server, phone.jid, phone.identifier));
		end);

		it("settles what it was for only", function ()
			local phone, publish = given_up();
			text(phone, "Something else");
			push_service.result(publish, push);
			push:ping();
			assert.equal(1, waiting());
		end);

		it("settles nothing from another address, or with another id, or if it is an error", function ()
			local phone, publish = given_up();
			local reply = st.reply(publish.stanza);
			reply.attr.from = "push.test/other";
			push:send(reply);
			push_service.wrong_id(publish, push);
			not_found(publish, push);
			unavailable(publish, push);
			push:ping();
			assert.equal(1, waiting());
			assert.equal(0, devices.push_errors(server, phone.jid, phone.identifier));
		end);
	end);

	describe("a push service that is not connected", function ()
		it("has everybody woken when it is back", function ()
			configure(fragile);
			local away, hibernated = {}, {};
			for i = 1, 5 do
				away[i], hibernated[i] = phones.away(push), phones.hibernated(push);
			end
			push:disconnect();
			for _ = 1, 2 do
				for i = 1, 5 do
					text(away[i]);
					text(hibernated[i]);
				end
			end
			assert.equal(0, in_flight());
			assert.equal(10, waiting());
			push:reconnect();
			push:wait(10);
			wait_in_flight(0);
			assert.equal(0, waiting());
			for i = 1, 5 do
				assert.same({ important }, pushes_to(away[i]));
				assert.same({ important }, phones.pushed(hibernated[i], rosa));
			end
			assert.same({}, out());
		end);
	end);

	describe("a push service that fails again and again", function ()
		-- Phones that have failed, each of a user of its own, at a service that is left alone.
		local function outage(count, options)
			local all = { push_max_failures = 3 };
			for name, value in pairs(options or {}) do all[name] = value; end
			configure(all);
			local away = {};
			for i = 1, count do away[i] = phones.away(push); end
			push.answer = broken;
			for _, phone in ipairs(away) do text(phone); end
			wait_waiting(count);
			for _, phone in ipairs(away) do assert.truthy(pushes_to(phone)[1]); end -- Nobody is kept waiting by others
			assert.same({ "push.test" }, out());
			push:clear();
			return away;
		end

		it("is left alone by those who have failed", function ()
			local mark = server:log_mark();
			local away = outage(10);
			for _, phone in ipairs(away) do text(phone, "Wake up, again"); end
			push:expect_none();
			assert.same({ 0; 10 }, { in_flight(); waiting() });
			local warnings = {};
			for _, line in ipairs(inspect.logged(server, "warn", mark)) do
				if line:find("push.test", 1, true) then warnings[#warnings + 1] = line; end
			end
			assert.equal(1, #warnings);
			assert.truthy(warnings[1]:find("push.test failed to take 3 pushes in a row, "
				.. "the last one: internal-server-error",
				1, true));
		end);

		for what, act in pairs({ ["whose device has not failed"] = text; ["who is called"] = ring }) do
			it("is not left alone by anybody " .. what, function ()
				local away = outage(4);
				push.answer = push_service.never;
				local phone = what == "who is called" and away[4] or phones.away(push);
				act(phone);
				push:ping();
				assert.equal(1, #pushes_to(phone));
			end);
		end

		it("is left alone where there is no way to it", function ()
			configure(fragile);
			local phone = phones.away(push);
			push:disconnect();
			text(phone);
			assert.same({ "push.test" }, out());
			assert.equal(1, waiting());
			push:reconnect();
			phones.await(phone, 1);
			assert.same({}, out());
		end);

		it("is left alone where it is silent", function ()
			configure({ push_answer_timeout = 1; push_max_failures = 3 });
			push.answer = push_service.never;
			for _ = 1, 3 do text(phones.away(push)); end
			loop.wait_for(function () return out()[1]; end, nil, "the push service to be left alone");
			assert.same({ 0; 3 }, { in_flight(); waiting() });
		end);

		it("is not left alone for what it says of single devices, or says to one user", function ()
			configure({ push_max_devices = 20; push_max_failures = 3 });
			local phone = phones.away(push);
			for _ = 1, 9 do phones.away(push, { jid = phone.jid }); end
			for said, answer in ipairs({ broken; push_service.error("cancel", "service-unavailable"); unavailable }) do
				push.answer = answer;
				text(phone, ("Text %d"):format(said));
				ring(phone);
				wait_in_flight(0);
				push:ping();
				assert.same({}, out());
			end
			for _ = 1, 5 do text(phones.away(push)); end
			wait_in_flight(0);
			assert.same({}, out());
		end);

		it("is not left alone if a push succeeds in between", function ()
			configure({ push_max_failures = 3 });
			for _ = 1, 3 do
				for i = 1, 3 do
					local phone = phones.away(push);
					push.answer = i == 3 and push_service.result or broken;
					text(phone);
					phones.await(phone, 1);
					wait_in_flight(0);
				end
			end
			assert.same({}, out());
		end);

		it("is left alone without a limit never", function ()
			configure({ push_max_failures = 0 });
			push.answer = broken;
			for i = 1, 10 do
				text(phones.away(push));
				push:wait(i);
			end
			assert.same({}, out());
		end);

		it("gets one push at a time to see whether it is back", function ()
			local away = outage(6, { push_retry_min = 0.3; push_retry_max = 0.3 });
			push.answer = push_service.never;
			push:wait(1);
			for _, phone in ipairs(away) do text(phone); end
			push:expect_none(0.5);
			assert.equal(1, in_flight());
		end);

		it("is probed with one registration after the other: who has failed least", function ()
			outage(6, { push_retry_min = 0.1; push_retry_max = 0.1 });
			push:wait(12);
			for round = 0, 1 do
				local nodes, count = {}, 0;
				for i = 1, 6 do nodes[push.received[6 * round + i].node] = true; end
				for _ in pairs(nodes) do count = count + 1; end
				assert.equal(6, count);
			end
		end);

		it("is probed with a call first", function ()
			loop.in_time(function ()
				inspect.begin_again(server);
				local away = outage(6, { push_retry_min = 0.5; push_retry_max = 0.5 });
				ring(away[6]);
				local called = push:wait(1).node == away[6].node;
				wait_in_flight(0);
				-- Now it has failed more often than all others.
				return called and push:wait(2).node == away[6].node;
			end);
		end);

		it("gets all that is owed once it answers, each device one push", function ()
			local away = outage(10, { push_retry_min = 0.3 });
			local mark = server:log_mark();
			push.answer = push_service.result;
			push:wait(10);
			wait_in_flight(0);
			assert.equal(0, waiting());
			assert.same({}, out());
			for _, phone in ipairs(away) do assert.same({ important }, phones.pushed(phone, rosa)); end
			local infos = inspect.logged(server, "info", mark);
			assert.truthy(infos[1]:find("push.test takes pushes again, 9 devices are owed one", 1, true));
		end);

		it("answers, too, when it refuses, or says something of a single device", function ()
			for _, answer in ipairs({ not_found; unavailable }) do
				local away = outage(5);
				push.answer = answer;
				ring(away[1]);
				push:wait(5);
				wait_in_flight(0);
				assert.same({}, out());
				for _, phone in ipairs(away) do server:delete_user(phone.username, "home.test"); end
				push:clear();
			end
		end);

		it("gets what is owed at push_recovery_rate", function ()
			outage(15, { push_recovery_rate = 10 });
			push.answer = push_service.result;
			push:disconnect();
			push:reconnect();
			push:wait(15);
			-- One each tenth of a second, of which the first two may come together.
			local taken = push.received[15].at - push.received[1].at;
			assert.is_true(taken > 1.1, ("it took %.2f s"):format(taken));
		end);

		local signs = {
			["a message"] = function () push:send(st.message({ from = "push.test"; to = rosa.jid })); end;
			["presence"] = function () push:send(st.presence({ from = "push.test"; to = rosa.jid })); end;
			["a request to the server"] = function () push:ping(); end;
			["a request to a user"] = function ()
				push:send(st.iq({ type = "get"; from = "push.test"; to = rosa.jid; id = "x" })
					:tag("query", { xmlns = "urn:x" }));
			end;
			["a new connection"] = function ()
				push:disconnect();
				push:reconnect();
			end;
		};

		for name, act in pairs(signs) do
			it("gets all that is owed at a sign of life: " .. name, function ()
				outage(5);
				push.answer = push_service.result;
				act();
				push:wait(5);
				wait_in_flight(0);
				assert.same({}, out());
			end);
		end

		it("is known at a sign of life, although an old record has its address as the client wrote it", function ()
			configure(fragile);
			local jid = devices.new_user(server);
			server:eval([[
				local user = ...;
				local records = { ["Push.Test<old"] = { jid = "Push.Test"; node = "old"; timestamp = os.time() } };
				assert(require "core.storagemanager".open("home.test", "cloud_notify"):set(user, records));
			]], jid:match("^[^@]+"));
			push.answer = no_route;
			text({ jid = jid });
			loop.wait_for(function () return out()[1]; end, nil, "the push service to be left alone");
			push.answer = push_service.result;
			push:disconnect();
			push:reconnect();
			push:wait(2);
			wait_in_flight(0);
			assert.same({}, out());
		end);

		it("shows no sign of life by answers to others, nor by what others send", function ()
			outage(3);
			local function says(stanza)
				push:send(stanza);
				rosa:expect({ name = stanza.name; id = stanza.attr.id });
			end
			says(st.iq({ type = "result"; from = "push.test"; to = rosa.full_jid; id = "late1" }));
			says(st.iq({ type = "error"; from = "push.test"; to = rosa.full_jid; id = "late2" })
				:tag("error", { type = "cancel" }):tag("gone", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" }));
			says(st.message({ from = "somebody@push.test"; to = rosa.full_jid; id = "other" }));
			assert.equal(0, in_flight());
			assert.same({}, push.received);
			assert.same({ "push.test" }, out());
		end);

		it("gets what is owed when there is a connection to its server", function ()
			configure(fragile);
			local service = { server = server; jid = "push@localhost" };
			local phone = phones.away(service);
			text(phone);
			loop.wait_for(function () return out()[1]; end, nil, "the push service to be left alone");
			for _, event in ipairs({ "s2sout-established"; "s2sin-established" }) do
				local mark = server:log_mark();
				server:eval([[
					local event = ...;
					hosts["home.test"].events.fire_event(event, { session = event == "s2sin-established"
						and { direction = "incoming"; from_host = "localhost"; to_host = "home.test" }
						or { direction = "outgoing"; from_host = "home.test"; to_host = "localhost" } });
				]], event);
				server:wait_log("Sending important push for " .. phone.username, nil, mark);
				inspect.wait_all_answered(server);
			end
		end);

		it("does not hold up the pushes to another", function ()
			outage(3);
			local service = { server = server; jid = "local.test" };
			local phone = phones.away(service);
			text(phone);
			local received = server:eval([[return module("local.test", "spec_push_service"):shared("received")]]);
			assert.equal(1, received[phone.node]);
		end);
	end);

	describe("no more than push_max_in_flight pushes of one push service wait for an answer", function ()
		it("but for one of each device", function ()
			configure({ push_max_in_flight = 2 });
			local away = {};
			for i = 1, 5 do away[i] = phones.away(push); end
			push.answer = push_service.never;
			for _, phone in ipairs(away) do
				text(phone, "one");
				text(phone, "two");
			end
			push:ping();
			-- Only the first found room for a second one.
			assert.same({ 6; 4 }, { in_flight(); waiting() });
			assert.equal(2, #pushes_to(away[1]));
			for i = 2, 5 do assert.equal(1, #pushes_to(away[i])); end
			for i = #push.received, 1, -1 do push_service.result(push.received[i], push); end
			push:wait(10);
			push.answer = push_service.result;
			for i = 7, 10 do push_service.result(push.received[i], push); end
			wait_in_flight(0);
			assert.equal(0, waiting());
			for _, phone in ipairs(away) do assert.same({ important; important }, phones.pushed(phone, rosa)); end
		end);

		it("but for calls", function ()
			configure({ push_max_in_flight = 1 });
			local phone = phones.away(push);
			push.answer = push_service.never;
			text(phone, "one");
			text(phone, "two");
			push:ping();
			assert.equal(1, #push.received);
			ring(phone);
			push:ping();
			assert.equal(2, #push.received);
			push.answer = push_service.result;
			for i = 1, 2 do push_service.result(push.received[i], push); end
			loop.wait_for(function () return waiting() == 0 and in_flight() == 0; end, nil, "all to be delivered");
		end);
	end);

	describe("a registration that is refused push_max_errors times in a row", function ()
		local function refuse(phone, count, answer)
			push.answer = answer or forbidden;
			for _ = 1, count or 1 do
				push:clear();
				text(phone);
				push:wait(1);
				push:ping();
			end
			push:clear();
			push.answer = push_service.result;
		end

		local function suspended(phone)
			refuse(phone, max_errors);
			assert.truthy(record_of(phone).suspended);
			return phone;
		end

		-- Changes its record as time would have done, in the store and in memory.
		local function rewrite(phone, changes)
			inspect.eval(server, [[
				local user, identifier, changes = ...;
				local records = upvalue("load_records")(user);
				for name, value in pairs(changes) do records[identifier].suspended[name] = value; end
				assert(upvalue("save_records")(user, records));
			]], phone.username, phone.identifier, changes);
		end

		-- Has the time of its trial come.
		local function try(phone)
			rewrite(phone, { ["until"] = os.time() - 1 });
			inspect.eval(server, [[
				local user, identifier = ...;
				upvalue("arm")(upvalue("engine"):suspend(user, identifier, 0));
			]], phone.username, phone.identifier);
		end

		local function try_and_fail(phone, answer)
			push:clear();
			push.answer = answer or forbidden;
			try(phone);
			push:wait(1);
			push:ping();
			push.answer = push_service.result;
			push:clear();
		end

		it("is suspended", function ()
			local before = os.time();
			local mark = server:log_mark();
			local phone = suspended(phones.away(push));
			local suspension = record_of(phone).suspended;
			assert.is_true(suspension.since >= before and suspension.since <= os.time());
			assert.equal(suspension.since + day, suspension["until"]);
			assert.equal(0, suspension.trials);
			assert.equal("forbidden", suspension.condition);
			assert.equal("You may not", suspension.text);
			local warnings = inspect.logged(server, "warn", mark);
			assert.equal(1, #warnings);
			assert.truthy(warnings[1]:find(("Suspended a push registration of %s at push.test after %d errors in a row, "
				.. "the last one: forbidden"):format(phone.username, max_errors), 1, true));
		end);

		it("gets no pushes", function ()
			local phone = suspended(phones.away(push));
			text(phone);
			ring(phone);
			server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], phone.username);
			assert.same({}, phones.pushed(phone, rosa));
			assert.equal(0, in_flight());
			assert.equal(1, waiting());
		end);

		it("loses its sessions, which hibernate as long as others", function ()
			local live = phones.new(push);
			local hibernated = phones.hibernated(push);
			local function timeout()
				return server:eval([[return prosody.full_sessions[...].hibernating_watchdog.timeout]], hibernated.full_jid);
			end
			push.answer = forbidden;
			for i = 1, max_errors do
				assert.is_true(timeout() > 600);
				ring(live);
				type_to(hibernated);
				push:wait(2 * i);
				push:ping();
			end
			assert.truthy(record_of(live).suspended);
			assert.truthy(record_of(hibernated).suspended);
			assert.same({}, devices.attached(live));
			assert.same({}, devices.attached(hibernated));
			assert.equal(600, timeout());
		end);

		it("is in force again after a trial that succeeds", function ()
			local phone = suspended(phones.away(push));
			text(phone);
			local mark = server:log_mark();
			try(phone);
			assert.same({ important }, phones.await(phone, 1));
			wait_in_flight(0);
			assert.equal(0, waiting());
			local record = record_of(phone);
			assert.is_nil(record.suspended);
			assert.same({ "push.test"; phone.node }, { record.jid; record.node });
			local infos = inspect.logged(server, "info", mark);
			assert.equal(1, #infos);
			assert.truthy(infos[1]:find("push.test takes pushes for " .. phone.username .. " again", 1, true));
			text(phone, "Another one");
			assert.same({ important; important }, phones.await(phone, 2));
		end);

		it("has its sessions again after a trial that succeeds", function ()
			local phone = suspended(phones.hibernated(push, { resource = "phone" }));
			assert.same({}, devices.attached(phone));
			try(phone);
			phones.await(phone, 1);
			wait_in_flight(0);
			assert.equal(phone.identifier, devices.attached(phone).identifier);
			assert.is_nil(devices.attached(phone).settings.suspended);
			text(phone);
			assert.equal(important, phones.await(phone, 2)[2]);
		end);

		it("has a session that came during the trial", function ()
			local phone = suspended(phones.away(push, { resource = "phone" }));
			push.answer = push_service.never;
			try(phone);
			local publish = push:wait(1);
			local again = phones.login(phone, { resource = "phone" });
			assert.same({}, devices.attached(again));
			push_service.result(publish, push);
			push:ping();
			assert.is_nil(record_of(phone).suspended);
			assert.equal(phone.identifier, devices.attached(again).identifier);
		end);

		it("has no trial while its client is online, but with the next message after that", function ()
			local phone = suspended(phones.away(push, { resource = "phone" }));
			local again = phones.login(phone, { resource = "phone" });
			try(phone);
			wait_waiting(0);
			assert.same({}, phones.pushed(phone, rosa));
			assert.truthy(record_of(phone).suspended);
			again:close();
			text(phone);
			assert.same({ important }, phones.await(phone, 1));
			push:ping();
			assert.is_nil(record_of(phone).suspended);
		end);

		it("waits for its next trial the longer the more have failed", function ()
			local phone = suspended(phones.away(push));
			local since = record_of(phone).suspended.since;
			for trials, days in ipairs({ 2; 4; 8 }) do
				local before = os.time();
				local mark = server:log_mark();
				try_and_fail(phone);
				local suspension = record_of(phone).suspended;
				assert.equal(trials, suspension.trials);
				assert.same({}, inspect.logged(server, "warn", mark));
				local infos = inspect.logged(server, "info", mark);
				assert.equal(1, #infos);
				assert.truthy(infos[1]:find(("Trial %d of a suspended push registration of %s at push.test failed with forbidden "
					.. "-- the next one is in %d hours"):format(trials, phone.username, 24 * days), 1, true), infos[1]);
				assert.equal(since, suspension.since);
				local pause = suspension["until"] - before;
				assert.is_true(pause >= days * day and pause < days * day + 60);
				text(phone);
				assert.same({}, phones.pushed(phone, rosa));
			end
		end);

		it("is not blamed for a trial that fails for another reason", function ()
			configure({ push_retry_min = 0.2 });
			local phone = suspended(phones.away(push));
			try_and_fail(phone, unavailable);
			assert.equal(0, record_of(phone).suspended.trials);
			phones.await(phone, 1);
			wait_in_flight(0);
			assert.is_nil(record_of(phone).suspended);
		end);

		it("is removed after thirty days", function ()
			local phone = suspended(phones.away(push));
			rewrite(phone, { since = os.time() - 29 * day });
			try_and_fail(phone);
			assert.truthy(record_of(phone).suspended);
			rewrite(phone, { since = os.time() - 30 * day - 1 });
			local mark = server:log_mark();
			try_and_fail(phone);
			assert.is_nil(record_of(phone));
			assert.equal(0, waiting());
			local warnings = inspect.logged(server, "warn", mark);
			assert.equal(1, #warnings);
			assert.truthy(warnings[1]:find("Removed a push registration of " .. phone.username .. " at push.test", 1, true));
		end);

		it("is in force as soon as its client enables it", function ()
			local phone = suspended(phones.away(push));
			local again = phones.login(phone, { sm = false });
			devices.enable(again, { jid = "push.test"; node = phone.node });
			again:close();
			assert.is_nil(record_of(phone).suspended);
			assert.equal(0, waiting());
			text(phone);
			assert.same({ important }, phones.await(phone, 1));
			refuse(phone, max_errors - 1);
			assert.is_nil(record_of(phone).suspended);
		end);

		for _, condition in ipairs({ "item-not-found"; "gone" }) do
			it("is removed if its node is dead: " .. condition, function ()
				local phone = phones.away(push);
				refuse(phone, max_errors - 1);
				local mark = server:log_mark();
				refuse(phone, 1, push_service.error("cancel", condition));
				assert.is_nil(record_of(phone));
				assert.equal(0, waiting());
				local warnings = inspect.logged(server, "warn", mark);
				assert.equal(1, #warnings);
				assert.truthy(warnings[1]:find(("Removed a push registration of %s at push.test after %d errors in a row, "
					.. "the last one %s"):format(phone.username, max_errors, condition), 1, true));
			end);
		end

		it("is suspended if only earlier errors have said that its node is dead", function ()
			local phone = phones.away(push);
			refuse(phone, max_errors - 1, not_found);
			refuse(phone);
			assert.equal("forbidden", record_of(phone).suspended.condition);
		end);

		it("is removed if the trial says that its node is dead", function ()
			local phone = suspended(phones.away(push));
			try_and_fail(phone, not_found);
			assert.is_nil(record_of(phone));
		end);
	end);

	describe("the log", function ()
		it("never tells nodes nor texts, from the first failure to the end", function ()
			configure({ push_max_failures = 3; push_retry_min = 0.1; push_retry_max = 0.2; push_notification_with_body = true });
			local mark = server:log_mark();
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid);
			local registration = { jid = "push.test"; node = "SECRETNODE"; options = { secret = "SECRETOPTION" } };
			devices.enable(phone, registration);
			phone:close();
			local function say()
				rosa:message({ to = jid; body = "SECRETBODY" });
				rosa:ping();
			end
			push.answer = push_service.error("wait", "remote-server-timeout", "About SECRETNODE: SECRETBODY");
			say();
			loop.wait_for(function () return out()[1]; end, nil, "the push service to be left alone");
			push.answer = push_service.result;
			loop.wait_for(function () return not out()[1]; end, nil, "the push service to be back");
			inspect.wait_all_answered(server);
			for _, condition in ipairs({ "forbidden"; "item-not-found" }) do
				push.answer = push_service.error("cancel", condition, "About SECRETNODE: SECRETBODY");
				for _ = 1, max_errors do
					push:clear();
					say();
					push:wait(1);
					push:ping();
				end
				if condition == "forbidden" then
					phone = client.connect(server, jid);
					devices.enable(phone, registration);
					phone:close();
				end
			end
			assert.same({}, devices.identifiers(server, jid));
			local lines = inspect.log_above_debug(server, mark);
			for _, step in ipairs({
				"push%.test failed to take 3 pushes in a row, the last one: remote%-server%-timeout";
				"push%.test takes pushes again, %d+ devices are owed one";
				"push%.test refused a push for %w+: forbidden, error 1 of 3";
				"Suspended a push registration of %w+ at push%.test after 3 errors in a row, the last one: forbidden";
				"Removed a push registration of %w+ at push%.test after 3 errors in a row, the last one item%-not%-found";
			}) do
				assert.truthy(lines:find(step), step);
			end
			for _, secret in ipairs({ "SECRETNODE"; "SECRETOPTION"; "SECRETBODY" }) do
				assert.is_nil(lines:find(secret, 1, true), secret);
			end
		end);
	end);
end

local function describe_restarts(version)
	local server, push, rosa;

	local function connect()
		push:reconnect();
		push:ping();
	end

	before_each(function ()
		local options = {};
		for name, value in pairs(patient) do options[name] = value; end
		for name, value in pairs(fragile) do options[name] = value; end
		server = prosody.start({ version = version; options = options });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	after_each(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function waiting()
		return inspect.waiting(server);
	end

	local function stored()
		return server:store_get("home.test", "cloud_notify_owed", nil);
	end

	-- Phones that are owed a push, at a service that is not there.
	local function owed(count)
		local away = {};
		for i = 1, count do away[i] = phones.away(push); end
		push:disconnect();
		for _, phone in ipairs(away) do
			rosa:message({ to = phone.jid; body = "Wake up" });
		end
		rosa:ping();
		assert.equal(count, waiting());
		return away;
	end

	local function assert_each_pushed_once(away)
		push:wait(#away);
		inspect.wait_all_answered(server);
		for _, phone in ipairs(away) do
			assert.same({ important }, phones.pushed(phone));
		end
		assert.equal(0, waiting());
	end

	it("outlives a clean restart", function ()
		local away = owed(3);
		server:restart();
		assert.is_nil(stored());
		assert.equal(3, waiting());
		connect();
		assert_each_pushed_once(away);
	end);

	it("has its time after a restart: a component that is not connected is no sign of life", function ()
		server:reconfigure({ options = patient });
		owed(3);
		server:restart();
		loop.settle(0.5);
		server:unload_module("cloud_notify", "home.test");
		for _, device in ipairs(stored().devices) do assert.equal(1, device.failures); end
	end);

	it("outlives several clean restarts", function ()
		local away = owed(3);
		server:restart();
		server:restart();
		connect();
		assert_each_pushed_once(away);
		server:restart();
		assert.equal(0, waiting());
	end);

	it("outlives a reload of the module", function ()
		local away = owed(3);
		server:reload_module("cloud_notify", "home.test");
		assert.equal(3, waiting());
		connect();
		assert_each_pushed_once(away);
	end);

	it("outlives the unloading of the module", function ()
		local away = owed(3);
		server:unload_module("cloud_notify", "home.test");
		assert.equal(3, #stored().devices);
		server:load_module("cloud_notify", "home.test");
		assert.is_nil(stored());
		connect();
		assert_each_pushed_once(away);
	end);

	it("is not in the store while it may be sent, so that a crash sends nothing twice", function ()
		local away = owed(3);
		server:restart();
		connect();
		assert_each_pushed_once(away);
		server:kill();
		server:restart();
		assert.equal(0, waiting());
		push:clear();
		connect();
		assert.same({}, push.received);
	end);

	it("does not outlive a crash", function ()
		owed(3);
		server:restart();
		server:kill();
		server:restart();
		assert.equal(0, waiting());
		assert.is_nil(stored());
	end);

	it("is given up where the device has come back meanwhile", function ()
		local phone = owed(1)[1];
		server:restart();
		local again = phones.login(phone);
		devices.enable(again, { jid = "push.test"; node = phone.node });
		assert.equal(0, waiting());
		again:close();
	end);

	it("stops nothing if the store of it is damaged", function ()
		local away = owed(1);
		for _, damaged in ipairs({
			{ "nonsense" };
			{ devices = 7; services = "x" };
			{
				saved = "x";
				devices = { 7; {}; { user = {}; identifier = true }; { user = "nobody"; identifier = "push.test<x" } };
				services = { 7; {}; { jid = {} }; { jid = "push.test"; failures = -1; age = -1 } };
			};
		}) do
			server:unload_module("cloud_notify", "home.test");
			server:eval([[assert(require "core.storagemanager".open("home.test", "cloud_notify_owed"):set(nil, ...))]], damaged);
			server:load_module("cloud_notify", "home.test");
		end
		rosa:message({ to = away[1].jid; body = "Wake up" });
		rosa:ping();
		connect();
		push:wait(1);
	end);

	local function suspend(phone)
		push.answer = forbidden;
		for i = 1, max_errors do
			rosa:message({ to = phone.jid; body = "Wake up" });
			push:wait(i);
			push:ping();
		end
		assert.truthy(devices.stored(server, phone.jid)[phone.identifier].suspended);
		push:clear();
		push.answer = push_service.result;
	end

	local function end_pause(phone)
		server:eval([[
			local user, identifier = ...;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local records = store:get(user);
			records[identifier].suspended["until"] = os.time() - 1;
			assert(store:set(user, records));
		]], phone.username, phone.identifier);
	end

	it("has no trial of a suspended registration before its time", function ()
		local phone = phones.away(push);
		suspend(phone);
		server:restart();
		push:reconnect();
		rosa = client.connect(server, rosa.jid);
		rosa:message({ to = phone.jid; body = "Wake up" });
		rosa:ping();
		assert.same({}, phones.pushed(phone));
		assert.equal(1, waiting());
	end);

	it("has the trial of a suspended registration, also after a crash", function ()
		local phone = phones.away(push);
		suspend(phone);
		end_pause(phone);
		server:kill();
		server:restart();
		push:reconnect();
		rosa = client.connect(server, rosa.jid);
		rosa:message({ to = phone.jid; body = "Wake up" });
		push:wait(1);
		push:ping();
		assert.is_nil(devices.stored(server, phone.jid)[phone.identifier].suspended);
	end);

	it("has a registration removed whose trial says that its node is dead, also after a crash", function ()
		local phone = phones.away(push);
		suspend(phone);
		end_pause(phone);
		server:kill();
		server:restart();
		push:reconnect();
		push.answer = not_found;
		rosa = client.connect(server, rosa.jid);
		rosa:message({ to = phone.jid; body = "Wake up" });
		push:wait(1);
		push:ping();
		assert.same({}, devices.identifiers(server, phone.jid));
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);

	describe("with Prosody " .. version .. ", what is owed", function ()
		describe_restarts(version);
	end);
end
