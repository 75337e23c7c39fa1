local native = require "spec.support.native";
local st = require "util.stanza";

local xml = native.xml;

local function message(attributes, children)
	return xml(("<message from='bert@away.test/pc' to='anna@home.test' id='m1' %s>%s</message>")
		:format(attributes, children));
end

local function carbon(direction, children, from)
	return xml(([[
		<message from='%s' to='anna@home.test/phone' type='chat'>
			<%s xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>
				<message xmlns='jabber:client' from='bert@away.test/pc' to='anna@home.test' type='chat'>%s</message>
			</forwarded></%s>
		</message>]]):format(from or "anna@home.test", direction, children, direction));
end

local body = "<body>Are you there?</body>";
local call = "<propose xmlns='urn:xmpp:jingle-message:0' id='c1'><description xmlns='urn:x' media='audio'/></propose>";

local function omemo(xmlns, payload)
	return ("<encrypted xmlns='%s'><header sid='1'><key rid='2'>a2V5</key></header>%s</encrypted>")
		:format(xmlns, payload or "");
end

local eme = "<encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/>";
local fallback = "<body>I sent you an OMEMO encrypted message</body>";

local important = {
	["a chat message with a body"] = message("type='chat'", body);
	["a message without a type"] = message("", body);
	["a message of type normal"] = message("type='normal'", body);
	["a message in a room"] = message("type='groupchat'", body);
	["a message in a room that also has a subject"] = message("type='groupchat'", "<subject>Re</subject>" .. body);
	["a body of white space"] = message("type='chat'", "<body> </body>");
	["a body after other elements"] = message("type='chat'",
		"<active xmlns='http://jabber.org/protocol/chatstates'/>" .. body);
	["a body in a second language"] = message("type='chat'", "<body/><body xml:lang='de'>Hallo</body>");
	["OMEMO as Conversations began it"] = message("type='chat'", omemo("eu.siacs.conversations.axolotl", "<payload/>"));
	["OMEMO 0"] = message("type='chat'", omemo("urn:xmpp:omemo:0", "<payload/>"));
	["OMEMO 1"] = message("type='chat'", omemo("urn:xmpp:omemo:1", "<payload/>"));
	["OMEMO 2"] = message("type='chat'", omemo("urn:xmpp:omemo:2", "<payload/>"));
	["OpenPGP as of old"] = message("type='chat'", "<x xmlns='jabber:x:encrypted'>hQ</x>");
	["OpenPGP for XMPP"] = message("type='chat'", "<openpgp xmlns='urn:xmpp:openpgp:0'>hQ</openpgp>");
	["nothing but the name of an encryption"] = message("type='chat'",
		"<encryption xmlns='urn:xmpp:eme:0' namespace='urn:x'/>");
	["OMEMO in a room"] = message("type='groupchat'", omemo("urn:xmpp:omemo:2", "<payload/>"));
	["OMEMO as most clients send it"] = message("type='chat'",
		omemo("eu.siacs.conversations.axolotl", "<payload/>") .. eme .. fallback);
	["OMEMO of two versions, one of them empty"] = message("type='chat'",
		omemo("urn:xmpp:omemo:2") .. omemo("eu.siacs.conversations.axolotl", "<payload/>"));
	["a link without a body"] = message("type='chat'", "<x xmlns='jabber:x:oob'><url>https://away.test/f</url></x>");
	["a file without a body"] = message("type='chat'", "<file-sharing xmlns='urn:xmpp:sfs:0'/>");
	["a sticker without a body"] = message("type='chat'", "<sticker xmlns='urn:xmpp:stickers:0' pack='p'/>");
	["the carbon of a received file"] = carbon("received", "<file-sharing xmlns='urn:xmpp:sfs:0'/>");
	["a direct invitation"] = message("", "<x xmlns='jabber:x:conference' jid='room@muc.test'/>");
	["an invitation by the room"] = message("",
		"<x xmlns='http://jabber.org/protocol/muc#user'><invite from='bert@away.test'/></x>");
	["a subscription request"] = xml("<presence type='subscribe' from='bert@away.test' to='anna@home.test'/>");
	["the carbon of a received message"] = carbon("received", body);
	["a message that only looks like a carbon"] = carbon("sent", body, "eve@away.test"):text_tag("body", "Hi");
};

local urgent = {
	["a call"] = message("type='chat'", call);
	["a call with a fallback body"] = message("type='chat'", body .. call);
	["an invitation to a call"] = message("type='chat'", "<invite xmlns='urn:xmpp:call-invites:0' id='c1'/>");
	["a call to a room"] = message("type='groupchat'", "<invite xmlns='urn:xmpp:call-invites:0' id='c1'/>");
};

