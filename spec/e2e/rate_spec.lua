-- push_max_per_minute is a limit in any sixty seconds, whatever the rule, and what exceeds it becomes one later
-- push. A flood at an account is no flood at its push service, nor at anybody whose JID a user names as one.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important = phones.important;

local limit = 60; -- the default
local many, more = 900, 200;
local minute = 60;

local hosts = [[
	VirtualHost "body.test"
		push_notification_with_body = true

	VirtualHost "unlimited.test"
		push_max_per_minute = 0
]];

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			options = { push_max_devices = 20; smacks_max_queue_size = 10 * many };
			config = hosts;
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
		-- When each push leaves, whenever this process finds the time to read it.
		server:eval([[
			local now = require "util.time".monotonic;
			local times = {};
			rawset(_G, "spec_times", times);
			hosts["push.test"].events.add_handler("iq/host", function (event)
				local stanza = event.stanza;
				if stanza.attr.type ~= "set" then return; end
				local node = stanza.tags[1].tags[1].attr.node;
				times[node] = times[node] or {};
				table.insert(times[node], now());
			end, 1000);
		]]);
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function () push:clear(); end);

	local function count(phone)
		return #phones.pushed(phone, rosa);
	end

	-- Stanzas for a phone, as clients send them. Returns how many pushes have come of it.
	local function flood(phone, number, make)
		for i = 1, number do
			rosa:send(make(phone, i));
			if i % 100 == 0 then rosa:ping(); end
		end
		return count(phone);
	end

	local function text(phone, i)
		return st.message({ to = phone.jid; type = "chat"; id = ("t%d"):format(i) }):text_tag("body", ("Text %d"):format(i));
	end

	local function call(phone, i)
		return st.message({ to = phone.jid; type = "chat"; id = ("c%d"):format(i) })
			:add_child(payloads.propose()):add_child(payloads.hint("no-store"));
	end

	it("there is none if it is 0", function ()
		local phone = phones.hibernated(push, { host = "unlimited.test" });
		assert.equal(3 * limit, flood(phone, 3 * limit, call));
	end);

	-- One minute for all.
	it("holds for each rule, and what exceeds it is one push when the minute is over", function ()
		local cases = {};

		local function add(name, phone, at_once, later)
			assert.equal(at_once, count(phone), name);
			cases[#cases + 1] = { name = name; phone = phone; at_once = at_once; later = later };
			return phone;
		end

		local phone = phones.hibernated(push);
		flood(phone, many, call);
		add("calls to a hibernated phone", phone, 2 * limit, 1);

		phone = phones.away(push);
		flood(phone, more, call);
		add("calls to one that is away", phone, 2 * limit, 1);

		-- Offline storage meets all of it again.
		phone = phones.hibernated(push, { host = "body.test" });
		flood(phone, many, text);
		assert.equal(limit, count(phone));
		phones.expire(phone);
		add("content to a hibernated phone whose session expires", phone, limit, 1);

		phone = phones.new(push, { host = "body.test" });
		phone.withhold_acks = true;
		flood(phone, more, text);
		phone:cut();
		add("content that is not acknowledged", phone, limit, 1);

		phone = phones.away(push);
		flood(phone, limit + 20, text);
		add("messages to one that is away", phone, limit, 1);

		phone = phones.away(push);
		flood(phone, limit + 20, text);
		flood(phone, more, call);
		add("messages and calls", phone, 2 * limit, 1);

		phone = phones.away(push);
		flood(phone, more, call);
		flood(phone, 20, text);
		add("calls and messages", phone, 2 * limit, 1);

		phone = phones.away(push);
		flood(phone, limit, text);
		add("no more than are allowed", phone, limit, 0);

		phone = phones.away(push);
		for _ = 1, more do
			server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], phone.username);
		end
		add("pushes without a stanza", phone, limit, 1);

		phone = phones.away(push, { resource = "phone" });
		flood(phone, limit + 20, text);
		phones.login(phone, { resource = "phone" });
		add("one that comes back", phone, limit, 0);

		phone = phones.away(push, { resource = "phone" });
		flood(phone, limit + 20, text);
		phones.login(phone, { resource = "phone" }):close();
		add("one that comes back and leaves again", phone, limit, 0);

		phone = phones.hibernated(push, { host = "body.test" });
		flood(phone, limit + 20, text);
		phone:resume();
		add("a session that is resumed", phone, limit, 0);

		-- It is that of a device, not of a user.
		phone = phones.away(push);
		local watch = phones.away(push, { jid = phone.jid });
		flood(phone, limit + 20, text);
		add("one of two devices", phone, limit, 1);
		add("the other one", watch, limit, 1);

		local function pushes_to(node)
			local publishes = {};
			for _, publish in ipairs(push.received) do
				if publish.node == node then publishes[#publishes + 1] = publish; end
			end
			return publishes;
		end
		for _, case in ipairs(cases) do phones.await(case.phone, case.at_once + case.later, 2 * minute); end
		inspect.wait_all_answered(server);
		assert.equal(0, inspect.waiting(server));
		for _, case in ipairs(cases) do
			local publishes = pushes_to(case.phone.node);
			assert.equal(case.at_once + case.later, #publishes, case.name);
			if case.later > 0 then
				local last = publishes[#publishes];
				local times = server:eval([[return spec_times[...];]], case.phone.node);
				assert.equal(#publishes, #times);
				assert.is_true(times[#times] - times[1] >= minute, case.name);
				assert.equal("1", last.form["message-count"]);
			end
		end

		-- It counts in the next minute, too, when those before it do no longer: they are counted by the second.
		phone = cases[#cases].phone;
		loop.wait_for(function ()
			return server:eval([[
				local node, limit, minute = ...;
				return require "util.time".monotonic() - spec_times[node][limit] > minute + 1;
			]], phone.node, limit, minute);
		end, minute, "the minute of the last device to be over");
		push:clear();
		assert.equal(limit - 1, flood(phone, limit + 20, text));
		assert.equal(important, phones.pushed(phone)[1]);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("the limit of pushes, with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
