local native = require "spec.support.native";
local st = require "util.stanza";

local canonical, xml = native.canonical, native.xml;

local greeting = xml([[
	<message from='bert@away.test/pc' to='anna@home.test' id='m1' type='chat'>
		<body>Hi &amp; &lt;ho&gt; ä</body>
	</message>]]);
local marker = xml([[
	<message from='bert@away.test/pc' to='anna@home.test' id='m2'>
		<displayed xmlns='urn:xmpp:chat-markers:0'/>
	</message>]]);

local options_xml = [[<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>]]
	.. [[<value>http://jabber.org/protocol/pubsub#publish-options</value></field>]]
	.. [[<field var='secret'><value>s3-91b</value></field></x>]];

local function record_with_options()
	return { jid = "push.test"; node = "n1"; options = st.preserialize(xml(options_xml)) };
end

-- The publish as the protocol has it: fields is a list of name and value in turn.
local function expected(id, node, fields, options)
	local summary = {};
	for i = 1, #fields, 2 do
		summary[#summary + 1] = ("<field var='%s'><value>%s</value></field>"):format(fields[i], fields[i + 1]);
	end
	return st.preserialize(xml(([[<iq type='set' from='home.test' to='push.test' id='%s'>]]
		.. [[<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='%s'><item>]]
		.. [[<notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='form'>]]
		.. [[<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>%s]]
		.. [[</x></notification></item></publish>%s</pubsub></iq>]])
		:format(id, node, table.concat(summary), options and "<publish-options>" .. options .. "</publish-options>" or "")));
end

-- What every stanza is, down to its last child.
local function check_stanza(stanza, seen)
	assert.is_true(st.is_stanza(stanza));
	assert.is_string(stanza.name);
	for name, value in pairs(stanza.attr) do
		assert.is_string(name);
		assert.is_string(value);
	end
	local children, tags = 0, 0;
	for key, child in pairs(stanza) do
		if type(key) == "number" then
			children = children + 1;
			if type(child) == "table" then
				tags = tags + 1;
				check_stanza(child, seen);
			else
				assert.is_string(child);
			end
		else
			assert.truthy(({ name = true; attr = true; tags = true; last_add = true; namespaces = true })[key], key);
		end
	end
	assert.equal(children, #stanza);
	assert.equal(tags, #stanza.tags);
	local place = 0;
	for _, child in ipairs(stanza) do
		if type(child) == "table" then
			place = place + 1;
			assert.equal(child, stanza.tags[place]);
		end
	end
	for _, part in ipairs({ stanza; stanza.attr; stanza.tags }) do
		assert.is_nil(seen[part], "a table is there twice");
		seen[part] = stanza;
	end
end

describe("a publish", function ()
	local engine;

	before_each(function ()
		engine = native.engine();
	end);

	it("is what the protocol says, for an important message", function ()
		local push = native.archive(engine, greeting);
		assert.same(expected(push.id, "n1", { "message-count", "1"; "last-message-body", "New Message!" }),
			canonical(push.stanza));
		assert.equal("push.test<n1", push.identifier);
		assert.equal(push.id, push.stanza.attr.id);
		assert.is_true(push.important);
		assert.equal("New Message!", push.body);
		assert.is_nil(push.sender);
	end);

	it("says nothing but that there is something, for an unimportant stanza", function ()
		engine = native.engine({ push_notification_with_body = true; push_notification_with_sender = true });
		local push = native.archive(engine, marker);
		assert.same(expected(push.id, "n1", { "message-count", "1" }), canonical(push.stanza));
		assert.is_false(push.important);
		assert.is_nil(push.body);
		assert.is_nil(push.sender);
	end);

	it("has body and sender where the administrator wants it", function ()
		engine = native.engine({ push_notification_with_body = true; push_notification_with_sender = true });
		local push = native.archive(engine, greeting);
		assert.same(expected(push.id, "n1", {
			"message-count", "1";
			"last-message-sender", "bert@away.test/pc";
			"last-message-body", "Hi &amp; &lt;ho&gt; ä";
		}), canonical(push.stanza));
		assert.equal("Hi & <ho> ä", push.body);
		assert.equal("bert@away.test/pc", push.sender);
	end);

	it("has no body field where the administrator's text is empty", function ()
		engine = native.engine({ push_notification_important_body = "" });
		local push = native.archive(engine, greeting);
		assert.same(expected(push.id, "n1", { "message-count", "1" }), canonical(push.stanza));
		assert.is_true(push.important);
	end);

	it("has the administrator's text for an encrypted message, with or without a fallback body", function ()
		engine = native.engine({ push_notification_with_body = true });
		for _, content in ipairs({
			"<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>";
			"<encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted>";
			"<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>";
			"<openpgp xmlns='urn:xmpp:openpgp:0'>hQ</openpgp>";
			"<x xmlns='jabber:x:encrypted'>hQ</x>";
		}) do
			for _, body in ipairs({ ""; "<body>You cannot read this</body>" }) do
				local message = ("<message from='bert@away.test/pc' to='anna@home.test'%s>%s%s</message>");
				local push = native.archive(engine, xml(message:format("", body, content)));
				assert.equal("New Message!", push.body, content);
				local copy = message:format(" xmlns='jabber:client'", content, body);
				push = native.archive(engine, xml("<message from='anna@home.test'><received xmlns='urn:xmpp:carbons:2'>"
					.. "<forwarded xmlns='urn:xmpp:forward:0'>" .. copy .. "</forwarded></received></message>"));
				assert.equal("New Message!", push.body, content);
			end
		end
	end);

	it("has a body that is cut between two characters, not inside one", function ()
		engine = native.engine({ push_notification_with_body = true });
		local body = native.archive(engine, st.message({ from = "bert@away.test/pc" }, ("€"):rep(100000))).body;
		assert.is_true(#body < 10000);
		assert.equal(("€"):rep(#body / 3), body);
	end);

	it("has the client's options form beside it", function ()
		local push = native.archive(engine, greeting, record_with_options());
		assert.same(expected(push.id, "n1", { "message-count", "1"; "last-message-body", "New Message!" }, options_xml),
			canonical(push.stanza));
	end);

	it("has that form as one that is submitted, whatever its type was", function ()
		for _, type in ipairs({ "type='form'"; "type='result'"; "type='nonsense'"; "" }) do
			local record = record_with_options();
			record.options = st.preserialize(xml((options_xml:gsub("type='submit'", type))));
			local before = st.preserialize(st.deserialize(record.options));
			local push = native.archive(engine, greeting, record);
			assert.same(expected(push.id, "n1", { "message-count", "1", "last-message-body", "New Message!" }, options_xml),
				canonical(push.stanza));
			assert.same(before, record.options);
		end
	end);

	it("has of that form what strict push services can read", function ()
		for _, broken in ipairs({
			(options_xml:gsub("</x>", "<field><value>v</value></field></x>"));
			(options_xml:gsub("var='secret'", "var='secret' type='secret'"));
			(options_xml:gsub("</x>", "<field var='FORM_TYPE'><value>v</value></field></x>"));
		}) do
			local record = record_with_options();
			record.options = st.preserialize(xml(broken));
			local push = native.archive(engine, greeting, record);
			assert.same(expected(push.id, "n1", { "message-count", "1", "last-message-body", "New Message!" }, options_xml),
				canonical(push.stanza));
			check_stanza(push.stanza, {});
		end
	end);

	it("has an empty node for a registration without one", function ()
		local push = native.archive(engine, greeting, { jid = "push.test" });
		assert.equal("", push.stanza:get_child("pubsub", "http://jabber.org/protocol/pubsub").tags[1].attr.node);
		assert.equal("push.test<", push.identifier);
	end);

	it("escapes what the client made up", function ()
		local node = "<&'\">€";
		local push = native.archive(engine, greeting, { jid = "push.test"; node = node });
		assert.equal(node, push.stanza.tags[1].tags[1].attr.node);
		assert.equal(node, xml(tostring(push.stanza)).tags[1].tags[1].attr.node);
	end);

	it("is a stanza that other modules can read, clone and add to", function ()
		local stanza = native.archive(engine, greeting, record_with_options()).stanza;
		check_stanza(stanza, {});
		check_stanza(st.clone(stanza), {});
		local before = canonical(stanza);
		assert.same(before, canonical(st.deserialize(st.preserialize(stanza))));
		assert.same(before, canonical(st.clone(stanza)));

		local publish = stanza:get_child("pubsub", "http://jabber.org/protocol/pubsub"):get_child("publish");
		local notification = publish:get_child("item"):get_child("notification", "urn:xmpp:push:0");
		notification:tag("priority", { xmlns = "tigase:push:priority:0" }):text("high"):up();
		notification:get_child("x", "jabber:x:data"):tag("field", { var = "more" }):text_tag("value", "1"):up();
		stanza:tag("extra", { xmlns = "urn:x" }):up();
		check_stanza(stanza, {});
		local read = xml(tostring(stanza));
		assert.equal("high", read:find("{http://jabber.org/protocol/pubsub}pubsub/publish/item/"
			.. "{urn:xmpp:push:0}notification/{tigase:push:priority:0}priority#"));
		assert.truthy(read:get_child("extra", "urn:x"));
		notification:maptags(function () return nil; end);
		check_stanza(stanza, {});
	end);

	it("shares nothing with another publish that somebody may change", function ()
		local records = { ["push.test<n1"] = record_with_options(); ["push.test<n2"] = record_with_options() };
		records["push.test<n2"].node = "n2";
		local seen = {};
		for i = 1, 3 do
			for _, push in ipairs((engine:archived("anna", records, nil, greeting, "id" .. i))) do
				check_stanza(push.stanza, seen);
				assert.is_nil(seen[push]);
				seen[push] = true;
			end
		end
	end);

	it("is the same where nobody listens, and shares nothing of that with one that somebody may change", function ()
		local records = { ["push.test<n1"] = record_with_options() };
		local archived = engine:readers();
		local function publish(id, listened)
			assert.is_true(archived("anna", records, nil, greeting, id));
			local count, _, _, _, push = engine:settle(greeting, records, listened);
			assert.equal(1, count);
			return push;
		end
		local unheard, other, heard = publish("id1", false), publish("id2", false), publish("id3", true);
		for _, stanza in ipairs({ unheard; other; heard }) do stanza.attr.id = nil; end
		assert.same(canonical(heard), canonical(unheard));
		assert.same(canonical(heard), canonical(other));
		local seen = {};
		check_stanza(unheard, seen);
		check_stanza(heard, seen);
		-- All that is the same is one table, which nobody will change
		assert.equal(unheard.tags[1], other.tags[1]);

		local state = xml("<message from='bert@away.test' to='anna@home.test' id='s1'/>");
		assert.is_true(archived("anna", records, nil, state, "id4"));
		local unimportant = tostring((select(5, engine:settle(state, records, false))));
		assert.truthy(tostring(unheard):find("last-message-body", 1, true));
		assert.is_nil(unimportant:find("last-message-body", 1, true));
	end);

	it("keeps what it says where nobody listens, too, whoever holds it back, and shares its options alone", function ()
		local record = record_with_options();
		record.encryption = { algorithm = "aes-128-gcm"; key_base64 = "AAECAwQFBgcICQoLDA0ODw==" };
		record.priority, record.jingle, record.sequence = true, true, 1;
		local records = { ["push.test<n1"] = record };
		local archived = engine:readers();
		local function publish(id, message, listened)
			assert.is_true(archived("anna", records, nil, xml(message), id));
			return (select(5, engine:settle(xml(message), records, listened)));
		end
		local function shape(stanza)
			local notification = stanza.tags[1].tags[1].tags[1].tags[1];
			assert.equal(#notification, #notification.tags);
			local found = {};
			for i, element in ipairs(notification.tags) do
				assert.equal(element, notification[i]);
				check_stanza(element, {});
				-- What is encrypted differs
				found[i] = { element.name, element.attr.xmlns, element.attr.type, element.attr.action, element.attr.sid,
					element.name == "priority" and element:get_text() };
			end
			return found;
		end
		local chat = "<message from='bert@away.test/pc' to='anna@home.test' type='chat' id='%s'><body>%s</body></message>";
		local call = "<message from='bert@away.test/pc' to='anna@home.test' type='chat' id='%s'>"
			.. "<propose xmlns='urn:xmpp:jingle-message:0' id='%s'/></message>";
		local state = "<message from='bert@away.test/pc' to='anna@home.test' id='%s%s'/>";
		local options;
		local texts, sent = {}, {};
		for i, message in ipairs({ chat; call; chat; state; chat; call; call; chat }) do
			message = message:format("m" .. i, "c" .. i);
			local heard, unheard = publish("h" .. i, message, true), publish("u" .. i, message, false);
			assert.same(shape(heard), shape(unheard));
			assert.equal(tostring(heard):match("<publish%-options.*"), tostring(unheard):match("<publish%-options.*"));
			local text = unheard:find("{http://jabber.org/protocol/pubsub}pubsub/publish/item/"
				.. "{urn:xmpp:push:0}notification/{tigase:push:encrypt:0}encrypted#");
			assert.equal(not message:find("<message[^>]*/>"), text ~= nil);
			if text then
				assert.is_nil(texts[text]);
				texts[text] = true;
				options = options or unheard.tags[1].tags[2];
				assert.equal(options, unheard.tags[1].tags[2]);
				assert.not_equal(options, heard.tags[1].tags[2]);
				sent[unheard] = tostring(unheard);
			end
		end
		for stanza, before in pairs(sent) do assert.equal(before, tostring(stanza)); end
	end);

	it("leaves the message and the record as they were, but for a mark", function ()
		local record = record_with_options();
		local options, attributes = st.preserialize(xml(options_xml)), {};
		for name, value in pairs(greeting.attr) do attributes[name] = value; end
		local before = canonical(greeting);
		native.archive(engine, greeting, record);
		assert.same(before, canonical(greeting));
		assert.same(attributes, greeting.attr);
		assert.same({ jid = "push.test"; node = "n1"; options = options }, record);
	end);

	it("has an id that was never there before", function ()
		local record, ids = { jid = "push.test"; node = "n1" }, {};
		for _ = 1, native.times(30000) do
			local id = engine:ping("anna", "push.test<n1", record).id;
			if ids[id] then error(id .. " came twice"); end
			ids[id] = true;
			engine:answered(id, "push.test", false);
		end
		assert.equal(0, engine:in_flight());
	end);

	it("does not leave where too many wait for an answer already", function ()
		engine = native.engine({ push_max_in_flight = 10 });
		local record = { jid = "push.test"; node = "n1" };
		local last;
		for _ = 1, 10 do last = engine:ping("anna", "push.test<n1", record); end
		assert.is_nil((engine:ping("anna", "push.test<n1", record)));
		assert.truthy(engine:ping("anna", "other.test<n1", { jid = "other.test"; node = "n1" }));
		engine:answered(last.id, "push.test", false);
		assert.truthy(engine:ping("anna", "push.test<n1", record));
	end);

	it("has no id that a new engine gives again", function ()
		local record, ids = { jid = "push.test"; node = "n1" }, {};
		for _ = 1, 100 do
			local id = native.engine():ping("anna", "push.test<n1", record).id;
			assert.is_nil(ids[id]);
			ids[id] = true;
		end
	end);
end);

describe("a damaged options form", function ()
	local cyclic = { name = "x"; attr = {} };
	cyclic[1] = cyclic;
	local deep = { name = "x"; attr = {} };
	for _ = 1, 100000 do deep = { name = "x"; attr = {}; deep }; end

	local damaged = {
		["a string"] = "jabber:x:data";
		["a number"] = 7;
		["true"] = true;
		["false"] = false;
		["an empty table"] = {};
		["without attributes"] = { name = "x" };
		["without a name"] = { attr = {} };
		["with a number for a name"] = { name = 7; attr = {} };
		["with an empty name"] = { name = ""; attr = {} };
		["with a name that is no name"] = { name = "x y"; attr = {} };
		["with markup for a name"] = { name = "x/><y"; attr = {} };
		["with a table for a name"] = { name = {}; attr = {} };
		["with a string for attributes"] = { name = "x"; attr = "y" };
		["with an attribute that is a table"] = { name = "x"; attr = { xmlns = {} } };
		["with an attribute that is a number"] = { name = "x"; attr = { xmlns = 7 } };
		["with an attribute that is not UTF-8"] = { name = "x"; attr = { xmlns = "\255" } };
		["with an attribute name that is a number"] = { name = "x"; attr = { "jabber:x:data" } };
		["with an attribute name that is no name"] = { name = "x"; attr = { ["a b"] = "c" } };
		["with an attribute name that has no prefix"] = { name = "x"; attr = { [":xmlns"] = "c" } };
		["with an attribute name whose prefix means nothing"] = { name = "x"; attr = { ["a:b"] = "c" } };
		["with a control character in a namespace"] = { name = "x"; attr = { xmlns = "a\1b" } };
		["with half an attribute name"] = { name = "x"; attr = { ["urn:x|"] = "c" } };
		["with a NUL in a text"] = { name = "x"; attr = {}; "a\0b" };
		["with a text that is not UTF-8"] = { name = "x"; attr = {}; "a\255b" };
		["with a number for a child"] = { name = "x"; attr = {}; 7 };
		["with a function for a child"] = { name = "x"; attr = {}; print };
		["with a damaged child"] = { name = "x"; attr = {}; { name = "field" } };
		["with an empty child"] = { name = "x"; attr = {}; {} };
		["with holes"] = { name = "x"; attr = {}; [2] = "b"; [5] = {} };
		["with a metatable that raises"] = setmetatable({}, { __index = error; __len = error; __pairs = error });
		["that contains itself"] = cyclic;
		["that is bottomless"] = deep;
	};

	for name, options in pairs(damaged) do
		it("does not stop the push: " .. name, function ()
			local engine = native.engine();
			local record = { jid = "push.test"; node = "n1"; options = options };
			for _ = 1, 2 do
				local push = native.archive(engine, greeting, record);
				check_stanza(push.stanza, {});
				assert.equal(push.id, xml(tostring(push.stanza)).attr.id);
				assert.same(st.preserialize(push.stanza), st.preserialize(st.clone(push.stanza)));
			end
			assert.truthy(native.archive(engine, greeting));
		end);
	end
end);
