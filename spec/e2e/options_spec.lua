local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local defaults = {
	contact_uri = "xmpp:home.test";
	push_answer_timeout = 120;
	push_cache_age = 60;
	push_coalesce_window = 1;
	push_max_devices = 5;
	push_max_errors = 16;
	push_max_hibernation_timeout = 72 * 3600;
	push_max_per_minute = 60;
	push_notification_important_body = "New Message!";
	push_notification_count = "one";
	push_notification_with_body = false;
	push_notification_with_sender = false;
	push_notify_on = "all";
	push_notify_read = "asked";
	push_max_failures = 5;
	push_max_in_flight = 4096;
	push_protocols = { "push"; "push2" };
	push_recovery_rate = 50;
	push_retry_age = 24 * 3600;
	push_retry_max = 30 * 60;
	push_retry_min = 5;
	push_trace = true;
	push_wake_before_timeout = 0;
	push_wake_on_start = false;
};

local good_values = {
	contact_uri = { "mailto:admin@home.test"; "https://home.test/contact"; "xmpp:admin@home.test" };
	push_answer_timeout = { 1; 0x7fff; 2.5; "30" };
	push_cache_age = { 1; 300; "7.5" };
	push_coalesce_window = { 0; 0.25; 60 };
	push_max_devices = { 1; 100; "7" };
	push_max_errors = { 1; 1000; "8" };
	push_max_hibernation_timeout = { 1; 86400; 2^20 };
	push_max_per_minute = { 0; 1; 600 };
	push_notification_important_body = { ""; "Neue Nachricht 🔔"; ("x"):rep(4096) };
	push_notification_count = { "one"; "unread" };
	push_notification_with_body = { true; false };
	push_notification_with_sender = { true; false };
	push_notify_on = { "all"; "messages"; "important" };
	push_notify_read = { "asked"; true; false };
	push_max_failures = { 0; 1; "20" };
	push_max_in_flight = { 1; 100000; "5" };
	push_protocols = { { "push" }; { "push2" }; "push2"; { "push2"; "push" } };
	push_recovery_rate = { 1; 1000; "10" };
	push_retry_age = { 0; 1.5; 30 * 86400 };
	push_retry_max = { 0.1; 60; "7200" };
	push_retry_min = { 0.1; 1; "30" };
	push_trace = { false; true };
	push_wake_before_timeout = { 0; 120; "60" };
	push_wake_on_start = { true; false };
};

local bad_values = {
	contact_uri = { ""; "admin"; "mailto:"; true; 5; {} };
	push_answer_timeout = { 0; -1; "soon"; true; {}; 1e300 };
	push_cache_age = { 0; -1; "an hour"; true; {} };
	push_coalesce_window = { -1; "short"; false; {} };
	push_max_devices = { 0; -5; 2.5; "many"; true; { 5 } };
	push_max_errors = { 0; -16; 1.5; ""; true; {}; 2^53 };
	push_max_hibernation_timeout = { 0; -1; "72 hours"; true; {} };
	push_max_per_minute = { -1; 0.5; "60/min"; true; {} };
	push_notification_important_body = { true; {}; "Gr\252\223e"; "a\27b"; ("x"):rep(4097) };
	push_notification_count = { "two"; ""; true; 1; {} };
	push_notification_with_body = { "maybe"; 7; {} };
	push_notification_with_sender = { "name"; 0.5; {} };
	push_notify_on = { "calls"; ""; true; 1; {} };
	push_notify_read = { "all"; ""; 2; {} };
	push_max_failures = { -1; 1.5; "few"; true; {} };
	push_max_in_flight = { 0; -1; 2.5; "all"; {} };
	push_protocols = { {}; "push3"; true; 1; { "push3" }; { { "push" } }; { push = true } };
	push_recovery_rate = { 0; -50; 0.5; "slow"; {} };
	push_retry_age = { -1; "a day"; true; {} };
	push_retry_max = { 0; -1; "long"; {} };
	push_retry_min = { 0; -5; "soon"; false; {} };
	push_trace = { "live"; 2; {} };
	push_wake_before_timeout = { -1; "before"; true; {} };
	push_wake_on_start = { "always"; 2; {} };
};

