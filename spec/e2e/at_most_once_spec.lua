local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

-- Without a window each push that is decided on is seen: none speaks for others.
-- Nothing but messages, because presence and replies are unacknowledged at times, too.
-- Only on the patient hosts an acknowledgement is not overdue at once.
local options = {
	push_coalesce_window = 0;
	push_notify_on = "messages";
	smacks_max_ack_delay = 0.05;
};

local window = 0.25;

local hosts = ([[
	local no_archive = { "mam"; "s2s"; "s2s_auth_certs" }

	VirtualHost "noarchive.test"
		modules_disabled = no_archive

	VirtualHost "patient.test"
		smacks_max_ack_delay = 30

	VirtualHost "noarchive.patient.test"
		modules_disabled = no_archive
		smacks_max_ack_delay = 30

	VirtualHost "window.test"
		push_coalesce_window = %g

	VirtualHost "noarchive.window.test"
		modules_disabled = no_archive
		push_coalesce_window = %g

	VirtualHost "endless.test"
		push_coalesce_window = 3600

	VirtualHost "noarchive.endless.test"
		modules_disabled = no_archive
		push_coalesce_window = 3600
]]):format(window, window);

local places = { ["home.test"] = "with an archive"; ["noarchive.test"] = "without an archive" };

local function chat(id)
	return st.message({ type = "chat"; id = id });
end

local kinds = {
	["a text with an id"] = {
		new = function () return chat(new_id()):text_tag("body", "Hello"); end;
		pushed = important;
	};
	["a text without an id"] = {
		new = function () return chat():text_tag("body", "Hello"); end;
		pushed = important;
	};
	["a call"] = {
		new = function () return chat(new_id()):add_child(payloads.propose()); end;
		pushed = important;
	};
	["a chat marker"] = {
		new = function () return chat(new_id()):add_child(payloads.displayed()); end;
		pushed = unimportant;
	};
	["a chat state without an id"] = {
		new = function () return chat():add_child(payloads.composing()); end;
		pushed = unimportant;
	};
};

-- What happens to a message, in which order. Each one returns the phone that is to
-- have one push. scene: push, host, send(phone), between().
local scenarios = {};

-- The new session of a phone gets what offline storage has kept, and loses its
-- connection without having acknowledged it.
local function receive_and_hibernate(session)
	session.withhold_acks = true;
	session:available();
	session:expect({ name = "message" });
	session:cut();
end

scenarios["overdue acknowledgement, hibernation"] = function (scene)
	local phone = phones.new(scene.push, { host = scene.host });
	phone.withhold_acks = true;
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	phone:cut();
	return phone;
end;

scenarios["hibernation, resume without an acknowledgement, hibernation"] = function (scene)
	local phone = phones.new(scene.push, { host = scene.host });
	phone.withhold_acks = true;
	scene.send(phone);
	phone:cut();
	phones.await(phone, 1);
	scene.between();
	assert.truthy(phone:resume());
	phone:cut();
	return phone;
end;

scenarios["message during hibernation, resume without an acknowledgement, hibernation"] = function (scene)
	local phone = phones.hibernated(scene.push, { host = scene.host });
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	phone.withhold_acks = true;
	assert.truthy(phone:resume());
	phone:expect({ name = "message" });
	phone:cut();
	return phone;
end;

