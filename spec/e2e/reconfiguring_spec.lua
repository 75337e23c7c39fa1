-- The server reads its configuration again while pushes are under way, stanzas wait and a registration
-- is suspended.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local patient = {
	push_coalesce_window = 3600;
	push_max_errors = 1;
	push_max_failures = 0;
	push_max_per_minute = 1;
	push_retry_max = 3600;
	push_retry_min = 3600;
};

-- Each option with values that are about as different from the default as they can be, and bad ones.
local changes = {
	push_answer_timeout = { 1; 1000000; "soon" };
	push_coalesce_window = { 0; 1000000; -1 };
	push_max_devices = { 1; 1000; 0 };
	push_max_errors = { 1; 1000; 0 };
	push_max_failures = { 0; 1; -1 };
	push_max_hibernation_timeout = { 1; 1000000000; {} };
	push_max_in_flight = { 1; 1000000; 0 };
	push_max_per_minute = { 0; 1; 1.5 };
	push_notification_important_body = { ""; "Another text"; true };
	push_notification_with_body = { true; false; "perhaps" };
	push_notification_with_sender = { true; false; "perhaps" };
	push_notify_on = { "all"; "messages"; "important"; "none" };
	push_recovery_rate = { 1; 1000000; 0 };
	push_retry_age = { 0; 1000000000; -1 };
	push_retry_max = { 0.1; 1000000000; 0 };
	push_retry_min = { 0.1; 1000000000; 0 };
};