-- A number may be written as a string, and a list of one without its braces.
local function same_value(expected, actual)
	if type(actual) == "table" then
		local names = {};
		for _, name in ipairs(type(expected) == "table" and expected or { expected }) do names[name] = true; end
		for name in pairs(actual) do
			if not names[name] then return false; end
			names[name] = nil;
		end
		return next(names) == nil;
	end
	return (tonumber(expected) or expected) == (tonumber(actual) or actual);
end

local function longest(lists)
	local length = 0;
	for _, list in pairs(lists) do length = math.max(length, #list); end
	return length;
end

local function names_sorted()
	local names = {};
	for name in pairs(defaults) do names[#names + 1] = name; end
	table.sort(names);
	return names;
end

local function describe_all(version)
	local server, push, sender;

	setup(function ()
		server = prosody.start({ version = version });
		push = push_service.connect(server, "push.test", "secret");
		sender = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		inspect.wait_all_answered(server);
		push.answer = push_service.result;
		push:clear();
	end);

	local function values_in_force()
		return inspect.eval(server, [[return (upvalue("options"));]]);
	end

	local function configure(options)
		server:reconfigure({ options = options });
	end

	-- The options of one round: the nth value of each list, over and over.
	local function nth_values(lists, n)
		local values = {};
		for name, list in pairs(lists) do values[name] = list[(n - 1) % #list + 1]; end
		return values;
	end

	local function errors_by_option(mark)
		local errors = {};
		for _, line in ipairs(inspect.logged(server, "error", mark)) do
			local name = line:match("Option ([%w_]+)");
			errors[name] = (errors[name] or 0) + 1;
		end
		return errors;
	end

	local function phone_of(jid, sm)
		return client.connect(server, jid, { resource = "phone"; sm = sm });
	end

	local function absent_user()
		local phone = phone_of(devices.new_user(server));
		devices.enable(phone, { jid = "push.test"; node = "n1" });
		phone:close();
		return phone.jid;
	end

	local function hibernated_user()
		local phone = phone_of(devices.new_user(server), "resume");
		devices.enable(phone, { jid = "push.test"; node = "n1" });
		phone:cut();
		return phone;
	end

	-- How many pushes come of something that clients do.
	local function pushes_of(act)
		push:clear();
		act();
		sender:ping();
		push:ping();
		push:ping();
		return #push.received;
	end

	local function messages(jid, count)
		return function ()
			for _ = 1, count or 1 do sender:message({ to = jid; body = "Hello" }); end
		end;
	end

	describe("its value", function ()
		it("is the default when there is nothing in the configuration", function ()
			configure({});
			for name, value in pairs(defaults) do
				assert.is_true(same_value(value, values_in_force()[name]), name);
			end
			assert.same({}, inspect.logged(server, "error"));
		end);

		for _, name in ipairs(names_sorted()) do
			it("is what the configuration says: " .. name, function ()
				local mark = server:log_mark();
				for _, value in ipairs(good_values[name]) do
					configure({ [name] = value });
					assert.is_true(same_value(value, values_in_force()[name]), tostring(value));
				end
				assert.same({}, errors_by_option(mark));
			end);

			it("is the default when it is bad, and one line says so: " .. name, function ()
				for _, value in ipairs(bad_values[name]) do
					local mark = server:log_mark();
					configure({ [name] = value });
					assert.is_true(same_value(defaults[name], values_in_force()[name]), tostring(value));
					assert.same({ [name] = 1 }, errors_by_option(mark), tostring(value));
				end
			end);
		end

		it("is the default for each of many that are bad", function ()
			for round = 1, longest(bad_values) do
				local mark = server:log_mark();
				configure(nth_values(bad_values, round));
				local expected = {};
				for name, value in pairs(defaults) do
					expected[name] = 1;
					assert.is_true(same_value(value, values_in_force()[name]), name);
				end
				assert.same(expected, errors_by_option(mark));
			end
		end);

		it("is what is known in a list, and one line says what is not: push_protocols", function ()
			local mark = server:log_mark();
			configure({ push_protocols = { "push3"; "push2" } });
			assert.same({ push2 = true }, values_in_force().push_protocols);
			assert.same({ push_protocols = 1 }, errors_by_option(mark));
			assert.truthy(server:log_since(mark):find("'push3' in it is ignored", 1, true));
		end);

		it("may be written in each way that Prosody has for true and false", function ()
			for _, name in ipairs({ "push_notification_with_body"; "push_notification_with_sender" }) do
				local mark = server:log_mark();
				for value, meaning in pairs({ ["true"] = true; [1] = true; ["false"] = false; [0] = false }) do
					configure({ [name] = value });
					assert.equal(meaning, values_in_force()[name], tostring(value));
				end
				assert.same({}, errors_by_option(mark));
			end
		end);
	end);

	describe("its effect", function ()
		it("is a text for important messages: push_notification_important_body", function ()
			local jid = absent_user();
			for _, case in ipairs({ { nil, "New Message!" }; { "Ring", "Ring" }; { "", nil } }) do
				configure({ push_notification_important_body = case[1] });
				assert.equal(1, pushes_of(messages(jid)));
				assert.equal(case[2], push.received[1].form["last-message-body"]);
				assert.is_nil(push.received[1].form["last-message-sender"]);
			end
		end);

		it("is to tell what was written, or who wrote: push_notification_with_body and _sender", function ()
			local jid = absent_user();
			configure({ push_notification_with_body = true });
			pushes_of(messages(jid));
			assert.same({ ["message-count"] = "1"; ["last-message-body"] = "Hello"; FORM_TYPE = "urn:xmpp:push:summary" },
				push.received[1].form);
			configure({ push_notification_with_sender = true });
			pushes_of(messages(jid));
			assert.same({
				["message-count"] = "1"; ["last-message-body"] = "New Message!"; FORM_TYPE = "urn:xmpp:push:summary";
				["last-message-sender"] = sender.full_jid;
			}, push.received[1].form);
		end);

		it("is whether decisions are remembered: push_trace", function ()
			local function trail_of(jid)
				sender:message({ to = jid, body = "Wake up" });
				sender:ping();
				return inspect.eval(server, [[return #upvalue("engine"):trail(...)]], jid:match("^[^@]+"));
			end
			configure({});
			local jid = absent_user();
			assert.is_true(trail_of(jid) > 0);
			configure({ push_trace = false });
			assert.equal(0, trail_of(jid));
			configure({});
			assert.is_true(trail_of(jid) > 0);
		end);

		it("is how many errors end a registration: push_max_errors", function ()
			push.answer = push_service.error("cancel", "item-not-found");
			for _, case in ipairs({ { nil, 16 }; { 2, 2 }; { 1, 1 } }) do
				configure({ push_max_errors = case[1] });
				local jid = absent_user();
				pushes_of(messages(jid, case[2] - 1));
				assert.same({ "push.test<n1" }, devices.identifiers(server, jid));
				pushes_of(messages(jid));
				assert.same({}, devices.identifiers(server, jid));
			end
		end);

		it("is how many registrations a user has: push_max_devices", function ()
			for _, case in ipairs({ { nil, 5 }; { 2, 2 }; { 1, 1 }; { 12, 12 } }) do
				configure({ push_max_devices = case[1] });
				local phone = phone_of(devices.new_user(server));
				for i = 1, case[2] + 2 do
					devices.enable(phone, { jid = "push.test"; node = ("n%02d"):format(i) });
				end
				local expected = {};
				for i = 1, case[2] do expected[i] = ("push.test<n%02d"):format(i + 2); end
				assert.same(expected, devices.identifiers(server, phone.jid));
				phone:close();
			end
		end);

		it("is how long a session may hibernate: push_max_hibernation_timeout", function ()
			for _, case in ipairs({ { nil, 72 * 3600 }; { 1000, 1000 } }) do
				configure({ push_max_hibernation_timeout = case[1] });
				local phone = hibernated_user();
				assert.equal(case[2], server:eval([[
					return prosody.full_sessions[...].hibernating_watchdog.timeout;
				]], phone.full_jid));
			end
		end);

		it("is which stanzas are for pushes at all: push_notify_on", function ()
			configure({ push_coalesce_window = 0 });
			local phone = hibernated_user();
			local acts = {
				presence = function () sender:send(st.presence({ to = phone.full_jid })); end;
				chat_state = function ()
					sender:message({ to = phone.full_jid;
						st.stanza("composing", { xmlns = "http://jabber.org/protocol/chatstates" }) });
				end;
				message = messages(phone.full_jid);
			};
			for choice, expected in pairs({
				all = { presence = 1; chat_state = 1; message = 1 };
				messages = { presence = 0; chat_state = 1; message = 1 };
				important = { presence = 0; chat_state = 0; message = 1 };
			}) do
				configure({ push_coalesce_window = 0; push_notify_on = choice });
				local counts = {};
				for name, act in pairs(acts) do counts[name] = pushes_of(act); end
				assert.same(expected, counts, choice);
			end
		end);

		it("is for how long one push speaks for others: push_coalesce_window", function ()
			configure({ push_coalesce_window = 600 });
			assert.equal(1, pushes_of(messages(hibernated_user().full_jid, 5)));
			configure({ push_coalesce_window = 0 });
			assert.equal(5, pushes_of(messages(hibernated_user().full_jid, 5)));
			configure({ push_coalesce_window = 0.2 });
			local phone = hibernated_user();
			assert.equal(0, pushes_of(function () sender:message({ to = phone.full_jid }); end));
			push:wait(1);
		end);

		it("is how many pushes a flood of messages makes: push_max_per_minute", function ()
			for _, case in ipairs({ { nil, 60 }; { 3, 3 }; { 0, 70 } }) do
				configure({ push_max_per_minute = case[1] });
				local jid = absent_user();
				assert.equal(case[2], pushes_of(messages(jid, 70)));
				-- Or the rest would come later.
				server:delete_user(jid:match("^[^@]+"), "home.test");
			end
		end);

		it("is how long an answer may take: push_answer_timeout", function ()
			push.answer = push_service.never;
			configure({ push_answer_timeout = 1 });
			pushes_of(messages(absent_user()));
			assert.equal(1, inspect.in_flight(server));
			inspect.wait_all_answered(server, 3);
		end);
	end);

	it("may differ from host to host", function ()
		local other = prosody.start({
			version = version;
			options = { push_notification_important_body = "Home" };
			config = [[
				VirtualHost "away.test"
				push_notification_important_body = "Away"
			]];
		});
		local service = push_service.connect(other, "push.test", "secret");
		local from = client.connect(other, devices.new_user(other));
		local texts = {};
		for i, host in ipairs({ "home.test"; "away.test" }) do
			local phone = client.connect(other, devices.new_user(other, host));
			devices.enable(phone, { jid = "push.test"; node = host });
			phone:close();
			from:message({ to = phone.jid; body = "Hello" });
			texts[host] = service:wait(i).form["last-message-body"];
			assert.equal(host, service.received[i].stanza.attr.from);
		end
		assert.same({ ["home.test"] = "Home"; ["away.test"] = "Away" }, texts);
		other:stop();
		assert.same({}, other:faults());
	end);

	it("is taken at the start, too, and a bad one does not stop it", function ()
		local other = prosody.start({
			version = version;
			options = { push_max_devices = "lots"; push_notification_important_body = "Ring" };
		});
		local errors = inspect.logged(other, "error");
		assert.equal(1, #errors);
		assert.truthy(errors[1]:find("push_max_devices", 1, true));
		assert.truthy(errors[1]:find("lots", 1, true));
		assert.equal("Ring", inspect.eval(other, [[return upvalue("options").push_notification_important_body;]]));
		other:stop();
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("an option with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
