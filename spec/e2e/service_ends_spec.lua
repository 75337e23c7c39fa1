-- Each way in which a push service, its connection or the server ends leaves pushes in somebody's hands. None
-- of them is lost, and none that has arrived is sent again.

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

-- Nothing happens by itself: time limits are the defaults or longer, and no device tries again within an hour.
local patient = {
	push_coalesce_window = 0;
	push_max_failures = 0;
	push_max_per_minute = 0;
	push_retry_max = 3600;
	push_retry_min = 3600;
};

local broken = push_service.error("wait", "internal-server-error");
local forbidden = push_service.error("auth", "forbidden");
local no_route = push_service.error("wait", "remote-server-timeout");
local busy = push_service.error("wait", "resource-constraint");

local function with(options)
	local all = {};
	for name, value in pairs(patient) do all[name] = value; end
	for name, value in pairs(options or {}) do all[name] = value; end
	return all;
end

local function describe_all(version)
	local server, push, rosa;

	local function configure(options)
		server:reconfigure({ options = with(options) });
	end

	setup(function ()
		server = prosody.start({ version = version; options = patient; config = [[
			Component "local.test" "spec_push_service"

			Component "replaced.test"
				component_secret = "secret"
				component_conflict_resolve = "kick_old"
		]] });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- Each test begins with an engine that knows nothing.
	before_each(function ()
		if push.stream.closed then push:reconnect(); end
		configure();
		inspect.begin_again(server);
		push.answer = push_service.result;
		push:clear();
	end);

	local function engine(method)
		return inspect.engine(server, method);
	end

	local function assert_engine(in_flight, waiting)
		assert.same({ in_flight, waiting }, { engine("in_flight"), engine("waiting") });
	end

	local function wait_engine(in_flight, waiting)
		loop.wait_for(function ()
			return engine("in_flight") == in_flight and engine("waiting") == waiting;
		end, nil, ("%d pushes under way, %d devices that wait"):format(in_flight, waiting));
	end

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

	-- Phones with a push under way that is not answered.
	local function under_way(count, service)
		service = service or push;
		service.answer = push_service.never;
		local away = {};
		for i = 1, count do away[i] = phones.away(service); end
		for _, phone in ipairs(away) do text(phone); end
		service:wait(count);
		assert_engine(count, 0);
		service:clear();
		return away;
	end

	local function assert_each_pushed(away, pushes)
		for _, phone in ipairs(away) do assert.same(pushes, phones.pushed(phone, rosa)); end
	end

	describe("a component's connection that ends with pushes in its hands", function ()
		it("leaves them owed, and they go out when it is there again", function ()
			local away = under_way(5);
			push:disconnect();
			assert_engine(0, 5);
			push.answer = push_service.result;
			push:reconnect();
			push:wait(5);
			wait_engine(0, 0);
			assert_each_pushed(away, { important });
		end);

		it("leaves them owed at all its addresses, and those of other components alone", function ()
			local there = { server = server; jid = "gateway@push.test/x"; received = {} };
			local here = phones.away({ server = server; jid = "local.test" });
			server:eval([[module("local.test", "spec_push_service"):shared("answer").never = true;]]);
			finally(function ()
				server:eval([[module("local.test", "spec_push_service"):shared("answer").never = nil;]]);
			end);
			push.answer = push_service.never;
			local phone = phones.away(there);
			text(phone);
			text(here);
			push:wait(1);
			assert_engine(2, 0);
			push:disconnect();
			assert_engine(1, 1);
			push:clear();
			push.answer = push_service.result;
			push:reconnect();
			assert.equal(phone.node, push:wait(1).node);
			wait_engine(1, 0);
		end);

		it("takes nothing from a device that is back", function ()
			push.answer = push_service.never;
			local phone = phones.hibernated(push);
			text(phone);
			push:wait(1);
			push:clear();
			assert.equal(phone, phone:resume());
			push:disconnect();
			assert_engine(0, 0);
			push:reconnect();
			assert.same({}, phones.pushed(phone, rosa));
		end);

		it("leaves several of one device as one, for the most important", function ()
			local phone = phones.hibernated(push);
			push.answer = push_service.never;
			type_to(phone);
			text(phone);
			type_to(phone);
			push:wait(3);
			push:disconnect();
			assert_engine(0, 1);
			push:clear();
			push.answer = push_service.result;
			push:reconnect();
			push:wait(1);
			wait_engine(0, 0);
			assert.same({ important }, phones.pushed(phone, rosa));
		end);

		it("is not that of somebody who has never been the component", function ()
			under_way(1);
			local impostor = { server = server; jid = "push.test"; secret = "wrong"; received = {}; others = {} };
			setmetatable(impostor, getmetatable(push));
			assert.is_false(pcall(impostor.reconnect, impostor));
			assert_engine(1, 0);
			-- One who knows the secret, but comes second
			impostor.secret = "secret";
			assert.is_false(pcall(impostor.reconnect, impostor));
			push:ping();
			assert_engine(1, 0);
		end);

		it("may be replaced by another one, which gets them", function ()
			local old = push_service.connect(server, "replaced.test", "secret");
			local away = under_way(3, old);
			local new = push_service.connect(server, "replaced.test", "secret");
			new:wait(3);
			wait_engine(0, 0);
			for _, phone in ipairs(away) do
				phone.service = new;
				assert.same({ important }, phones.pushed(phone, rosa));
			end
			new:disconnect();
		end);

		it("counts against no registration, however often it does", function ()
			configure({ push_max_errors = 1; push_max_failures = 5 });
			local away = under_way(3);
			for _ = 1, 10 do
				push:disconnect();
				assert_engine(0, 3);
				push:clear();
				push:reconnect();
				push:wait(3);
				assert.equal(3, engine("in_flight"));
			end
			for _, phone in ipairs(away) do
				assert.is_nil(devices.stored(server, phone.jid)[phone.identifier].suspended);
				assert.equal(0, devices.push_errors(server, phone.jid, phone.identifier));
			end
			for _, publish in ipairs(push.received) do push_service.result(publish, push); end
			wait_engine(0, 0);
		end);
	end);

	describe("what is owed at a push service that was never left alone", function ()
		-- A phone whose pushes have failed so many times running.
		local function failed(times, answer)
			local phone = phones.away(push);
			push.answer = answer;
			for i = 1, times do
				ring(phone);
				phones.await(phone, i);
				wait_engine(0, 1);
			end
			push:clear();
			push.answer = push_service.result;
			return phone;
		end

		local errors = { ["of itself"] = broken; ["of the device"] = busy; ["that there is no way"] = no_route };
		for name, answer in pairs(errors) do
			for _, times in ipairs({ 1; 5 }) do
				it(("goes out when it connects, after %d errors: %s"):format(times, name), function ()
					local phone = failed(times, answer);
					push:disconnect();
					push:reconnect();
					phones.await(phone, 1);
					wait_engine(0, 0);
				end);
			end
		end

		local signs = {
			["a message"] = function () push:send(st.message({ from = "push.test"; to = rosa.jid })); end;
			["presence"] = function () push:send(st.presence({ from = "push.test"; to = "home.test" })); end;
			["a request"] = function () push:ping(); end;
		};

		for name, act in pairs(signs) do
			it("goes out after silence at a sign of life: " .. name, function ()
				configure({ push_answer_timeout = 1 });
				local away = under_way(2);
				wait_engine(0, 2);
				push.answer = push_service.result;
				act();
				push:wait(2);
				wait_engine(0, 0);
				assert_each_pushed(away, { important });
			end);
		end

		it("goes out after silence when another push is answered", function ()
			configure({ push_answer_timeout = 1 });
			local away = under_way(2);
			wait_engine(0, 2);
			push.answer = push_service.result;
			text(phones.away(push));
			push:wait(3);
			wait_engine(0, 0);
			assert_each_pushed(away, { important });
		end);

		it("goes out at a sign of life, however often it has failed, until that was in vain twice", function ()
			local stubborn, other, third = failed(5, no_route), phones.away(push), phones.away(push);
			local fails = { [stubborn.node] = true; [third.node] = true };
			push.answer = function (publish, service)
				(fails[publish.node] and no_route or push_service.result)(publish, service);
			end;
			for i = 1, 2 do
				text(other);
				phones.await(stubborn, i);
				wait_engine(0, 1);
			end
			-- Now it waits for a connection. It would have its turn together with another device that waits.
			text(third);
			wait_engine(0, 2);
			fails = {};
			text(other);
			phones.await(third, 2);
			wait_engine(0, 1);
			assert.equal(2, #phones.pushed(stubborn, rosa));
			push:disconnect();
			push:reconnect();
			phones.await(stubborn, 3);
		end);
	end);

	describe("a push service that was frozen and thaws", function ()
		-- Answers that were withheld for longer than the module waits come all at once.
		local function thaw(count, options)
			options.push_answer_timeout = 1;
			configure(options);
			push.answer = push_service.never;
			local away = {};
			for i = 1, count do away[i] = phones.away(push); end
			for _, phone in ipairs(away) do text(phone); end
			push:wait(count);
			wait_engine(0, count);
			assert.same(options.push_max_failures == 0 and {} or { "push.test" }, engine("out"));
			local answers = {};
			for i, publish in ipairs(push.received) do answers[i] = st.reply(publish.stanza); end
			push:clear();
			push.answer = push_service.result;
			return away, answers;
		end

		-- The server has handled the first one, and whatever it is a reason for, before the others come.
		local function send(answers, count)
			push:send(answers[1]);
			push:ping("somebody@push.test");
			for i = 2, count do push:send(answers[i]); end
		end

		for name, failures in pairs({ ["was left alone"] = 5; ["was not left alone"] = 0 }) do
			it("and " .. name .. " has nobody woken twice", function ()
				local away, answers = thaw(30, { push_max_failures = failures });
				send(answers, 30);
				wait_engine(0, 0);
				push:expect_none(0.5); -- What is owed would have its turn after a moment
				assert.same({}, engine("out"));
				for _, phone in ipairs(away) do
					assert.equal(0, devices.push_errors(server, phone.jid, phone.identifier));
				end
			end);

			it("and " .. name .. " has those woken again whom it says nothing of", function ()
				local away, answers = thaw(30, { push_max_failures = failures });
				send(answers, 20);
				push:wait(10);
				wait_engine(0, 0);
				push:expect_none();
				assert.equal(10, #push.received);
				for i, phone in ipairs(away) do assert.equal(i > 20 and 1 or 0, #phones.pushed(phone)); end
			end);
		end
	end);

	describe("a push that is refused", function ()
		for name, answer in pairs({ ["for good"] = forbidden; ["for now"] = busy }) do
			it("speaks for nothing that comes after it: " .. name, function ()
				configure({ push_coalesce_window = 3600 });
				local phone = phones.hibernated(push);
				push.answer = answer;
				text(phone, "one");
				phones.await(phone, 1);
				wait_engine(0, answer == busy and 1 or 0);
				push.answer = push_service.result;
				text(phone, "two");
				if answer == busy then -- It is owed with the first
					push:disconnect();
					push:reconnect();
				end
				assert.same({ important; important }, phones.await(phone, 2));
				wait_engine(0, 0);
				if answer == forbidden then -- This one was taken
					text(phone, "three");
					assert.same({ important; important }, phones.pushed(phone, rosa));
				end
			end);
		end

		it("speaks for nothing that waits for the end of its window", function ()
			configure({ push_coalesce_window = 0.5 });
			local phone = phones.hibernated(push);
			push.answer = push_service.never;
			type_to(phone);
			text(phone);
			push_service.error("auth", "forbidden")(push:wait(1), push);
			push:ping();
			push.answer = push_service.result;
			assert.same({ important; unimportant }, phones.await(phone, 2));
		end);
	end);

	describe("a push that was answered", function ()
		-- Two pushes to a phone that is away; the second one is answered.
		local function answer_second(options)
			local all = { push_answer_timeout = 1 };
			for name, value in pairs(options or {}) do all[name] = value; end
			configure(all);
			local phone = phones.away(push);
			push.answer = function (publish, service)
				if #service.received == 2 then push_service.result(publish, service); end
			end;
			text(phone, "one");
			text(phone, "two");
			push:wait(2);
			push.answer = push_service.result;
			return phone;
		end

		it("makes older ones of that device moot: when their time is over, nobody is woken again", function ()
			local phone = answer_second();
			wait_engine(0, 0);
			push:send(st.presence({ from = "push.test"; to = "home.test" }));
			push:disconnect();
			push:reconnect();
			assert.equal(2, #phones.pushed(phone, rosa));
		end);

		it("does not where pushes carry the text", function ()
			local phone = answer_second({ push_notification_with_body = true });
			wait_engine(0, 1);
			push:disconnect();
			push:reconnect();
			assert.same({ "one"; "two"; "one" }, phones.await(phone, 3));
			wait_engine(0, 0);
		end);

		it("does not where the older one matters more", function ()
			configure({ push_answer_timeout = 1 });
			local phone = phones.hibernated(push);
			push.answer = push_service.never;
			text(phone);
			push:wait(1);
			push.answer = push_service.result;
			type_to(phone);
			push:wait(2);
			wait_engine(0, 1);
			push:disconnect();
			push:reconnect();
			assert.same({ important; unimportant; important }, phones.await(phone, 3));
		end);
	end);
end

local function describe_stops(version)
	local server, push, rosa;

	local function start(options)
		server = prosody.start({
			version = version; options = with(options); config = [[Component "local.test" "spec_push_service"]];
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end

	after_each(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function waiting()
		return inspect.waiting(server);
	end

	local function text(phone)
		rosa:message({ to = phone.jid; body = "Wake up" });
		rosa:ping();
	end

	-- Phones with a push under way at a service that hangs.
	local function under_way(count)
		push.answer = push_service.never;
		local away = {};
		for i = 1, count do away[i] = phones.away(push); end
		for _, phone in ipairs(away) do text(phone); end
		push:wait(count);
		assert.equal(count, inspect.in_flight(server));
		push:clear();
		return away;
	end

	local function assert_each_pushed_once(away)
		push:wait(#away);
		inspect.wait_all_answered(server);
		for _, phone in ipairs(away) do assert.same({ important }, phones.pushed(phone)); end
		assert.equal(0, waiting());
	end

	it("are owed after a clean stop, and go out when the service connects", function ()
		start({ push_max_failures = 5 });
		local away = under_way(6);
		local mark = server:log_mark();
		server:restart();
		assert.is_nil(server:store_get("home.test", "cloud_notify_owed"));
		assert.equal(6, waiting());
		-- Nobody takes the end for a failure, nor an address without a connection for a push service.
		assert.same({}, inspect.logged(server, "warn", mark));
		assert.is_nil(server:log_since(mark):find("Sending ", 1, true));
		push.answer = push_service.result;
		push:reconnect();
		assert_each_pushed_once(away);
	end);

	it("are owed after several", function ()
		start();
		local away = under_way(3);
		server:restart();
		server:restart();
		push:reconnect(); -- It hangs still
		push:wait(3);
		push:clear();
		server:restart();
		push.answer = push_service.result;
		push:reconnect();
		assert_each_pushed_once(away);
		server:restart();
		assert.equal(0, waiting());
	end);

	it("are tried again after push_retry_min where nothing connects", function ()
		start({ push_retry_min = 0.5 });
		local phone = phones.away({ server = server; jid = "local.test" });
		server:eval([[module("local.test", "spec_push_service"):shared("answer").never = true;]]);
		text(phone);
		assert.equal(1, inspect.in_flight(server));
		server:restart();
		loop.wait_for(function ()
			local received = server:eval([[return module("local.test", "spec_push_service"):shared("received");]]);
			return received[phone.node] == 1;
		end, nil, "the push");
	end);

	it("are not owed where they were answered, or the device has come back before the stop", function ()
		start();
		local back, answered = phones.hibernated(push), phones.away(push);
		push.answer = push_service.never;
		text(back);
		push:wait(1);
		assert.equal(back, back:resume());
		push.answer = push_service.result;
		text(answered);
		push:wait(2);
		push:ping();
		back:close();
		server:restart();
		assert.equal(0, waiting());
		push:clear();
		push:reconnect();
		push:expect_none();
	end);

	it("are not owed after a crash, which sends nothing twice", function ()
		start();
		under_way(3);
		server:kill();
		server:restart();
		assert.equal(0, waiting());
		push:reconnect();
		push:expect_none();
	end);

	it("are pushed once although the messages go to offline storage when the server stops", function ()
		start();
		local phone = phones.hibernated(push);
		push.answer = push_service.never;
		text(phone);
		push:wait(1);
		push:clear();
		server:restart();
		assert.same({ "Wake up" }, phones.stored_messages(phone));
		push.answer = push_service.result;
		push:reconnect();
		assert_each_pushed_once({ phone });
	end);

	it("are owed when the module is unloaded", function ()
		start();
		local away = under_way(3);
		server:unload_module("cloud_notify", "home.test");
		push.answer = push_service.result;
		server:load_module("cloud_notify", "home.test");
		assert_each_pushed_once(away);
	end);

	it("are still under way when the module is reloaded", function ()
		start();
		under_way(3);
		server:reload_module("cloud_notify", "home.test");
		assert.equal(3, inspect.in_flight(server));
		push:expect_none();
	end);
end

for _, version in ipairs(prosody.all_versions) do
	describe("with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);

	describe("with Prosody " .. version .. ", pushes that are under way", function ()
		describe_stops(version);
	end);
end
