-- Push 2.0: which stanzas a client wants to be told of, and how.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";
local web_push = require "spec.support.web_push";

local room = "team@rooms.test";

local hosts = [[
	VirtualHost "offline.test"
		modules_disabled = { "mam"; "s2s"; "s2s_auth_certs" }

	VirtualHost "important.test"
		push_notify_on = "important"
]];

-- Children, type, body, where it is from if not from Rosa; the profiles that want it.
local everybody = { "all"; "archived"; "archived-with-body"; "important" };
local stanzas = {
	["a text"] = { body = "Hello"; wanted = everybody };
	["a call"] = { payloads.propose(); wanted = { "all"; "archived"; "important" } };
	["a receipt"] = { payloads.displayed(); wanted = { "all"; "archived" } };
	["a correction"] = {
		st.stanza("replace", { xmlns = "urn:xmpp:message-correct:0"; id = "m0" }); body = "Hello!";
		wanted = { "all"; "archived"; "archived-with-body" };
	};
	["a chat state"] = { payloads.composing(); wanted = { "all" } };
	["what is said in a room"] = {
		type = "groupchat"; body = "Hello"; from = room .. "/Rosa"; wanted = { "all"; "important" };
	};
	["a room's subject"] = {
		st.stanza("subject"):text("Holidays"); type = "groupchat"; from = room .. "/Rosa"; wanted = { "all" };
	};
};

