-- Rooms (XEP-0045), and which messages of a chat wake a phone as important ones.

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

local xmlns_muc_user = "http://jabber.org/protocol/muc#user";

local rooms = 0;

local function muc_user()
	return st.stanza("x", { xmlns = xmlns_muc_user });
end

local function describe_all(version)
	-- The last one is a room service of another make, which sends to bare JIDs.
	local server, push, rosa, other_rooms;

	setup(function ()
		server = prosody.start({
			version = version;
			components = { ["push.test"] = "secret"; ["others.test"] = "secret" };
			config = [[
				Component "rooms.test" "muc"
					muc_room_locking = false
			]];
		});
		push = push_service.connect(server, "push.test", "secret");
		other_rooms = push_service.connect(server, "others.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push:clear();
	end);

	local function new_room()
		rooms = rooms + 1;
		local room = ("room%d@rooms.test"):format(rooms);
		rosa:join(room, "Rosa");
		return room;
	end

	-- A phone that hibernates in a room, and another device of the same user there.
	local function occupant()
		local room, phone = new_room(), phones.new(push);
		phone:join(room, "Anna");
		local desk = client.connect(server, phone.jid);
		desk:join(room, "Anna");
		phones.acknowledge(phone);
		phone:cut();
		return room, phone, desk;
	end

	local function say(from, room, message)
		message.to, message.type = room, "groupchat";
		from:message(message);
		from:expect({ name = "message"; type = "groupchat"; id = message.id });
		from:ping();
	end

	it("what a user says in a room wakes no device of hers when it comes back, and what others say does", function ()
		local room, phone, desk = occupant();
		say(desk, room, { id = "own-1"; body = "Hello" });
		assert.same({}, phones.pushed(phone));
		say(rosa, room, { id = "others-1"; body = "Hello, Anna" });
		assert.same({ important }, phones.pushed(phone));
		desk:close();
	end);

	it("so it is after a reload, and when the phone hibernates after that", function ()
		local room, phone = new_room(), phones.new(push);
		phone:join(room, "Anna");
		local desk = client.connect(server, phone.jid);
		desk:join(room, "Anna");
		phones.acknowledge(phone);
		phone.withhold_acks = true;
		say(desk, room, { id = "own-2"; body = "Hello" });
		server:reload_module("cloud_notify", "home.test");
		phone:cut();
		assert.same({}, phones.pushed(phone, rosa));
		desk:close();
	end);

	it("what is said by others with the id of what is said in another room wakes", function ()
		local room, phone, desk = occupant();
		local other = new_room();
		desk:join(other, "Anna");
		say(desk, other, { id = "same"; body = "Hello" });
		say(rosa, room, { id = "same"; body = "Hello, Anna" });
		assert.same({ important }, phones.pushed(phone));
		desk:close();
	end);

	-- From the other room service.
	local function send(stanza)
		other_rooms:send(stanza);
		other_rooms:ping();
	end

	it("a room that sends to the bare JID is no exception", function ()
		local phone = phones.away(push);
		local desk = client.connect(server, phone.jid);
		local room = "team@others.test";
		desk:message({ to = room; type = "groupchat"; id = "own-3"; body = "Hello" });
		desk:ping();
		local function groupchat(nick, id)
			return st.message({ type = "groupchat"; from = room .. "/" .. nick; to = phone.jid; id = id }, "Hello");
		end
		send(groupchat("Anna", "own-3"));
		assert.same({}, phones.pushed(phone));
		send(groupchat("Rosa", "others-3"));
		assert.same({ important }, phones.pushed(phone));
		desk:close();
	end);

	it("a private message in a room is one to the person", function ()
		local room, phone, desk = occupant();
		rosa:message({ to = room .. "/Anna"; body = "Between you and me"; muc_user() });
		assert.same({ important }, phones.pushed(phone, rosa));
		desk:close();
		phone = phones.away(push);
		send(st.message({ type = "chat"; from = "team@others.test/Rosa"; to = phone.full_jid; id = "p1" }, "Psst")
			:add_child(muc_user()));
		assert.same({ important }, phones.pushed(phone));
	end);

	for name, new in pairs({ ["is away"] = phones.away; hibernates = phones.hibernated }) do
		it(("an invitation by a room wakes a phone that %s"):format(name), function ()
			local room, phone = new_room(), new(push);
			rosa:message({ to = room; type = "normal"; muc_user():tag("invite", { to = phone.jid }):up() });
			assert.same({ important }, phones.pushed(phone, rosa));
		end);

		it(("an invitation by a person wakes a phone that %s"):format(name), function ()
			local phone = new(push);
			rosa:message({
				to = phone.jid; type = "normal"; st.stanza("x", { xmlns = "jabber:x:conference"; jid = "team@rooms.test" });
			});
			assert.same({ important }, phones.pushed(phone, rosa));
		end);
	end

	local fallback = st.stanza("fallback", { xmlns = "urn:xmpp:fallback:0"; ["for"] = "urn:xmpp:reactions:0" });
	local reaction = st.stanza("reactions", { xmlns = "urn:xmpp:reactions:0"; id = "m0" }):text_tag("reaction", "+1");
	local omemo = st.stanza("encrypted", { xmlns = "eu.siacs.conversations.axolotl" }):text_tag("payload", "x");
	local with_url = st.stanza("x", { xmlns = "jabber:x:oob" }):text_tag("url", "https://files.test/f");
	local function child(name, xmlns) return st.stanza(name, { xmlns = xmlns; id = "m0" }); end

	for name, kind in pairs({
		["a text"] = { important; body = "Hello" };
		["an encrypted message"] = { important; omemo };
		["a file"] = { important; with_url };
		["a sticker"] = { important; child("sticker", "urn:xmpp:stickers:0") };
		["a call"] = { important; payloads.propose() };
		["a reaction"] = { unimportant; reaction };
		["a reaction with a fallback"] = { unimportant; body = "> Hello\n+1"; reaction; fallback };
		["a displayed marker"] = { unimportant; payloads.displayed() };
		["a receipt"] = { unimportant; child("received", "urn:xmpp:receipts") };
		["a chat state"] = { unimportant; payloads.composing() };
		["a declined invitation"] = { unimportant; muc_user():tag("decline", { from = "eve@home.test" }):up() };
	}) do
		it(name .. (kind[1] and " is important" or " is not important"), function ()
			local phone = phones.away(push);
			rosa:message({ to = phone.jid; body = kind.body; kind[2]; kind[3]; payloads.hint("store") });
			assert.same({ kind[1] }, phones.pushed(phone, rosa));
		end);
	end

	it("neither is a room's subject", function ()
		local phone = phones.away(push);
		send(st.message({ type = "groupchat"; from = "team@others.test/Rosa"; to = phone.jid; id = "s1" })
			:text_tag("subject", "Holidays"));
		assert.same({ unimportant }, phones.pushed(phone));
	end);
end

for _, version in ipairs(prosody.all_versions) do
	describe("rooms, with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
