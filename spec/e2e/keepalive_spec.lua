local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local important, unimportant = phones.important, phones.unimportant;

-- Long before its time is over, so that no session ends in a test.
local hosts = [[
	VirtualHost "called.test"
		push_wake_before_timeout = 3600
		smacks_hibernation_time = 1

	VirtualHost "half.test"
		push_max_hibernation_timeout = 2
		push_wake_before_timeout = 1000

	VirtualHost "never.test"
		push_max_hibernation_timeout = 1
		push_wake_before_timeout = 0
]];

local function explained(server, phone)
	return server:eval([[
		local user, host = ...;
		local lines = {};
		for _, entry in ipairs(module(host, "cloud_notify").lib "administration".explain(user).entries) do
			lines[#lines + 1] = entry.text;
		end
		return table.concat(lines, "\n");
	]], phone.username, phone.host);
end

for _, version in ipairs(prosody.versions) do
	describe("sessions with Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({
				version = version;
				options = {
					push_coalesce_window = 0;
					push_max_hibernation_timeout = 3601;
					push_wake_before_timeout = 3600;
				};
				config = hosts;
			});
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		before_each(function ()
			push:clear();
		end);

		-- Has the session end so many seconds from now, as far as the engine is told.
		local function set_time(phone, seconds)
			server:eval([[
				local session, seconds = prosody.full_sessions[...], select(2, ...);
				local hibernation = module(session.host, "cloud_notify").lib "hibernation";
				hibernation.plan_wake(session, session.hibernating_watchdog.timeout - seconds);
			]], phone.full_jid, seconds);
		end

		it("end soon: their devices are woken at half of their time, if that is short", function ()
			local phone = phones.hibernated(push, { host = "half.test" });
			assert.same({ unimportant }, phones.await(phone, 1));
			assert.matches("push to keep its session, which is about to end: pushed", explained(server, phone), 1, true);
		end);

		it("end soon: their devices are woken in time, and once", function ()
			local phone = phones.hibernated(push);
			local late = phones.hibernated(push);
			set_time(phone, 0.2);
			assert.same({ unimportant }, phones.await(phone, 1));
			set_time(phone, 0.2);
			set_time(late, 0.4);
			assert.same({ unimportant }, phones.await(late, 1));
			assert.same({ unimportant }, phones.pushed(phone));
			assert.is_nil(server:session(phone.full_jid).first_hibernated_push);

			-- And once in the next hibernation.
			assert.truthy(phone:resume());
			phones.acknowledge(phone);
			phone:cut();
			set_time(phone, 0.2);
			assert.same({ unimportant; unimportant }, phones.await(phone, 2));
		end);

		it("are left alone once they are resumed, or have ended", function ()
			local resumed, ended = phones.hibernated(push), phones.hibernated(push);
			local clock = phones.hibernated(push);
			set_time(resumed, 0.4);
			set_time(ended, 0.4);
			assert.truthy(resumed:resume());
			phones.expire(ended);
			set_time(clock, 0.6);
			phones.await(clock, 1);
			assert.same({}, phones.pushed(resumed));
			assert.same({}, phones.pushed(ended));
		end);

		it("are not kept alive without the option", function ()
			local phone = phones.hibernated(push, { host = "never.test" });
			loop.wait_for(function () return not server:session(phone.full_jid); end, nil, "the session to end");
			assert.same({}, phones.pushed(phone));
		end);

		it("have another time from the first important push on", function ()
			local phone = phones.hibernated(push, { host = "called.test" });
			assert.same({}, phones.pushed(phone));
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important; unimportant }, phones.await(phone, 2));
		end);

		it("are kept whatever their time is from the start", function ()
			local phone = phones.new(push, { host = "called.test" });
			phone.withhold_acks = true;
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({}, phones.pushed(phone, rosa));
			phone:cut();
			assert.same({ important; unimportant }, phones.await(phone, 2));
		end);

		it("are kept through a reload of the module", function ()
			local phone = phones.hibernated(push);
			set_time(phone, 1);
			server:reload_module("cloud_notify", "home.test");
			assert.same({ unimportant }, phones.await(phone, 1));
		end);

		it("are kept when the module is loaded after they have begun to hibernate", function ()
			local phone = phones.hibernated(push);
			server:unload_module("cloud_notify", "home.test");
			server:load_module("cloud_notify", "home.test");
			set_time(phone, 0.2);
			assert.same({ unimportant }, phones.await(phone, 1));
		end);
	end);

	describe("after a start of Prosody " .. version, function ()
		local server, push;

		before_each(function ()
			server = prosody.start({
				version = version;
				options = { push_recovery_rate = 2; push_retry_min = 600; push_retry_max = 600; push_wake_on_start = true };
			});
			push = push_service.connect(server, "push.test", "secret");
		end);

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		-- No push arrives before the push service is there
		local function restart(options)
			server:restart({ options = options });
			push:clear();
			push.answer = push_service.result;
			push:reconnect();
		end

		local function woken(count)
			push:wait(count);
			local nodes = {};
			for i, publish in ipairs(push.received) do nodes[i] = publish.node; end
			table.sort(nodes);
			return nodes;
		end

		it("each device is woken", function ()
			local phone = phones.away(push);
			local watch = phones.away(push, { jid = phone.jid });
			local other = phones.away(push);
			assert.same({}, push.received);
			restart();
			local nodes = { phone.node; watch.node; other.node };
			table.sort(nodes);
			assert.same(nodes, woken(3));
			assert.same({ unimportant }, phones.pushed(phone));
			assert.matches("push after the start of the server: pushed", explained(server, phone), 1, true);
		end);

		it("none is woken that is owed a push anyway", function ()
			local rosa = client.connect(server, devices.new_user(server));
			local phone = phones.away(push);
			push.answer = push_service.error("wait", "resource-constraint");
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, phones.pushed(phone, rosa));
			push:ping(); -- The server has the answer
			local other = phones.away(push);
			restart();
			assert.same({ unimportant }, phones.await(other, 1));
			assert.same({ important }, phones.await(phone, 1));
			assert.same({ important }, phones.pushed(phone));
			assert.matches("push after the start of the server: no push, already waiting", explained(server, phone), 1, true);
		end);

		-- When devices of these users were to be woken by the running module, in order
		local function times_of(users)
			return server:eval([[
				local times = {};
				for _, user in ipairs((...)) do
					for _, entry in ipairs(module("home.test", "cloud_notify").lib "engine".engine:trail(user)) do
						if entry.occasion == "on-start" then times[#times + 1] = entry.at; end
					end
				end
				table.sort(times);
				return times;
			]], users);
		end

		local function three_users()
			local users = {};
			for i = 1, 3 do users[i] = phones.away(push).username; end
			restart({ push_recovery_rate = 1; push_wake_on_start = true });
			return users;
		end

		it("they are woken at push_recovery_rate", function ()
			local users = three_users();
			woken(3);
			local times = times_of(users);
			assert.equal(3, #times);
			for i = 2, 3 do assert.is_true(times[i] - times[i-1] > 0.99); end -- A timer is never early
		end);

		it("none is woken any more once the module is unloaded, or by loading it again", function ()
			local users = three_users();
			local before = #times_of(users);
			server:unload_module("cloud_notify", "home.test");
			server:load_module("cloud_notify", "home.test");
			loop.settle(1.2);
			server:reload_module("cloud_notify", "home.test");
			push:ping();
			local nodes = {};
			for _, publish in ipairs(push.received) do nodes[publish.node] = true; end
			local count = 0;
			for _ in pairs(nodes) do count = count + 1; end
			assert.is_true(count <= before);
			assert.same({}, times_of(users));
		end);

		it("none is woken without the option", function ()
			local phone = phones.away(push);
			restart({ push_wake_on_start = false });
			assert.same({}, phones.pushed(phone));
		end);
	end);
end
