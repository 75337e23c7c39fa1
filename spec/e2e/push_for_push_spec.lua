-- Pushes that reach users of a server: they name each other as push service, or follow the node that
-- their pushes are published to.

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local phones = require "spec.support.phones";
local prosody = require "spec.support.prosody";
local push2 = require "spec.support.push2";
local st = require "util.stanza";

local pubsub = "pubsub.home.test";

local function describe_all(version, window)
	local server, sender;

	setup(function ()
		server = prosody.start({
			version = version;
			hosts = { "home.test"; "away.test" };
			options = { push_coalesce_window = window };
			config = ([[Component %q "pubsub"]]):format(pubsub);
		});
		sender = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function log_in(jid)
		return phones.login({ server = server; jid = jid }, { resource = "phone" });
	end

	local function register(phone, address, node)
		devices.enable(phone, { jid = address; node = node });
		phones.acknowledge(phone);
	end

	-- What the module says it does about a message: how often it pushes, waits, and leaves a push alone. One that
	-- comes while another speaks for all is left unread.
	local function decisions(recipient)
		local mark = server:log_mark();
		sender:message({ to = recipient.jid; body = "Hello" });
		sender:ping();
		local log = server:log_since(mark);
		local function count(text)
			local _, number = log:gsub(text, "");
			return number;
		end
		return {
			pushed = count("Sending %w+ push for");
			waits = count("waits for");
			left_alone = count("No push for [^\n]*: stanza is itself a push")
				+ count("No push for [^\n]*: device has just been woken");
		};
	end

	local function hibernate_two(host, other_host)
		local one, two = log_in(devices.new_user(server, host)), log_in(devices.new_user(server, other_host));
		register(one, two.full_jid, "n1");
		register(two, one.full_jid, "n1");
		one:cut();
		two:cut();
		return one, two;
	end

	for name, other_host in pairs({ ["one host"] = "home.test"; ["two hosts"] = "away.test" }) do
		it("two users on " .. name .. " who name each other get one push for one message", function ()
			local one = hibernate_two("home.test", other_host);
			assert.same({ pushed = 1, waits = 0, left_alone = 1 }, decisions(one));
		end);
	end

	it("a user who names a session of a third one gets one push for one message", function ()
		local one, two = hibernate_two("home.test", "away.test");
		local three = log_in(devices.new_user(server));
		register(three, two.full_jid, "n1");
		three:cut();
		assert.same({ pushed = 1, waits = 0, left_alone = 1 }, decisions(three));
		assert.same({ pushed = 1, waits = 0, left_alone = 1 }, decisions(one));
	end);

	it("a user who follows the node of the pushes gets one push for one message", function ()
		local phone = log_in(devices.new_user(server));
		server:eval([[
			local host, jid = ...;
			local service = module(host, "pubsub").environment.service;
			assert(service:create("news", true, { publish_model = "open" }));
			assert(service:add_subscription("news", true, jid));
		]], pubsub, phone.jid);
		register(phone, pubsub, "news");
		phone:cut();
		assert.same({ pushed = 1, waits = 0, left_alone = 1 }, decisions(phone));
		assert(phone:resume());
		phone:expect(function (stanza)
			return stanza:find("{http://jabber.org/protocol/pubsub#event}event/items/item/{urn:xmpp:push:0}notification");
		end);
		phone:close();
	end);

	local function leave_two(how)
		local one, two = log_in(devices.new_user(server)), log_in(devices.new_user(server, "away.test"));
		for phone, service in pairs({ [one] = two; [two] = one }) do
			push2.enable(phone, { service = service.jid; client = "n1"; matches = { { profile = "all" } } });
			phones.acknowledge(phone);
		end
		one[how](one);
		two[how](two);
		return one;
	end

	it("two users who name each other by Push 2.0 get one push for one message when they hibernate", function ()
		local decided = decisions(leave_two("cut"));
		assert.equal(1, decided.pushed);
		assert.is_true(decided.left_alone > 0);
	end);

	-- Nobody is a push service while offline: the one push is owed
	it("two users who name each other by Push 2.0 get one push for one message when they are away", function ()
		assert.same({ pushed = 1; waits = 0; left_alone = 0 }, decisions(leave_two("close")));
	end);

	it("a notification of Push 2 is no reason for one either", function ()
		local one = hibernate_two("home.test", "away.test");
		local mark = server:log_mark();
		sender:message({ to = one.full_jid; st.stanza("notification", { xmlns = "urn:xmpp:push2:0" }) });
		sender:ping();
		local log = server:log_since(mark);
		assert.truthy(log:find("stanza is itself a push", 1, true));
		assert.is_nil(log:find("waits for", 1, true));
		assert.is_nil(log:find("Sending %w+ push for"));
	end);
end

for _, version in ipairs(prosody.versions) do
	for name, window in pairs({ ["no push_coalesce_window"] = 0; ["the usual push_coalesce_window"] = 1 }) do
		describe("a push for a push, with Prosody " .. version .. " and " .. name .. ",", function ()
			describe_all(version, window);
		end);
	end
end
