-- From Prosody's own module with the community's beside it to this one, and back: what a client has asked for stays in
-- force, though it asks once only, as Siskin does.

local prosody = require "spec.support.prosody";
local apps = require "spec.support.apps";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local team, noise = "team@rooms.test", "noise@rooms.test";

-- On 0.12 mod_cloud_notify_encrypted needs luaossl, and calls it by a name that it has not defined: nobody there has
-- ever had an encrypted push from it.
local community = {
	["0.12"] = { "cloud_notify_filters"; "cloud_notify_priority_tag" };
	["13.0"] = { "cloud_notify_extensions" };
};

local function describe_all(version)
	local encrypts = version ~= "0.12";
	local server, push, rooms, friend, stranger, muted;

	local function connect()
		push = push_service.connect(server, "push.test", "secret");
		rooms = push_service.connect(server, "rooms.test", "secret");
		for _, name in ipairs({ "friend"; "stranger"; "muted" }) do
			local jid = name .. "@home.test";
			local online = client.connect(server, jid);
			if name == "friend" then friend = online; elseif name == "muted" then muted = online; else stranger = online; end
		end
	end

	local function run(with_this_one)
		local options = { upstream = not with_this_one; modules = with_this_one and {} or community[version] };
		server:restart(options);
		connect();
	end

	local function start(with_this_one)
		server = prosody.start({
			version = version; community = true;
			components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
			upstream = not with_this_one; modules = with_this_one and {} or community[version];
		});
		for _, name in ipairs({ "friend"; "stranger"; "muted" }) do server:add_user(name, "secret", "home.test"); end
		connect();
	end

	after_each(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function befriend(phone, other)
		other:send(st.presence({ to = phone.jid; type = "subscribe" }));
		phone:expect({ name = "presence"; type = "subscribe" });
		phone:send(st.presence({ to = other.jid; type = "subscribed" }));
		phone:ping();
	end

	-- Away from now on.
	local function new_siskin()
		local phone = client.connect(server, devices.new_user(server), { resource = "Siskin" });
		befriend(phone, friend);
		befriend(phone, muted);
		local enable = apps.enable_siskin(phone, {
			jid = "push.test"; node = "n1"; muted = { muted.jid }; rooms = { [team] = "Anna" }; ignore_unknown = true;
		});
		assert.equal(encrypts or not server.options.upstream, enable:get_child("encrypt", "tigase:push:encrypt:0") ~= nil);
		phone:close();
		return phone;
	end

	local function pushes_for(send)
		push:clear();
		send();
		push:ping();
		push:ping();
		return #push.received;
	end

	local function wrote(sender, phone)
		return pushes_for(function ()
			sender:message({ to = phone.jid; body = "Tee um 4?" });
			sender:ping();
		end);
	end

	local function said_in(room, phone, mention)
		return pushes_for(function ()
			apps.said_in_room(rooms, room, "rosa", phone.jid, "Tee um 4?",
				mention and st.stanza("reference", { xmlns = "urn:xmpp:reference:0"; type = "mention"; uri = mention }));
		end);
	end

	local function assert_in_force(phone, is_encrypted)
		assert.equal(0, wrote(muted, phone));
		assert.equal(0, wrote(stranger, phone));
		assert.equal(0, said_in(team, phone));
		assert.equal(1, wrote(friend, phone));
		local read = apps.read_siskin(push.received[1]);
		assert.equal("high", read.priority);
		assert.equal(is_encrypted, read.payload ~= nil);
		if is_encrypted then
			assert.equal(friend.jid, read.payload.sender);
			assert.equal("Tee um 4?", read.payload.message);
		end
	end

	-- So that the user's registrations are written once more, all of them.
	local function write_others(phone)
		local tablet = client.connect(server, phone.jid, { resource = "tablet"; presence = false });
		devices.enable(tablet, { jid = "push.test"; node = "n2" });
		devices.disable(tablet, { jid = "push.test"; node = "n2" });
		tablet:close();
	end

	for direction, from_this_one in pairs({ ["to this one and back"] = false; ["from this one and back"] = true }) do
		it(direction .. ", without a new request", function ()
			start(from_this_one);
			local phone = new_siskin();
			local is_encrypted = encrypts or from_this_one;
			local before = devices.stored(server, phone.jid);
			assert_in_force(phone, is_encrypted);
			for _, with_this_one in ipairs({ not from_this_one; from_this_one }) do
				run(with_this_one);
				assert_in_force(phone, is_encrypted and (with_this_one or encrypts));
				write_others(phone);
				assert_in_force(phone, is_encrypted and (with_this_one or encrypts));
			end
			assert.same(before, devices.stored(server, phone.jid));
		end);
	end

	if encrypts then
		it("theirs keeps nothing of calls, and yet a phone rings here, and stops", function ()
			start(false);
			local phone = new_siskin();
			run(true);
			for _, action in ipairs({ "propose"; "retract" }) do
				local rings = action == "propose";
				local call = st.stanza(action, { xmlns = "urn:xmpp:jingle-message:0"; id = "c1" });
				if rings then call:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "audio" }):up(); end
				push:clear();
				friend:message({ to = phone.jid; call });
				local read = apps.read_siskin(push:wait(1));
				assert.equal(rings, read.rings);
				assert.equal(action, read.elements.jingle.attr.action);
			end
		end);
	end

	it("whom a user is mentioned by in a room is known to both", function ()
		start(false);
		local phone = new_siskin();
		-- Theirs takes no message of a room for one of a contact
		server:eval([[
			local user = ...;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local records = store:get(user);
			records["push.test<n1"].filter_unknown = nil;
			assert(store:set(user, records));
		]], phone.username);
		for _, with_this_one in ipairs({ false; true; false }) do
			run(with_this_one);
			assert.equal(0, said_in(team, phone));
			assert.equal(1, said_in(team, phone, "xmpp:" .. team .. "/Anna"));
			assert.equal(1, said_in(team, phone, "xmpp:" .. phone.jid));
		end
	end);

	it("a room that is not listed is left out here only, which is what Siskin relies on", function ()
		start(false);
		local phone = client.connect(server, devices.new_user(server), { resource = "Siskin" });
		apps.enable_siskin(phone, { jid = "push.test"; node = "n1"; rooms = { [team] = true } });
		phone:close();
		for _, with_this_one in ipairs({ false; true; false }) do
			run(with_this_one);
			assert.equal(1, said_in(team, phone));
			assert.equal(with_this_one and 0 or 1, said_in(noise, phone));
		end
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("switching with Prosody " .. version .. ":", function () describe_all(version); end);
end
