-- The server is killed at any moment. After that
--
-- * what a client has seen a result for is in force: it is registered, or not;
-- * what it has seen none for is either as before or as asked for, and nothing in between;
-- * a push that has left is not sent again by the server itself. What was pushed for is known in
--   memory only, so a stanza that is met again after the crash (as offline storage delivers it to a
--   session that does not acknowledge it) may be pushed once more, but once only;
-- * everything works.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_push = "urn:xmpp:push:0";

local busy = push_service.error("wait", "resource-constraint");
local answers = { push_service.result; push_service.result; push_service.never; busy };

local rounds = { ["0.12"] = 50; ["13.0"] = 10 };
local nodes = { "n1"; "n2"; "n3"; "n4" };
local users = 3;

local seed = tonumber(os.getenv("SPEC_SEED")) or os.time();
local random_state = seed;

-- The same numbers wherever the seed is the same, whoever else uses math.random().
local function random(n)
	random_state = (random_state * 1103515245 + 12345) % 2^31;
	return random_state // 65536 % n + 1;
end

local function describe_all(version)
	local server, push, sender;
	local phones = {}; -- { jid, node -> what the store may say: true, false or "either" }
	local sent, crash = 0, 0;
	local pushes = {}; -- body -> node -> how often, since the latest crash
	local answered, unanswered = 0, 0; -- requests

	local answer = push_service.result;

	local function count(publish, service)
		local body = publish.form["last-message-body"] or "";
		pushes[body] = pushes[body] or {};
		pushes[body][publish.node] = (pushes[body][publish.node] or 0) + 1;
		answer(publish, service);
	end

	local function connect()
		push = push_service.connect(server, "push.test", "secret");
		push.answer = count;
		sender = client.connect(server, "sender@home.test");
		for _, phone in ipairs(phones) do
			phone.client = client.connect(server, phone.jid, { resource = "phone"; presence = false });
			phone.asked = {};
		end
	end

	setup(function ()
		print("\tseed " .. seed);
		server = prosody.start({
			version = version;
			options = {
				push_coalesce_window = 0;
				push_max_per_minute = 0;
				push_notification_with_body = true;
				push_retry_min = 0.1;
				push_retry_max = 0.1;
			};
		});
		server:add_user("sender", "secret", "home.test");
		for i = 1, users do phones[i] = { jid = devices.new_user(server); state = {} }; end
		connect();
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- Asks without waiting for the answer.
	local function ask(phone, name, node)
		local request = st.iq({ type = "set"; id = new_id() })
			:tag(name, { xmlns = xmlns_push; jid = "push.test"; node = node });
		phone.asked[#phone.asked + 1] = { id = request.attr.id; node = node; enable = name == "enable" };
		phone.client:send(request);
	end

	-- What is certain now: what was asked for last and answered.
	local function settle(phone)
		local results = {};
		for _, stanza in ipairs(phone.client.received) do
			if stanza.name == "iq" then results[stanza.attr.id] = stanza.attr.type; end
		end
		for _, request in ipairs(phone.asked) do
			local result = results[request.id];
			assert.is_true(result == nil or result == "result", "refused");
			if result then
				answered = answered + 1;
				phone.state[request.node] = request.enable;
			else
				unanswered = unanswered + 1;
			end
			if not result and phone.state[request.node] ~= request.enable then
				phone.state[request.node] = "either";
			end
		end
	end

	local function step()
		local phone, node = phones[random(users)], nodes[random(#nodes)];
		local what = random(10);
		if what <= 4 then
			ask(phone, "enable", node);
		elseif what <= 6 then
			ask(phone, "disable", node);
		else
			sent = sent + 1;
			sender:message({ to = phone.jid; body = ("message %d"):format(sent) });
		end
	end

	-- Traffic, until the server is killed in the midst of it.
	local function traffic()
		local steps = 10 + random(60);
		for i = 1, steps do
			step();
			if i % 5 == 0 and random(3) == 1 then loop.settle(0); end
			if random(20) == 1 then push:ping(); end
		end
		for _ = 1, random(12) do loop.settle(0); end
		server.process:kill();
		-- What has been sent before arrives yet.
		loop.wait_for(function ()
			local closed = push.stream.closed and sender.stream.closed;
			for _, phone in ipairs(phones) do closed = closed and phone.client.stream.closed; end
			return closed;
		end, nil, "all connections to end");
		server:kill();
	end

	local function assert_in_force(phone)
		local stored = devices.stored(server, phone.jid) or {};
		for _, node in ipairs(nodes) do
			local record, wanted = stored["push.test<" .. node], phone.state[node] or false;
			if wanted ~= "either" then
				assert.equal(wanted, record ~= nil, ("round %d, seed %d: %s of %s"):format(crash, seed, node, phone.jid));
			end
			if record then assert.same({ "push.test"; node }, { record.jid; record.node }); end
			phone.state[node] = record ~= nil;
		end
	end

	-- The nodes that a message wakes are those that are stored.
	local function assert_works(phone)
		local expected = {};
		for _, node in ipairs(nodes) do
			if phone.state[node] then expected[#expected + 1] = node; end
		end
		sent = sent + 1;
		local body = ("message %d"):format(sent);
		sender:message({ to = phone.jid; body = body });
		sender:ping();
		push:ping();
		push:ping();
		local woken = {};
		for node, times in pairs(pushes[body] or {}) do
			assert.equal(1, times);
			woken[#woken + 1] = node;
		end
		table.sort(woken);
		assert.same(expected, woken);
	end

	it("loses nothing that was confirmed, and sends nothing again", function ()
		for round = 1, rounds[version] do
			crash = round;
			answer = answers[round % #answers + 1];
			traffic();
			for _, phone in ipairs(phones) do settle(phone); end
			for body, times in pairs(answer ~= busy and pushes or {}) do
				for node, n in pairs(times) do
					assert.equal(1, n, ("round %d, seed %d: %s at %s"):format(round, seed, body, node));
				end
			end
			pushes, answer = {}, push_service.result;
			server:restart();
			connect();
			for _, phone in ipairs(phones) do assert_in_force(phone); end
			assert.is_nil(server:store_get("home.test", "cloud_notify_owed"));
			assert.same({ 0; 0 }, inspect.eval(server, [[
				return { upvalue("engine"):waiting(), upvalue("engine"):in_flight() };
			]]));
			assert.same({}, pushes, ("round %d, seed %d"):format(round, seed));
			for _, phone in ipairs(phones) do
				phone.client:close();
				assert_works(phone);
				phone.client = client.connect(server, phone.jid, { resource = "phone"; presence = false });
				phone.asked = {};
			end
		end
		assert.is_true(answered > rounds[version] and unanswered > rounds[version]);
	end);

	it("may push for what is met again, but once", function ()
		local jid = devices.new_user(server);
		local phone = client.connect(server, jid, { resource = "phone"; sm = "resume" });
		devices.enable(phone, { jid = "push.test"; node = "own" });
		phone:close();
		pushes = {};
		sender:message({ to = jid; body = "stored" });
		sender:ping();
		push:ping();
		assert.same({ stored = { own = 1 } }, pushes);
		server:kill();
		pushes = {};
		server:restart();
		connect();
		assert.same({}, pushes);

		phone = client.connect(server, jid, { resource = "phone"; sm = "resume"; presence = false });
		phone.withhold_acks = true;
		phone:available();
		phone:expect({ name = "message"; body = "stored" });
		for _ = 1, 3 do
			phone:cut();
			push:ping();
			push:ping();
			assert.same({ own = 1 }, pushes.stored);
			phone.handled = 0; -- as if nothing had come
			assert.equal(phone, phone:resume());
			phone:expect({ name = "message"; body = "stored" });
		end
		phone:close();
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("a crash of Prosody " .. version, function ()
		describe_all(version);
	end);
end
