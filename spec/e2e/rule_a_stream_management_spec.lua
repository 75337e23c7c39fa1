local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

-- Nothing waits that long: what comes on a host with this window came at once.
local endless = 3600;
local short = 0.25;
local ack_delay = 0.25;

local hosts = ([[
	VirtualHost "short.test"
		push_coalesce_window = %g

	VirtualHost "overdue.test"
		push_notification_with_body = true
		smacks_max_ack_delay = %g

	VirtualHost "overdueshort.test"
		push_coalesce_window = %g
		smacks_max_ack_delay = %g

	VirtualHost "body.test"
		push_notification_with_body = true

	VirtualHost "sender.test"
		push_coalesce_window = 0
		push_notification_with_sender = true

	VirtualHost "empty.test"
		push_notification_important_body = ""

	VirtualHost "german.test"
		push_notification_important_body = "Neue Nachricht"

	VirtualHost "messages.test"
		push_coalesce_window = %g
		push_notify_on = "messages"

	VirtualHost "important.test"
		push_coalesce_window = %g
		push_notify_on = "important"
]]):format(short, ack_delay, short, ack_delay, short, short);

local xmlns_carbons = "urn:xmpp:carbons:2";
local xmlns_csi = "urn:xmpp:csi:0";

local function message(attr)
	return st.message(attr):text_tag("body", "Hello");
end

local function message_with(...)
	return st.message({ type = "chat" }):tag(...):up();
end

local function muc_user()
	return st.message():tag("x", { xmlns = "http://jabber.org/protocol/muc#user" });
end

local function omemo(xmlns)
	return st.stanza("encrypted", { xmlns = xmlns }):tag("payload"):reset();
end

local important_stanzas = {
	["a chat message"] = message({ type = "chat" });
	["a message of type normal"] = message({ type = "normal" });
	["a message without a type"] = message();
	["a message of a room"] = message({ type = "groupchat" });
	["a message of a room with a subject"] = message({ type = "groupchat" }):text_tag("subject", "News");
	["a message with an empty body and a body"] = st.message():text_tag("body", "", { ["xml:lang"] = "de" })
		:text_tag("body", "Hello");
	["OMEMO, as Conversations sends it"] =
		st.message({ type = "chat" }):add_child(omemo("eu.siacs.conversations.axolotl"));
	["OMEMO 0"] = st.message({ type = "chat" }):add_child(omemo("urn:xmpp:omemo:0"));
	["OMEMO 1"] = st.message({ type = "chat" }):add_child(omemo("urn:xmpp:omemo:1"));
	["OMEMO 2"] = st.message({ type = "chat" }):add_child(omemo("urn:xmpp:omemo:2"));
	["OMEMO in a room"] = st.message({ type = "groupchat" }):add_child(omemo("urn:xmpp:omemo:2"));
	["OpenPGP, as of old"] = message_with("x", { xmlns = "jabber:x:encrypted" });
	["OpenPGP"] = message_with("openpgp", { xmlns = "urn:xmpp:openpgp:0" });
	["a mark of encryption alone"] = message_with("encryption", { xmlns = "urn:xmpp:eme:0"; namespace = "urn:example" });
	["a file"] = message_with("file-sharing", { xmlns = "urn:xmpp:sfs:0" });
	["a room's invitation"] = muc_user():tag("invite", { from = "rosa@home.test" }):up():up();
	["a direct invitation"] = message_with("x", { xmlns = "jabber:x:conference"; jid = "team@rooms.test" });
	["a call (XEP-0353)"] = st.message({ type = "chat" }):add_child(payloads.propose());
	["a call (XEP-0482)"] = st.message({ type = "chat" }):add_child(payloads.call_invite());
};