local function describe_all(version)
	local server, push, rosa;

	local function options_with(more)
		local options = {};
		for name, value in pairs(patient) do options[name] = value; end
		for name, value in pairs(more or {}) do options[name] = value; end
		return options;
	end

	setup(function ()
		server = prosody.start({ version = version; options = options_with() });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function reconfigure(more)
		server:reconfigure({ options = options_with(more) });
	end

	before_each(function ()
		reconfigure();
		server:unload_module("cloud_notify", "home.test");
		server:eval([[assert(require "core.storagemanager".open("home.test", "cloud_notify_owed"):set(nil, nil))]]);
		server:load_module("cloud_notify", "home.test");
		push.answer = push_service.result;
		push:clear();
	end);

	local function message(phone, body)
		rosa:message({ to = phone.jid; body = body });
		rosa:ping();
	end

	local function type_to(phone)
		rosa:send(st.message({ to = phone.full_jid })
			:tag("composing", { xmlns = "http://jabber.org/protocol/chatstates" }));
		rosa:ping();
	end

	local function engine(method)
		return inspect.eval(server, [[local engine = upvalue("engine"); return engine[...](engine);]], method);
	end

	local function wait_for_engine(method, value)
		loop.wait_for(function () return engine(method) == value; end, nil, ("%s = %d"):format(method, value));
	end

	local function is_suspended(phone)
		local record = (devices.stored(server, phone.jid) or {})[phone.identifier];
		return record and record.suspended ~= nil;
	end

	-- One device of each kind: its push is under way, its stanza waits for the end of a window or for
	-- its turn, it is owed a push, it is suspended.
	local function busy_server()
		local all = {};
		local answer = {}; -- node -> how
		push.answer = function (publish, service) answer[publish.node](publish, service); end

		all.flying = phones.away(push);
		all.limited = phones.away(push);
		all.owed = phones.away(push);
		all.suspended = phones.away(push);
		all.typed = phones.hibernated(push);
		answer[all.flying.node] = push_service.never;
		answer[all.limited.node] = push_service.result;
		answer[all.owed.node] = push_service.error("wait", "resource-constraint");
		answer[all.suspended.node] = push_service.error("auth", "forbidden");
		answer[all.typed.node] = push_service.result;

		type_to(all.typed);
		message(all.limited, "1");
		message(all.limited, "2");
		message(all.owed, "1");
		message(all.suspended, "1");
		message(all.flying, "1");
		push:ping();
		push:ping();
		assert.equal(1, engine("in_flight"));
		assert.equal(4, engine("waiting"));
		assert.is_true(is_suspended(all.suspended));
		return all, answer;
	end

	-- Whatever the options are, everybody gets what is due after a while.
	local function assert_goes_on(all, answer, what)
		for node in pairs(answer) do answer[node] = push_service.result; end
		push:clear();
		for _, publish in ipairs(all.in_flight) do push_service.result(publish, push); end
		push:ping();
		for _, name in ipairs({ "flying"; "limited"; "owed"; "suspended"; "typed" }) do
			local phone = all[name];
			local again = client.connect(server, phone.jid, { resource = "again"; presence = false });
			devices.enable(again, { jid = "push.test"; node = phone.node });
			again:close();
			message(phone, what);
			assert.equal(1, #phones.await(phone, 1), name);
		end
		loop.wait_for(function () return engine("in_flight") == 0; end, nil, "all pushes to be answered");
		assert.equal(0, engine("waiting"));
	end

	for name, values in pairs(changes) do
		it("other values for " .. name .. " stop nothing", function ()
			for i, value in ipairs(values) do
				local all, answer = busy_server();
				all.in_flight = {};
				for _, publish in ipairs(push.received) do
					if publish.node == all.flying.node then table.insert(all.in_flight, publish); end
				end
				local mark = server:log_mark();
				reconfigure({ [name] = value });
				assert.equal(i == #values and 1 or 0, #inspect.logged(server, "error", mark), tostring(value));
				local changed = { push_coalesce_window = 0; [name] = i < #values and value or nil };
				changed.push_max_per_minute = 0; -- everybody has to be pushed to now
				reconfigure(changed);
				assert_goes_on(all, answer, ("value %d"):format(i));
				all.typed:resume();
				all.typed:close();
				reconfigure();
				push:clear();
			end
		end);
	end

	it("an answer's time limit is that of when its push left", function ()
		local phone = phones.away(push);
		push.answer = push_service.never;
		message(phone, "1");
		phones.await(phone, 1);
		reconfigure({ push_answer_timeout = 1; push_max_per_minute = 0 });
		local other = phones.away(push);
		message(other, "1");
		phones.await(other, 1);
		wait_for_engine("in_flight", 1);
		assert.equal(1, engine("waiting"));
		push_service.result(push.received[1], push);
		wait_for_engine("in_flight", 0);
	end);

	it("what is owed is as old as the new push_retry_age allows", function ()
		local phone = phones.away(push);
		push.answer = push_service.error("wait", "resource-constraint");
		reconfigure({ push_max_per_minute = 0; push_retry_min = 0.1; push_retry_max = 0.1 });
		message(phone, "1");
		phones.await(phone, 3);
		reconfigure({ push_max_per_minute = 0; push_retry_min = 0.1; push_retry_max = 0.1; push_retry_age = 0 });
		wait_for_engine("waiting", 0);
	end);

	it("a suspended registration stays suspended, whatever push_max_errors is", function ()
		local phone = phones.away(push);
		push.answer = push_service.error("auth", "forbidden");
		message(phone, "1");
		push:ping();
		push:ping();
		assert.is_true(is_suspended(phone));
		reconfigure({ push_max_errors = 1000 });
		push:clear();
		message(phone, "2");
		push:expect_none();
		assert.is_true(is_suspended(phone));
	end);

	it("a push service that was left alone is so until it answers, although push_max_failures is 0", function ()
		local phone = phones.away(push);
		push.answer = push_service.error("wait", "remote-server-timeout");
		reconfigure({ push_max_failures = 1; push_max_per_minute = 0 });
		message(phone, "1");
		loop.wait_for(function () return engine("out")[1]; end, nil, "the service to be left alone");
		reconfigure({ push_max_failures = 0; push_max_per_minute = 0 });
		assert.same({ "push.test" }, engine("out"));
		push.answer = push_service.result;
		push:clear();
		push:send(st.presence({ from = "push.test"; to = "home.test" }));
		phones.await(phone, 1);
		inspect.wait_all_answered(server);
		assert.same({}, engine("out"));
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("while Prosody " .. version .. " reads its configuration again,", function ()
		describe_all(version);
	end);
end
