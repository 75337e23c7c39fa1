-- push explain names the true reason, whatever has become of a message: what an administrator reads is what is checked.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local json = require "util.json";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

-- Nothing happens by itself while a test looks.
local options = {
	push_answer_timeout = 1;
	push_coalesce_window = 3600;
	push_max_devices = 2;
	push_max_errors = 2;
	push_max_failures = 3;
	push_recovery_rate = 1;
	push_retry_max = 3600;
	push_retry_min = 3600;
	smacks_max_ack_delay = 600;
	storage = { accounts = "faulty"; cloud_notify = "faulty"; cloud_notify_owed = "faulty" };
};

local hosts = [[
	VirtualHost "ending.test"
		push_max_hibernation_timeout = 2
		push_wake_before_timeout = 1000

	VirtualHost "important.test"
		push_notify_on = "important"

	VirtualHost "noarchive.test"
		modules_disabled = { "mam"; "s2s"; "s2s_auth_certs" }

	VirtualHost "nooffline.test"
		modules_disabled = { "offline"; "s2s"; "s2s_auth_certs" }

	VirtualHost "nowhere.test"
		modules_disabled = { "mam"; "offline"; "s2s"; "s2s_auth_certs" }

	VirtualHost "overdue.test"
		smacks_max_ack_delay = 0.05

	VirtualHost "rate.test"
		modules_disabled = { "mam"; "s2s"; "s2s_auth_certs" }
		push_max_per_minute = 3

	VirtualHost "window.test"
		push_coalesce_window = 0.2

	VirtualHost "read.test"
		push_notify_read = true

	VirtualHost "untraced.test"
		push_trace = false
]];

local enabled = "registration at push.test enabled by its client";
local away = "phone at push.test, away";
local pushed_now = "a message now: pushed";
local taken = "answer after D: taken";
local stored = "message m1 from home.test, stored offline: no push, already pushed";