local unimportant_stanzas = {
	["a chat state"] = st.message({ type = "chat" }):add_child(payloads.composing());
	["a chat marker"] = st.message({ type = "chat" }):add_child(payloads.displayed());
	["a receipt"] = message_with("received", { xmlns = "urn:xmpp:receipts"; id = "m1" });
	["an empty message"] = st.message({ type = "chat" });
	["an empty body"] = st.message({ type = "chat" }):text_tag("body", "");
	["OMEMO keys"] = message_with("encrypted", { xmlns = "urn:xmpp:omemo:2" })
		:tag("encryption", { xmlns = "urn:xmpp:eme:0"; namespace = "urn:xmpp:omemo:2" }):up();
	["a body of another namespace"] = message_with("body", { xmlns = "http://www.w3.org/1999/xhtml" });
	["an error with the body of the message"] = message({ type = "error" });
	["an error to an encrypted message"] = st.message({ type = "error" })
		:add_child(omemo("urn:xmpp:omemo:2"));
	["an error to a call"] = st.message({ type = "error" }):add_child(payloads.propose());
	["a headline"] = message({ type = "headline" });
	["a headline with a call"] = st.message({ type = "headline" }):add_child(payloads.propose());
	["a new subject of a room"] = st.message({ type = "groupchat" }):text_tag("subject", "News");
	["a new subject of a room with an empty body"] = st.message({ type = "groupchat" }):text_tag("subject", "News")
		:text_tag("body", "");
	["a declined invitation"] = muc_user():tag("decline", { from = "rosa@home.test" }):up():up();
	["the status of a room"] = muc_user():tag("status", { code = "104" }):up():up();
	["the end of a call (XEP-0353)"] = message_with("retract", { xmlns = "urn:xmpp:jingle-message:0"; id = "c1" });
	["the end of a call (XEP-0482)"] = message_with("left", { xmlns = "urn:xmpp:call-invites:0" });
	["presence"] = st.presence();
	["an iq with a body"] = st.iq({ type = "set"; id = "i1" }):text_tag("body", "Hello");
};