local function describe_all(version)
	local server, push, plain, rooms, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			components = { ["gw.test"] = "secret"; ["push.test"] = "secret"; ["rooms.test"] = "secret" };
			options = { push_coalesce_window = 0; push_max_per_minute = 0 };
			config = hosts;
		});
		push = push2_service.connect(server, "gw.test", "secret");
		plain = push_service.connect(server, "push.test", "secret");
		rooms = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push:clear();
		plain:clear();
	end);

	-- What has come of it has come when this returns.
	local function send(phone, message)
		message.to = message.to or phone.jid;
		if not message.from then
			rosa:message(message);
			rosa:ping();
			return;
		end
		local stanza = st.message({ from = message.from; to = message.to; type = message.type; id = new_id() });
		if message.body then stanza:text_tag("body", message.body); end
		for _, child in ipairs(message) do stanza:add_child(child); end
		rooms:send(stanza);
		rooms:ping();
	end

	-- How many notifications a message has led to.
	local function count(phone, message)
		local before = #push2.pushed(phone);
		send(phone, message);
		return #push2.pushed(phone) - before;
	end

	describe("profiles:", function ()
		for where, new in pairs({ ["are away"] = push2.away; hibernate = push2.hibernated }) do
			for name, message in pairs(stanzas) do
				it(("which devices want %s, when they %s"):format(name, where), function ()
					local wanted, jid = {}, devices.new_user(server);
					local of_profile = {};
					for _, profile in ipairs(push2.profiles) do
						of_profile[profile] = new(push, { jid = jid; matches = { { profile = profile } } });
					end
					push:ping();
					push:clear(); -- Presence of one is a stanza for the others
					local copy = { to = jid };
					for key, value in pairs(message) do copy[key] = value; end
					send(nil, copy);
					for profile, phone in pairs(of_profile) do
						local pushes = push2.pushed(phone);
						assert.is_true(#pushes <= 1);
						if pushes[1] then
							push2.read(pushes[1], phone);
							wanted[#wanted + 1] = profile;
						end
					end
					table.sort(wanted);
					assert.same(message.wanted, wanted);
				end);
			end
		end

		it("nothing is archived where there is no archive", function ()
			local phone = push2.away(push, { host = "offline.test"; matches = { { profile = "archived" } } });
			assert.equal(0, count(phone, { body = "Hello" }));
		end);

		it("the server may want less", function ()
			local phone = push2.away(push, { host = "important.test"; matches = { { profile = "all" } } });
			assert.equal(0, count(phone, { payloads.displayed() }));
			assert.equal(1, count(phone, { body = "Hello" }));
		end);
	end);

	describe("several matches", function ()
		it("lead to one notification, which has what each of them wants", function ()
			local phone = push2.away(push, { matches = { { profile = "all"; keys = false }; { profile = "important" } } });
			send(phone, { body = "Hello" });
			local got = push2.await(phone, 1);
			assert.equal("Hello", push2.read(got, phone):get_child_text("body"));
			send(phone, { payloads.displayed() });
			got = push2.await(phone, 2);
			assert.same({ "low", nil, nil, 2 }, { got.priority, got.payload, got.jwt, got.elements });
			assert.equal(2, #push2.pushed(phone));
		end);

		it("have the message once in it, with the keys of the first that wants it", function ()
			local phone = push2.new(push);
			local others = web_push.keys();
			push2.register(phone, push, {
				{ profile = "important"; filters = { { jid = rosa.jid } } };
				{ profile = "archived"; keys = others }; { profile = "all" };
			});
			phone:close();
			send(phone, { body = "Hello" });
			local got = push2.await(phone, 1);
			assert.equal("Hello", push2.decrypt(got, others):get_child_text("body"));
			assert.equal(others.jwt_public, got.jwt_key);
			assert.equal(4, got.elements);
			assert.equal(1, #push2.pushed(phone));
		end);

		it("have their own tokens, whatever was sent before", function ()
			local others = web_push.keys();
			local matches = { { profile = "archived" }; { profile = "all"; keys = others } };
			local phone = push2.away(push, { matches = matches });
			local said_in_room = stanzas["what is said in a room"];
			local keys = {};
			for i, message in ipairs({ { body = "One" }; said_in_room; { body = "Three" }; said_in_room }) do
				local copy = { to = phone.jid };
				for key, value in pairs(message) do copy[key] = value; end
				send(phone, copy);
				local got = push2.await(phone, i);
				assert.same({ "normal", 4 }, { got.priority, got.elements });
				keys[i] = got.jwt_key;
			end
			local own = phone.keys.jwt_public;
			assert.same({ own, others.jwt_public, own, others.jwt_public }, keys);
		end);
	end);

	describe("grace:", function ()
		-- A device that is away, and another client of its user.
		local function pair(seconds, more)
			local matches = { { profile = "all"; grace = seconds }; more };
			local phone = push2.away(push, { matches = matches });
			return phone, client.connect(server, phone.jid, { resource = "desk" });
		end

		local acts = {
			["says something"] = { body = "I am here" };
			["types"] = { payloads.composing() };
		};
		for what, act in pairs(acts) do
			it(("nothing for a while after another client %s, but for calls"):format(what), function ()
				local phone, desk = pair(3600);
				assert.equal(1, count(phone, { body = "Are you there?" }));
				act.to = rosa.jid;
				desk:message(act);
				desk:ping();
				assert.equal(0, count(phone, { body = "Good" }));
				assert.equal(0, count(phone, { payloads.displayed() }));
				assert.equal(1, count(phone, { payloads.propose() }));
				desk:close();
			end);
		end

		it("what software says of its own accord is no activity", function ()
			local phone, desk = pair(3600);
			desk:send(st.presence():text_tag("show", "away"));
			desk:message({ to = rosa.jid; payloads.displayed() });
			desk:ping();
			assert.equal(1, count(phone, { body = "Are you there?" }));
			desk:close();
		end);

		it("what the device's own client has said does not count", function ()
			local phone = push2.new(push, { matches = { { grace = 3600 } } });
			phone:message({ to = rosa.jid; body = "I am here" });
			phones.acknowledge(phone);
			phone:cut();
			assert.equal(1, count(phone, { body = "Are you there?" }));
		end);

		it("it ends", function ()
			local phone, desk = pair(1);
			desk:message({ to = rosa.jid; body = "I am here" });
			desk:ping();
			loop.wait_for(function () return count(phone, { body = "Are you there?" }) == 1; end, nil, "the grace to end");
			desk:close();
		end);

		it("it is that of one match", function ()
			local phone, desk = pair(3600, { profile = "all"; keys = false });
			desk:message({ to = rosa.jid; body = "I am here" });
			desk:ping();
			assert.equal(1, count(phone, { body = "Good" }));
			desk:close();
		end);
	end);

	describe("both protocols:", function ()
		-- A client that has asked for push by both, and how many pushes each has brought.
		local function with_both(options)
			local phone = push2.new(push, options);
			local node = new_id();
			devices.enable(phone, { jid = plain.jid; node = node });
			phones.acknowledge(phone);
			local function pushes()
				local publishes = 0;
				plain:ping();
				for _, publish in ipairs(plain.received) do
					if publish.node == node then publishes = publishes + 1; end
				end
				return { #push2.pushed(phone, rosa); publishes };
			end
			return phone, pushes;
		end

		local ends = {
			["by its queue, rule (a)"] = { "cut" };
			["by the archive, rule (b)"] = { "close" };
			["by offline storage, rule (c)"] = { "close"; host = "offline.test" };
		};
		for rule, how in pairs(ends) do
			it("each message comes once by each, " .. rule, function ()
				local phone, pushes = with_both({ host = how.host });
				phone[how[1]](phone);
				for i = 1, 3 do
					send(phone, { body = "Hello " .. i });
					assert.same({ i; i }, pushes());
				end
				assert.equal("Hello 3", push2.read(push2.await(phone, 3), phone):get_child_text("body"));
				send(phone, { payloads.displayed() });
				assert.same({ 3; 4 }, pushes());
			end);
		end

		it("what was pushed while the session hibernated is not pushed again when it ends", function ()
			local phone, pushes = with_both();
			phone:cut();
			send(phone, { body = "Hello" });
			phones.expire(phone);
			assert.same({ 1; 1 }, pushes());
		end);

		it("neither is pushed to while the client is there, and each ends alone", function ()
			local phone, pushes = with_both();
			send(phone, { body = "Hello" });
			assert.same({ 0; 0 }, pushes());
			push2.disable(phone);
			phones.acknowledge(phone);
			phone:cut();
			send(phone, { body = "Hello" });
			assert.same({ 0; 1 }, pushes());
		end);

		it("the other way round, too", function ()
			local phone, pushes = with_both();
			devices.disable(phone, { jid = plain.jid });
			phones.acknowledge(phone);
			phone:cut();
			send(phone, { body = "Hello" });
			assert.same({ 1; 0 }, pushes());
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("matches of Push 2.0 with Prosody " .. version, function () describe_all(version); end);
end
