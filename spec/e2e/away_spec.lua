local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important = phones.important;

-- The archive would wake devices that are away anyway.
local hosts = [[
	VirtualHost "archive.test"
		modules_enabled = { "mam" }
]];

for _, version in ipairs(prosody.versions) do
	describe("while the user is away, with Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({
				version = version; without = { "mam" }; options = { push_coalesce_window = 0 }; config = hosts;
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

		local function say(one, show, priority)
			local presence = st.presence();
			if show then presence:text_tag("show", show); end
			if priority then presence:text_tag("priority", priority); end
			one:send(presence);
			one:ping();
		end

		-- A phone that is not connected, and a laptop of the same user that is.
		local function new_pair(options)
			local phone = phones.away(push, options or { away = "true" });
			return phone, client.connect(server, phone.jid, { presence = false });
		end

		local function write(phone, message)
			message = message or {};
			message.to, message.body = message.to or phone.jid, message.body or "Hello";
			rosa:message(message);
			return phones.pushed(phone, rosa);
		end

		it("is a feature, and a field of the record", function ()
			local phone = phones.new(push, { away = "1" });
			local query = st.iq({ type = "get"; id = "disco"; to = phone.jid })
				:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" });
			local features = {};
			for feature in phone:iq(query).tags[1]:childtags("feature") do features[feature.attr.var] = true; end
			assert.is_true(features["tigase:push:away:0"]);
			assert.is_true(devices.stored(server, phone.jid)[phone.identifier].away);

			devices.enable(phone, { jid = "push.test"; node = phone.node; away = "false" });
			assert.is_nil(devices.stored(server, phone.jid)[phone.identifier].away);
		end);

		for _, show in ipairs({ "away"; "xa"; "dnd"; "chat" }) do
			it("pushes what a session receives that says " .. show, function ()
				local phone, laptop = new_pair();
				say(laptop, show);
				assert.same({ important }, write(phone));
				laptop:expect({ body = "Hello" });
				assert.same({ important; important }, write(phone, { to = laptop.full_jid }));
			end);
		end

		it("pushes nothing once a session says plainly that it is available", function ()
			local phone, laptop = new_pair();
			say(laptop, "away");
			say(laptop);
			assert.same({}, write(phone));
			local tablet = client.connect(server, phone.jid, { presence = false });
			say(tablet, "away");
			assert.same({}, write(phone));
		end);

		it("does not take sessions with a negative priority for somebody who is there", function ()
			local phone, laptop = new_pair();
			say(laptop, nil, "-1");
			say(client.connect(server, phone.jid, { presence = false }), "xa");
			assert.same({ important }, write(phone));
		end);

		it("does not take a hibernated session for somebody who is there", function ()
			local phone = phones.away(push, { away = "true" });
			local tablet = phones.hibernated(push, { jid = phone.jid });
			assert.same({ important }, write(phone));
			assert.same({ important }, phones.pushed(tablet));
		end);

		it("pushes to those alone that have asked for it", function ()
			local phone, laptop = new_pair({});
			local watch = phones.away(push, { jid = phone.jid; away = "true" });
			say(laptop, "away");
			assert.same({}, write(phone));
			assert.same({ important }, phones.pushed(watch));
		end);

		it("does not push to a device that is connected, away though it is", function ()
			local phone = phones.new(push, { away = "true"; presence = false });
			say(phone, "away");
			assert.same({}, write(phone));
		end);

		it("pushes once to a device that hibernates", function ()
			local phone = phones.new(push, { away = "true"; presence = false });
			say(phone, "away");
			phones.acknowledge(phone);
			phone:cut();
			assert.same({ important }, write(phone));
		end);

		it("pushes nothing that is not important, or of a room, or a headline", function ()
			local phone, laptop = new_pair();
			say(laptop, "away");
			rosa:message({ to = phone.jid; payloads.composing() });
			assert.same({}, write(phone, { type = "headline" }));
			assert.same({}, write(phone, { type = "groupchat"; to = laptop.full_jid }));
		end);

		it("rings for calls", function ()
			local phone, laptop = new_pair();
			say(laptop, "away");
			rosa:message({ to = phone.jid; payloads.propose() });
			assert.same({ important }, phones.pushed(phone, rosa));
		end);

		it("leaves what nobody receives to offline storage", function ()
			local phone, laptop = new_pair();
			say(laptop, "away", "-1");
			assert.same({ important }, write(phone));
			assert.same({ "Hello" }, phones.stored_messages(phone));
		end);

		it("pushes once for what is archived, too", function ()
			local phone, laptop = new_pair({ away = "true"; host = "archive.test" });
			say(laptop, "away");
			assert.same({ important }, write(phone));
		end);

		-- The counts of the pushes for a device
		local function counts(phone)
			push:ping();
			local found = {};
			for _, publish in ipairs(push.received) do
				if publish.node == phone.node then found[#found + 1] = publish.form["message-count"]; end
			end
			return found;
		end

		it("tells devices that were told of something when the user is back, once", function ()
			local phone, laptop = new_pair();
			local watch = phones.away(push, { jid = phone.jid });
			say(laptop, "away");
			write(phone);
			say(laptop, "xa");
			assert.same({ "1" }, counts(phone));
			say(laptop);
			assert.same({ "1"; "0" }, counts(phone));
			say(laptop, "away");
			say(laptop);
			assert.same({ "1"; "0" }, counts(phone));
			assert.same({}, counts(watch));
		end);

		it("tells nobody if the user has been there all the time, or is not back", function ()
			local phone, laptop = new_pair();
			say(laptop, "away");
			write(phone);
			say(laptop, nil, "-1");
			laptop:send(st.presence({ type = "unavailable" }));
			laptop:ping();
			assert.same({ "1" }, counts(phone));
		end);

		it("goes on after a reload", function ()
			local phone, laptop = new_pair();
			say(laptop, "away");
			server:reload_module("cloud_notify", "home.test");
			assert.same({ important }, write(phone));
		end);
	end);
end