local unimportant = {
	["an empty message"] = message("type='chat'", "");
	["an empty body"] = message("type='chat'", "<body/>");
	["OMEMO keys, as Conversations began it"] = message("type='chat'", omemo("eu.siacs.conversations.axolotl"));
	["OMEMO 0 keys"] = message("type='chat'", omemo("urn:xmpp:omemo:0"));
	["OMEMO 1 keys"] = message("type='chat'", omemo("urn:xmpp:omemo:1"));
	["OMEMO 2 keys"] = message("type='chat'", omemo("urn:xmpp:omemo:2"));
	["OMEMO keys and the name of the encryption"] = message("type='chat'", omemo("urn:xmpp:omemo:2") .. eme);
	["OMEMO keys with a fallback"] = message("type='chat'", fallback .. omemo("urn:xmpp:omemo:2") .. eme);
	["the carbon of OMEMO keys"] = carbon("received", omemo("urn:xmpp:omemo:2") .. eme);
	["a link to nothing"] = message("type='chat'", "<x xmlns='jabber:x:oob'><desc>d</desc></x>");
	["a body that is somebody else's"] = message("type='chat'", "<body xmlns='urn:x'>Hi</body>");
	["a body inside another element"] = message("type='chat'", "<wrap xmlns='urn:x'>" .. body .. "</wrap>");
	["a chat state"] = message("type='chat'", "<composing xmlns='http://jabber.org/protocol/chatstates'/>");
	["a receipt"] = message("type='chat'", "<received xmlns='urn:xmpp:receipts' id='m0'/>");
	["a marker"] = message("type='chat'", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m0'/>");
	["an error"] = message("type='error'", body .. "<error type='cancel'/>");
	["a bounced call"] = message("type='error'", call);
	["a headline"] = message("type='headline'", body);
	["a new subject of a room"] = message("type='groupchat'", "<subject>News</subject>");
	["a subject alone"] = message("type='chat'", "<subject>News</subject>");
	["the status of a room"] = message("", "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>");
	["the end of a call"] = message("type='chat'", "<retract xmlns='urn:xmpp:jingle-message:0' id='c1'/>");
	["a call that another device took"] = message("type='chat'", "<accept xmlns='urn:xmpp:jingle-message:0' id='c1'/>");
	["the carbon of a sent message"] = carbon("sent", body);
	["the carbon of a sent call"] = carbon("sent", call);
	["the carbon of a receipt"] = carbon("received", "<received xmlns='urn:xmpp:receipts' id='m0'/>");
	["a forged carbon without a body of its own"] = carbon("received", body, "eve@away.test");
	["a presence"] = xml("<presence from='bert@away.test/pc' to='anna@home.test'><status>Hi</status></presence>");
	["an iq"] = xml("<iq type='get' id='1' from='bert@away.test/pc' to='anna@home.test'><body>Hi</body></iq>");
};

-- As other modules build stanzas: a child without a namespace of its own has its parent's.
local function built(body_text)
	return st.message({ from = "bert@away.test", to = "anna@home.test" }, body_text)
		:tag("x", { xmlns = "http://jabber.org/protocol/muc#user" })
			:tag("item"):up():up();
end

local function hibernated()
	return { push_identifier = "push.test<n1"; push_settings = { jid = "push.test"; node = "n1" }; hibernating = 1 };
end

describe("a stanza that is pushed", function ()
	local engine;

	before_each(function ()
		engine = native.engine();
	end);

	for name, stanza in pairs(important) do
		it("is important if it is " .. name, function ()
			assert.is_true(native.archive(engine, stanza).important);
		end);
	end

	for name, stanza in pairs(urgent) do
		it("is important, and does not wait for a live session, if it is " .. name, function ()
			local sessions = { pc = { push_identifier = "push.test<n1" } };
			assert.is_true(native.archive(engine, stanza, nil, sessions).important);
		end);
	end

	for name, stanza in pairs(unimportant) do
		it("is unimportant if it is " .. name, function ()
			assert.is_false(native.archive(engine, stanza).important);
		end);
	end

	it("is read alike whether it was parsed or built", function ()
		assert.is_true(native.archive(engine, built("Hi")).important);
		assert.is_false(native.archive(engine, built()).important);
		local invited = built():tag("x", { xmlns = "http://jabber.org/protocol/muc#user" }):tag("invite"):reset();
		assert.is_true(native.archive(engine, invited).important);
		assert.is_true(native.archive(engine, st.clone(invited)).important);
	end);

	it("waits for a live session unless it is urgent", function ()
		local sessions = { pc = { push_identifier = "push.test<n1" } };
		for name, stanza in pairs(important) do
			local push, reason = native.archive(engine, stanza, nil, sessions);
			assert.is_nil(push, name);
			assert.equal("device is online", reason, name);
		end
	end);

	it("may be limited to messages or to important ones", function ()
		local messages = native.engine({ push_notify_on = "messages" });
		assert.truthy(native.archive(messages, unimportant["a chat state"]));
		assert.same({ nil, "left out by push_notify_on" },
			{ native.archive(messages, unimportant["a presence"]) });

		local important_only = native.engine({ push_notify_on = "important" });
		assert.truthy(native.archive(important_only, urgent["a call"]));
		assert.same({ nil, "left out by push_notify_on" },
			{ native.archive(important_only, unimportant["a chat state"]) });
	end);

	it("is known again though it has no id, by its table", function ()
		engine = native.engine({ push_coalesce_window = 0 });
		local stanza = st.message({ from = "bert@away.test" }, "Hi");
		local session = hibernated();
		local pushes = engine:unacked("anna", session, { phone = session }, { stanza }, 1);
		assert.equal(1, #pushes);
		local again, silent = engine:unacked("anna", session, { phone = session }, { stanza }, 1);
		assert.is_nil(again);
		assert.same({ "push.test<n1"; "already pushed" }, silent);
	end);

	it("is not taken for another one that says the same but has no id either", function ()
		local session = hibernated();
		engine = native.engine({ push_coalesce_window = 0 });
		for _ = 1, 3 do
			local stanza = st.message({ from = "bert@away.test" }, "Hi");
			assert.equal(1, #engine:unacked("anna", session, { phone = session }, { stanza }, 1));
		end
	end);
end);
