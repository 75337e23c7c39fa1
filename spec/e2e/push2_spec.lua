-- Push 2.0: what a push service gets, and what a device reads in it, by other people's code, for every kind of stanza.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local new_id = require "util.id".short;
local is_utf8 = require "util.encodings".utf8.valid;
local payloads = require "spec.support.payloads";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";
local web_push = require "spec.support.web_push";

local day = 24 * 3600;
local xmlns_jmi = "urn:xmpp:jingle-message:0";
local room = "team@rooms.test";

-- Calls are rung for, and what is important is to be shown.
local high, normal, low = "high", "normal", "low";

local function omemo()
	return st.stanza("encrypted", { xmlns = "eu.siacs.conversations.axolotl" })
		:tag("header", { sid = "1" }):tag("key", { rid = "2" }):text("MwohBQ=="):up():text_tag("iv", "aXY="):up()
		:text_tag("payload", "cGF5bG9hZA=="):reset();
end

local function child(name, xmlns)
	return st.stanza(name, { xmlns = xmlns; id = new_id() });
end

local muc_user = st.stanza("x", { xmlns = "http://jabber.org/protocol/muc#user" });

-- Children, type, body; what is archived; where it is from, if not from Rosa; not for a user without a session.
local kinds = {
	["a text"] = { normal; body = "Tee um 4? <&>\"' äöü 👩‍👩‍👧‍👦"; archived = true };
	["a text that is no chat"] = { normal; type = "normal"; body = "Tee um 4?"; archived = true };
	["a message by OMEMO"] = { normal; omemo(), payloads.hint("store"); archived = true };
	["a message by OMEMO with a fallback"] = { normal; omemo(); body = "You cannot read it"; archived = true };
	["a message in a room"] = { normal; type = "groupchat"; body = "Tea?"; from = room .. "/Rosa" };
	["a private message in a room"] =
		{ normal; muc_user; body = "Tea?"; from = room .. "/Rosa"; full = true; archived = true };
	["an invitation"] = { normal; st.stanza("x", { xmlns = "jabber:x:conference"; jid = room }); archived = true };
	["a call"] = { high; payloads.propose(); voip = true; archived = true };
	["the end of a call"] = { low; child("retract", xmlns_jmi); archived = true };
	["an answer to a call"] = { low; child("accept", xmlns_jmi); archived = true };
	["a receipt"] = { low; child("received", "urn:xmpp:receipts"); archived = true };
	["a displayed marker"] = { low; payloads.displayed(); archived = true };
	["a chat state"] = { low; payloads.composing() };
	["an empty message"] = { low };
	["a headline"] = { low; type = "headline"; body = "News"; not_away = true };
};