local refuses = push_service.error("cancel", "forbidden", "No");
local gone = push_service.error("cancel", "item-not-found");
local busy = push_service.error("wait", "resource-constraint");
local broken = push_service.error("wait", "internal-server-error");

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version; options = options; config = hosts; own_clock = true;
			modules = { "spec_companion"; "admin_shell"; "pep" };
		});
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
		inspect.begin_again(server);
		push.answer = push_service.result;
		push:clear();
	end);

	after_each(function ()
		server:eval([[
			local failing = module("home.test", "storage_faulty"):shared("failing");
			for name in pairs(failing) do failing[name] = nil; end
		]]);
		server:set_clock(0);
	end);

	-- What is printed, but for what is another one each time: the times, the days and the names of registrations.
	local function read(text)
		local lines = {};
		for line in text:gmatch("[^\n]+") do
			local is_new = not line:find("^%s") or line:find("^%s+a message now");
			local is_day = line:find("^%a%a%a %d%d %a%a%a %d%d%d%d, UTC$");
			if is_new and not is_day then
				lines[#lines + 1] = line:gsub("^%s+", "");
			elseif not is_day then
				lines[#lines] = lines[#lines] .. " " .. line:gsub("^%s+", "");
			end
		end
		for i, line in ipairs(lines) do
			lines[i] = line:gsub("^%d%d:%d%d:%d%d  (%S+)  ", function (name) return name == "all" and "all: " or ""; end)
				:gsub("^[%w-]*%x%x%x%x%x%x%x%x  ", "")
				:gsub("%a%a%a %d%d %a%a%a (%d%d:%d%d:%d%d)", "%1"):gsub("%d%d:%d%d:%d%d", "T")
				:gsub(" since T", "")
				:gsub("%d%d%d%d%-%d%d%-%d%d %d%d:%d%d", "DATE"):gsub("after [%d.]+ %a+:", "after D:");
		end
		return lines;
	end

	local function explained(jid)
		return inspect.eval(server, [[
			local _, libs = debug.getupvalue(hosts["home.test"].modules.cloud_notify.module.lib, 1);
			local lines = {};
			local function print(line) lines[#lines + 1] = line; end
			local _, summary = libs.shell.commands.explain.run(print, { (...) });
			lines[#lines + 1] = summary;
			return table.concat(lines, "\n");
		]], jid);
	end

	local function assert_explained(expected, phone)
		assert.same(expected, read(explained(phone.jid)));
	end

	-- What is said of a phone with one registration.
	local function assert_phone(phone, what_happened, place, outlook)
		local expected = { enabled };
		for _, line in ipairs(what_happened) do expected[#expected + 1] = line; end
		for _, line in ipairs({ place or away, "a message now: " .. (outlook or "pushed"), "1 registration" }) do
			expected[#expected + 1] = line;
		end
		assert_explained(expected, phone);
	end

	local function with_host(host)
		return { host = host; resource = "phone" };
	end

	local function text(phone, id, body)
		rosa:message({ to = phone.jid; id = id or "m1"; body = body or "Wake up" });
		rosa:ping();
	end

	local function settle()
		inspect.wait_all_answered(server);
		push:ping();
		push:ping();
	end

	local function text_and_answer(phone, id)
		text(phone, id);
		settle();
	end

	local function fail(what)
		server:eval([[module("home.test", "storage_faulty"):shared("failing")[...] = "error";]], what);
	end

	-- Has the time of its trial come, so many days after it was suspended.
	local function try(phone, days)
		inspect.eval(server, [[
			local user, identifier, days = ...;
			local records = upvalue("load_records")(user);
			local suspended = records[identifier].suspended;
			suspended["until"], suspended.since = os.time() - 1, os.time() - days * 86400;
			assert(upvalue("save_records")(user, records));
			upvalue("arm")(upvalue("engine"):suspend(user, identifier, 0));
		]], phone.username, phone.identifier, days);
	end

	local function suspended_phone()
		local phone = phones.away(push, with_host());
		push.answer = refuses;
		text_and_answer(phone, "m1");
		text_and_answer(phone, "m2");
		push:clear();
		return phone;
	end

	local until_suspended = {
		"message m1 from home.test, archived: pushed"; stored;
		"answer after D: refused, that counts towards push_max_errors (forbidden)";
		"message m2 from home.test, archived: pushed"; "message m2 from home.test, stored offline: no push, already pushed";
		"answer after D: not taken, the registration is suspended (forbidden)";
		"registration at push.test suspended by its push service: forbidden: No";
	};
	local function after_suspension(...)
		local lines = {};
		for _, line in ipairs(until_suspended) do lines[#lines + 1] = line; end
		for _, line in ipairs({ ... }) do lines[#lines + 1] = line; end
		return lines;
	end
	local is_suspended = "no push yet, registration is suspended, waits for the next trial at T "
		.. "(suspended since DATE: forbidden, No)";

	describe("no registration:", function ()
		it("there has never been any", function ()
			local jid = devices.new_user(server);
			assert_explained({ jid .. " has no registrations: no app has registered, as far as is known" }, { jid = jid });
		end);

		it("the account was deleted and made again", function ()
			local phone = phones.away(push, with_host());
			text_and_answer(phone);
			server:delete_user(phone.username, "home.test");
			server:add_user(phone.username, "secret", "home.test");
			assert_explained({ phone.jid .. " has no registrations: no app has registered, as far as is known" }, phone);
		end);

		it("there is no such account, or host", function ()
			assert_explained({ "There is no account nobody@home.test" }, { jid = "nobody@home.test" });
			assert_explained({ "There is no host elsewhere.test here" }, { jid = "nobody@elsewhere.test" });
			assert_explained({ "home.test is no JID of an account" }, { jid = "home.test" });
		end);

		it("its app has disabled it", function ()
			local phone = phones.new(push, with_host());
			devices.disable(phone, { jid = "push.test" });
			assert_explained({
				enabled; "registration at push.test disabled by its client";
				phone.jid .. " has no registrations: the app has to register again";
			}, phone);
		end);

		it("newer devices have taken its place", function ()
			local phone = phones.away(push, with_host());
			for _, resource in ipairs({ "tablet"; "watch" }) do
				phones.away(push, { jid = phone.jid; resource = resource });
			end
			assert_explained({
				enabled; enabled; "registration at push.test evicted by this server: push_max_devices is reached"; enabled;
				"tablet at push.test, away"; pushed_now; "watch at push.test, away"; pushed_now; "2 registrations";
			}, phone);
		end);

		it("the push service has ended it", function ()
			local phone = phones.away(push, with_host());
			push:send(st.message({ from = "push.test"; to = phone.jid })
				:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub"; node = phone.node })
					:tag("affiliation", { jid = phone.jid; affiliation = "none" }));
			push:ping();
			assert_explained({
				enabled; "registration at push.test removed by its push service: ended by its push service";
				phone.jid .. " has no registrations: the app has to register again";
			}, phone);
		end);

		it("the push service says that its node is dead", function ()
			local phone = phones.away(push, with_host());
			push.answer = gone;
			text_and_answer(phone, "m1");
			text_and_answer(phone, "m2");
			assert_explained({
				enabled; "message m1 from home.test, archived: pushed"; stored;
				"answer after D: refused, that counts towards push_max_errors (item-not-found)";
				"message m2 from home.test, archived: pushed"; "message m2 from home.test, stored offline: no push, already pushed";
				"answer after D: refused for good, the registration is removed (item-not-found)";
				"registration at push.test removed by its push service: item-not-found";
				phone.jid .. " has no registrations: the app has to register again";
			}, phone);
		end);
	end);

	describe("the device is there:", function ()
		local live = "phone at push.test, live";
		local delivered = "delivered to its session, and pushed if that does not acknowledge it";

		it("it is online", function ()
			local phone = phones.new(push, with_host());
			text(phone);
			assert_phone(phone, { "1 stanza, archived: no push, device is online" }, live, delivered);
			local second = os.time();
			loop.wait_for(function () return os.time() > second + 1; end, nil, "another second");
			text(phone);
			assert_phone(phone, { "2 stanzas, archived: no push, device is online" }, live, delivered);
			assert.truthy(explained(phone.jid):find("2 stanzas since %d%d:%d%d:%d%d, archived"));
		end);

		it("it has acknowledged the message", function ()
			local phone = phones.new(push, with_host("overdue.test"));
			text(phone);
			phones.acknowledge(phone);
			assert_phone(phone, { "1 stanza, archived: no push, device is online" }, live, delivered);
		end);

		it("it acknowledges late, but in time", function ()
			local phone = phones.new(push, with_host());
			phone.withhold_acks = true;
			text(phone);
			phones.acknowledge(phone);
			assert_phone(phone, { "1 stanza, archived: no push, device is online" }, live, delivered);
		end);

		it("it does not acknowledge, and is pushed", function ()
			local phone = phones.new(push, with_host("overdue.test"));
			phone.withhold_acks = true;
			text(phone);
			phones.await(phone, 1);
			settle();
			assert_phone(phone, {
				"1 stanza, archived: no push, device is online";
				"message m1 from home.test, not acknowledged: pushed"; taken;
			}, live, delivered);
		end);

		it("another session of it has taken over", function ()
			local phone = phones.hibernated(push, with_host());
			local session = phones.login(phone, { resource = "other" });
			devices.enable(session, { jid = "push.test"; node = phone.node });
			text(phone);
			local lines = read(explained(phone.jid));
			assert.same("1 stanza, not acknowledged: no push, device is online", lines[#lines - 3]);
		end);

		it("it hibernates, and a push has just woken it", function ()
			local phone = phones.hibernated(push, with_host());
			text_and_answer(phone, "m1");
			text(phone, "m2");
			text(phone, "m3");
			local first = "message m1 from home.test, ";
			assert_phone(phone, {
				"1 stanza, archived: no push, device hibernates, stream management takes care of it";
				first .. "not acknowledged: pushed"; taken;
				"2 stanzas, archived: no push, device hibernates, stream management takes care of it";
				"2 stanzas, not acknowledged: no push, device has just been woken";
			}, "phone at push.test, hibernated", "no push, device has just been woken");
		end);

		it("a push speaks for all of a long queue", function ()
			local phone = phones.new(push, with_host());
			phone.withhold_acks = true;
			for i = 1, 20 do text(phone, "m" .. i); end
			phone:cut();
			settle();
			assert_phone(phone, {
				"20 stanzas, archived: no push, device is online";
				"message m1 from home.test, not acknowledged: pushed";
				"19 stanzas, not acknowledged: no push, device has just been woken"; taken;
			}, "phone at push.test, hibernated", "no push, device has just been woken");
		end);

		it("its session is resumed before what waits is pushed", function ()
			local phone = phones.hibernated(push, with_host());
			rosa:message({ to = phone.full_jid; id = "m1"; payloads.composing() });
			rosa:ping();
			assert.equal(phone, phone:resume());
			assert_phone(phone, {
				"unimportant message m1 from home.test, not acknowledged: no push yet, not important, "
					.. "waits for the end of push_coalesce_window at T";
				"what waited: no push, device is back, it has what waited";
			}, live, delivered);
		end);

		it("its session is resumed while a push is under way that stood for several", function ()
			push.answer = push_service.never;
			local phone = phones.hibernated(push, with_host("window.test"));
			rosa:message({ to = phone.full_jid; id = "m1"; payloads.composing() });
			push:wait(1);
			assert.equal(phone, phone:resume());
			loop.wait_for(function ()
				return explained(phone.jid):find("no answer");
			end, nil, "the push to be given up");
			assert_phone(phone, {
				"unimportant message m1 from home.test, not acknowledged: no push yet, not important, "
					.. "waits for the end of push_coalesce_window at T";
				"what waited: pushed"; "no answer after D: not taken, but the device needs it no more";
			}, live, delivered);
		end);

		it("without stream management nobody knows whether it is, whatever others have", function ()
			local phone = phones.new(push, { resource = "phone"; sm = false });
			client.connect(server, phone.jid, { resource = "pc"; sm = "resume" });
			text(phone);
			assert_phone(phone, { "1 stanza, archived: no push, device is online" }, live,
				"delivered to its session, without a push: it does not use stream management, so that nobody knows "
				.. "whether it arrives");
		end);
	end);

	describe("the message is no reason:", function ()
		it("there was a push by another rule", function ()
			local phone = phones.hibernated(push, with_host("noarchive.test"));
			text_and_answer(phone);
			phones.expire(phone);
			assert_phone(phone, { "message m1 from home.test, not acknowledged: pushed"; taken;
				"1 stanza, left behind by a session: no push, not delivered, and not in the archive"; stored;
			});
		end);

		it("it is the user's own", function ()
			local phone = phones.away(push, with_host());
			local pc = client.connect(server, phone.jid, { resource = "pc" });
			rosa:message({ to = phone.jid; id = "c1"; payloads.propose() });
			settle();
			for _, id in ipairs({ "m1"; "m2" }) do pc:message({ to = rosa.jid; id = id; body = "Hello" }); end
			pc:ping();
			assert_phone(phone, {
				"call c1 from home.test, archived: pushed"; taken;
				"the last of 2: message m2 from home.test, archived: no push, user is not the recipient";
			});
		end);

		it("push_notify_on leaves it out", function ()
			local phone = phones.hibernated(push, with_host("important.test"));
			rosa:message({ to = phone.full_jid; id = "m1"; payloads.composing() });
			rosa:ping();
			assert_phone(phone, {
				"unimportant message m1 from home.test, not acknowledged: no push, left out by push_notify_on";
			}, "phone at push.test, hibernated");
		end);

		-- A phone whose app has filters: each with what it is filtered by, and what that says of m1.
		local function filter(name, child, attributes)
			return st.stanza(name, { xmlns = ("tigase:push:filter:%s:0"):format(name) }):tag(child, attributes):up();
		end
		for what, case in pairs({
			["the chat is muted"] = {
				function () return filter("muted", "item", { jid = rosa.jid }); end;
				"message m1 from home.test, archived: no push, chat is muted by the client";
				"message m1 from home.test, stored offline: no push, chat is muted by the client";
			};
			["the sender is unknown"] = {
				function () return st.stanza("ignore-unknown", { xmlns = "tigase:push:filter:ignore-unknown:0" }); end;
				"message m1 from home.test, archived: no push, "
					.. "sender is not in the roster, the client wants none from strangers";
				"message m1 from home.test, stored offline: no push, "
					.. "sender is not in the roster, the client wants none from strangers";
			};
			["the room is not listed"] = {
				function () return filter("groupchat", "room", { jid = "fun@push.test"; allow = "always" }); end;
				"group message m1 from push.test, to the bare JID: no push, "
					.. "room is not among those that the client listens to";
			};
			["nobody is mentioned"] = {
				function ()
					return filter("groupchat", "room", { jid = "team@push.test"; allow = "mentioned"; nick = "Anna" });
				end;
				"group message m1 from push.test, to the bare JID: no push, "
					.. "user is not mentioned, the client wants only that of this room";
			};
		}) do
			it(what, function ()
				local phone = phones.new(push, with_host());
				devices.enable(phone, { jid = push.jid; node = phone.node; extra = { case[1]() } });
				phones.acknowledge(phone);
				phone:close();
				if case[3] then
					text(phone);
				else
					push:send(st.message({ type = "groupchat"; from = "team@push.test/Rosa"; to = phone.jid; id = "m1" }, "Hi"));
					push:ping();
				end
				assert_phone(phone, { case[2]; case[3] });
			end);
		end

		it("another module holds it back", function ()
			local phone = phones.away(push, with_host());
			companion.plan(server, phone.jid, { veto = "muted" });
			text(phone);
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed";
				"but another module has held that push back: muted"; stored;
			});
		end);

		it("it is none", function ()
			local phone = phones.hibernated(push, with_host());
			rosa:send(st.presence({ to = phone.full_jid }));
			rosa:ping();
			assert_phone(phone, {
				"presence from home.test, not acknowledged: no push yet, not important, "
					.. "waits for the end of push_coalesce_window at T";
			}, "phone at push.test, hibernated");
		end);

		it("it comes from a room", function ()
			local phone = phones.away(push, with_host());
			push:send(st.message({ type = "groupchat"; from = "team@push.test/Rosa"; to = phone.jid; id = "r1" })
				:text_tag("subject", "News"));
			push:wait(1);
			settle();
			assert_phone(phone, { "group message r1 from push.test, to the bare JID: pushed"; taken });
		end);

		it("it is read on another device", function ()
			local phone = phones.away(push, with_host("read.test"));
			local pc = client.connect(server, phone.jid, { resource = "pc" });
			local function display()
				pc:message({ to = rosa.jid; st.stanza("displayed", { xmlns = "urn:xmpp:chat-markers:0"; id = "m1" }) });
				pc:ping();
				settle();
			end
			text_and_answer(phone);
			display();
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed"; taken;
				"all is read elsewhere, the device is told so: pushed"; taken;
			});
			phone = phones.away(push, with_host("read.test"));
			pc = client.connect(server, phone.jid, { resource = "pc" });
			push.answer = busy;
			text_and_answer(phone);
			display();
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed";
				"answer after D: not taken, it is tried again (resource-constraint)";
				"what waited: no push, user has read it on another device";
			});
		end);

		it("the user's notification settings for its chat leave it out", function ()
			local phone = phones.away(push, with_host());
			local laptop = client.connect(server, phone.jid, { presence = false });
			laptop:iq(st.iq({ type = "set"; id = "bookmark" }):tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub" })
				:tag("publish", { node = "urn:xmpp:bookmarks:1" }):tag("item", { id = "team@push.test" })
					:tag("conference", { xmlns = "urn:xmpp:bookmarks:1" }):tag("extensions")
						:tag("notify", { xmlns = "urn:xmpp:notification-settings:1" }):tag("on-mention"):reset());
			laptop:close();
			push:send(st.message({ type = "groupchat"; from = "team@push.test/Rosa"; to = phone.jid; id = "r1" })
				:text_tag("body", "Hello"));
			push:ping();
			settle();
			assert_phone(phone, {
				"group message r1 from push.test, to the bare JID: no push, "
					.. "left out by the user's notification settings for this chat";
			});
		end);

		it("there is none, somebody has asked for a push", function ()
			local phone = phones.away(push, with_host());
			server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], phone.username);
			settle();
			assert_phone(phone, { "push without a message: pushed"; taken });
		end);

		it("there is none, a session is about to end", function ()
			local phone = phones.hibernated(push, with_host("ending.test"));
			push:wait(1);
			settle();
			assert_phone(phone, { "push to keep its session, which is about to end: pushed"; taken },
				"phone at push.test, hibernated");
		end);

		it("others of the user's devices have it, and nobody looks at them", function ()
			local phone = phones.away(push, { host = "noarchive.test"; away = "true"; resource = "phone" });
			local laptop = client.connect(server, phone.jid, { presence = false });
			laptop:send(st.presence():text_tag("show", "away"));
			laptop:ping();
			text_and_answer(phone);
			assert_phone(phone, { "message m1 from home.test, delivered while the user is away: pushed"; taken });
			laptop:close();
		end);

		it("somebody asks for a subscription", function ()
			local phone = phones.away(push, with_host());
			rosa:send(st.presence({ to = phone.jid; type = "subscribe" }));
			push:wait(1);
			settle();
			assert_phone(phone, { "subscription request from home.test, for a user who is offline: pushed"; taken });
		end);

		it("nothing keeps it", function ()
			local phone = phones.away(push, with_host("nowhere.test"));
			text(phone);
			assert_phone(phone, {}, away, "no push, for nothing keeps it: neither mod_mam nor mod_offline is loaded");
		end);

		it("nothing keeps it, but a session that hibernates does", function ()
			local phone = phones.hibernated(push, with_host("nowhere.test"));
			assert_phone(phone, {}, "phone at push.test, hibernated");
		end);

		it("without offline storage, what the archive keeps is one", function ()
			local phone = phones.away(push, with_host("nooffline.test"));
			text_and_answer(phone);
			assert_phone(phone, { "message m1 from home.test, archived: pushed"; stored; taken });
		end);

		it("without an archive, what offline storage keeps is one", function ()
			local phone = phones.away(push, with_host("noarchive.test"));
			text_and_answer(phone);
			assert_phone(phone, { "message m1 from home.test, stored offline: pushed"; taken });
		end);
	end);

	describe("it waits:", function ()
		it("push_max_per_minute is reached", function ()
			local phone = phones.away(push, with_host("rate.test"));
			for i = 1, 4 do text_and_answer(phone, "m" .. i); end
			local limited = "no push yet, more than push_max_per_minute, waits for its turn at T";
			local lines = {};
			for i = 1, 3 do
				lines[#lines + 1] = ("message m%d from home.test, stored offline: pushed"):format(i);
				lines[#lines + 1] = taken;
			end
			lines[#lines + 1] = "message m4 from home.test, stored offline: " .. limited;
			assert_phone(phone, lines, away, limited);
			if os.date("!%d") == os.date("!%d", os.time() + 120) then
				assert.truthy(explained(phone.jid):find("turn%s+at%s+%d%d:%d%d:%d%d")); -- Without the day
			end
		end);
	end);

	describe("the push service", function ()
		local waits = "no push yet, push service could not take the last one, waits for the next attempt";

		it("is not connected", function ()
			local phone = phones.away(push, with_host());
			push:disconnect();
			text(phone);
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed";
				"answer after D: not taken, it is tried again (remote-server-timeout)";
				"message m1 from home.test, stored offline: no push, already waiting";
			}, away, waits .. " at T");
		end);

		local function open_circuit(condition)
			local all = {};
			for i = 1, 3 do all[i] = phones.away(push, with_host()); end
			push.answer = condition;
			for _, phone in ipairs(all) do text(phone); end
			return all;
		end

		it("is left alone", function ()
			local phone = open_circuit(broken)[1];
			inspect.wait_all_answered(server);
			local unconcerned = phones.away(push, with_host());
			assert_phone(unconcerned, {}, away, "pushed, though push.test has had 3 failures in a row, the last "
				.. "internal-server-error");
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed"; stored;
				"answer after D: not taken, it is tried again (internal-server-error)";
			}, away, waits .. ". push.test is left alone after 3 failures in a row, the last internal-server-error: one push "
				.. "at a time finds out whether it works again");
		end);

		it("is left alone, and the registration is suspended, too", function ()
			local phone = suspended_phone();
			open_circuit(broken);
			inspect.wait_all_answered(server);
			local lines = read(explained(phone.jid));
			assert.same("a message now: " .. is_suspended .. ". push.test is left alone after 3 failures in a row, the last "
				.. "internal-server-error: one push at a time finds out whether it works again", lines[#lines - 1]);
		end);

		it("works again", function ()
			local all = open_circuit(broken);
			settle();
			push.answer = push_service.result;
			push:ping();
			local phone = all[3];
			local lines = read(explained(phone.jid));
			assert.same("a message now: " .. waits .. ". push.test works again, and gets what it is owed in turn",
				lines[#lines - 1]);
			push:wait(6);
			settle();
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed"; stored;
				"answer after D: not taken, it is tried again (internal-server-error)"; "what waited: pushed"; taken;
			});
		end);

		it("wants to be asked later", function ()
			local phone = phones.away(push, with_host());
			push.answer = busy;
			text_and_answer(phone);
			text(phone, "m2");
			local m2 = "message m2 from home.test, ";
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed"; stored;
				"answer after D: not taken, it is tried again (resource-constraint)";
				m2 .. "archived: " .. waits .. " at T"; m2 .. "stored offline: no push, already waiting";
			}, away, waits .. " at T");
		end);

		it("talks nonsense", function ()
			local phone = phones.away(push, with_host());
			push.answer = function (publish, service)
				service:send(st.reply(publish.stanza):tag("nonsense"));
				service:send(st.stanza("iq", { type = "error"; id = publish.id; from = "push.test"; to = "home.test" })
					:tag("error", { type = "strange" }):tag("oh-no", { xmlns = "urn:example:spec" }));
			end;
			text_and_answer(phone);
			assert_phone(phone, { "message m1 from home.test, archived: pushed"; stored; taken });
			push.answer = function (publish, service)
				service:send(st.stanza("iq", { type = "error"; id = publish.id; from = "push.test"; to = "home.test" })
					:tag("error", { type = "strange" }):tag("oh-no", { xmlns = "urn:example:spec" }));
			end;
			text_and_answer(phone, "m2");
			local lines = read(explained(phone.jid));
			assert.same("answer after D: not taken, it is tried again (undefined-condition)", lines[#lines - 3]);
		end);

		it("says nothing", function ()
			local phone = phones.away(push, with_host());
			push.answer = push_service.never;
			text(phone);
			inspect.wait_all_answered(server);
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed"; stored; "no answer after D: not taken, it is tried again";
			}, away, waits .. " at T");
		end);

		it("takes a call, and the device is owed nothing more", function ()
			local phone = phones.away(push, with_host());
			push.answer = busy;
			text_and_answer(phone);
			push.answer = push_service.result;
			rosa:message({ to = phone.jid; id = "c1"; payloads.propose() });
			rosa:ping();
			settle();
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed"; stored;
				"answer after D: not taken, it is tried again (resource-constraint)";
				"call c1 from home.test, archived: pushed"; "call c1 from home.test, stored offline: no push, already pushed";
				taken; "what waited: no push, another push has spoken for what waited";
			});
		end);
	end);

	describe("the registration", function ()
		it("is suspended", function ()
			local phone = suspended_phone();
			assert_phone(phone, until_suspended, "phone at push.test, away, suspended", is_suspended);
			assert.truthy(explained(phone.jid):find("trial%s+at%s+%a%a%a%s+%d%d%s+%a%a%a%s+%d%d:%d%d:%d%d"));
		end);

		it("is suspended still, for its trial has failed", function ()
			local phone = suspended_phone();
			try(phone, 1);
			push:wait(1);
			settle();
			assert_phone(phone, after_suspension("trial: pushed", until_suspended[6],
				"registration at push.test suspended by its push service: trial 1 failed with forbidden: No"),
				"phone at push.test, away, suspended", is_suspended);
		end);

		it("is in force again after a trial", function ()
			local phone = suspended_phone();
			push.answer = push_service.result;
			try(phone, 1);
			push:wait(1);
			settle();
			assert_phone(phone, after_suspension("trial: pushed", "answer after D: taken, the registration is in force again",
				"registration at push.test revived by its push service"));
		end);

		it("is removed after thirty days", function ()
			local phone = suspended_phone();
			try(phone, 31);
			push:wait(1);
			settle();
			local expected = after_suspension("trial: pushed", until_suspended[6],
				"registration at push.test removed by its push service: the last trial failed with forbidden: No",
				phone.jid .. " has no registrations: the app has to register again");
			table.insert(expected, 1, enabled);
			assert_explained(expected, phone);
		end);

		it("is removed, and its app registers again", function ()
			local phone = suspended_phone();
			try(phone, 31);
			push:wait(1);
			settle();
			push.answer = push_service.result;
			text_and_answer(phones.away(push, { jid = phone.jid; resource = "phone" }), "m3");
			assert_phone(phone, after_suspension("trial: pushed", until_suspended[6],
				"registration at push.test removed by its push service: the last trial failed with forbidden: No",
				enabled, "message m3 from home.test, archived: pushed",
				"message m3 from home.test, stored offline: no push, already pushed", taken));
		end);

		it("is suspended, but its client is there", function ()
			local phone = suspended_phone();
			phones.login(phone, { resource = "phone" });
			assert_phone(phone, until_suspended, "phone at push.test, live, suspended",
				"delivered to its session, " .. is_suspended);
		end);

		it("is suspended, and nobody knows since when or why", function ()
			local phone = phones.away(push, with_host());
			server:eval([[
				local user, identifier = ...;
				local store = module("home.test", "cloud_notify"):open_store();
				local records = store:get(user);
				records[identifier].suspended = { ["until"] = os.time() + 3600 };
				assert(store:set(user, records));
				assert(require "core.storagemanager".open("home.test", "cloud_notify_history"):set(user, {
					entries = { "1\ttouched\tsomebody\tname" };
				}));
			]], phone.username, phone.identifier);
			inspect.eval(server, [[upvalue("read_records")(...)]], phone.username);
			assert_explained({
				"registration at a push service touched by somebody"; "phone at push.test, away, suspended";
				"a message now: no push yet, registration is suspended, waits for the next trial at T (suspended: no reason)";
				"1 registration";
			}, phone);
		end);

		it("is damaged", function ()
			local phone = phones.away(push, with_host());
			server:eval([[
				local user, identifier = ...;
				local store = module("home.test", "cloud_notify"):open_store();
				local records = store:get(user);
				records[identifier].jid = {};
				assert(store:set(user, records));
			]], phone.username, phone.identifier);
			inspect.eval(server, [[upvalue("read_records")(...)]], phone.username);
			assert_phone(phone, {}, "phone at ?, away", "nothing, its record is damaged: its app has to register again");
		end);
	end);

	describe("this server", function ()
		it("has a listener that fails", function ()
			local phone = phones.away(push, with_host());
			server:eval([[
				rawset(_G, "spec_listener", function () error("oh no", 0); end);
				hosts["home.test"].events.add_handler("cloud_notify/push", spec_listener);
			]]);
			finally(function ()
				server:eval([[hosts["home.test"].events.remove_handler("cloud_notify/push", spec_listener);]]);
			end);
			text_and_answer(phone);
			assert_phone(phone, {
				"message m1 from home.test, archived: pushed";
				"another module has failed: that push leaves without text and sender"; stored; taken;
			});
		end);

		it("cannot read the registrations, now or when a message came", function ()
			local phone = phones.away(push, with_host());
			fail("cloud_notify/get");
			server:reload_module("cloud_notify", "home.test");
			text(phone);
			local blind = "all: no push for what came, the registrations of this account could not be read";
			local lines = read(explained(phone.jid));
			local unreadable = ("The registrations of %s cannot be read: the log says why"):format(phone.jid);
			assert.same({ enabled; blind; unreadable }, lines);
			server:eval([[module("home.test", "storage_faulty"):shared("failing")["cloud_notify/get"] = nil;]]);
			lines = read(explained(phone.jid));
			assert.same({ enabled; blind; away; pushed_now; "1 registration" }, lines);
		end);

		it("cannot read the registrations when a push is due", function ()
			local phone = phones.away(push, with_host());
			push.answer = busy;
			text_and_answer(phone);
			fail("cloud_notify/get");
			server:reload_module("cloud_notify", "home.test");
			push.answer = push_service.result;
			push:disconnect();
			push:reconnect();
			local lines;
			loop.wait_for(function ()
				lines = read(explained(phone.jid));
				return lines[5]:find("^what waited");
			end, nil, "the turn");
			assert.equal("what waited: no push yet, its registration could not be read, that is tried again", lines[5]);
		end);

		it("has been started again, and the device was owed a push", function ()
			local phone = phones.away(push, with_host());
			push.answer = busy;
			text_and_answer(phone);
			push:disconnect();
			server:unload_module("cloud_notify", "home.test");
			server:load_module("cloud_notify", "home.test");
			local owed = "owed a push from before the restart";
			assert_phone(phone, { owed }, away,
				"no push yet, push service could not take the last one, waits for the next attempt at T");
			push.answer = push_service.result;
			push:reconnect();
			push:wait(2);
			settle();
			assert_phone(phone, { owed; "what waited: pushed"; taken });
		end);

		it("remembers nothing with push_trace off", function ()
			local phone = phones.away(push, with_host("untraced.test"));
			text_and_answer(phone);
			assert_explained({ enabled; away; pushed_now;
				"1 registration. push_trace is off: what is decided is not remembered" }, phone);
		end);
	end);

	describe("a real shell prints it in eighty columns:", function ()
		local function shell(...)
			if version ~= "0.12" then return server:prosodyctl("", "shell", "push", "explain", ...); end
			local quoted = {};
			for i, argument in ipairs({ ... }) do quoted[i] = ("%q"):format(argument); end
			return server:prosodyctl("", "shell", ("push:explain(%s)"):format(table.concat(quoted, ", ")));
		end

		local situations = {
			["a suspended registration"] = suspended_phone;
			["a phone that is there"] = function ()
				local phone = phones.new(push, with_host());
				text(phone);
				return phone;
			end;
			["one that is owed a push"] = function ()
				local phone = phones.away(push, with_host());
				push.answer = busy;
				text_and_answer(phone);
				return phone;
			end;
			["nobody's phone"] = function () return { jid = devices.new_user(server) }; end;
		};
		for name, stage in pairs(situations) do
			it(name, function ()
				local phone = stage();
				local output = shell(phone.jid);
				for line in output:gmatch("[^\n]+") do assert.is_true(#line <= 80, line); end
				local lines = read(output:gsub("| ", ""):gsub("OK: ", ""):gsub("Result: ", ""));
				assert.same(read(explained(phone.jid)), lines);
			end);
		end

		it("also for machines", function ()
			local phone = suspended_phone();
			local elements = {};
			for element in shell(phone.jid, "--json"):gmatch("{[^\n]*}") do
				elements[#elements + 1] = assert(json.decode(element));
			end
			local first, last = elements[1], elements[#elements];
			assert.same({ "enabled"; "push.test" }, { first.event; first.service });
			assert.same({ phone.jid; "away"; "forbidden" }, { last.account; last.state; last.suspended.condition });
			assert.truthy(last.outlook:find("^no push yet, registration is suspended"));
			for _, element in ipairs(elements) do
				assert.same({ account = phone.jid }, { account = element.account; jid = element.jid });
				assert.is_nil(json.encode(element):find(phone.node .. "[^%w]"), "a node");
			end
		end);
	end);
end

for _, version in ipairs(prosody.all_versions) do
	describe("push explain with Prosody " .. version .. ":", function () describe_all(version); end);
end
