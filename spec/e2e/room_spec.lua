-- Thousands of pushes that nobody answers, of a few accounts or of many, take room and nothing else: others are
-- pushed to at once, and nothing is done again and again.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local payloads = require "spec.support.payloads";
local push_service = require "spec.support.push_service";

local important = phones.important;

local max_of_user = 256; -- MAX_IN_FLIGHT_OF_USER in the engine
local max_of_all = 65536; -- MAX_IN_FLIGHT

local patient = { push_answer_timeout = 3600; push_max_per_minute = 0; push_retry_max = 3600; push_retry_min = 3600 };

local function describe_all(version)
	local server, push, rosa;
	local crowds, messages = 0, 0;

	setup(function ()
		server = prosody.start({
			version = version;
			options = patient;
			components = { ["push.test"] = "secret"; ["silent.test"] = "secret"; ["quiet.test"] = "secret" };
			config = [[Component "local.test" "spec_push_service"]];
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
		server:eval([[module("local.test", "spec_push_service"):shared("answer").never = true;]]);
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		inspect.begin_again(server);
		push:clear();
	end);

	-- Users with a device at each of these services.
	local function crowd(count, services)
		crowds = crowds + 1;
		return server:eval([[
			local prefix, count, services = ...;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local names = {};
			for i = 1, count do
				local name, records = prefix .. i, {};
				for j, service in ipairs(services) do
					service = service:gsub("%%d", i);
					records[service .. "<n"] = {
						jid = service; node = "n"; timestamp = os.time(); sequence = j; resource = "r" .. j;
					};
				end
				assert(require "core.usermanager".create_user(name, "secret", "home.test"));
				assert(store:set(name, records));
				names[i] = name;
			end
			return names;
		]], ("crowd%d-"):format(crowds), count, services);
	end

	-- Messages for each of them are archived: what mod_mam does, without filling a disk.
	local function archive(names, count)
		for _, name in ipairs(names) do
			server:eval([[
				local user, first, count = ...;
				local events = hosts["home.test"].events;
				for i = first, first + count - 1 do
					events.fire_event("archive-message-added", {
						origin = hosts["home.test"]; for_user = user; id = ("a%d"):format(i);
						stanza = st.message({
							type = "chat"; from = "bert@away.test/pc"; to = user .. "@home.test"; id = ("m%d"):format(i);
						}, "Hello");
					});
				end
			]], name, messages, count);
			messages = messages + count;
		end
	end

	-- From now on it is counted how often the module's timer runs.
	local function count_runs()
		inspect.eval(server, [[
			local serve, set = upvalue("serve_deadlines");
			local runs = { count = 0 };
			rawset(_G, "spec_runs", runs);
			set(function ()
				runs.count = runs.count + 1;
				return serve();
			end);
		]]);
	end

	-- How often it runs in a second in which nothing happens. What was set before may be over by then.
	local function runs_when_idle()
		loop.settle(2);
		server:eval([[spec_runs.count = 0;]]);
		loop.settle(1);
		return server:eval([[return spec_runs.count;]]);
	end

	-- When the messages have been handled, the pushes have left.
	local function assert_pushed_at_once(phone)
		rosa:message({ to = phone.jid; body = "Wake up" });
		assert.same({ important }, phones.pushed(phone, rosa));
		push:ping(); -- Its answer has been taken then
		rosa:message({ to = phone.jid; body = "Wake up, again" });
		rosa:message({ to = phone.jid; payloads.propose() });
		assert.same({ important; important; important }, phones.pushed(phone, rosa));
	end

	local function pushes_to_local(phone)
		local received = server:eval([[return module("local.test", "spec_push_service"):shared("received");]]);
		return received[phone.node] or 0;
	end

	local function assert_room_for_others()
		local before = inspect.in_flight(server);
		for _ = 1, 5 do assert_pushed_at_once(phones.away(push)); end
		-- Those at the silent services, too, have one under way, and calls.
		for _, jid in ipairs({ "local.test"; "local.test/x1" }) do
			local phone = phones.away({ server = server; jid = jid });
			rosa:message({ to = phone.jid; body = "Wake up" });
			rosa:ping();
			assert.equal(1, pushes_to_local(phone));
			rosa:message({ to = phone.jid; payloads.propose() });
			rosa:ping();
			assert.equal(2, pushes_to_local(phone));
		end
		loop.wait_for(function () return inspect.in_flight(server) == before + 4; end, nil, "the others to be answered");
	end

	it("a few accounts at silent components do not fill it", function ()
		local silent = push_service.connect(server, "silent.test", "secret");
		local quiet = push_service.connect(server, "quiet.test", "secret");
		silent.answer, quiet.answer = push_service.never, push_service.never;
		count_runs();
		local names = crowd(10, { "silent.test"; "quiet.test"; "%d@silent.test" });
		archive(names, 500);
		assert.equal(10 * max_of_user, inspect.in_flight(server));
		assert_room_for_others();
		assert.equal(0, runs_when_idle());
		-- When they answer, what waits for room goes out.
		local function answer_all(service)
			service.answer = push_service.result;
			for _, publish in ipairs(service.received) do push_service.result(publish, service); end
		end
		answer_all(silent);
		answer_all(quiet);
		loop.wait_for(function ()
			return inspect.waiting(server) == 0;
		end, 20, "what waits to go out");
		assert.equal(0, runs_when_idle());
		silent:disconnect();
		quiet:disconnect();
	end);

	-- The bound is the engine's, whatever the Prosody: once is enough.
	if version == "0.12" then
		it("many accounts at many silent addresses fill it, and others are pushed to all the same", function ()
			count_runs();
			local services = { "local.test/x%d" };
			local names = crowd(max_of_all / max_of_user, services);
			archive(names, max_of_user);
			assert.equal(max_of_all, inspect.in_flight(server));
			archive(names, 1);
			assert.equal(max_of_all, inspect.in_flight(server));
			assert.equal(#names, inspect.waiting(server));
			assert.equal(0, runs_when_idle());
			assert_room_for_others();
			assert.equal(0, runs_when_idle());
		end);
	end

	it("whoever has a turn to probe a service and finds no room does not ask again and again", function ()
		server:reconfigure({ options = {
			push_answer_timeout = 3600; push_max_failures = 1; push_max_in_flight = 1; push_max_per_minute = 0;
			push_retry_max = 0.5; push_retry_min = 0.5;
		} });
		finally(function () server:reconfigure({ options = patient }); end);
		local phone = phones.away(push);
		push.answer = push_service.error("wait", "remote-server-timeout");
		rosa:message({ to = phone.jid; body = "Wake up" });
		push:wait(1);
		inspect.wait_all_answered(server);
		push.answer = push_service.never;
		rosa:message({ to = phone.jid; payloads.propose() });
		push:wait(2);
		count_runs();
		-- Meanwhile its turn comes.
		assert.equal(0, runs_when_idle());
		assert.same({ 1; 1 }, inspect.eval(server, [[
			local engine = upvalue("engine");
			return { engine:in_flight(), engine:waiting() };
		]]));
		push.answer = push_service.result;
		push_service.result(push.received[2], push);
		inspect.wait_all_answered(server);
		assert.same({}, inspect.engine(server, "out"));
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("room for pushes that are not answered, with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
