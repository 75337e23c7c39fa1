-- How many messages pushes tell of, what a device learns of what is read elsewhere, and what amends a message.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local new_id = require "util.id".short;
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local hosts = [[
	VirtualHost "asked.test"

	VirtualHost "unread.test"
		push_notification_count = "unread"

	VirtualHost "offline.test"
		modules_disabled = { "mam"; "s2s"; "s2s_auth_certs" }
		push_notify_read = true

	VirtualHost "never.test"
		push_notify_read = false
]];

for _, version in ipairs(prosody.all_versions) do
	describe("counts and reading, with Prosody " .. version, function ()
		local server, push, rosa, room;

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "pep" };
				components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
				options = { push_coalesce_window = 0; push_notify_read = true };
				config = hosts:gsub('VirtualHost "([%a]+).test"\n', '%0\t\tpush_notify_read = "asked"\n', 2);
			});
			push = push_service.connect(server, "push.test", "secret");
			room = push_service.connect(server, "rooms.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		before_each(function ()
			push.answer = push_service.result;
			push:clear();
		end);

		-- A phone that is away, and another client of its user that is there
		local function new_pair(host, options)
			options = options or {};
			options.host = host;
			local phone = phones.away(push, options);
			return phone, client.connect(server, phone.jid, { resource = "desk" });
		end

		local function counts_of(phone)
			push:ping();
			local counts = {};
			for _, publish in ipairs(push.received) do
				if publish.node == phone.node then counts[#counts + 1] = tonumber(publish.form["message-count"]); end
			end
			return counts;
		end

		-- The counts of the pushes for a phone; what the client has sent before has been handled by then
		local function counts(phone, sender)
			(sender or rosa):ping();
			return counts_of(phone);
		end

		-- Sends a message, and returns it as the other client gets it
		local function write(desk, body, ...)
			local message = rosa:message({ to = desk.jid; body = body; ... });
			return desk:expect({ id = message.attr.id });
		end

		local function mark(desk, id, to)
			desk:message({ to = to or rosa.jid; st.stanza("displayed", { xmlns = "urn:xmpp:chat-markers:0"; id = id }) });
		end

		local function archive_id(message, by)
			for id in message:childtags("stanza-id", "urn:xmpp:sid:0") do
				if id.attr.by == by then return id.attr.id; end
			end
		end

		local function synchronise(desk, chat, id, by)
			local reply = desk:iq(st.iq({ type = "set"; id = new_id() })
				:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub" })
					:tag("publish", { node = "urn:xmpp:mds:displayed:0" })
						:tag("item", { id = chat })
							:tag("displayed", { xmlns = "urn:xmpp:mds:displayed:0" })
								:tag("stanza-id", { xmlns = "urn:xmpp:sid:0"; id = id; by = by }):reset());
			assert(reply.attr.type == "result", tostring(reply));
		end

		local function query(desk, fields, paging)
			local request = st.iq({ type = "set"; id = new_id() }):tag("query", { xmlns = "urn:xmpp:mam:2" })
				:tag("x", { xmlns = "jabber:x:data"; type = "submit" })
					:tag("field", { var = "FORM_TYPE" }):text_tag("value", "urn:xmpp:mam:2"):up();
			for name, value in pairs(fields or {}) do
				request:tag("field", { var = name }):text_tag("value", value):up();
			end
			request:up():tag("set", { xmlns = "http://jabber.org/protocol/rsm" });
			for name, value in pairs(paging or {}) do request:text_tag(name, value); end
			local reply = desk:iq(request:reset());
			assert(reply.attr.type == "result", tostring(reply));
		end

		describe("message-count", function ()
			it("is one", function ()
				local phone, desk = new_pair();
				for i = 1, 3 do write(desk, "Hello " .. i); end
				assert.same({ 1; 1; 1 }, counts(phone));
			end);

			it("is with \"unread\" how many there were since the device was live", function ()
				local phone, desk = new_pair("unread.test");
				for i = 1, 3 do write(desk, "Hello " .. i); end
				assert.same({ 1; 2; 3 }, counts(phone));
				local session = phones.login(phone, { resource = phone.full_jid:match("/(.*)") });
				write(desk, "Welcome back");
				phones.acknowledge(session);
				session:close();
				write(desk, "Goodbye");
				assert.same({ 1; 2; 3; 1 }, counts(phone));
			end);

			it("counts what a session has not received, until that is resumed", function ()
				local phone = phones.hibernated(push, { host = "unread.test" });
				for i = 1, 2 do
					rosa:message({ to = phone.jid; body = "Hello " .. i });
					phones.await(phone, i);
				end
				assert.same({ 1; 2 }, counts(phone));
				assert(phone:resume());
				phones.acknowledge(phone);
				phone:cut();
				rosa:message({ to = phone.jid; body = "Hello again" });
				assert.same({ 1; 2; 1 }, counts(phone));
			end);

			it("is less by what is read elsewhere", function ()
				local phone, desk = new_pair("unread.test");
				local first = write(desk, "Hello");
				write(desk, "Are you there?");
				mark(desk, first.attr.id);
				desk:ping();
				write(desk, "And now?");
				assert.same({ 1; 2; 2 }, counts(phone));
			end);

			it("is told to listeners", function ()
				local phone, desk = new_pair("unread.test");
				server:eval([[
					prosody.counted = {};
					module("unread.test", "cloud_notify"):hook("cloud_notify/push", function (event)
						prosody.counted[#prosody.counted + 1] = event.push_summary["message-count"];
					end);
				]]);
				write(desk, "Hello");
				write(desk, "Are you there?");
				assert.same({ 1; 2 }, counts(phone));
				assert.same({ "1"; "2" }, server:eval("return prosody.counted;"));
			end);
		end);

		describe("once all is read", function ()
			it("is told by a marker", function ()
				local phone, desk = new_pair();
				local last = write(desk, "Hello");
				mark(desk, last.attr.id);
				assert.same({ 1; 0 }, counts(phone, desk));
				local publish = push.received[2];
				assert.is_nil(publish.form["last-message-body"]);
				mark(desk, last.attr.id);
				assert.same({ 1; 0 }, counts(phone, desk));
			end);

			it("is told by the user's clients among themselves", function ()
				local phone, desk = new_pair();
				local last = write(desk, "Hello");
				synchronise(desk, rosa.jid, archive_id(last, phone.jid), phone.jid);
				assert.same({ 1; 0 }, counts(phone, desk));
			end);

			it("is told of rooms by the ids that they give", function ()
				local phone, desk = new_pair();
				local chat = "tea@rooms.test";
				local function say(id)
					room:send(st.message({ from = chat .. "/rosa"; to = phone.jid; type = "groupchat"; id = id }, "Tea?")
						:tag("stanza-id", { xmlns = "urn:xmpp:sid:0"; by = chat; id = "in-" .. id }));
					room:ping();
				end
				say("r1");
				mark(desk, "in-r1", chat);
				assert.same({ 1; 0 }, counts(phone, desk));
				say("r2");
				synchronise(desk, chat, "in-r2", chat);
				assert.same({ 1; 0; 1; 0 }, counts(phone, desk));
			end);

			it("is told by the archive's being fetched", function ()
				local phone, desk = new_pair();
				write(desk, "Hello");
				query(desk, nil, { max = "50" });
				assert.same({ 1; 0 }, counts(phone));
				write(desk, "Hello again");
				query(desk, { with = rosa.jid }, { max = "50"; before = "" });
				assert.same({ 1; 0; 1; 0 }, counts(phone));
			end);

			it("is told by offline storage's being fetched", function ()
				local phone = phones.away(push, { host = "offline.test" });
				rosa:message({ to = phone.jid; body = "Hello" });
				assert.same({ 1 }, counts(phone));
				local desk = client.connect(server, phone.jid, { resource = "desk" });
				desk:expect({ body = "Hello" });
				assert.same({ 1; 0 }, counts(phone, desk));
				client.connect(server, phone.jid, { resource = "tablet" });
				assert.same({ 1; 0 }, counts(phone, desk));
			end);

			it("reaches a device that hibernates", function ()
				local desk = client.connect(server, devices.new_user(server), { resource = "desk" });
				local phone = phones.hibernated(push, { jid = desk.jid });
				local last = write(desk, "Hello");
				phones.await(phone, 1);
				mark(desk, last.attr.id);
				assert.same({ 1; 0 }, counts(phone, desk));
			end);
		end);

		describe("a device is not woken", function ()
			it("while something is unread", function ()
				local phone, desk = new_pair();
				local first = write(desk, "Hello");
				write(desk, "Are you there?");
				local bert = client.connect(server, devices.new_user(server));
				local other = bert:message({ to = phone.jid; body = "It's me" });
				desk:expect({ id = other.attr.id });
				mark(desk, first.attr.id);
				mark(desk, "made-up");
				mark(desk, other.attr.id);
				query(desk, { ["with"] = rosa.jid });
				assert.same({ 1; 1; 1 }, counts(phone, desk));
				mark(desk, other.attr.id, bert.jid);
				assert.same({ 1; 1; 1; 0 }, counts(phone, desk));
			end);

			it("by whoever looks back into the archive", function ()
				local phone, desk = new_pair();
				local last = write(desk, "Hello");
				query(desk, { ["end"] = "2020-01-01T00:00:00Z" });
				query(desk, nil, { max = "20"; before = archive_id(last, phone.jid) });
				query(desk, nil, { max = "1"; before = "" });
				query(desk, nil, { max = "0" });
				assert.same({ 1 }, counts(phone, desk));
			end);

			it("if it was told of nothing", function ()
				local phone, desk = new_pair();
				query(desk);
				mark(desk, "made-up");
				synchronise(desk, rosa.jid, "made-up", phone.jid);
				assert.same({}, counts(phone, desk));
			end);

			it("by a marker of somebody else", function ()
				local phone, desk = new_pair();
				local last = write(desk, "Hello");
				local bert = client.connect(server, devices.new_user(server));
				mark(bert, last.attr.id);
				assert.same({ 1 }, counts(phone, bert));
			end);

			it("while it is there", function ()
				local phone, desk = new_pair();
				local last = write(desk, "Hello");
				local session = phones.login(phone, { resource = phone.full_jid:match("/(.*)") });
				mark(desk, last.attr.id);
				query(session);
				session:close();
				mark(desk, last.attr.id);
				assert.same({ 1 }, counts(phone, desk));
			end);

			it("whose client has not asked for it", function ()
				local phone, desk = new_pair("asked.test");
				local tablet = phones.new(push, { jid = phone.jid });
				server:eval([[prosody.full_sessions[...].push_settings.priority = true;]], tablet.full_jid);
				tablet:close();
				mark(desk, write(desk, "Hello").attr.id);
				assert.same({ 1 }, counts(phone, desk));
				assert.same({ 1; 0 }, counts(tablet, desk));
			end);

			it("if push_notify_read is false", function ()
				local phone, desk = new_pair("never.test");
				mark(desk, write(desk, "Hello").attr.id);
				assert.same({ 1 }, counts(phone, desk));
			end);
		end);

		it("does not try to push for what is read meanwhile", function ()
			local phone, desk = new_pair();
			push.answer = push_service.error("wait", "resource-constraint");
			local last = write(desk, "Hello");
			inspect.wait_all_answered(server);
			local function waits()
				return server:eval([[
					local user, identifier = ...;
					local engine = module("home.test", "cloud_notify").environment.module.lib "engine".engine;
					return engine:device(user, identifier).waiting ~= nil;
				]], phone.username, phone.identifier);
			end
			assert.is_true(waits());
			push.answer = push_service.result;
			mark(desk, last.attr.id);
			assert.same({ 1 }, counts(phone, desk));
			assert.is_false(waits());
		end);

		describe("what amends a message", function ()
			local function amend(desk, child, body)
				return write(desk, body or "Fallback", child);
			end

			it("does not wake a device that was told of it", function ()
				local phone, desk = new_pair();
				local id = write(desk, "Helo").attr.id;
				amend(desk, st.stanza("replace", { xmlns = "urn:xmpp:message-correct:0"; id = id }), "Hello");
				amend(desk, st.stanza("retract", { xmlns = "urn:xmpp:message-retract:1"; id = id }));
				amend(desk, st.stanza("apply-to", { xmlns = "urn:xmpp:fasten:0"; id = id })
					:tag("retract", { xmlns = "urn:xmpp:message-retract:0" }):up());
				assert.same({ 1 }, counts(phone));
			end);

			it("is not important for others", function ()
				local phone, desk = new_pair();
				amend(desk, st.stanza("replace", { xmlns = "urn:xmpp:message-correct:0"; id = "long-ago" }), "Hello");
				assert.same({ phones.unimportant }, phones.pushed(phone, rosa));
			end);
		end);
	end);
end