scenarios["hibernation, expiry into offline storage, delivery to a new session, hibernation"] = function (scene)
	local phone = phones.hibernated(scene.push, { host = scene.host; resource = "phone" });
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	phones.expire(phone);
	assert.equal(1, #phones.stored_messages(phone));
	phones.await(phone, 1);
	scene.between();
	local again = phones.login(phone, { resource = "phone"; presence = false });
	receive_and_hibernate(again);
	assert.equal(phone.identifier, devices.attached(again).identifier);
	return again;
end;

scenarios["overdue acknowledgement, end of the session without resumption, delivery to a new one"] = function (scene)
	local phone = phones.new(scene.push, { host = scene.host; resource = "phone"; sm = "noresume" });
	phone.withhold_acks = true;
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	phone:cut();
	assert.equal(1, #phones.stored_messages(phone));
	receive_and_hibernate(phones.login(phone, { resource = "phone"; presence = false }));
	return phone;
end;

scenarios["message while away, delivery to a new session, hibernation"] = function (scene)
	local phone = phones.away(scene.push, { host = scene.host; resource = "phone" });
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	receive_and_hibernate(phones.login(phone, { resource = "phone"; presence = false }));
	return phone;
end;

scenarios["message while away, delivery to a session that enables push, overdue acknowledgement"] = function (scene)
	local phone = phones.away(scene.push, { host = scene.host });
	scene.send(phone);
	phones.await(phone, 1);
	local again = phones.login(phone, { presence = false });
	devices.enable(again, { jid = "push.test"; node = phone.node });
	again.withhold_acks = true;
	scene.between();
	again:available();
	again:expect({ name = "message" });
	phones.await_overdue(again);
	return again;
end;

scenarios["hibernation, replacement by a session with the same resource, hibernation"] = function (scene)
	local phone = phones.hibernated(scene.push, { host = scene.host; resource = "phone" });
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	local again = phones.login(phone, { resource = "phone"; presence = false });
	scene.between();
	receive_and_hibernate(again);
	return again;
end;

scenarios["overdue acknowledgement, replacement by a session with the same resource, hibernation"] = function (scene)
	local phone = phones.new(scene.push, { host = scene.host; resource = "phone" });
	phone.withhold_acks = true;
	scene.send(phone);
	phones.await(phone, 1);
	scene.between();
	receive_and_hibernate(phones.login(phone, { resource = "phone"; presence = false }));
	return phone;
end;

local function for_all_kinds(define)
	for host, place in pairs(places) do
		for name, kind in pairs(kinds) do
			define(host, kind, name .. " " .. place);
		end
	end
end

for _, version in ipairs(prosody.all_versions) do
	describe("one stanza, with Prosody " .. version .. ",", function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({ version = version; options = options; config = hosts });
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

		local function send(stanza, phone)
			stanza.attr.to = phone.jid;
			rosa:send(stanza);
			rosa:ping();
		end

		local function text(phone, body)
			rosa:message({ to = phone.jid; body = body });
			rosa:ping();
		end

		local function text_without_id(phone, body)
			send(chat():text_tag("body", body), phone);
		end

		describe("is pushed at most once:", function ()
			for name, scenario in pairs(scenarios) do
				for_all_kinds(function (host, kind, description)
					local function run(between)
						local phone = scenario({
							push = push;
							host = host;
							send = function (phone) send(kind.new(), phone); end;
							between = between;
						});
						assert.same({ kind.pushed }, phones.pushed(phone, rosa));
					end

					it(name .. " -- " .. description, function ()
						run(function () end);
					end);

					if kind.pushed == important then
						it(name .. " -- " .. description .. ", with reloads of the module in between", function ()
							run(function () server:reload_module("cloud_notify", host); end);
						end);
					end
				end);
			end

			for_all_kinds(function (host, kind, description)
				it("archive and offline storage for an account that has no session for it -- " .. description, function ()
					for _, presence in ipairs({ false; -1 }) do
						local phone = phones.away(push, { host = host });
						local tablet = phones.new(push, { jid = phone.jid; presence = presence });
						send(kind.new(), phone);
						assert.same({ kind.pushed }, phones.pushed(phone));
						assert.is_true(#phones.pushed(tablet) <= 1);
					end
				end);

				it("queues of two hibernated sessions of a device -- " .. description, function ()
					local phone = phones.hibernated(push, { host = host });
					local again = phones.login(phone);
					devices.enable(again, { jid = "push.test"; node = phone.node });
					phones.acknowledge(again);
					again:cut();
					send(kind.new(), phone);
					assert.same({ kind.pushed }, phones.pushed(phone));
					phones.expire(phone);
					phones.expire(again);
					assert.same({ kind.pushed }, phones.pushed(phone));
				end);
			end);

			it("queues of two hibernated sessions of a device that get it in two seconds", function ()
				local phone = phones.hibernated(push, { host = "noarchive.test" });
				local again = phones.login(phone);
				devices.enable(again, { jid = "push.test"; node = phone.node });
				phones.acknowledge(again);
				again:cut();
				server:eval([[
					local datetime = require "util.datetime";
					local real, second = datetime.datetime, os.time();
					function datetime.datetime(time)
						if time then return real(time); end
						second = second + 1;
						return real(second);
					end
					function datetime.stop() datetime.datetime, datetime.stop = real, nil; end
				]]);
				for i = 1, 2 do
					text_without_id(phone, "Hello");
					assert.equal(i, #phones.pushed(phone));
				end
				server:eval([[require "util.datetime".stop();]]);
				phones.expire(phone);
				phones.expire(again);
				assert.equal(2, #phones.pushed(phone));
			end);

			for _, host in ipairs({ "home.test"; "noarchive.test" }) do
				for what, address in pairs({ ["with an address"] = true; ["without an address"] = false }) do
					it("a note to self " .. what .. " " .. places[host], function ()
						for _, presence in ipairs({ false; -1 }) do
							local phone = phones.away(push, { host = host });
							local tablet = client.connect(server, phone.jid, { presence = presence });
							for i = 1, 2 do
								push:clear();
								tablet:message({ to = address and phone.jid or nil; body = ("Milk %d"):format(i) });
								assert.same({ important }, phones.pushed(phone, tablet));
							end
						end
					end);

					it("a note to self " .. what .. " to a hibernated device " .. places[host], function ()
						local tablet = client.connect(server, devices.new_user(server, host));
						local phone = phones.hibernated(push, { jid = tablet.jid });
						tablet:message({ to = address and phone.jid or nil; body = "Milk" });
						assert.same({ important }, phones.pushed(phone, tablet));
						assert.truthy(phone:resume());
						phone:cut();
						assert.same({ important }, phones.pushed(phone, tablet));
					end);
				end
			end

			it("two notes to self with the same text are two", function ()
				local phone = phones.away(push);
				local tablet = client.connect(server, phone.jid, { presence = false });
				for _ = 1, 2 do
					tablet:send(chat():text_tag("body", "Milk"));
				end
				assert.same({ important; important }, phones.pushed(phone, tablet));
			end);

			it("a call to a live device that then is overdue, hibernates and expires", function ()
				local phone = phones.new(push, { host = "patient.test" });
				phone.withhold_acks = true;
				rosa:message({ to = phone.jid; payloads.propose() });
				assert.same({ important }, phones.pushed(phone, rosa));
				phone:cut();
				assert.same({ important }, phones.pushed(phone, rosa));
				phones.expire(phone);
				assert.same({ important }, phones.pushed(phone, rosa));
			end);

			it("a carbon copy, queued for two sessions of a device", function ()
				local phone = phones.new(push, { presence = 0 });
				phone:iq(st.iq({ type = "set"; id = "carbons" }):tag("enable", { xmlns = "urn:xmpp:carbons:2" }));
				phone.withhold_acks = true;
				local tablet = client.connect(server, phone.jid, { presence = 5 });
				phones.acknowledge(phone);
				text(phone, "Hello");
				tablet:expect({ body = "Hello" });
				phones.await(phone, 1);
				phone:cut();
				assert.truthy(phone:resume());
				phone:cut();
				assert.same({ important }, phones.pushed(phone, rosa));
			end);

			it("what waited, although its session expires meanwhile", function ()
				for _, host in ipairs({ "window.test"; "noarchive.window.test" }) do
					for _, kind in pairs({ kinds["a chat marker"]; kinds["a chat state without an id"] }) do
						local phone = loop.in_time(function ()
							local phone = phones.hibernated(push, { host = host; resource = "phone" });
							send(kind.new(), phone);
							phones.expire(phone);
							return #phones.pushed(phone) == 0 and phone;
						end);
						phones.await(phone, 1);
						receive_and_hibernate(phones.login(phone, { resource = "phone"; presence = false }));
						assert.same({ unimportant }, phones.pushed_within(phone, 2 * window));
					end
				end
			end);

			for id, say in pairs({ ["with an id"] = text; ["without an id"] = text_without_id }) do
				it("what another push has spoken for, delivered to a new session: a text " .. id, function ()
					for _, host in ipairs({ "endless.test"; "noarchive.endless.test" }) do
						local phone = phones.hibernated(push, { host = host; resource = "phone" });
						say(phone, "one");
						say(phone, "two");
						assert.same({ important }, phones.pushed(phone));
						phones.expire(phone);
						local again = phones.login(phone, { resource = "phone"; presence = false });
						again.withhold_acks = true;
						again:available();
						again:expect({ body = "two" });
						again:cut();
						assert.same({ important }, phones.pushed(phone));
					end
				end);
			end

			-- A long queue is not read to its end before it has to be
			for name, finish in pairs({
				["a resume and a second hibernation"] = function (phone)
					phone.withhold_acks = true;
					assert.truthy(phone:resume());
					phone:cut();
				end;
				["a restart of the module, and expiry"] = function (phone)
					server:reload_module("cloud_notify", "home.test");
					phones.expire(phone);
				end;
				["expiry"] = function (phone) phones.expire(phone); end;
				["expiry, and delivery to a new session"] = function (phone)
					phones.expire(phone);
					local again = phones.login(phone, { resource = "phone"; presence = false });
					again.withhold_acks = true;
					again:available();
					again:cut();
				end;
			}) do
				for moment, is_hibernated in pairs({ ["in a queue"] = false; ["during hibernation"] = true }) do
					it(("each of many %s, before %s"):format(moment, name), function ()
						for _, host in ipairs({ "endless.test"; "noarchive.endless.test" }) do
							local new_phone = is_hibernated and phones.hibernated or phones.new;
							local phone = new_phone(push, { host = host; resource = "phone" });
							phone.withhold_acks = true;
							for i = 1, 40 do
								(i % 2 == 0 and text or text_without_id)(phone, ("Text %d"):format(i));
							end
							rosa:ping();
							if not is_hibernated then phone:cut(); end
							assert.same({ important }, phones.await(phone, 1));
							finish(phone);
							assert.same({ important }, phones.pushed(phone, rosa));
						end
					end);
				end
			end

			it("what a listener's own message adds to a queue while that is gone through", function ()
				for _, host in ipairs({ "endless.test"; "noarchive.endless.test" }) do
					local phone = phones.new(push, { host = host; resource = "phone" });
					phone.withhold_acks = true;
					for i = 1, 20 do text(phone, ("Text %d"):format(i)); end
					rosa:ping();
					server:eval([[
						local host, jid = ...;
						local module = module(host, "cloud_notify");
						local function listen()
							module:unhook("cloud_notify/push", listen);
							module:send(require "util.stanza".message({ from = host; to = jid; type = "chat"; id = "more" }, "More"));
						end
						module:hook("cloud_notify/push", listen);
					]], host, phone.jid);
					phone:cut();
					assert.same({ important }, phones.await(phone, 1));
					phones.expire(phone);
					assert.same({ important }, phones.pushed(phone, rosa));
				end
			end);

			it("what was left unread in a session that another one replaces, and waits in a third one", function ()
				for _, host in ipairs({ "endless.test"; "noarchive.endless.test" }) do
					local phone = phones.new(push, { host = host; resource = "phone" });
					local other = phones.login(phone, { resource = "other" });
					devices.enable(other, { jid = "push.test"; node = phone.node });
					phones.acknowledge(other);
					other:cut();
					phone.withhold_acks = true;
					for i = 1, 20 do text(phone, ("Text %d"):format(i)); end
					rosa:ping();
					phone:cut();
					assert.same({ important }, phones.await(phone, 1));
					phones.login(phone, { resource = "phone"; presence = false }):close();
					phones.expire(other);
					assert.same({ important }, phones.pushed(phone, rosa));
				end
			end);

			it("each of more than are left unread", function ()
				local phone = phones.hibernated(push, { host = "endless.test"; resource = "phone" });
				for i = 1, 600 do text(phone, ("Text %d"):format(i)); end
				rosa:ping();
				local unread = server:eval([[return #prosody.full_sessions[...].unread_queue]], phone.full_jid);
				assert.is_true(unread > 0 and unread <= 500);
				phones.expire(phone);
				assert.same({ important }, phones.pushed(phone, rosa));
			end);

			it("many that come back from offline storage", function ()
				for host in pairs(places) do
					for _, say in ipairs({ text; text_without_id }) do
						local phone = phones.hibernated(push, { host = host; resource = "phone" });
						for i = 1, 50 do say(phone, ("Text %d"):format(i)); end
						phones.expire(phone);
						local again = phones.login(phone, { resource = "phone"; presence = false });
						again.withhold_acks = true;
						again:available();
						again:cut();
						assert.equal(50, #phones.pushed(phone, rosa));
					end
				end
			end);
		end);

		describe("that looks like another is pushed all the same:", function ()
			for host, place in pairs(places) do
				it("the same text without an id to a hibernated device " .. place, function ()
					local phone = phones.hibernated(push, { host = host });
					text_without_id(phone, "ok");
					text_without_id(phone, "ok");
					assert.same({ important; important }, phones.pushed(phone));
				end);

				it("the same text without an id to each of two hibernated sessions of a device " .. place, function ()
					local phone = phones.hibernated(push, { host = host });
					local again = phones.login(phone);
					devices.enable(again, { jid = "push.test"; node = phone.node });
					phones.acknowledge(again);
					again:cut();
					for _, session in ipairs({ phone; again }) do
						rosa:send(st.message({ type = "chat"; to = session.full_jid }):text_tag("body", "ok"));
					end
					assert.same({ important; important }, phones.pushed(phone, rosa));
				end);

				it("the same text without an id to a device that is away " .. place, function ()
					local phone = phones.away(push, { host = host });
					text_without_id(phone, "ok");
					text_without_id(phone, "ok");
					assert.same({ important; important }, phones.pushed(phone));
				end);

				it("the same text without an id after a new login " .. place, function ()
					local phone = phones.away(push, { host = host; resource = "phone" });
					text_without_id(phone, "ok");
					local again = phones.login(phone, { resource = "phone" });
					again:expect({ body = "ok" });
					phones.acknowledge(again);
					again:cut();
					text_without_id(phone, "ok");
					assert.same({ important; important }, phones.pushed(phone));
				end);
			end
		end);

		describe("is not lost:", function ()
			for _, host in ipairs({ "patient.test"; "noarchive.patient.test" }) do
				local place = host:find("^noarchive") and "without an archive" or "with an archive";

				it("when a session that cannot be resumed loses its connection " .. place, function ()
					for _, say in ipairs({ text; text_without_id }) do
						local phone = phones.new(push, { host = host; sm = "noresume" });
						phone.withhold_acks = true;
						say(phone, "Hello");
						assert.same({}, phones.pushed(phone));
						phone:cut();
						assert.same({ important }, phones.pushed(phone));
						assert.same({ "Hello" }, phones.stored_messages(phone));
					end
				end);

				it("when the module was reloaded before it comes " .. place, function ()
					local hibernated = phones.hibernated(push, { host = host });
					local away = phones.away(push, { host = host });
					local live = phones.new(push, { host = host });
					live.withhold_acks = true;
					text(live, "Hello");
					server:reload_module("cloud_notify", host);
					text(hibernated, "Hello");
					text(away, "Hello");
					live:cut();
					assert.same({ important }, phones.pushed(hibernated));
					assert.same({ important }, phones.pushed(away));
					assert.same({ important }, phones.pushed(live));
				end);

				it("when a new session takes the place of one that has not acknowledged it " .. place, function ()
					local phone = phones.new(push, { host = host; resource = "phone" });
					phone.withhold_acks = true;
					text(phone, "Hello");
					local again = phones.login(phone, { resource = "phone" });
					again:expect({ body = "Hello" });
				end);
			end

			it("when its session expires while it waits", function ()
				for _, host in ipairs({ "window.test"; "noarchive.window.test" }) do
					local phone = loop.in_time(function ()
						local phone = phones.hibernated(push, { host = host });
						send(kinds["a chat marker"].new(), phone);
						phones.expire(phone);
						return #phones.pushed(phone) == 0 and phone;
					end);
					assert.equal(1, #phones.stored_messages(phone));
					assert.same({ unimportant }, phones.await(phone, 1));
				end
			end);

			it("when it is important and its session expires while others wait", function ()
				for _, host in ipairs({ "endless.test"; "noarchive.endless.test" }) do
					local phone = phones.hibernated(push, { host = host });
					send(kinds["a chat marker"].new(), phone);
					phones.expire(phone);
					assert.same({}, phones.pushed(phone));
					text(phone, "Hello");
					assert.same({ important }, phones.pushed(phone));
				end
			end);
		end);
	end);

	describe("at the stop of a server with Prosody " .. version, function ()
		local server, push, rosa;

		before_each(function ()
			server = prosody.start({ version = version; options = options; config = hosts });
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		it("nothing is pushed a second time", function ()
			local expected = {};
			for_all_kinds(function (host, kind)
				local function new_message(phone)
					local stanza = kind.new();
					stanza.attr.to = phone.jid;
					return stanza;
				end

				local hibernated = phones.hibernated(push, { host = host });
				rosa:send(new_message(hibernated));
				expected[hibernated] = kind.pushed;

				for _, sm in ipairs({ "resume"; "noresume" }) do
					local overdue = phones.new(push, { host = host; sm = sm });
					overdue.withhold_acks = true;
					rosa:send(new_message(overdue));
					expected[overdue] = kind.pushed;
				end
			end);
			for phone in pairs(expected) do
				phones.await(phone, 1);
			end
			server:stop();
			for phone, pushed in pairs(expected) do
				assert.same({ pushed }, phones.pushed(phone));
			end
		end);
	end);
end