for _, version in ipairs(prosody.all_versions) do
	describe("rule (a), stream management, with Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "csi_simple"; "spec_companion" };
				options = { push_coalesce_window = endless };
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

		local function write(phone, body)
			rosa:message({ to = phone.jid; body = body or "Hello" });
		end

		local function type_to(phone)
			rosa:message({ to = phone.jid; payloads.composing() });
		end

		local function pushed(phone)
			return phones.pushed(phone, rosa);
		end

		-- A hibernated phone for which something waits for the end of its window after this was done.
		local function with_something_waiting(act)
			return loop.in_time(function ()
				local phone = phones.hibernated(push, { host = "short.test" });
				act(phone);
				return #pushed(phone) == 0 and phone;
			end);
		end

		describe("when an acknowledgement is overdue", function ()
			local function new_overdue(host)
				local phone = phones.new(push, { host = host or "overdue.test" });
				phone.withhold_acks = true;
				return phone;
			end

			it("pushes for each stanza that is not acknowledged", function ()
				local phone = loop.in_time(function ()
					local phone = new_overdue();
					write(phone, "one");
					write(phone, "two");
					return #pushed(phone) == 0 and phone;
				end);
				assert.same({ "one"; "two" }, phones.await(phone, 2));
			end);

			it("wakes only the device whose session it is", function ()
				local phone = phones.new(push, { host = "overdue.test" });
				local tablet = phones.new(push, { jid = phone.jid });
				local old = phones.away(push, { jid = phone.jid });
				phone.withhold_acks = true; -- Only now: one request that is overdue is the last one
				rosa:message({ to = phone.full_jid; payloads.hint("no-store"); body = "Hello" });
				assert.same({ "Hello" }, phones.await(phone, 1));
				assert.same({}, pushed(tablet));
				assert.same({}, pushed(old));
			end);

			it("does not push for what was acknowledged", function ()
				local phone = phones.new(push, { host = "overdue.test" });
				write(phone, "one");
				phone:expect({ body = "one" });
				phones.acknowledge(phone);
				phone.withhold_acks = true;
				write(phone, "two");
				assert.same({ "two" }, phones.await(phone, 1));
			end);

			it("does not push before it is overdue, nor when it has come in time", function ()
				local phone = phones.new(push, { host = "overdue.test" });
				write(phone, "one");
				assert.same({}, phones.pushed_within(phone, 2 * ack_delay));
			end);

			it("does not push a second time when the next one is overdue", function ()
				local phone = new_overdue();
				write(phone, "one");
				phones.await(phone, 1);
				-- Acknowledges nothing, which makes the server ask again.
				phone:send(st.stanza("a", { xmlns = "urn:xmpp:sm:3"; h = ("%d"):format(phone.handled - 1) }));
				phone:ping();
				write(phone, "two");
				assert.same({ "one"; "two" }, phones.await(phone, 2));
				assert.same({ "one"; "two" }, phones.pushed_within(phone, 2 * ack_delay));
			end);

			it("lets what is unimportant wait for the end of the window", function ()
				local phone = new_overdue("overdueshort.test");
				type_to(phone);
				assert.same({ unimportant }, phones.await(phone, 1));
			end);

			it("drops what waits when the acknowledgement comes", function ()
				local phone = loop.in_time(function ()
					local phone = new_overdue("overdueshort.test");
					type_to(phone);
					rosa:ping();
					phones.await_overdue(phone);
					phones.acknowledge(phone);
					return #pushed(phone) == 0 and phone;
				end);
				assert.same({}, phones.pushed_within(phone, 2 * short));
			end);

			it("drops what waits when it was acknowledged and something else follows", function ()
				loop.in_time(function ()
					local phone = new_overdue("overdueshort.test");
					type_to(phone);
					rosa:ping();
					phones.await_overdue(phone);
					phones.acknowledge(phone);
					loop.settle(short / 2);
					type_to(phone);
					rosa:ping();
					-- The window of the first is over then, the second is not overdue.
					return #phones.pushed_within(phone, short * 0.75) == 0;
				end);
			end);

			it("is silent if another session of the device is live", function ()
				-- On a busy machine the other one may be overdue, too.
				loop.in_time(function ()
					local phone = new_overdue();
					local again = phones.login(phone);
					devices.enable(again, { jid = "push.test"; node = phone.node });
					write(phone);
					return #phones.pushed_within(phone, 2 * ack_delay) == 0;
				end);
			end);
		end);

		describe("at the start of hibernation", function ()
			it("pushes for each stanza that is not acknowledged", function ()
				local phone = phones.new(push, { host = "body.test" });
				write(phone, "seen");
				phone:expect({ body = "seen" });
				phones.acknowledge(phone);
				phone.withhold_acks = true;
				write(phone, "one");
				write(phone, "two");
				assert.same({}, pushed(phone));
				phone:cut();
				assert.same({ "one"; "two" }, pushed(phone));
			end);

			it("pushes nothing if everything was acknowledged", function ()
				local phone = phones.new(push, { host = "short.test" });
				write(phone);
				phone:expect({ body = "Hello" });
				phones.acknowledge(phone);
				phone:cut();
				assert.same({}, phones.pushed_within(phone, 2 * short));
			end);

			it("wakes only the device whose session it is", function ()
				local phone = phones.new(push);
				local tablet = phones.new(push, { jid = phone.jid });
				local old = phones.away(push, { jid = phone.jid });
				phone.withhold_acks = true;
				rosa:message({ to = phone.full_jid; payloads.hint("no-store"); body = "Hello" });
				rosa:ping();
				phone:cut();
				assert.same({ important }, pushed(phone));
				assert.same({}, pushed(tablet));
				assert.same({}, pushed(old));
			end);
		end);

		describe("during hibernation", function ()
			it("pushes for each new stanza", function ()
				local phone = phones.hibernated(push, { host = "body.test" });
				write(phone, "one");
				assert.same({ "one" }, pushed(phone));
				write(phone, "two");
				assert.same({ "one"; "two" }, pushed(phone));
			end);

			it("wakes each hibernated device", function ()
				local phone = phones.hibernated(push);
				local tablet = phones.hibernated(push, { jid = phone.jid });
				write(phone);
				assert.same({ important }, pushed(phone));
				assert.same({ important }, pushed(tablet));
			end);

			it("pushes nothing for a session without a registration", function ()
				local phone = phones.hibernated(push);
				local laptop = client.connect(server, phone.jid, { sm = "resume"; resource = "laptop" });
				laptop:cut();
				rosa:message({ to = laptop.full_jid; body = "Hello" });
				assert.same({}, pushed(phone));
			end);

			it("uses the registration that the session's fields name at that moment", function ()
				local phone = phones.new(push);
				local tablet = phones.away(push, { jid = phone.jid });
				phone:cut();
				server:eval([[
					local full_jid, identifier = ...;
					local session = prosody.full_sessions[full_jid];
					session.push_identifier = identifier;
					session.push_settings = module(session.host, "cloud_notify"):open_store():get(session.username)[identifier];
				]], phone.full_jid, tablet.identifier);
				rosa:message({ to = phone.full_jid; payloads.hint("no-store"); body = "Hello" });
				assert.same({}, pushed(phone));
				assert.same({ important }, pushed(tablet));
			end);

			it("counts presence as unimportant", function ()
				local phone = with_something_waiting(function (phone)
					rosa:send(st.presence({ to = phone.full_jid }));
				end);
				assert.same({ unimportant }, phones.await(phone, 1));
			end);

			it("counts iq as unimportant", function ()
				local phone = with_something_waiting(function (phone)
					rosa:send(st.iq({ type = "get"; id = "version"; to = phone.full_jid })
						:tag("query", { xmlns = "jabber:iq:version" }));
				end);
				assert.same({ unimportant }, phones.await(phone, 1));
			end);
		end);

		describe("when a newer session of the device is live", function ()
			local function log_in_again(phone)
				local again = phones.login(phone);
				devices.enable(again, { jid = "push.test"; node = phone.node });
				return again;
			end

			it("is silent about what the old session cannot deliver", function ()
				local phone = phones.hibernated(push);
				local again = log_in_again(phone);
				write(phone);
				again:expect({ body = "Hello" });
				assert.same({}, pushed(phone));
			end);

			it("is silent when the old session loses its connection later", function ()
				local phone = phones.new(push);
				phone.withhold_acks = true;
				log_in_again(phone);
				write(phone);
				rosa:ping();
				phone:cut();
				assert.same({}, pushed(phone));
			end);

			it("drops what waited", function ()
				local phone = with_something_waiting(function (phone)
					type_to(phone);
					rosa:ping();
					log_in_again(phone);
				end);
				assert.same({}, phones.pushed_within(phone, 2 * short));
			end);

			it("pushes once when that one hibernates, too", function ()
				local phone = phones.hibernated(push, { host = "body.test" });
				local again = log_in_again(phone);
				phones.acknowledge(again);
				again:cut();
				write(phone, "one");
				assert.same({ "one" }, pushed(phone));
			end);

			it("still pushes for another device that hibernates", function ()
				local phone = phones.hibernated(push);
				phones.new(push, { jid = phone.jid });
				write(phone);
				assert.same({ important }, pushed(phone));
			end);
		end);

		describe("after a resume", function ()
			it("pushes for nothing new", function ()
				local phone = phones.hibernated(push, { host = "body.test" });
				assert.truthy(phone:resume());
				write(phone);
				phone:expect({ body = "Hello" });
				assert.same({}, pushed(phone));
			end);

			it("drops what waited", function ()
				local phone = with_something_waiting(function (phone)
					type_to(phone);
					rosa:ping();
					assert.truthy(phone:resume());
				end);
				assert.same({}, phones.pushed_within(phone, 2 * short));
			end);

			it("drops what waited even if the client is gone again before the end of the window", function ()
				local phone = with_something_waiting(function (phone)
					type_to(phone);
					rosa:ping();
					assert.truthy(phone:resume());
					phones.acknowledge(phone);
					phone:cut();
				end);
				assert.same({}, phones.pushed_within(phone, 2 * short));
			end);

			it("drops what waited even if the client acknowledges nothing", function ()
				local phone = with_something_waiting(function (phone)
					type_to(phone);
					rosa:ping();
					phone.withhold_acks = true;
					assert.truthy(phone:resume());
				end);
				assert.same({}, phones.pushed_within(phone, 2 * short));
			end);

			it("has ended the window", function ()
				local phone = phones.hibernated(push);
				write(phone);
				assert.same({ important }, pushed(phone));
				assert.truthy(phone:resume());
				phone:expect({ body = "Hello" });
				phones.acknowledge(phone);
				phone:cut();
				write(phone);
				assert.same({ important; important }, pushed(phone));
			end);
		end);

		it("a new session in the place of the old one ends the window", function ()
			local phone = phones.hibernated(push, { resource = "phone" });
			write(phone);
			assert.same({ important }, pushed(phone));
			local again = phones.login(phone, { resource = "phone" });
			again:expect({ body = "Hello" });
			phones.acknowledge(again);
			again:cut();
			write(phone);
			assert.same({ important; important }, pushed(phone));
		end);

		describe("pace", function ()
			it("pushes an important stanza before the window is over", function ()
				local phone = phones.hibernated(push);
				write(phone);
				assert.same({ important }, pushed(phone));
			end);

			it("lets an important push speak for all but calls that follow in the window", function ()
				local phone = phones.hibernated(push);
				write(phone, "one");
				write(phone, "two");
				type_to(phone);
				assert.same({ important }, pushed(phone));
			end);

			it("lets an important push speak for nothing after the window", function ()
				local phone = phones.hibernated(push, { host = "short.test" });
				write(phone, "one");
				assert.same({ important }, phones.pushed(phone, rosa));
				assert.same({ important }, phones.pushed_within(phone, short));
				write(phone, "two");
				assert.same({ important; important }, pushed(phone));
			end);

			it("lets an unimportant stanza wait for the end of the window", function ()
				local phone = with_something_waiting(type_to);
				assert.same({ unimportant }, phones.await(phone, 1));
			end);

			it("pushes once for all unimportant stanzas in the window", function ()
				local phone = with_something_waiting(function (phone)
					for _ = 1, 3 do type_to(phone); end
				end);
				assert.same({ unimportant }, phones.await(phone, 1));
				assert.same({ unimportant }, phones.pushed_within(phone, 2 * short));
			end);

			it("lets an important push speak for what is waiting", function ()
				local phone = loop.in_time(function ()
					local phone = phones.hibernated(push, { host = "short.test" });
					type_to(phone);
					write(phone);
					return pushed(phone)[1] ~= unimportant and phone;
				end);
				assert.same({ important }, pushed(phone));
				assert.same({ important }, phones.pushed_within(phone, 2 * short));
			end);

			it("lets the push for one device speak for no other", function ()
				local phone = phones.hibernated(push);
				local tablet = phones.hibernated(push, { jid = phone.jid });
				rosa:message({ to = phone.full_jid; payloads.hint("no-store"); body = "one" });
				rosa:message({ to = tablet.full_jid; payloads.hint("no-store"); body = "two" });
				assert.same({ important }, pushed(phone));
				assert.same({ important }, pushed(tablet));
			end);

			it("gives each important stanza to a registration whose pushes are encrypted", function ()
				local jid = devices.new_user(server);
				companion.plan(server, jid, { add_to_record = { encryption = { algorithm = "aes-128-gcm"; key_base64 = "" } } });
				local phone = phones.hibernated(push, { jid = jid });
				write(phone, "one");
				write(phone, "two");
				type_to(phone);
				assert.same({ important; important }, pushed(phone));
			end);

			it("gives each important stanza, and only these, to pushes that carry the body", function ()
				local phone = phones.hibernated(push, { host = "body.test" });
				type_to(phone);
				write(phone, "one");
				write(phone, "two");
				type_to(phone);
				assert.same({ "one"; "two" }, pushed(phone));
			end);

			for name, call in pairs({ propose = payloads.propose; invite = payloads.call_invite }) do
				for where, hint in pairs({ archived = "store"; ["not archived"] = "no-store" }) do
					it("never lets a call wait: " .. name .. ", " .. where, function ()
						local phone = phones.hibernated(push);
						local function ring()
							rosa:message({ to = phone.jid; call(); payloads.hint(hint) });
						end
						write(phone);
						ring();
						ring();
						assert.same({ important; important; important }, pushed(phone));
						type_to(phone);
						assert.same({ important; important; important }, pushed(phone));
					end);
				end
			end

			it("keeps the window through a reload of the module", function ()
				local phone = phones.hibernated(push);
				write(phone, "one");
				type_to(phone);
				assert.same({ important }, pushed(phone));
				server:reload_module("cloud_notify", "home.test");
				write(phone, "two");
				assert.same({ important }, pushed(phone));
			end);

			it("keeps what waits through a reload of the module", function ()
				local phone = phones.hibernated(push, { host = "short.test" });
				type_to(phone);
				rosa:ping();
				server:reload_module("cloud_notify", "short.test");
				assert.same({ unimportant }, phones.await(phone, 1));
			end);
		end);

		describe("what a person wants to see:", function ()
			-- The fields of the push for a stanza to a hibernated device, and who wrote.
			local function push_for(stanza, host)
				local phone = phones.hibernated(push, { host = host });
				local sent = st.clone(stanza);
				sent.attr.to = phone.full_jid;
				rosa:send(sent);
				phones.pushed(phone, rosa);
				assert.equal(1, #push.received);
				local form = push.received[1].form;
				form.FORM_TYPE = nil;
				return form;
			end

			for what, stanza in pairs(important_stanzas) do
				it("important is " .. what, function ()
					assert.same({
						["message-count"] = "1";
						["last-message-body"] = important;
						["last-message-sender"] = rosa.full_jid;
					}, push_for(stanza, "sender.test"));
				end);
			end

			for what, stanza in pairs(unimportant_stanzas) do
				it("unimportant is " .. what, function ()
					assert.same({ ["message-count"] = "1" }, push_for(stanza, "sender.test"));
				end);
			end

			it("its text is push_notification_important_body", function ()
				assert.same({
					["message-count"] = "1";
					["last-message-body"] = "Neue Nachricht";
				}, push_for(message(), "german.test"));
			end);

			it("without a text if that is empty, but at once all the same", function ()
				assert.same({ ["message-count"] = "1" }, push_for(message(), "empty.test"));
			end);

			it("its text is the body with push_notification_with_body, where there is one", function ()
				assert.equal("Hello", push_for(message(), "body.test")["last-message-body"]);
				push:clear();
				local encrypted = important_stanzas["OMEMO 2"];
				assert.equal(important, push_for(encrypted, "body.test")["last-message-body"]);
				push:clear();
				local with_fallback = st.clone(encrypted):text_tag("body", "You cannot read this");
				assert.equal(important, push_for(with_fallback, "body.test")["last-message-body"]);
			end);
		end);

		describe("push_notify_on", function ()
			it("= all pushes for every stanza", function ()
				local phone = phones.hibernated(push, { host = "short.test" });
				rosa:send(st.presence({ to = phone.full_jid }));
				assert.same({ unimportant }, phones.await(phone, 1));
				type_to(phone);
				assert.same({ unimportant; unimportant }, phones.await(phone, 2));
				write(phone);
				assert.same({ unimportant; unimportant; important }, pushed(phone));
			end);

			it("= messages pushes for messages", function ()
				local phone = phones.hibernated(push, { host = "messages.test" });
				rosa:send(st.presence({ to = phone.full_jid }));
				rosa:send(st.iq({ type = "get"; id = "ping"; to = phone.full_jid })
					:tag("ping", { xmlns = "urn:xmpp:ping" }));
				rosa:ping();
				assert.same({}, phones.pushed_within(phone, 2 * short));
				type_to(phone);
				assert.same({ unimportant }, phones.await(phone, 1));
				write(phone);
				assert.same({ unimportant; important }, pushed(phone));
			end);

			it("= important pushes for important messages", function ()
				local phone = phones.hibernated(push, { host = "important.test" });
				rosa:send(st.presence({ to = phone.full_jid }));
				type_to(phone);
				rosa:ping();
				assert.same({}, phones.pushed_within(phone, 2 * short));
				write(phone);
				rosa:message({ to = phone.jid; payloads.propose() });
				assert.same({ important; important }, pushed(phone));
			end);
		end);

		describe("with an inactive client", function ()
			local function new_inactive()
				local phone = phones.new(push, { host = "overdueshort.test" });
				phone:send(st.stanza("inactive", { xmlns = xmlns_csi }));
				loop.wait_for(function ()
					return server:eval([[return prosody.full_sessions[...].state == "inactive"]], phone.full_jid);
				end, nil, "the server to know that the client is inactive");
				phone.withhold_acks = true;
				return phone;
			end

			for what, payload in pairs({ ["is not archived"] = payloads.composing; ["is archived"] = payloads.displayed }) do
				it("does not push for what the server holds back and " .. what, function ()
					local phone = new_inactive();
					rosa:message({ to = phone.jid; payload() });
					rosa:ping();
					assert.same({}, phones.pushed_within(phone, 2 * ack_delay + short));
					for _, stanza in ipairs(phone.received) do
						assert.not_equal("message", stanza.name);
					end
				end);
			end

			it("pushes when the acknowledgement of what the server sends is overdue", function ()
				local phone = new_inactive();
				type_to(phone);
				write(phone);
				assert.same({ important }, phones.await(phone, 1));
			end);
		end);

		describe("with carbons", function ()
			-- A tablet and a phone with carbons that hibernates.
			local function new_pair()
				local phone = phones.new(push);
				local tablet = client.connect(server, phone.jid, { resource = "tablet" });
				phone:iq(st.iq({ type = "set"; id = "carbons" }):tag("enable", { xmlns = xmlns_carbons }));
				phones.acknowledge(phone);
				phone:cut();
				return phone, tablet;
			end

			it("counts a received one as the message in it", function ()
				local phone, tablet = new_pair();
				rosa:message({ to = tablet.full_jid; payloads.composing() });
				assert.same({}, pushed(phone));
				rosa:message({ to = tablet.full_jid; body = "Hello" });
				tablet:expect({ body = "Hello" });
				assert.same({ important }, pushed(phone));
			end);

			it("counts a sent one as unimportant", function ()
				local phone, tablet = new_pair();
				tablet:message({ to = rosa.full_jid; body = "Hello" });
				rosa:expect({ body = "Hello"; from = tablet.full_jid });
				assert.same({}, pushed(phone));
			end);

			it("is not fooled by one that somebody else has made", function ()
				local phone = new_pair();
				local forged = st.stanza("sent", { xmlns = xmlns_carbons })
					:tag("forwarded", { xmlns = "urn:xmpp:forward:0" })
						:tag("message", { xmlns = "jabber:client"; from = phone.jid }):text_tag("body", "x"):up():up();
				rosa:message({ to = phone.jid; forged; body = "Hello" });
				assert.same({ important }, pushed(phone));
			end);

			it("rings for a call to another session", function ()
				local phone, tablet = new_pair();
				rosa:message({ to = tablet.full_jid; payloads.propose() });
				assert.same({ important }, pushed(phone));
				rosa:message({ to = tablet.full_jid; payloads.propose(); payloads.hint("no-store") });
				assert.same({ important; important }, pushed(phone));
			end);
		end);
	end);
end
