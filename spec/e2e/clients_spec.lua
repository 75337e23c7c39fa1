-- Apps of real people, with the requests that they send: what they get, read the way they and their push services do.

local prosody = require "spec.support.prosody";
local apps = require "spec.support.apps";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local payloads = require "spec.support.payloads";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_jmi = "urn:xmpp:jingle-message:0";

local important = "New Message!";

-- A message whose text nobody but its device can read.
local function omemo()
	return st.stanza("encrypted", { xmlns = "eu.siacs.conversations.axolotl" })
		:tag("header", { sid = "1" }):text_tag("key", "a2V5", { rid = "2" }):text_tag("iv", "aXY="):up()
		:text_tag("payload", "cGF5bG9hZA==");
end

local function propose(sid)
	return st.stanza("propose", { xmlns = xmlns_jmi; id = sid })
		:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "audio" }):up()
		:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "video" }):up();
end

-- Anybody whose message may be pushed could say this.
local secret_text = "Tee um 4? \"äöü\"\\";

local function describe_all(version)
	local server, push, rooms, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
		});
		push = push_service.connect(server, "push.test", "secret");
		rooms = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push:clear();
		push.answer = push_service.result;
	end);

	local function new_client(options)
		return client.connect(server, devices.new_user(server), options);
	end

	-- What has come by the time that all before has been handled.
	local function received(sender)
		sender:ping();
		push:ping();
		push:ping();
		return push.received;
	end

	-- The only push for what was sent meanwhile.
	local function only_push(sender)
		local publishes = received(sender);
		assert.equal(1, #publishes);
		return publishes[1];
	end

	local function composing(to)
		rosa:message({ to = to; payloads.composing() });
	end

	-- Siskin's push service says how much it can carry, that of Snikket need not.
	for name, max_size in pairs({ Siskin = 3500; ["Snikket iOS"] = false }) do
		describe(name, function ()
			local team, fun = "team@rooms.test", "fun@rooms.test";

			local function new_siskin(settings)
				local phone = new_client({ resource = name .. ".1"; sm = "resume" });
				local push_settings = { jid = "push.test"; node = "s-node"; max_size = max_size and tostring(max_size) or nil };
				for key, value in pairs(settings or {}) do push_settings[key] = value; end
				apps.enable_siskin(phone, push_settings);
				phone:close();
				return phone;
			end

			-- What it gets: encrypted, as soon as there is something to be told.
			local function read(publish)
				local found = apps.read_siskin(publish);
				assert.is_nil(found.options);
				assert.is_truthy(found.payload, tostring(publish.stanza));
				assert.is_true(found.size <= (max_size or 3000));
				return found;
			end

			it("finds all that it looks for, each once, and so asks for encryption", function ()
				local phone = new_client();
				local features, once = apps.features(phone), {};
				for _, feature in ipairs(features) do
					assert.is_nil(once[feature], feature);
					once[feature] = true;
				end
				local enable = apps.enable_siskin(phone, {
					jid = "push.test"; node = "s-node"; muted = { "spam@else.test" }; ignore_unknown = true; away = true;
				});
				assert.equal("true", enable.attr.away);
				local asked = {};
				for _, element in ipairs(enable.tags) do asked[#asked + 1] = element.name; end
				assert.same({ "ignore-unknown"; "groupchat"; "muted"; "priority"; "encrypt"; "jingle" }, asked);
			end);

			for what, long in pairs({ ["a message"] = ""; ["a long message"] = ("äöü \"\\ "):rep(1000) }) do
				it("shows who wrote what, for " .. what, function ()
					local phone = new_siskin();
					rosa:message({ to = phone.jid; body = secret_text .. long });
					local publish = only_push(rosa);
					local found = read(publish);
					assert.equal("high", found.priority);
					assert.is_false(found.rings);
					local payload = found.payload;
					assert.same({ 1; rosa.jid; "chat" }, { payload.unread; payload.sender; payload.type });
					assert.equal(secret_text, payload.message:sub(1, #secret_text));
					assert.equal(long == "", payload.message == secret_text);
					assert.is_nil(tostring(publish.stanza):find("Tee", 1, true) or tostring(publish.stanza):find(rosa.jid, 1, true));
				end);
			end

			it("shows that something is new where only the app itself can read it", function ()
				local phone = new_siskin();
				rosa:message({ to = phone.jid; body = secret_text; omemo() });
				local found = read(only_push(rosa));
				assert.equal("high", found.priority);
				assert.equal("chat", found.payload.type);
				assert.not_equal(secret_text, found.payload.message);
			end);

			it("is not alerted by what is not to be shown", function ()
				local phone = new_siskin();
				composing(phone.jid);
				assert.equal("low", apps.read_siskin(only_push(rosa)).priority);
			end);

			it("rings for a call, says who calls with what, and stops when another device takes it", function ()
				local phone = new_siskin();
				local desk = client.connect(server, phone.jid, { resource = "desk" });
				rosa:message({ to = phone.jid; propose("c3") });
				local found = read(only_push(rosa));
				assert.is_true(found.rings);
				assert.equal("high", found.priority);
				assert.same({ "call"; rosa.full_jid; "c3" }, { found.payload.type; found.payload.sender; found.payload.sid });
				table.sort(found.payload.media);
				assert.same({ "audio"; "video" }, found.payload.media);
				assert.same({ "propose"; "c3" }, { found.elements.jingle.attr.action; found.elements.jingle.attr.sid });

				push:clear();
				desk:message({ to = phone.jid; st.stanza("accept", { xmlns = xmlns_jmi; id = "c3" }) });
				found = read(only_push(desk));
				assert.is_false(found.rings);
				assert.same({ "call"; "c3" }, { found.payload.type; found.payload.sid });
				assert.is_nil(found.payload.media);
				desk:close();
			end);

			it("stops to ring when the caller gives up", function ()
				local phone = new_siskin();
				rosa:message({ to = phone.jid; propose("c4") });
				assert.is_true(read(only_push(rosa)).rings);
				push:clear();
				rosa:message({ to = phone.jid; st.stanza("retract", { xmlns = xmlns_jmi; id = "c4" }) });
				local found = read(only_push(rosa));
				assert.is_false(found.rings);
				assert.same({ "call"; "c4" }, { found.payload.type; found.payload.sid });
			end);

			it("is not woken by a muted chat, not even by a call", function ()
				local phone = new_siskin({ muted = { rosa.jid; team }; rooms = { [team] = true } });
				rosa:message({ to = phone.jid; body = secret_text });
				rosa:message({ to = phone.jid; propose("c5") });
				apps.said_in_room(rooms, team, "bert", phone.jid, secret_text);
				assert.same({}, received(rosa));
			end);

			it("is not woken by whom its user does not know", function ()
				local phone = new_siskin({ ignore_unknown = true; rooms = { [team] = true } });
				rosa:message({ to = phone.jid; body = secret_text });
				assert.same({}, received(rosa));
				apps.said_in_room(rooms, team, "bert", phone.jid, secret_text);
				assert.equal("groupchat", read(only_push(rosa)).payload.type);
			end);

			it("is woken by the rooms that it lists, as it says, and by no other", function ()
				local phone = new_siskin({ rooms = { [team] = true; [fun] = "Anna" } });
				apps.said_in_room(rooms, "noise@rooms.test", "bert", phone.jid, "Anna!");
				apps.said_in_room(rooms, fun, "bert", phone.jid, "Hannah!");
				assert.same({}, received(rosa));
				for room, body in pairs({ [team] = secret_text; [fun] = "Tee, Anna?" }) do
					push:clear();
					apps.said_in_room(rooms, room, "bert", phone.jid, body);
					local found = read(only_push(rosa));
					assert.equal("high", found.priority);
					local payload = found.payload;
					assert.same({ "groupchat"; room; "bert"; body },
						{ payload.type; payload.sender; payload.nickname; payload.message });
				end
			end);

			it("keeps what it has asked for though it asks once only", function ()
				local phone = new_siskin({ muted = { rosa.jid } });
				local bert = new_client();
				client.connect(server, phone.jid, { resource = name .. ".1"; sm = "resume" }):cut();
				rosa:message({ to = phone.jid; body = secret_text });
				assert.same({}, received(rosa));
				bert:message({ to = phone.jid; body = secret_text });
				assert.equal(bert.jid, read(only_push(bert)).payload.sender);
			end);

			it("is woken while its user is away", function ()
				local phone = new_siskin({ away = true });
				local desk = client.connect(server, phone.jid, { resource = "desk" });
				rosa:message({ to = phone.jid; body = secret_text });
				desk:expect({ body = secret_text });
				received(rosa);
				push:clear();
				desk:send(st.presence():text_tag("show", "away"));
				desk:ping();
				rosa:message({ to = phone.jid; body = secret_text });
				assert.equal(rosa.jid, read(only_push(rosa)).payload.sender);
				desk:close();
			end);

			it("takes its notifications away once they have been read elsewhere", function ()
				local phone = new_siskin();
				local desk = client.connect(server, phone.jid, { resource = "desk" });
				local sent = rosa:message({ to = phone.jid; body = secret_text; st.stanza("markable", {
					xmlns = "urn:xmpp:chat-markers:0";
				}) });
				desk:expect({ body = secret_text });
				assert.equal("high", read(only_push(rosa)).priority);
				push:clear();
				desk:message({ to = rosa.jid; st.stanza("displayed", { xmlns = "urn:xmpp:chat-markers:0"; id = sent.attr.id }) });
				local found = apps.read_siskin(only_push(desk));
				assert.same({ ["message-count"] = "0" }, found.form);
				assert.is_nil(found.payload);
				desk:close();
			end);
		end);
	end

	describe("Monal", function ()
		local token = ("0a1b2c3d"):rep(8);

		before_each(function () push.answer = apps.fpush; end);

		local function new_monal(options)
			local phone = new_client(options or { resource = "Monal-iOS.1"; sm = "resume" });
			apps.enable_monal(phone, { jid = "push.test"; node = token });
			return phone;
		end

		local function assert_plain(publish, text)
			assert.equal(token, publish.node);
			local read = apps.read_publish(publish);
			assert.same({ pushModule = "monalProdiOS" }, read.options);
			assert.same({ ["message-count"] = "1"; ["last-message-body"] = text }, read.form);
			read.elements.x = nil;
			assert.same({}, read.elements);
		end

		for state, leave in pairs({ away = "close"; hibernated = "cut" }) do
			for what, content in pairs({ message = { body = secret_text }; call = { propose("c1") } }) do
				it(("gets one push, which says no more than that, for a %s while it is %s"):format(what, state), function ()
					local phone = new_monal();
					phone[leave](phone);
					rosa:message({ to = phone.jid; body = content.body; content[1] });
					assert_plain(only_push(rosa), important);
				end);
			end
		end

		it("has the same token for all accounts of a phone", function ()
			local one, other = new_monal(), new_monal();
			one:close();
			other:close();
			for _, phone in ipairs({ one, other }) do
				push:clear();
				rosa:message({ to = phone.jid; body = "Hello" });
				assert_plain(only_push(rosa), important);
			end
		end);

		it("enables push whenever it connects, and has one registration all the same", function ()
			local phone = new_monal();
			phone:close();
			phone = client.connect(server, phone.jid, { resource = "Monal-iOS.1"; sm = "resume" });
			apps.enable_monal(phone, { jid = "push.test"; node = token });
			assert.same({ "push.test<" .. token }, devices.identifiers(server, phone.jid));
			phone:cut();
			rosa:message({ to = phone.jid; body = "Hello" });
			assert_plain(only_push(rosa), important);
		end);

		it("gets none once its account was logged out, and none from its former services", function ()
			local phone = new_monal();
			for _, service in ipairs({ "us.prod.push.monal-im.org"; "ios13push.monal.im"; "push.monal.im"; "push.test" }) do
				devices.disable(phone, { jid = service });
			end
			phone:close();
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({}, received(rosa));
		end);

		it("is told that what it can show is nothing by a push without a text", function ()
			local phone = new_monal();
			phone:close();
			composing(phone.jid);
			assert_plain(only_push(rosa), nil);
		end);
	end);

	describe("Conversations", function ()
		local secret = "s3-91b";

		before_each(function () push.answer = apps.p2(secret); end);

		local function new_conversations()
			local phone = new_client({ resource = "Conversations.x1"; sm = "resume" });
			apps.enable_conversations(phone, { jid = "push.test"; node = "c-node"; secret = secret });
			return phone;
		end

		for state, leave in pairs({ away = "close"; hibernated = "cut" }) do
			it("is woken with its secret by what is to be shown, while it is " .. state, function ()
				local phone = new_conversations();
				phone[leave](phone);
				rosa:message({ to = phone.jid; omemo() });
				local publish = only_push(rosa);
				assert.is_true(publish.alerts);
				local read = apps.read_publish(publish);
				assert.same({ secret = secret }, read.options);
				assert.same({ ["message-count"] = "1"; ["last-message-body"] = important }, read.form);
			end);
		end

		it("is woken by a call", function ()
			local phone = new_conversations();
			phone:close();
			rosa:message({ to = phone.jid; propose("c2") });
			assert.is_true(only_push(rosa).alerts);
		end);

		it("is not alerted by what is not to be shown", function ()
			local phone = new_conversations();
			phone:close();
			composing(phone.jid);
			assert.is_false(only_push(rosa).alerts);
		end);

		it("enables push with a new secret, and the old one is sent no more", function ()
			local phone = new_conversations();
			apps.enable_conversations(phone, { jid = "push.test"; node = "c-node"; secret = "s4" });
			push.answer = apps.p2("s4");
			phone:close();
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.is_true(only_push(rosa).alerts);
		end);
	end);

	for what, secret in pairs({ ["with a secret"] = "s5"; ["without one"] = false }) do
		it("Converse, " .. what .. ", enables push for each of its sessions", function ()
			local browser = new_client({ resource = "converse.js-1" });
			apps.enable_converse(browser, { jid = "push.test"; node = "v-node"; secret = secret or nil });
			browser:close();
			rosa:message({ to = browser.jid; body = "Hello" });
			local read = apps.read_publish(only_push(rosa));
			assert.same(secret and { secret = secret } or nil, read.options);
			assert.same({ ["message-count"] = "1"; ["last-message-body"] = important }, read.form);
		end);
	end
end

for _, version in ipairs(prosody.versions) do
	describe("with Prosody " .. version .. ",", function () describe_all(version); end);
end
