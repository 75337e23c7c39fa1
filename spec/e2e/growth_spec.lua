local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";

local many = 10000;
local batch = 500;

-- What the measuring itself and a log file cost is far below.
-- Lua doubles the table of what is kept until it is answered, up to 64 KiB at once.
local max_heap_growth = 96; -- KiB
local max_rss_growth = 6 * 1024; -- KiB

-- For mod_smacks of 0.12 a watchdog that was called off is in memory until its time is over.
local smacks_timeout = 1;

local function describe_all(version)
	local server, users;
	local messages = 0;

	setup(function ()
		server = prosody.start({
			version = version;
			config = [[Component "local.test" "spec_push_service"]];
			options = {
				push_answer_timeout = 1;
				push_max_failures = 0;
				push_max_per_minute = 0;
				push_retry_age = 0;
				push_retry_max = 0.1;
				push_retry_min = 0.1;
				smacks_hibernation_time = smacks_timeout;
			};
		});
		users = {};
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function answer_never(never)
		server:eval([[module("local.test", "spec_push_service"):shared("answer").never = ...;]], never);
	end

	before_each(function ()
		answer_never(false);
	end);

	local function under_way()
		return inspect.eval(server, [[
			local engine = upvalue("engine");
			return engine:in_flight() + engine:waiting();
		]]);
	end

	local function new_users(push_jid)
		for i = 1, 20 do
			local phone = client.connect(server, devices.new_user(server));
			devices.enable(phone, { jid = push_jid; node = ("n%d"):format(i) });
			users[i] = phone.username;
			phone:close();
		end
	end

	-- Has messages archived for the users, one after the other. This is what mod_mam
	-- does for each, without filling a disk.
	local function archive(count)
		while count > 0 do
			local now = math.min(count, batch);
			server:eval([[
				local users, first, count = ...;
				local events = hosts["home.test"].events;
				for i = first, first + count - 1 do
					local user = users[i % #users + 1];
					local stanza = st.message({
						type = "chat"; from = "bert@away.test/pc"; to = user .. "@home.test"; id = ("m%d"):format(i);
					}, ("Message %d"):format(i));
					events.fire_event("archive-message-added", {
						origin = hosts["home.test"]; stanza = stanza; for_user = user; id = ("a%d"):format(i);
					});
				end
			]], users, messages, now);
			messages = messages + now;
			count = count - now;
		end
	end

	-- Does something as often as it takes for all tables to have their size, and then
	-- often, after which there must not be more in memory than before. What leaks does so each time.
	local function assert_flat(warm_up, count, act)
		act(warm_up);
		local heap_growth, rss_growth;
		for _ = 1, 2 do
			local heap, rss = server:heap(), server:rss();
			act(count);
			heap_growth, rss_growth = server:heap() - heap, server:rss() - rss;
			if heap_growth < max_heap_growth and rss_growth < max_rss_growth then return; end
		end
		error(("%.1f KiB more of Lua, %d KiB more of everything"):format(heap_growth, rss_growth));
	end

	it("pushes that are answered at once leave nothing behind", function ()
		new_users("local.test");
		assert_flat(many / 10, many, function (count)
			archive(count);
			assert.equal(0, inspect.in_flight(server));
		end);
	end);

	it("pushes that a real service answers leave nothing behind", function ()
		local push = push_service.connect(server, "push.test", "secret");
		new_users("push.test");
		assert_flat(many / 10, many, function (count)
			while count > 0 do
				push:clear();
				archive(math.min(batch, count));
				push:wait(math.min(batch, count));
				push:ping();
				count = count - batch;
			end
			inspect.wait_all_answered(server);
		end);
	end);

	it("pushes that are never answered leave nothing behind after their time", function ()
		new_users("local.test");
		answer_never(true);
		assert_flat(many, many, function (count)
			archive(count);
			-- Between two trials of a service that has stopped answering, nothing is under way.
			loop.wait_for(function ()
				archive(1);
				return under_way() > 0;
			end, nil, "a push under way");
			-- Then it is owed, until that is too old
			loop.wait_for(function () return under_way() == 0; end, nil, "all pushes to be given up");
		end);
	end);

	it("users who have not been seen for long are let go of, and read again when they are needed", function ()
		local rosa = client.connect(server, devices.new_user(server));
		local jid = devices.new_user(server);
		local phone = client.connect(server, jid, { resource = "phone" });
		devices.enable(phone, { jid = "local.test"; node = "n1" });
		phone:close();
		local function count_after_message()
			rosa:message({ to = jid; body = "Wake up" });
			rosa:ping();
			return devices.push_errors(server, jid, "local.test<n1");
		end
		assert.equal(0, count_after_message());
		local kept = inspect.eval(server, [[
			local accounts = upvalue("accounts");
			accounts:resize(1);
			accounts:set("somebody", {});
			accounts:resize(10000);
			return accounts:count();
		]]);
		assert.equal(1, kept);
		assert.is_nil(devices.push_errors(server, jid, "local.test<n1"));
		assert.equal(0, count_after_message());
	end);

	-- Mod_smacks itself leaves something behind for each connection that breaks, so here
	-- only its events are fired.
	describe("a session that hibernates again and again", function ()
		local cycles = 2000;

		-- The timers of mod_smacks have to run out before anything can be measured.
		local function wait_for_timers()
			loop.settle(smacks_timeout + 2);
		end

		-- What mod_smacks does for a hibernation and a resume, with an important and an
		-- unimportant stanza in the queue and two that come later.
		local function cycle(phone, count)
			server:eval([[
				local full_jid, first, count = ...;
				local watchdog = require "util.watchdog";
				local events = hosts["home.test"].events;
				local session = prosody.full_sessions[full_jid];
				local function stanza(i, body)
					return st.message({ from = "bert@away.test/pc"; to = full_jid; id = ("c%d"):format(i) }, body);
				end
				for i = first, first + count * 4 - 1, 4 do
					session.hibernating = os.time();
					session.hibernating_watchdog = watchdog.new(1, function () end);
					local queue = { stanza(i), stanza(i + 1, i % 8 == 0 and "Hello" or nil) };
					events.fire_event("smacks-hibernation-start", { origin = session; queue = queue });
					for j = 2, 3 do
						queue[j + 1] = stanza(i + j);
						events.fire_event("smacks-hibernation-stanza-queued", { origin = session; queue = queue; stanza = queue[j + 1] });
					end
					session.hibernating_watchdog:cancel();
					session.hibernating_watchdog, session.hibernating = nil, nil;
					events.fire_event("smacks-hibernation-end", { origin = session; resumed = session; queue = queue });
				end
			]], phone.full_jid, messages, count);
			messages = messages + count * 4;
		end

		it("leaves nothing behind", function ()
			local phone = client.connect(server, devices.new_user(server), { resource = "phone"; sm = "resume" });
			devices.enable(phone, { jid = "local.test"; node = "n1" });
			assert_flat(cycles, cycles, function (count)
				for _ = 1, count, 100 do cycle(phone, 100); end
				wait_for_timers();
				inspect.wait_all_answered(server);
			end);
			phone:close();
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("memory with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
