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
	local server, push, rosa;

	setup(function ()
		server = prosody.start({ version = version });
		push = push_service.connect(server, "push.test", "secret");
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
