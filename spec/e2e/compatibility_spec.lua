local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local json = require "util.json";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_data = "jabber:x:data";
local xmlns_encrypt = "tigase:push:encrypt:0";
local xmlns_jmi = "urn:xmpp:jingle-message:0";
local xmlns_priority = "tigase:push:priority:0";
local xmlns_push = "urn:xmpp:push:0";

local options = { secret = "s3-91b"; topic = "äöü <&>" };

-- An enable with everything that ends up in the record
local function full_enable(id)
	return st.iq({ type = "set"; id = id; ["xml:lang"] = "de" })
		:tag("enable", { xmlns = xmlns_push; jid = "push.test"; node = "n1"; include_payload = "all" })
			:tag("x", { xmlns = xmlns_data; type = "submit" })
				:tag("field", { var = "FORM_TYPE" })
					:text_tag("value", "http://jabber.org/protocol/pubsub#publish-options"):up()
				:tag("field", { var = "secret" }):text_tag("value", "äöü <&>"):up();
end

local function ping_devices(server, jid, push_services)
	server:eval([[
		local user, host = jid.split((...));
		prosody.hosts[host].events.fire_event("cloud-notify-ping", { user = user; push_services = select(2, ...) });
	]], jid, push_services);
end

local function nodes_of(publishes)
	local nodes = {};
	for _, publish in ipairs(publishes) do
		nodes[#nodes + 1] = publish.node;
	end
	table.sort(nodes);
	return nodes;
end

for _, version in ipairs(prosody.versions) do
	describe("upstream's module and this one on Prosody " .. version, function ()
		local server, push, rosa;

		local function change_module(to_upstream)
			server:restart({ upstream = to_upstream });
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, rosa.jid);
		end

		before_each(function ()
			server = prosody.start({ version = version; modules = { "spec_companion" }; upstream = true });
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		it("keep the same records", function ()
			local jid = devices.new_user(server);
			for _, plan in ipairs({ {}; { client_id = "client-1" } }) do
				local records = {};
				for _, upstream in ipairs({ true; false }) do
					change_module(upstream);
					companion.plan(server, jid, plan);
					local anna = client.connect(server, jid, { resource = "phone" });
					local from = os.time();
					assert.equal("result", anna:iq(full_enable("e1")).attr.type);
					local record = devices.stored(server, jid)["push.test<n1"];
					assert.is_true(record.timestamp >= from and record.timestamp <= os.time());
					record.timestamp = nil;
					records[upstream] = record;
				end
				assert.equal("all", records[true].include_payload);
				assert.is_truthy(records[true].options and records[true].language);
				assert.equal(plan.client_id, records[true].client_id);
				assert.equal(not plan.client_id and "phone" or nil, records[true].resource);

				-- What this module adds, upstream's ignores.
				records[false].sequence = nil;
				assert.same(records[true], records[false]);
			end
		end);

		for _, to_upstream in ipairs({ false; true }) do
			local direction = to_upstream and "this one for upstream's" or "upstream's for this one";
			it("can be exchanged, " .. direction, function ()
				change_module(not to_upstream);
				local anna = client.connect(server, devices.new_user(server), { resource = "phone" });
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = options });
				devices.enable(anna, { jid = "push.test"; node = "n2" });
				devices.enable(anna, { jid = "push.test" });
				local before = devices.stored(server, anna.jid);
				change_module(to_upstream);

				assert.same(before, devices.stored(server, anna.jid));
				push:clear();
				rosa:message({ to = anna.jid; body = "Wake up" });
				push:wait(3);
				push:expect_none();
				for _, publish in ipairs(push.received) do
					if publish.node == "n1" then
						assert.equal(options.secret, publish.options.secret);
						assert.equal(options.topic, publish.options.topic);
					else
						assert.same({}, publish.options);
					end
				end

				anna = client.connect(server, anna.jid, { resource = "tablet" });
				devices.disable(anna, { jid = "push.test"; node = "n2" });
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "new" } });
				anna:close();
				assert.same({ "push.test<"; "push.test<n1" }, devices.identifiers(server, anna.jid));
				push:clear();
				rosa:message({ to = anna.jid; body = "Wake up" });
				push:wait(2);
				push:expect_none();
			end);
		end

		it("can be exchanged there and back, and a client that does not enable again is found", function ()
			local siskin = client.connect(server, devices.new_user(server), { resource = "siskin" });
			devices.enable(siskin, { jid = "push.test"; node = "n1"; options = options });
			for _, upstream in ipairs({ false; true; false }) do
				change_module(upstream);
				siskin = client.connect(server, siskin.jid, { resource = "siskin"; sm = "resume" });
				if not upstream then
					assert.equal("push.test<n1", devices.attached(siskin).identifier);
				end
				siskin:cut();
				push:clear();
				rosa:message({ to = siskin.jid; body = "Wake up" });
				assert.equal(options.secret, push:wait(1).options.secret);
				-- So that none is left over for the next server
				siskin:resume();
				siskin:close();
			end
		end);

		it("count the age of a registration alike", function ()
			local anna = client.connect(server, devices.new_user(server), { resource = "phone" });
			for i = 1, 5 do
				devices.enable(anna, { jid = "push.test"; node = "n" .. i });
			end
			server:eval([[
				local user, age = ...;
				local store = require "core.storagemanager".open("home.test", "cloud_notify");
				local records = store:get(user);
				for identifier, seconds in pairs(age) do
					records[identifier].timestamp = records[identifier].timestamp - seconds;
				end
				assert(store:set(user, records));
			]], anna.username, { ["push.test<n1"] = 10, ["push.test<n2"] = 30, ["push.test<n3"] = 20 });
			change_module(false);

			anna = client.connect(server, anna.jid, { resource = "phone" });
			devices.enable(anna, { jid = "push.test"; node = "n6" });
			devices.enable(anna, { jid = "push.test"; node = "n7" });
			assert.same({ "push.test<n1"; "push.test<n4"; "push.test<n5"; "push.test<n6"; "push.test<n7" },
				devices.identifiers(server, anna.jid));
		end);

		it("name one registration alike though upstream's does not normalise its jid", function ()
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "PUSH.test"; node = "n1" });
			devices.enable(anna, { jid = "PUSH.test"; node = "n2" });
			change_module(false);

			anna = client.connect(server, anna.jid);
			devices.enable(anna, { jid = "PUSH.test"; node = "n1" });
			devices.disable(anna, { jid = "PUSH.test"; node = "n2" });
			assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
			anna:close();
			assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
		end);

		it("both cope with what the other leaves when the last registration goes", function ()
			local anna = client.connect(server, devices.new_user(server));
			for _, upstream in ipairs({ true; false; true; false }) do
				change_module(upstream);
				anna = client.connect(server, anna.jid);
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
				devices.disable(anna, { jid = "push.test"; node = "n1" });
				assert.same({}, devices.identifiers(server, anna.jid));
			end
		end);
	end);

	describe("other modules beside this one on Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({ version = version; modules = { "spec_companion" } });
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		before_each(function ()
			push:clear();
			push.answer = push_service.result;
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		local function new_client(connect_options)
			return client.connect(server, devices.new_user(server), connect_options);
		end

		-- A user whose client has enabled push, and gone.
		local function absent_user(...)
			local anna = new_client();
			for _, node in ipairs({ ... }) do
				devices.enable(anna, { jid = "push.test"; node = node; options = { secret = "s" } });
			end
			anna:close();
			companion.seen(server, anna.jid);
			return anna;
		end

		-- The events of a message to somebody.
		local function seen_after(message)
			rosa:message(message);
			rosa:ping();
			return companion.seen(server, message.to);
		end

		describe("that use the records", function ()
			it("find their own fields in them after other registrations came and went", function ()
				local anna = new_client();
				local own = { encryption = { algorithm = "aes-128-gcm" }; muted_jids = { ["x@y.test"] = true }; flag = false };
				companion.plan(server, anna.jid, { add_to_record = own });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				companion.plan(server, anna.jid, nil);

				for _, reload in ipairs({ false; true }) do
					if reload then server:reload_module("cloud_notify", "home.test"); end
					devices.enable(anna, { jid = "push.test"; node = "n2" });
					devices.disable(anna, { jid = "push.test"; node = "n2" });
					local record = devices.stored(server, anna.jid)["push.test<n1"];
					for name, value in pairs(own) do
						assert.same(value, record[name], name);
					end
				end
			end);

			it("find the user's very record in session.push_settings", function ()
				local anna = new_client({ sm = "resume" });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				-- Another registration changes the store in the meantime
				local tablet = client.connect(server, anna.jid, { presence = false });
				devices.enable(tablet, { jid = "push.test"; node = "n2" });
				devices.disable(tablet, { jid = "push.test"; node = "n2" });
				tablet:close();

				for _, way in ipairs({ "hibernation"; "ping"; "ping after a reload" }) do
					companion.seen(server, anna.jid);
					if way == "ping after a reload" then server:reload_module("cloud_notify", "home.test"); end
					if way ~= "hibernation" then
						ping_devices(server, anna.jid);
					else
						anna:cut();
						rosa:message({ to = anna.jid; body = "Wake up" });
						rosa:ping();
					end
					local event = companion.seen(server, anna.jid)[1];
					assert.is_true(event.is_push_settings, way);
				end
			end);
		end);

		describe("that show push_errors", function ()
			local id = "push.test<n1";

			it("see how often the push service has refused, until it takes one", function ()
				local anna = absent_user("n1");
				devices.woken(push, rosa, anna.jid);
				assert.equal(0, devices.push_errors(server, anna.jid, id));
				push.answer = push_service.error("cancel", "item-not-found");
				for count = 1, 3 do
					devices.woken(push, rosa, anna.jid);
					assert.equal(count, devices.push_errors(server, anna.jid, id));
				end
				push.answer = push_service.result;
				devices.woken(push, rosa, anna.jid);
				assert.equal(0, devices.push_errors(server, anna.jid, id));
			end);

			it("see nothing of a registration that ended", function ()
				local anna = absent_user("n2");
				devices.woken(push, rosa, anna.jid);
				assert.equal(0, devices.push_errors(server, anna.jid, "push.test<n2"));
				anna = client.connect(server, anna.jid);
				devices.disable(anna, { jid = "push.test"; node = "n2" });
				assert.is_nil(devices.push_errors(server, anna.jid, "push.test<n2"));
			end);
		end);

		describe("that hook cloud_notify/registration", function ()
			it("get the session, the request and the record", function ()
				local anna = new_client({ resource = "phone" });
				devices.enable(anna, { jid = "Push.test"; node = "n1"; options = { secret = "s" } });
				local events = companion.seen(server, anna.jid);
				assert.equal(1, #events);
				assert.equal("cloud_notify/registration", events[1].event);
				assert.equal(anna.full_jid, events[1].from);
				assert.equal("enable", events[1].enable);

				local stored = devices.stored(server, anna.jid)["push.test<n1"];
				for _, name in ipairs({ "jid"; "node"; "options"; "resource"; "language"; "timestamp" }) do
					assert.same(stored[name], events[1].push_info[name], name);
				end
			end);

			it("may add to the record", function ()
				local anna = new_client();
				companion.plan(server, anna.jid, { add_to_record = { filter_unknown = true } });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				assert.is_true(devices.stored(server, anna.jid)["push.test<n1"].filter_unknown);
				assert.is_true(devices.attached(anna).settings.filter_unknown);
			end);

			it("may refuse it with an error of their own, and nothing changes", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "old" } });
				local stored, attached = devices.stored(server, anna.jid), devices.attached(anna);
				companion.plan(server, anna.jid, { refuse = "Not for you" });
				for _, node in ipairs({ "n1"; "n2" }) do
					local reply = anna:enable_push({ jid = "push.test"; node = node; options = { secret = "new" } });
					assert.same({ "cancel"; "not-allowed"; "Not for you" }, { reply:get_error() });
				end
				anna:ping();
				for _, element in ipairs(anna.inbox) do
					assert.not_equal("iq", element.name); -- Only one reply to each
				end

				assert.same(stored, devices.stored(server, anna.jid));
				assert.same(attached, devices.attached(anna));
				anna:close();
				companion.plan(server, anna.jid, nil);
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				assert.equal("old", push.received[1].options.secret);
			end);
		end);

		describe("that hook cloud_notify/push", function ()
			it("get the stanza, the notification, the user and the record", function ()
				local anna = absent_user("n1");
				local events = seen_after({ to = anna.jid; body = "Wake up"; id = "m1" });
				assert.equal(1, #events);
				local event = events[1];
				assert.equal(anna.username, event.username);
				assert.same(devices.stored(server, anna.jid)["push.test<n1"], event.push_info);
				assert.same({ ["message-count"] = "1"; ["last-message-body"] = "New Message!" }, event.push_summary);
				assert.is_true(event.important);
				assert.is_true(event.payload_is_in_stanza);
				assert.is_truthy(event.original_stanza:find("Wake up", 1, true) and event.original_stanza:find("m1", 1, true));

				local publish = push:wait(1);
				assert.equal(tostring(publish.stanza.attr.id), event.notification_stanza:match(" id=['\"]([^'\"]+)"));
				assert.is_truthy(event.notification_stanza:find("s</value>", 1, true), "the options are missing");
			end);

			it("are told what is not important", function ()
				local anna = absent_user("n1");
				local composing = st.stanza("composing", { xmlns = "http://jabber.org/protocol/chatstates" });
				local events = seen_after({ to = anna.jid; composing });
				assert.equal(1, #events);
				assert.is_falsy(events[1].important);
				assert.same({ ["message-count"] = "1" }, events[1].push_summary);
			end);

			it("are asked for each registration, and each stanza of a hibernated session", function ()
				local anna = absent_user("n1", "n2");
				assert.equal(2, #seen_after({ to = anna.jid; body = "Wake up" }));

				local bert = new_client({ sm = "resume" });
				devices.enable(bert, { jid = "push.test"; node = "n3" });
				companion.seen(server, bert.jid);
				bert:cut();
				local events = seen_after({ to = bert.jid; body = "Wake up" });
				assert.equal(1, #events);
				assert.is_truthy(events[1].original_stanza:find("Wake up", 1, true));
			end);

			it("may change the payload that arrives", function ()
				local anna = absent_user("n1");
				companion.plan(server, anna.jid, { add_to_payload = "more" });
				rosa:message({ to = anna.jid; body = "Wake up" });
				local publish = push:wait(1);
				assert.equal("more", publish.notification:get_child_text("spec", "urn:example:spec"));
				assert.equal("1", publish.form["message-count"]);
			end);

			it("may veto, and the reason is logged", function ()
				local anna = absent_user("n1");
				companion.plan(server, anna.jid, { veto = "Not now, said the companion" });
				local mark = server:log_mark();
				assert.same({}, devices.woken(push, rosa, anna.jid));
				server:wait_log("Not now, said the companion", nil, mark);
				companion.plan(server, anna.jid, nil);
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
			end);

			it("take nothing from a hibernated session by their veto", function ()
				local anna = new_client({ sm = "resume" });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				companion.plan(server, anna.jid, { veto = "Not now" });
				anna:cut();
				assert.same({}, devices.woken(push, rosa, anna.jid));
				assert.is_nil(server:session(anna.full_jid).first_hibernated_push);
				companion.plan(server, anna.jid, nil);
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				assert.is_truthy(server:session(anna.full_jid).first_hibernated_push);

				anna:resume();
				anna:ping();
				local messages = 0;
				for _, stanza in ipairs(anna.received) do
					if stanza.name == "message" then messages = messages + 1; end
				end
				assert.equal(2, messages);
			end);
		end);

		describe("that fire cloud-notify-ping", function ()
			local function pinged(...)
				push:clear();
				ping_devices(server, ...);
				push:ping();
				return nodes_of(push.received);
			end

			it("reach all devices of the user", function ()
				local anna = absent_user("n1", "n2");
				assert.same({ "n1"; "n2" }, pinged(anna.jid));
				local publish = push.received[1];
				assert.equal("1", publish.form["message-count"]);
				assert.is_nil(publish.form["last-message-body"]);
				assert.equal("s", publish.options.secret);
				assert.same({ "n1"; "n2" }, pinged(anna.jid));

				local events = companion.seen(server, anna.jid);
				assert.equal(4, #events);
				assert.is_nil(events[1].original_stanza);
				assert.is_falsy(events[1].important);
			end);

			it("reach those that they name", function ()
				local anna = absent_user("n1", "n2");
				local record = devices.stored(server, anna.jid)["push.test<n2"];
				assert.same({ "n2" }, pinged(anna.jid, { ["push.test<n2"] = record }));
				assert.same({}, pinged(anna.jid, {}));
			end);

			it("reach nobody where there is nobody", function ()
				assert.same({}, pinged(new_client().jid));
				assert.same({}, pinged("nobody-there@home.test"));
			end);

			it("do so in spite of listeners that cannot do without a stanza", function ()
				local anna = absent_user("n1", "n2");
				companion.plan(server, anna.jid, { needs_a_stanza = true });
				assert.same({ "n1"; "n2" }, pinged(anna.jid));
				assert.same({ "n1"; "n2" }, devices.woken(push, rosa, anna.jid));
				assert.equal(rosa.full_jid, companion.seen(server, anna.jid)[1].from);
			end);
		end);
	end);

	describe("the body and the sender for other modules on Prosody " .. version, function ()
		it("are in push_summary as they are in the notification", function ()
			local server = prosody.start({
				version = version;
				modules = { "spec_companion" };
				options = { push_notification_with_body = true; push_notification_with_sender = true };
			});
			finally(prosody.stop_all);
			local push = push_service.connect(server, "push.test", "secret");
			local rosa = client.connect(server, devices.new_user(server));
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			anna:close();
			companion.seen(server, anna.jid);

			rosa:message({ to = anna.jid; body = "Wake up" });
			local publish = push:wait(1);
			local summary = companion.seen(server, anna.jid)[1].push_summary;
			assert.equal("Wake up", summary["last-message-body"]);
			assert.equal(rosa.full_jid, summary["last-message-sender"]);
			assert.equal("Wake up", publish.form["last-message-body"]);
			assert.equal(rosa.full_jid, publish.form["last-message-sender"]);
			assert.same({}, server:faults());
		end);
	end);

	describe("the community's companion modules on Prosody " .. version, function ()
		local server, push, rooms, rosa;

		local key = "AAECAwQFBgcICQoLDA0ODw==";

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "cloud_notify_extensions" };
				community = true;
				components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
			});
			push = push_service.connect(server, "push.test", "secret");
			rooms = push_service.connect(server, "rooms.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
			if version == "0.12" then
				-- Without util.crypto mod_cloud_notify_encrypted uses luaossl, by a name
				-- that it has not defined.
				server:eval([[rawset(_G, "ciphers", require "openssl.cipher")]]);
			end
		end);

		before_each(function ()
			push:clear();
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		local function encrypt(text)
			return st.stanza("encrypt", { xmlns = xmlns_encrypt; alg = "aes-128-gcm" }):text(text or key);
		end

		local function muted(jid)
			return st.stanza("muted", { xmlns = "tigase:push:filter:muted:0" }):tag("item", { jid = jid }):up();
		end

		local function new_client(connect_options)
			return client.connect(server, devices.new_user(server), connect_options);
		end

		local function client_with(extensions, connect_options)
			local anna = new_client(connect_options);
			devices.enable(anna, { jid = "push.test"; node = "n1"; extra = extensions });
			return anna;
		end

		-- The JSON in a notification, and the element that carries it
		local function decrypt(publish)
			local encrypted = publish.notification:get_child("encrypted", xmlns_encrypt);
			assert.is_truthy(encrypted, tostring(publish.stanza));
			assert.is_nil(publish.notification:get_child("x", xmlns_data));
			local text = server:eval([[
				local decode = require "util.encodings".base64.decode;
				local key, iv, data = decode((...)), decode((select(2, ...))), decode((select(3, ...)));
				local have_crypto, crypto = pcall(require, "util.crypto");
				if have_crypto then return (crypto.aes_128_gcm_decrypt(key, iv, data)); end
				-- There is no tag that could be checked
				return (require "openssl.cipher".new("AES-128-GCM"):decrypt(key, iv):update(data:sub(1, -17)));
			]], key, encrypted.attr.iv, encrypted:get_text());
			return json.decode(text), encrypted;
		end

		it("announce all that Siskin looks for", function ()
			local anna = new_client();
			local reply = anna:iq(st.iq({ type = "get"; to = anna.jid; id = "disco" })
				:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
			local features = {};
			for feature in reply.tags[1]:childtags("feature") do
				features[feature.attr.var] = true;
			end
			for _, feature in ipairs({
				xmlns_push; xmlns_encrypt; "tigase:push:encrypt:aes-128-gcm"; xmlns_priority; "tigase:push:jingle:0";
				"tigase:push:filter:ignore-unknown:0"; "tigase:push:filter:muted:0"; "tigase:push:filter:groupchat:0";
			}) do
				assert.is_true(features[feature], feature);
			end
		end);

		it("encrypt what is pushed for a message", function ()
			local anna = client_with({ encrypt() });
			anna:close();
			rosa:message({ to = anna.jid; body = "Tee um 4? äöü" });
			local publish = push:wait(1);
			assert.same({ unread = 1; sender = rosa.jid; type = "chat"; message = "Tee um 4? äöü" }, (decrypt(publish)));
			assert.equal("high", publish.notification:get_child_text("priority", xmlns_priority));
			push:expect_none();
		end);

		it("encrypt what is pushed for a call", function ()
			local anna = client_with({ encrypt() });
			anna:close();
			local propose = st.stanza("propose", { xmlns = xmlns_jmi; id = "call-1" })
				:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "audio" }):up();
			rosa:message({ to = anna.jid; propose });
			local content, element = decrypt(push:wait(1));
			assert.same({ unread = 1; sender = rosa.full_jid; type = "call"; sid = "call-1"; media = { "audio" } }, content);
			assert.equal("voip", element.attr.type);
			push:expect_none();
		end);

		it("encrypt each message for a hibernated session, one after the other", function ()
			local anna = client_with({ encrypt() }, { sm = "resume" });
			anna:cut();
			for i = 1, 3 do
				rosa:message({ to = anna.jid; body = "message " .. i });
			end
			for i = 1, 3 do
				assert.equal("message " .. i, decrypt(push:wait(i)).message);
			end
			push:expect_none();
		end);

		it("encrypt after a restart of the module what was registered before", function ()
			local anna = client_with({ encrypt() });
			anna:close();
			server:reload_module("cloud_notify", "home.test");
			rosa:message({ to = anna.jid; body = "Are you there?" });
			assert.equal("Are you there?", decrypt(push:wait(1)).message);
		end);

		it("stop to encrypt when a client enables push again without it", function ()
			local anna = client_with({ encrypt() });
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			anna:close();
			rosa:message({ to = anna.jid; body = "Are you there?" });
			local publish = push:wait(1);
			assert.is_nil(publish.notification:get_child("encrypted", xmlns_encrypt));
			assert.equal("New Message!", publish.form["last-message-body"]);
		end);

		it("refuse a key that is none, and nothing is registered", function ()
			local anna = new_client();
			local reply = anna:enable_push({ jid = "push.test"; node = "n1"; extra = { encrypt("c2hvcnQ=") } });
			assert.same({ "modify"; "bad-request"; "Invalid encryption key" }, { reply:get_error() });
			assert.is_nil(devices.stored(server, anna.jid));
			assert.same({}, devices.attached(anna));
		end);

		it("tag only what is important", function ()
			local anna = client_with();
			anna:close();
			rosa:message({ to = anna.jid; st.stanza("composing", { xmlns = "http://jabber.org/protocol/chatstates" }) });
			assert.is_nil(push:wait(1).notification:get_child("priority", xmlns_priority));
			rosa:message({ to = anna.jid; body = "Wake up" });
			assert.equal("high", push:wait(2).notification:get_child_text("priority", xmlns_priority));
		end);

		for state, leave in pairs({ offline = "close"; hibernated = "cut" }) do
			it("veto a muted sender, and at once somebody else wakes the device that is " .. state, function ()
				local bert = new_client();
				local anna = client_with({ muted(bert.jid) }, { sm = "resume" });
				anna[leave](anna);
				assert.same({}, devices.woken(push, bert, anna.jid));
				local before = push.server:eval([[return require "util.time".now();]]);
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				local after = push.server:eval([[return require "util.time".now();]]);
				assert.is_true(after - before < 1);
			end);
		end

		it("veto whom the user does not know", function ()
			local anna = client_with({ st.stanza("ignore-unknown", { xmlns = "tigase:push:filter:ignore-unknown:0" }) });
			local friend = new_client();
			friend:send(st.presence({ to = anna.jid; type = "subscribe" }));
			anna:expect({ name = "presence"; type = "subscribe" });
			anna:send(st.presence({ to = friend.jid; type = "subscribed" }));
			anna:ping();
			anna:close();
			assert.same({}, devices.woken(push, rosa, anna.jid));
			assert.same({ "n1" }, devices.woken(push, friend, anna.jid));
		end);

		it("veto rooms by the user's rules", function ()
			local anna = client_with({
				st.stanza("groupchat", { xmlns = "tigase:push:filter:groupchat:0" })
					:tag("room", { jid = "quiet@rooms.test"; allow = "never" }):up()
					:tag("room", { jid = "team@rooms.test"; allow = "mentioned"; nick = "Anna" }):up()
					:tag("room", { jid = "alarm@rooms.test"; allow = "always" }):up();
			});
			anna:close();

			local function said_in(room, mention)
				local message = st.message({ from = room .. "@rooms.test/rosa"; to = anna.jid; type = "groupchat" })
					:text_tag("body", "Hello Anna");
				if mention then
					message:tag("reference", { xmlns = "urn:xmpp:reference:0"; type = "mention"; uri = mention }):up();
				end
				push:clear();
				rooms:send(message);
				rooms:ping();
				push:ping();
				return #push.received;
			end

			assert.equal(1, said_in("alarm"));
			assert.equal(0, said_in("quiet"));
			assert.equal(0, said_in("team"));
			assert.equal(1, said_in("team", "xmpp:team@rooms.test/Anna"));
			assert.equal(1, said_in("any"));
		end);

		it("do not stop a ping, which they cannot deal with", function ()
			local anna = client_with({ encrypt(); muted("x@y.test") });
			anna:close();
			ping_devices(server, anna.jid);
			assert.equal("1", push:wait(1).form["message-count"]);
		end);
	end);
end
