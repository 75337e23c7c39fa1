-- Push services that fail in every way, answer at the wrong moment or never stop talking; and other
-- modules that do everything in a listener of cloud_notify/push.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local no_route = push_service.error("wait", "remote-server-timeout");

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			config = [[Component "local.test" "spec_push_service"]];
			options = {
				push_coalesce_window = 0;
				push_max_errors = 1;
				push_max_failures = 1;
				push_max_per_minute = 0;
				push_retry_max = 3600;
				push_retry_min = 3600;
			};
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function () prosody.stop_all(); end);

	-- Each test begins with an engine that knows nothing.
	before_each(function ()
		inspect.begin_again(server);
		push.answer = push_service.result;
		push:clear();
	end);

	after_each(function ()
		server:eval([[
			local answer = module("local.test", "spec_push_service"):shared("answer");
			for key in pairs(answer) do answer[key] = nil; end
			local received = module("local.test", "spec_push_service"):shared("received");
			for key in pairs(received) do received[key] = nil; end
		]]);
		assert.same({}, server:faults());
	end);

	local function message(phone, body)
		rosa:message({ to = phone.jid; body = body or "Hello" });
		rosa:ping();
	end

	local function assert_delivered(jid, ...)
		local again = client.connect(server, jid, { resource = "again" });
		for _, body in ipairs({ ... }) do again:expect({ name = "message"; body = body }); end
		again:close();
	end

	local function waiting()
		return inspect.waiting(server);
	end

	local function watched()
		return inspect.eval(server, [[
			local count = 0;
			for _ in pairs(upvalue("watched")) do count = count + 1; end
			return count;
		]]);
	end

	local function wait_until_waiting(count)
		inspect.wait_waiting(server, count);
	end

	local function sign_of_life()
		push:send(st.presence({ from = "push.test"; to = "home.test" }));
	end

	-- Phones that are owed a push, while their service is left alone.
	local function owed_phones(count)
		local owed = {};
		push.answer = no_route;
		for i = 1, count do
			owed[i] = phones.away(push);
			message(owed[i]);
			wait_until_waiting(i);
		end
		assert.equal(1, watched());
		push:clear();
		return table.unpack(owed);
	end

	describe("a push service that was left alone", function ()
		it("is watched no more once it is back", function ()
			local handlers = inspect.handlers(server);
			local phone = owed_phones(1);
			push.answer = push_service.result;
			sign_of_life();
			phones.await(phone, 1);
			inspect.wait_all_answered(server);
			assert.equal(0, watched());
			assert.same(handlers, inspect.handlers(server));
		end);

		it("is back although the registration that it was probed with has ended meanwhile", function ()
			local handlers = inspect.handlers(server);
			local first, second = owed_phones(2);
			push.answer = push_service.never;
			rosa:message({ to = first.jid; payloads.propose() });
			phones.await(first, 1);
			server:delete_user(first.username, "home.test");
			push.answer = push_service.result;
			push_service.result(push.received[1], push);
			phones.await(second, 1);
			inspect.wait_all_answered(server);
			assert.equal(0, waiting());
			assert.equal(0, watched());
			assert.same(handlers, inspect.handlers(server));
		end);

		it("is watched although the registration that it failed with has ended meanwhile", function ()
			local first, second = phones.away(push), phones.away(push);
			push.answer = push_service.never;
			message(first);
			phones.await(first, 1);
			server:delete_user(first.username, "home.test");
			no_route(push.received[1], push);
			loop.wait_for(function () return watched() == 1; end, nil, "the service to be watched");
			push.answer = no_route;
			message(second);
			wait_until_waiting(1);
			push.answer = push_service.result;
			sign_of_life();
			phones.await(second, 2);
		end);

		it("is not pushed to more often for a flood of stanzas from it, which leaves nothing", function ()
			local phone = owed_phones(1);
			sign_of_life();
			phones.await(phone, 1);
			push:ping();
			local heap = server:heap();
			local mark = server:log_mark();
			for i = 1, 10000 do
				local to = i % 2 == 0 and "home.test" or rosa.jid;
				push:send(st.message({ from = "push.test"; to = to; type = "headline" }));
				if i % 500 == 0 then push:ping(); end
			end
			rosa:ping();
			assert.equal(1, #push.received);
			for _, level in ipairs({ "info"; "warn"; "error" }) do
				assert.same({}, inspect.logged(server, level, mark));
			end
			assert.is_true(server:heap() - heap < 256);
			push:clear();
			rosa.received, rosa.inbox = {}, {};
			assert_delivered(phone.jid, "Hello");
		end);

		it("may come and go for ever: a push each time at most, and the device gets one in the end", function ()
			local handlers;
			local phone = owed_phones(1);
			local function flap(count)
				for _ = 1, count do
					local before = #push.received;
					push:disconnect();
					push:reconnect();
					push:wait(before + 1);
					push:ping();
				end
			end
			flap(10);
			handlers = inspect.handlers(server);
			push:clear();
			local heap = server:heap();
			flap(100);
			assert.equal(100, #push.received);
			assert.equal(0, inspect.in_flight(server));
			assert.equal(1, waiting());
			assert.same(handlers, inspect.handlers(server));
			assert.is_true(server:heap() - heap < 256);
			-- Without the connections
			server:eval([[
				for _ = 1, 1000 do
					hosts["push.test"].events.fire_event("component-authenticated", { session = { host = "push.test" } });
				end
			]]);
			push:wait(101);
			push:ping(); -- a probe without an answer would be waited for
			assert.equal(101, #push.received);
			push:disconnect();
			push.answer = push_service.result;
			push:clear();
			push:reconnect();
			phones.await(phone, 1);
			inspect.wait_all_answered(server);
			assert.equal(1, #push.received);
			assert.equal(0, waiting());
		end);

		it("does not have messages kept for it without end", function ()
			local phone = owed_phones(1);
			local function archive(first, count)
				server:eval([[
					local user, first, count = ...;
					for i = first, first + count - 1 do
						hosts["home.test"].events.fire_event("archive-message-added", {
							origin = hosts["home.test"]; for_user = user; id = ("a%d"):format(i);
							stanza = st.message({
								type = "chat"; from = "bert@away.test/pc"; to = user .. "@home.test"; id = ("m%d"):format(i);
							}, ("text"):rep(1000));
						});
					end
				]], phone.username, first, count);
			end
			archive(1, 1000);
			local heap = server:heap();
			for i = 1, 10 do archive(i * 1000, 1000); end
			assert.is_true(server:heap() - heap < 256);
			assert.equal(1, waiting());
		end);
	end);

	-- The bound is the engine's, whatever the Prosody: once is enough.
	if version == "0.12" then
		it("a client that registers at thousands of services that fail leaves few of them behind", function ()
			local phone = client.connect(server, devices.new_user(server), { resource = "phone" });
			local function register(first, last)
				server:eval([[
					local full_jid, first, last = ...;
					local session = prosody.full_sessions[full_jid];
					local origin = setmetatable({ send = function () end }, { __index = session });
					local events = hosts["home.test"].events;
					for i = first, last do
						events.fire_event("iq-set/self/urn:xmpp:push:0:enable", {
							origin = origin;
							stanza = st.iq({ type = "set"; id = "e" })
								:tag("enable", { xmlns = "urn:xmpp:push:0"; jid = ("s%d@local.test"):format(i); node = "n" });
						});
						events.fire_event("cloud-notify-ping", { user = session.username });
					end
				]], phone.full_jid, first, last);
			end
			register(1, 10);
			assert.is_true(watched() >= 10);
			for i = 1, 4250, 250 do register(i, i + 249); end
			assert.is_true(watched() <= 4096 + 5);
			assert.is_true(#inspect.engine(server, "out") <= 4096 + 5);
			assert.is_true(waiting() <= 5);
			phone:close();
		end);
	end

	describe("a push service in this server that answers at once", function ()
		local function answer(values)
			server:eval([[
				local answer = module("local.test", "spec_push_service"):shared("answer");
				for key, value in pairs(...) do answer[key] = value; end
			]], values);
		end

		local function received()
			local counts = server:eval([[return module("local.test", "spec_push_service"):shared("received");]]);
			local sum = 0;
			for _, count in pairs(counts) do sum = sum + count; end
			return sum;
		end

		local function user_with_devices()
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone" });
			for i = 1, 5 do
				devices.enable(phone, { jid = "local.test"; node = ("n%d"):format(i) });
			end
			phone:close();
			return { jid = jid; username = phone.username };
		end

		it("may end all registrations of a user that a message goes to", function ()
			for _, condition in ipairs({ "item-not-found"; "forbidden" }) do
				local phone = user_with_devices();
				answer({ type = "cancel"; condition = condition });
				message(phone);
				local records = devices.stored(server, phone.jid);
				if condition == "item-not-found" then
					assert.is_nil(records);
				else
					for _, record in pairs(records) do assert.equal(condition, record.suspended.condition); end
				end
				assert.equal(0, inspect.in_flight(server));
				assert_delivered(phone.jid, "Hello");
			end
			assert.equal(10, received());
		end);

		it("may fail, and work at the next attempt", function ()
			local phone = user_with_devices();
			answer({ type = "wait"; condition = "remote-server-timeout" });
			message(phone);
			assert.equal(5, received());
			assert.equal(5, waiting());
			assert.equal(1, watched());
			server:eval([[module("local.test", "spec_push_service"):shared("answer").condition = nil;]]);
			server:eval([[
				local life = st.presence({ from = "local.test", to = "home.test" });
				module("local.test", "spec_push_service"):send(life);
			]]);
			wait_until_waiting(0);
			assert.equal(10, received());
			assert.equal(0, watched());
			assert.equal(0, inspect.in_flight(server));
			assert_delivered(phone.jid, "Hello");
		end);
	end);

	describe("a listener of cloud_notify/push", function ()
		-- Has code run for the first pushes, as many as limit says.
		local function listen(limit, code, ...)
			server:eval(([[
				local arguments, left = { n = select("#", ...), ... }, %d;
				rawset(_G, "spec_listener", function (event)
					if left == 0 then return; end
					left = left - 1;
					return (function (event, ...) %s end)(event, table.unpack(arguments, 1, arguments.n));
				end);
				hosts["home.test"].events.add_handler("cloud_notify/push", spec_listener, 1000);
			]]):format(limit, code), ...);
			finally(function ()
				server:eval([[hosts["home.test"].events.remove_handler("cloud_notify/push", spec_listener);]]);
			end);
		end

		local function user_with_devices(count)
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone" });
			for i = 1, count do devices.enable(phone, { jid = "push.test"; node = ("n%d"):format(i) }); end
			phone:close();
			return { jid = jid; username = phone.username };
		end

		local function pushes_per_node()
			rosa:ping();
			push:ping();
			push:ping();
			local counts = {};
			for _, publish in ipairs(push.received) do counts[publish.node] = (counts[publish.node] or 0) + 1; end
			return counts;
		end

		it("may send messages to the same user: each is pushed once to each device", function ()
			local phone = user_with_devices(3);
			listen(4, [[
				local to = ...;
				local nested = st.message({ to = to, from = "bot@home.test/x", type = "chat" }, "nested");
				module("home.test", "cloud_notify"):send(nested);
			]], phone.jid);
			message(phone);
			assert.same({ n1 = 5; n2 = 5; n3 = 5 }, pushes_per_node());
			inspect.wait_all_answered(server);
			assert_delivered(phone.jid, "Hello", "nested", "nested", "nested", "nested");
		end);

		it("may send messages to another user, whose push services answer at once", function ()
			local phone, other = user_with_devices(2), devices.new_user(server);
			local tablet = client.connect(server, other);
			devices.enable(tablet, { jid = "local.test"; node = "x" });
			tablet:close();
			listen(2, [[
				local to = ...;
				local nested = st.message({ to = to, from = "bot@home.test/x", type = "chat" }, "nested");
				module("home.test", "cloud_notify"):send(nested);
			]], other);
			message(phone);
			assert.same({ n1 = 1; n2 = 1 }, pushes_per_node());
			assert.same({ x = 2 }, server:eval([[return module("local.test", "spec_push_service"):shared("received");]]));
		end);

		for name, code in pairs({
			["reload the module"] = [[require "core.modulemanager".reload("home.test", "cloud_notify");]];
			["delete the user"] = [[require "core.usermanager".delete_user(event.username, "home.test");]];
			["take the push apart"] = [[
				for key in pairs(event) do event[key] = nil; end
			]];
			["send the push elsewhere"] = [[event.notification_stanza.attr.to = "elsewhere.test";]];
			["take all out of the notification"] = [[event.notification_payload:remove_children();]];
			["veto with something else"] = [[event.reason = {}; return {};]];
			["ask for pushes"] = [[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = event.username });]];
			["come in between with another stanza"] = [[
				hosts["home.test"].events.fire_event("message/offline/handle", {
					origin = hosts["home.test"], username = event.username,
					stanza = st.message({ to = event.username .. "@home.test", from = "bot@home.test/x", id = tostring(event) }, "x"),
				});
			]];
		}) do
			it("may " .. name .. ": nothing else is stopped", function ()
				local phone, other = user_with_devices(3), phones.away(push);
				listen(2, code);
				message(phone, "Hello");
				rosa:ping();
				message(other, "Hello, too");
				phones.await(other, 1);
				assert_delivered(other.jid, "Hello, too");
				if name ~= "delete the user" then
					message(phone, "Hello again");
					assert.truthy(pushes_per_node().n1);
					assert_delivered(phone.jid, "Hello", "Hello again");
				end
			end);
		end

		it("may unload the module: it works again once it is loaded", function ()
			local phone = user_with_devices(3);
			listen(1, [[require "core.modulemanager".unload("home.test", "cloud_notify");]]);
			message(phone, "Hello");
			rosa:ping();
			assert.is_false(server:eval([[return module("home.test", "cloud_notify") ~= nil;]]));
			message(phone, "unnoticed");
			push:ping();
			push:clear();
			-- What was under way is owed, and goes out: the push service is there.
			server:load_module("cloud_notify", "home.test");
			push:wait(3);
			inspect.wait_all_answered(server);
			push:clear();
			message(phone, "Hello again");
			local counts = pushes_per_node();
			assert.same({ n1 = 1; n2 = 1; n3 = 1 }, counts);
			inspect.wait_all_answered(server);
			assert_delivered(phone.jid, "Hello", "unnoticed", "Hello again");
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
