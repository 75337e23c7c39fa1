local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";

-- A push service is away for ten minutes, and has a minute to wake everybody when it is back. Time goes
-- by faster here, as fast as the machine can keep up with, so all options that are times are shorter, and
-- the rate is higher.
local most_haste = 20;

local function options_for(haste)
	return {
		push_answer_timeout = 120 / haste;
		push_max_errors = 1; -- So that none may count
		push_recovery_rate = math.floor(50 * haste);
		push_retry_age = 24 * 3600 / haste;
		push_retry_max = 30 * 60 / haste;
		push_retry_min = 5 / haste;
	};
end

local users, devices_each = 200, 5;
local max_heap_growth = 256; -- KiB of Lua

local function describe_all(version)
	local server, push, rosa, names;

	setup(function ()
		server = prosody.start({ version = version; options = options_for(1) });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
		names = server:eval([[
			local users, devices = ...;
			local create_user = require "core.usermanager".create_user;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local names = {};
			for i = 1, users do
				local name, records = ("owner%d"):format(i), {};
				assert(create_user(name, "secret", "home.test"));
				for j = 1, devices do
					local node = ("%s-%d"):format(name, j);
					records["push.test<" .. node] = {
						jid = "push.test"; node = node; timestamp = os.time(); sequence = j; resource = node;
					};
				end
				assert(store:set(name, records));
				names[i] = name;
			end
			return names;
		]], users, devices_each);
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function in_engine()
		local in_flight, waiting, out = inspect.eval(server, [[
			local engine = upvalue("engine");
			return engine:in_flight(), engine:waiting(), engine:out();
		]]);
		return { in_flight = in_flight; waiting = waiting; out = out };
	end

	-- One message for each user, which the server has handled when this returns.
	local function send_round(body)
		for _, name in ipairs(names) do
			rosa:message({ to = name .. "@home.test"; body = body });
		end
		rosa:ping();
	end

	local function pushes_per_device()
		local pushes, count = {}, 0;
		for _, publish in ipairs(push.received) do
			if not pushes[publish.node] then count = count + 1; end
			pushes[publish.node] = (pushes[publish.node] or 0) + 1;
		end
		return pushes, count;
	end

	local function assert_each_device_pushed_once()
		local pushes, count = pushes_per_device();
		assert.equal(users * devices_each, count);
		for node, pushed in pairs(pushes) do assert.equal(1, pushed, node); end
	end

	local function healthy_round(body)
		push:clear();
		send_round(body);
		push:wait(users * devices_each);
		push:ping();
		push:ping();
		assert_each_device_pushed_once();
		assert.same({ in_flight = 0; waiting = 0; out = {} }, in_engine());
	end

	it("costs none of 1,000 devices a push, and none gets one twice", function ()
		local before = loop.now();
		healthy_round("Before");
		local haste = math.min(most_haste, 60 / (loop.now() - before));
		local outage, recovery = 600 / haste, 60 / haste;
		server:reconfigure({ options = options_for(haste) });
		healthy_round("Before, again");
		local heap = server:heap();

		-- First it takes pushes and says nothing, then its connection is gone; it comes back for a moment, too.
		push:clear();
		push.answer = push_service.never;
		local start, round = loop.now(), 0;
		local function traffic_until(part)
			while loop.now() < start + outage * part do
				round = round + 1;
				send_round(("During, %d"):format(round));
				loop.settle(0.5);
			end
		end
		traffic_until(0.4);
		push:disconnect();
		traffic_until(0.7);
		push.answer = push_service.error("wait", "resource-constraint");
		push:reconnect();
		traffic_until(0.8);
		push:disconnect();
		traffic_until(1);
		assert.is_true(round > 5);
		assert.same({ in_flight = 0; waiting = users * devices_each; out = { "push.test" } }, in_engine());

		push:clear();
		push.answer = push_service.result;
		local back = loop.now();
		push:reconnect();
		push:wait(users * devices_each);
		local taken = push.received[users * devices_each].at - back;
		assert.is_true(taken < recovery, ("the last one was woken after %.2f s"):format(taken));
		inspect.wait_all_answered(server);
		assert.same({ in_flight = 0; waiting = 0; out = {} }, in_engine());
		assert_each_device_pushed_once();
		push:expect_none(1);

		for _, name in ipairs(names) do
			local records, count = server:store_get("home.test", "cloud_notify", name), 0;
			for _, record in pairs(records) do
				assert.is_nil(record.suspended);
				count = count + 1;
			end
			assert.equal(devices_each, count);
		end
		healthy_round("After");
		local growth = server:heap() - heap;
		assert.is_true(growth < max_heap_growth, ("%.1f KiB more of Lua"):format(growth));
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("an outage of a push service, with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