-- Whether an element is there as it was sent.
local function assert_same_element(sent, got, xmlns)
	xmlns = sent.attr.xmlns or xmlns;
	assert.equal(sent.name, got.name);
	assert.equal(xmlns, got.attr.xmlns);
	for name, value in pairs(sent.attr) do assert.equal(value, got.attr[name]); end
	assert.equal(sent:get_text(), got:get_text());
	assert.equal(#sent.tags, #got.tags);
	for i, tag in ipairs(sent.tags) do assert_same_element(tag, got.tags[i], xmlns); end
end

local function describe_all(version)
	local server, push, rooms, rosa;

	setup(function ()
		server = prosody.start({
			version = version; own_clock = true;
			components = { ["gw.test"] = "secret"; ["rooms.test"] = "secret" };
			options = { push_coalesce_window = 0; push_max_per_minute = 0; c2s_stanza_size_limit = 2^20 };
		});
		push = push2_service.connect(server, "gw.test", "secret");
		rooms = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		server:set_clock(0);
		push:clear();
	end);

	local function send(kind, phone)
		local message = { type = kind.type; body = kind.body; kind[2]; kind[3] };
		message.to = kind.full and phone.full_jid or phone.jid;
		if not kind.from then return rosa:message(message); end
		local stanza = st.message({ from = kind.from; to = message.to; type = message.type or "chat"; id = new_id() });
		stanza:text_tag("body", message.body);
		for _, element in ipairs(message) do stanza:add_child(element); end
		rooms:send(stanza);
		return stanza;
	end

	-- The whole message: what it is from, to and of, all that is in it, and its id in the archive.
	local function assert_whole(sent, phone, got, from, archived)
		assert.same({ "message"; from }, { got.name; got.attr.from });
		for _, name in ipairs({ "to"; "id"; "type" }) do assert.equal(sent.attr[name], got.attr[name]); end
		for _, tag in ipairs(sent.tags) do
			local found = got:get_child(tag.name, tag.attr.xmlns or "jabber:client");
			assert_same_element(tag, assert(found, tostring(got)), "jabber:client");
		end
		local ids = push2.archived(server, phone.jid);
		assert.equal(archived and ids[#ids], push2.archive_id(got, phone) or false);
	end

	for where, new in pairs({ ["that is away"] = push2.away; ["whose session hibernates"] = push2.hibernated }) do
		for name, kind in pairs(kinds) do
			if not (kind.not_away and new == push2.away) then
				it(("tells a device %s of %s"):format(where, name), function ()
					local phone = new(push, { matches = { { profile = "all" } } });
					local sent = send(kind, phone);
					local got = push2.await(phone, 1);
					assert.equal(phone.node, got.client);
					assert.same({ kind[1]; kind.voip or false }, { got.priority; got.voip });
					assert.equal("home.test", got.stanza.attr.from);
					assert.truthy(got.id);
					local stanza = push2.read(got, phone);
					assert_whole(sent, phone, stanza, kind.from or rosa.full_jid, kind.archived or false);
					assert.equal(1, #push2.pushed(phone, rosa));
				end);
			end
		end
	end

	it("tells a device of a request to see its user's presence", function ()
		local phone = push2.away(push);
		rosa:send(st.presence({ to = phone.jid; type = "subscribe" }));
		local got = push2.await(phone, 1);
		assert.equal(normal, got.priority);
		local presence = push2.read(got, phone);
		assert.same({ "presence"; "subscribe"; rosa.jid; phone.jid },
			{ presence.name; presence.attr.type; presence.attr.from; presence.attr.to });
	end);

	-- All there is of a body, or as much of it as there is room for.
	local function assert_body(sent, got)
		assert.is_true(is_utf8(got));
		if sent == got then return true; end
		local begin = got:gsub("…$", "");
		assert.equal(begin, sent:sub(1, #begin));
	end

	for name, part in pairs({ ASCII = "x"; ["text that is not ASCII"] = "ä€😀"; ["what is escaped"] = "<&>\"'\n" }) do
		it("is as long as few others, and fits: " .. name, function ()
			local phone = push2.away(push);
			local sizes, whole, count = {}, 0, 0;
			local lengths = { 0; 1; 50 };
			for length = 100, 3700, 300 do lengths[#lengths + 1] = length; end
			for _, length in ipairs({ 10000; 100000 }) do lengths[#lengths + 1] = length; end
			for _, length in ipairs(lengths) do
				local body = "." .. part:rep(math.floor(length / #part));
				local sent = rosa:message({ to = phone.jid; body = body });
				count = count + 1;
				local stanza, size = push2.read(push2.await(phone, count), phone);
				assert.equal(sent.attr.id, stanza.attr.id);
				assert.truthy(push2.archive_id(stanza, phone));
				if assert_body(body, stanza:get_child_text("body")) then whole = whole + 1; end
				sizes[size] = true;
			end
			for _, size in ipairs(push2.sizes) do assert.is_true(sizes[size], size); end
			assert.is_true(whole >= 6, "more should be whole");
		end);
	end

	it("loses anything rather than the id in the archive", function ()
		local phone = push2.away(push);
		local long = st.stanza("x", { xmlns = "urn:example:long" }):text(("y"):rep(5000));
		rosa:message({ to = phone.jid; id = ("i"):rep(3000); body = ("z"):rep(5000); long });
		local stanza = push2.read(push2.await(phone, 1), phone);
		assert.equal(push2.archived(server, phone.jid)[1], push2.archive_id(stanza, phone));
	end);

	it("tells another device of the same with another key", function ()
		local phone = push2.away(push);
		local watch = push2.away(push, { jid = phone.jid });
		rosa:message({ to = phone.jid; body = "Hello" });
		for _, device in ipairs({ phone; watch }) do
			assert.equal("Hello", push2.read(push2.await(device, 1), device):get_child_text("body"));
		end
		assert.has_error(function () push2.decrypt(push2.await(phone, 1), watch.keys); end);
	end);

	it("is encrypted anew each time", function ()
		local phone = push2.away(push);
		for i = 1, 2 do rosa:message({ to = phone.jid; body = "Hello"; id = "same" .. i }); end
		local first, second = push2.await(phone, 1), push2.await(phone, 2);
		assert.not_equal(first.id, second.id);
		assert.not_equal(first.payload:sub(1, 100), second.payload:sub(1, 100));

		local _, _, claims = push2.read(first, phone);
		assert.is_true(claims.exp > os.time() + 3600 and claims.exp <= os.time() + day, "RFC 8292 section 2");
		assert.equal("xmpp:home.test", claims.sub);
		local other = push2.away(push);
		rosa:message({ to = other.jid; body = "Hello" });
		assert.not_equal(first.jwt, push2.await(other, 1).jwt);
	end);

	it("has the same token for an hour", function ()
		local phone = push2.away(push);
		local pushes = {};
		for i, seconds in ipairs({ 0; 1800; 3700 }) do
			server:set_clock(seconds);
			rosa:message({ to = phone.jid; body = "Hello" });
			pushes[i] = push2.await(phone, i);
		end
		assert.equal(pushes[1].jwt, pushes[2].jwt);
		assert.not_equal(pushes[1].jwt, pushes[3].jwt);
		local _, _, claims = push2.read(pushes[3], phone);
		assert.is_true(claims.exp > os.time() + 3700 + 3600 and claims.exp <= os.time() + 3700 + day);
	end);

	it("has the claims that the client wants, its own contact among them", function ()
		local claims = { aud = push2.audience; sub = "mailto:push@gw.test"; extra = "x<y" };
		local phone = push2.away(push, { matches = { { claims = claims } } });
		rosa:message({ to = phone.jid; body = "Hello" });
		local _, _, got = push2.read(push2.await(phone, 1), phone);
		for name, value in pairs(claims) do assert.equal(value, got[name]); end
	end);

	it("has no token where the client wants none", function ()
		local changed = { ["jwt-alg"] = false; ["jwt-key"] = false };
		local phone = push2.away(push, { matches = { { changed = changed; claims = {} } } });
		rosa:message({ to = phone.jid; body = "Hello" });
		local got = push2.await(phone, 1);
		assert.is_nil(got.jwt);
		assert.equal("Hello", push2.decrypt(got, phone.keys):get_child_text("body"));
	end);

	it("is only a hint where the client wants no more", function ()
		local phone = push2.away(push, { matches = { { keys = false } } });
		rosa:message({ to = phone.jid; body = "Hello" });
		local got = push2.await(phone, 1);
		assert.same({ normal, nil, nil, 2 }, { got.priority, got.payload, got.jwt, got.elements });
		rosa:message({ to = phone.jid; payloads.propose() });
		got = push2.await(phone, 2);
		assert.same({ high, true, 3 }, { got.priority, got.voip, got.elements });
	end);

	it("says nothing in the clear", function ()
		local phone = push2.away(push);
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		local text = tostring(push2.await(phone, 1).stanza);
		for _, secret in ipairs({ "Tee"; rosa.username; phone.username; phone.keys.auth_secret; phone.keys.ua_public }) do
			assert.is_nil(text:find(secret, 1, true), secret);
		end
	end);
end

describe("the decryption of the specs", function ()
	it("is that of RFC 8291 section 5", function ()
		local function standard(text)
			return (text:gsub("[-_]", { ["-"] = "+"; _ = "/" }) .. ("="):rep(-#text % 4));
		end
		local keys = {
			ua_private = standard "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
			auth_secret = standard "BTBZMqHH6r4Tts7J_aSIgg";
		};
		assert.equal("When I grow up, I want to be a watermelon", web_push.decrypt(keys, standard(
			"DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz"
			.. "AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")));
		assert.has_error(function () web_push.decrypt(web_push.keys(), "AAAA"); end);
	end);
end);

for _, version in ipairs(prosody.versions) do
	describe("Push 2.0 with Prosody " .. version, function () describe_all(version); end);
end
