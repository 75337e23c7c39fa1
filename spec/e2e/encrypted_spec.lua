-- Encrypted content and priority (tigase:push:encrypt:0, tigase:push:priority:0), as Siskin and Snikket iOS
-- ask for them. The options of the server tell all that they can: nothing of it may stand in the clear.

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local encrypted = require "spec.support.encrypted";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_jmi = "urn:xmpp:jingle-message:0";
local xmlns_push = "urn:xmpp:push:0";

local secrets = { "rosa"; "Rosa"; "team@rooms"; "Tee um 4"; encrypted.key };

local function describe_all(version)
	local server, push, room, rosa;
	local nodes = 0;

	local function connect()
		push = push_service.connect(server, "push.test", "secret");
		room = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, "rosa@home.test", { resource = "laptop" });
	end

	setup(function ()
		server = prosody.start({
			version = version; modules = { "admin_shell" };
			components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
			options = { push_notification_with_body = true; push_notification_with_sender = true };
		});
		server:add_user("rosa", "secret", "home.test");
		connect();
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push.answer = push_service.result;
		push:clear();
	end);

	local function enable(phone, children, node)
		nodes = nodes + 1;
		phone.service, phone.node = push, node or ("siskin%d"):format(nodes);
		phone.identifier = "push.test<" .. phone.node;
		local request = st.iq({ type = "set"; id = phone.node })
			:tag("enable", { xmlns = xmlns_push; jid = "push.test"; node = phone.node; away = "true" });
		for _, child in ipairs(children) do request:add_child(child); end
		return phone:iq(request);
	end

	-- What Siskin sends, in its order.
	local function siskin_elements(key, max_size)
		return {
			st.stanza("groupchat", { xmlns = "tigase:push:filter:groupchat:0" })
				:tag("room", { jid = "team@rooms.test"; allow = "always" }):up();
			st.stanza("priority", { xmlns = "tigase:push:priority:0" });
			encrypted.ask(key, max_size or "3000");
			st.stanza("jingle", { xmlns = "tigase:push:jingle:0" });
		};
	end

	local function siskin(options)
		local jid = devices.new_user(server);
		local phone = phones.login({ server = server; jid = jid }, options);
		assert.equal("result", enable(phone, siskin_elements()).attr.type);
		phones.acknowledge(phone);
		return phone;
	end

	local function away()
		local phone = siskin();
		phone:close();
		return phone;
	end

	local function assert_discreet(publish)
		local text = tostring(publish.stanza);
		for _, secret in ipairs(secrets) do
			assert.is_nil(text:find(secret, 1, true), text);
		end
	end

	-- What a device with content of its own gets.
	local function read(publish)
		assert_discreet(publish);
		assert.equal("high", encrypted.priority(publish));
		return encrypted.read(publish);
	end

	-- What tells nothing but that there is something.
	local function assert_plain(publish, priority, text)
		assert_discreet(publish);
		assert.is_nil(publish.notification:get_child("encrypted"));
		assert.equal(priority, encrypted.priority(publish));
		assert.equal("1", publish.form["message-count"]);
		assert.equal(text, publish.form["last-message-body"]);
		assert.is_nil(publish.form["last-message-sender"]);
	end

	it("is announced", function ()
		local reply = rosa:iq(st.iq({ type = "get"; to = rosa.jid; id = "disco" })
			:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
		local features = {};
		for feature in reply.tags[1]:childtags("feature") do features[feature.attr.var] = true; end
		for _, feature in ipairs({
			"tigase:push:encrypt:0"; "tigase:push:encrypt:aes-128-gcm"; "tigase:push:priority:0";
		}) do
			assert.is_true(features[feature], feature);
		end
	end);

	it("is stored in the form of the community's module", function ()
		local phone = away();
		local record = devices.stored(server, phone.jid)[phone.identifier];
		assert.same({ algorithm = "aes-128-gcm"; key_base64 = encrypted.key; max_size = 3000 }, record.encryption);
		assert.is_true(record.priority);
	end);

	it("tells the device of a message", function ()
		local phone = away();
		rosa:message({ to = phone.jid; body = "Tee um 4? \"äöü\"" });
		local told, element = read(push:wait(1));
		assert.same({ unread = 1; sender = "rosa@home.test"; type = "chat"; message = "Tee um 4? \"äöü\"" }, told);
		assert.is_nil(element.attr.type);
		push:expect_none();
	end);

	it("tells it of each message while its session hibernates", function ()
		local phone = siskin();
		phone:cut();
		for i = 1, 3 do rosa:message({ to = phone.jid; body = "Tee um 4? " .. i }); end
		for i = 1, 3 do assert.equal("Tee um 4? " .. i, read(push:wait(i)).message); end
		push:expect_none();
	end);

	it("tells it of a message in a room", function ()
		local phone = away();
		room:send(st.message({ type = "groupchat"; from = "team@rooms.test/Rosa"; to = phone.jid; id = "room1" })
			:text_tag("body", "Tee um 4?"));
		local told = read(push:wait(1));
		assert.same({ unread = 1; sender = "team@rooms.test"; type = "groupchat"; nickname = "Rosa"; message = "Tee um 4?" },
			told);
		push:expect_none();
	end);

	it("tells it that there is a message that only it can read", function ()
		local phone = away();
		rosa:message({ to = phone.jid; body = "Tee um 4, but you cannot read it";
			st.stanza("encrypted", { xmlns = "eu.siacs.conversations.axolotl" }):tag("payload"):reset() });
		assert.equal("You have received an encrypted message", read(push:wait(1)).message);
	end);

	it("rings", function ()
		local phone = away();
		local propose = st.stanza("propose", { xmlns = xmlns_jmi; id = "call-1" })
			:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "audio" }):up()
			:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "video" }):up();
		rosa:message({ to = phone.jid; propose });
		local told, element = read(push:wait(1));
		assert.same({ unread = 1; sender = rosa.full_jid; type = "call"; sid = "call-1"; media = { "audio"; "video" } },
			told);
		assert.equal("voip", element.attr.type);
		push:expect_none();
	end);

	it("leaves to what is not important its low priority", function ()
		local phone = away();
		rosa:message({ to = phone.jid; payloads.displayed() });
		assert_plain(push:wait(1), "low");
	end);

	it("tells nothing with a push that is for no stanza", function ()
		local phone = away();
		server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], phone.username);
		assert_plain(push:wait(1), "low");
		local output, status = server:shell("push", "test", phone.jid);
		assert.equal(0, status, output);
		assert_plain(push:wait(2), "low");
	end);

	-- A message that the service could not take at first.
	local function owed()
		local phone = away();
		push.answer = push_service.error("wait", "internal-server-error");
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		assert.equal("Tee um 4?", read(push:wait(1)).message);
		loop.wait_for(function () return inspect.waiting(server) == 1; end, nil, "the push to be owed");
		push.answer = push_service.result;
		return phone;
	end

	it("tells it once more, encrypted anew, where the service could not take it", function ()
		owed();
		push:disconnect();
		push:reconnect();
		local told, element = read(push:wait(2));
		assert.equal("Tee um 4?", told.message);
		local _, before = read(push.received[1]);
		assert.not_equal(before.attr.iv, element.attr.iv);
		assert.not_equal(before:get_text(), element:get_text());
	end);

	it("says after a restart that there is something, for the message is not known any more", function ()
		owed();
		server:restart();
		connect();
		assert_plain(push:wait(1), "high", "New Message!");
		inspect.wait_all_answered(server);
	end);

	it("tells nothing where a module that adds to notifications fails", function ()
		local phone = away();
		server:eval([[
			local function fail() error("no"); end
			rawset(_G, "spec_fail", fail);
			hosts["home.test"].events.add_handler("cloud_notify/push", fail);
		]]);
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		local publish = push:wait(1);
		server:eval([[hosts["home.test"].events.remove_handler("cloud_notify/push", spec_fail);]]);
		assert_plain(publish, "high", "New Message!");
	end);

	it("tells nothing with a key that is damaged", function ()
		local phone = away();
		for _, encryption in ipairs({
			true; {}; { algorithm = "aes-128-gcm" }; { algorithm = "aes-128-gcm"; key_base64 = "c2hvcnQ=" };
			{ algorithm = "aes-256-gcm"; key_base64 = encrypted.key }; { algorithm = {}; key_base64 = {}; max_size = {} };
		}) do
			server:eval([[
				local user, identifier, encryption = ...;
				local store = require "core.storagemanager".open("home.test", "cloud_notify");
				local records = store:get(user);
				records[identifier].encryption = encryption;
				assert(store:set(user, records));
			]], phone.username, phone.identifier, encryption);
			server:reload_module("cloud_notify", "home.test");
			push:clear();
			rosa:message({ to = phone.jid; body = "Tee um 4?" });
			assert_plain(push:wait(1), "high", "New Message!");
		end
	end);

	it("goes on after its key was stored by the community's module", function ()
		local phone = away();
		server:eval([[
			local user, identifier = ...;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local records = store:get(user);
			records[identifier].encryption = { algorithm = "aes-128-gcm"; key_base64 = "\nAAECAwQFBgcICQoLDA0ODw" };
			assert(store:set(user, records));
		]], phone.username, phone.identifier);
		server:reload_module("cloud_notify", "home.test");
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		assert.equal("Tee um 4?", read(push:wait(1)).message);
	end);

	it("fits into what the client's service can carry", function ()
		for _, size in ipairs({ 200; 1000; 4096 }) do
			local phone = client.connect(server, devices.new_user(server));
			assert.equal("result", enable(phone, siskin_elements(nil, ("%d"):format(size))).attr.type);
			phone:close();
			push:clear();
			rosa:message({ to = phone.jid; body = ("\"äöü\"\n👩‍👩‍👧‍👦"):rep(1000) });
			local told, element = read(push:wait(1));
			assert.is_true(#element:get_text() <= size and #element:get_text() > size - 60);
			assert.equal(1, (("\"äöü\"\n👩‍👩‍👧‍👦"):rep(1000)):find(told.message, 1, true));
		end
	end);

	it("ends when the client enables push without it", function ()
		local phone = client.connect(server, devices.new_user(server));
		enable(phone, siskin_elements());
		enable(phone, {}, phone.node);
		phone:close();
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		local publish = push:wait(1);
		assert.is_nil(encrypted.priority(publish));
		assert.equal("Tee um 4?", publish.form["last-message-body"]);
	end);

	it("is refused where it is wrong, and nothing changes", function ()
		local phone = client.connect(server, devices.new_user(server));
		local key = "Tm8gc2l4dGVlbiBieXRlcyE=";
		for _, case in ipairs({
			{ encrypted.ask(key); "bad-request" }; { encrypted.ask(""); "bad-request" };
			{ encrypted.ask(nil, "199"); "bad-request" }; { encrypted.ask(nil, "-3000"); "bad-request" };
			{ st.stanza("encrypt", { xmlns = "tigase:push:encrypt:0"; alg = "rot13" }):text(key); "feature-not-implemented" };
		}) do
			local reply = enable(phone, { case[1] });
			local error_type, condition, text = reply:get_error();
			assert.same({ "modify"; case[2] }, { error_type; condition });
			assert.is_nil(text:find(key, 1, true));
		end
		assert.is_nil(devices.stored(server, phone.jid));
		assert.same({}, devices.attached(phone));
	end);

	it("has its key in the store and nowhere else", function ()
		local phone = away();
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		push:wait(1);
		for _, command in ipairs({ "list"; "explain"; "history"; "test" }) do
			for _, json in ipairs({ false; "--json" }) do
				local output = server:shell("push", command, phone.jid, json or nil);
				assert.is_nil(output:find("AAECAwQF", 1, true), output);
			end
		end
		local bert = client.connect(server, devices.new_user(server));
		enable(bert, { encrypted.ask(encrypted.key .. "AAECAwQF") });
		local history = server:eval([[
			local store = require "core.storagemanager".open("home.test", "cloud_notify_history");
			return require "util.serialization".serialize(store:get(...));
		]], phone.username);
		assert.truthy(history:find("enabled", 1, true));
		assert.is_nil(history:find("AAECAwQF", 1, true));
		assert.truthy(server:log_text():find("Sending important push for " .. phone.username, 1, true));
		for _, secret in ipairs({ "AAECAwQF"; "Tee um 4" }) do
			assert.is_nil(server:log_text():find(secret, 1, true));
			assert.is_nil(server:console_text():find(secret, 1, true));
		end
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("encrypted content with Prosody " .. version, function () describe_all(version); end);
end
