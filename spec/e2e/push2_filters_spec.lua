-- Push 2.0: what clients want of single chats.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local new_id = require "util.id".short;
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local room, other_room = "team@rooms.test", "fun@rooms.test";

local function describe_all(version)
	local server, push, rooms, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			components = { ["gw.test"] = "secret"; ["rooms.test"] = "secret" };
			options = { push_coalesce_window = 0; push_max_per_minute = 0 };
			config = [[
				Component "muc.test" "muc"
					muc_room_locking = false
			]];
		});
		push = push2_service.connect(server, "gw.test", "secret");
		rooms = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, devices.new_user(server), { resource = "laptop" });
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function () push:clear(); end);

	local function device(filters, new)
		return (new or push2.away)(push, { matches = { { profile = "all"; filters = filters } } });
	end

	local function reply(to)
		return st.stanza("reply", { xmlns = "urn:xmpp:reply:0"; to = to; id = "m0" });
	end

	-- Whether a message is pushed; from is in a room, or it is Rosa's.
	local function is_pushed(phone, message, from)
		local before = #push2.pushed(phone);
		if from then
			local stanza = st.message({ from = from; to = phone.jid; type = "groupchat"; id = new_id() });
			stanza:text_tag("body", message.body);
			for _, child in ipairs(message) do stanza:add_child(child); end
			rooms:send(stanza);
			rooms:ping();
		else
			message.to = phone.jid;
			rosa:message(message);
			rosa:ping();
		end
		return #push2.pushed(phone) > before;
	end

	local function assert_pushed(phone, ...)
		assert.is_true(is_pushed(phone, ...));
	end

	local function assert_silent(phone, ...)
		assert.is_false(is_pushed(phone, ...));
	end

	for name, new in pairs({ ["that is away"] = push2.away; ["whose session hibernates"] = push2.hibernated }) do
		it("an empty filter silences a chat, and no other: a device " .. name, function ()
			local phone = device({ { jid = rosa.jid }; { jid = room } }, new);
			assert_silent(phone, { body = "Hello" });
			assert_silent(phone, { payloads.displayed() });
			assert_silent(phone, { body = "Hello" }, room .. "/Rosa");
			assert_pushed(phone, { body = "Hello" }, other_room .. "/Rosa");
		end);
	end

	it("a filter says it of a full JID, a bare one, or a host, the first that there is", function ()
		local phone = device({ { jid = rosa.full_jid } });
		assert_silent(phone, { body = "Hello" });
		local elsewhere = client.connect(server, rosa.jid, { resource = "phone" });
		elsewhere:message({ to = phone.jid; body = "Hello" });
		elsewhere:ping();
		assert.equal(1, #push2.pushed(phone));
		elsewhere:close();

		phone = device({ { jid = "rooms.test" }; { jid = room; mention = true } });
		assert_silent(phone, { body = "Hello" }, other_room .. "/Rosa");
		assert_silent(phone, { body = "Hello, " .. phone.username }, other_room .. "/Rosa");
		assert_pushed(phone, { body = "Hello, " .. phone.username }, room .. "/Rosa");
		assert_silent(phone, { body = "Hello" }, room .. "/Rosa");

		phone = device({ { jid = room }; { jid = room .. "/Rosa"; mention = true } });
		assert_pushed(phone, { body = "Hello, " .. phone.username }, room .. "/Rosa");
		assert_silent(phone, { body = "Hello, " .. phone.username }, room .. "/Eve");
	end);

	it("the JID of a filter may be written in any way", function ()
		local phone = device({ { jid = rosa.jid:upper() } });
		assert_silent(phone, { body = "Hello" });
	end);

	it("a chat is pushed for where the user is mentioned", function ()
		local phone = device({ { jid = room; mention = true } });
		local name = phone.username;
		assert_silent(phone, { body = "Hello" }, room .. "/Rosa");
		assert_pushed(phone, { body = name .. ": hello" }, room .. "/Rosa");
		assert_silent(phone, { body = "Hello, " .. name .. "s" }, room .. "/Rosa");
		assert_silent(phone, { body = "Hello"; reply("somebody@home.test") }, room .. "/Rosa");
	end);

	it("or where somebody replies to the user", function ()
		local phone = device({ { jid = room; reply = true } });
		assert_silent(phone, { body = "Hello, " .. phone.username }, room .. "/Rosa");
		assert_silent(phone, { body = "Hello"; reply(room .. "/Bert") }, room .. "/Rosa");
		assert_pushed(phone, { body = "Hello"; reply(phone.jid) }, room .. "/Rosa");
	end);

	it("or where either is so", function ()
		local phone = device({ { jid = room; mention = true; reply = true } });
		assert_silent(phone, { body = "Hello" }, room .. "/Rosa");
		assert_pushed(phone, { body = "Hello, " .. phone.username }, room .. "/Rosa");
		assert_pushed(phone, { body = "Hello"; reply(phone.jid) }, room .. "/Rosa");
	end);

	it("who is called otherwise in a room is mentioned by that name there", function ()
		local here = "here@muc.test";
		local filters = { { jid = "muc.test"; mention = true; reply = true } };
		local phone = push2.new(push, { matches = { { profile = "all"; filters = filters } } });
		rosa:join(here, "Rosa");
		phone:join(here, "Anna B.");
		phones.acknowledge(phone);
		phone:cut();
		for i, case in ipairs({
			{ 0; { body = "Hello" } }; { 0; { body = "Hello, Anna" } }; { 1; { body = "Anna B.: hello" } };
			{ 1; { body = "Hello"; reply(here .. "/Rosa") } }; { 2; { body = "Hello"; reply(here .. "/Anna B.") } };
		}) do
			local message = case[2];
			message.to, message.type, message.id = here, "groupchat", "said" .. i;
			rosa:message(message);
			rosa:expect({ name = "message"; id = message.id });
			local pushes = push2.pushed(phone, rosa);
			assert.equal(case[1], #pushes, i);
			if pushes[case[1]] then
				local text = case[1] == 1 and "Anna B.: hello" or "Hello";
				assert.equal(text, push2.read(pushes[case[1]], phone):get_child_text("body"));
			end
		end
	end);

	it("what is important in a silent chat is silent for one match alone", function ()
		local matches = { { filters = { { jid = rosa.jid } } }; { profile = "all"; keys = false } };
		local phone = push2.away(push, { matches = matches });
		assert_pushed(phone, { body = "Hello" });
		assert.is_nil(push2.await(phone, 1).payload);
	end);

	it("enabling push again replaces them", function ()
		local phone = device({ { jid = rosa.jid } });
		assert_silent(phone, { body = "Hello" });
		phone = phones.login(phone, { resource = phone.full_jid:match("/(.*)$") });
		push2.register(phone, push, { { profile = "all" } });
		phone:close();
		assert_pushed(phone, { body = "Hello" });
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("filters of Push 2.0 with Prosody " .. version, function () describe_all(version); end);
end
