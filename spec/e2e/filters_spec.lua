-- tigase:push:filter: clients say which chats are muted, that strangers are silent, and which rooms they listen to.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important = phones.important;

local function filter(name)
	return ("tigase:push:filter:%s:0"):format(name);
end

local function muted(...)
	local list = st.stanza("muted", { xmlns = filter "muted" });
	for _, jid in ipairs({ ... }) do list:tag("item", { jid = jid }):up(); end
	return list;
end

local function rooms(...)
	local list = st.stanza("groupchat", { xmlns = filter "groupchat" });
	for _, room in ipairs({ ... }) do list:tag("room", room):up(); end
	return list;
end

local function many(list, entry, count)
	for i = 1, count do list:tag(entry, { jid = ("somebody%d@elsewhere.test"):format(i); allow = "always" }):up(); end
	return list;
end

local ignore_unknown = st.stanza("ignore-unknown", { xmlns = filter "ignore-unknown" });

local function describe_all(version)
	local server, push, away, muc, rosa;

	setup(function ()
		server = prosody.start({
			version = version;
			components = { ["push.test"] = "secret"; ["away.test"] = "secret"; ["rooms.test"] = "secret" };
			options = {
				c2s_stanza_size_limit = 16 * 1024 * 1024; push_coalesce_window = 0; push_max_per_minute = 0;
				storage = { roster = "faulty" };
			};
		});
		push = push_service.connect(server, "push.test", "secret");
		away = push_service.connect(server, "away.test", "secret");
		muc = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- An account with a phone that has asked for these filters.
	local function phone_with(extensions, how)
		local phone = phones.new(push, { resource = "phone" });
		devices.enable(phone, { jid = push.jid; node = phone.node; extra = extensions });
		phones.acknowledge(phone);
		if how == "hibernated" then phone:cut(); else phone:close(); end
		return phone;
	end

	-- What is pushed for what somebody sends. (Those who are no clients are components.)
	local function pushed(phone, sender, stanza)
		push:clear();
		if sender.message then
			sender:message(stanza);
		else
			sender:send(stanza);
			sender:ping();
		end
		return phones.pushed(phone, sender);
	end

	local function from_away(phone, ...)
		local stanza = st.message({ type = "chat"; from = "bert@away.test/pc"; to = phone.jid });
		for _, child in ipairs({ ... }) do stanza:add_child(child); end
		return stanza;
	end

	local function text(body)
		return st.stanza("body"):text(body or "Hello");
	end

	local function from_room(phone, body, change)
		change = change or {};
		local stanza = st.message({
			type = change.type or "groupchat"; from = change.from or "team@rooms.test/Rosa"; to = phone.jid;
		}, body);
		if change.child then stanza:add_child(change.child); end
		return stanza;
	end

	local function add_contact(phone, jid)
		local session = client.connect(server, phone.jid, { resource = "pc"; presence = false });
		assert.equal("result", session:iq(st.iq({ type = "set"; id = "add" })
			:tag("query", { xmlns = "jabber:iq:roster" }):tag("item", { jid = jid })).attr.type);
		session:close();
	end

	it("are announced", function ()
		local phone = phones.new(push);
		local reply = phone:iq(st.iq({ type = "get"; to = phone.jid; id = "disco" })
			:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
		local announced = {};
		for feature in reply.tags[1]:childtags("feature") do announced[feature.attr.var] = true; end
		for _, name in ipairs({ "muted"; "ignore-unknown"; "groupchat" }) do
			assert.is_true(announced[filter(name)], name);
		end
	end);

	describe("a muted chat", function ()
		for _, how in ipairs({ "away"; "hibernated" }) do
			it("pushes nothing to a device that is " .. how .. ", be it a call", function ()
				local phone = phone_with({ muted(rosa.jid:upper(), "bert@away.test/x") }, how);
				assert.same({}, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
				assert.same({}, pushed(phone, rosa, { to = phone.full_jid; body = "Hello" }));
				assert.same({}, pushed(phone, rosa, { to = phone.jid; payloads.propose() }));
				assert.same({}, pushed(phone, rosa, { to = phone.full_jid; payloads.composing() }));
				assert.same({}, pushed(phone, away, from_away(phone, text())));
				local tina = client.connect(server, devices.new_user(server));
				assert.same({ important }, pushed(phone, tina, { to = phone.jid; body = "Hello" }));
				if how == "hibernated" then
					push:clear();
					phones.expire(phone);
					assert.same({}, phones.pushed(phone));
				end
			end);
		end

		it("rings at no device whose session is live", function ()
			local phone = phones.new(push);
			devices.enable(phone, { jid = push.jid; node = phone.node; extra = { muted("x@y.test") } });
			assert.same({ important }, pushed(phone, rosa, { to = phone.jid; payloads.propose() }));
			devices.enable(phone, { jid = push.jid; node = phone.node; extra = { muted(rosa.jid) } });
			assert.same({}, pushed(phone, rosa, { to = phone.jid; payloads.propose() }));
		end);

		it("may be a room, private messages and invitations included", function ()
			local phone = phone_with({ muted("team@rooms.test", rosa.jid) });
			local invite = st.stanza("x", { xmlns = "http://jabber.org/protocol/muc#user" });
			local direct = st.stanza("x", { xmlns = "jabber:x:conference"; jid = "Team@Rooms.Test" });
			assert.same({}, pushed(phone, muc, from_room(phone, "Hello")));
			assert.same({}, pushed(phone, muc, from_room(phone, "Hello", { type = "chat" })));
			assert.same({}, pushed(phone, muc, from_room(phone, nil, { type = "normal"; from = "fun@rooms.test";
				child = st.clone(invite):tag("invite", { from = rosa.full_jid }):up() })));
			assert.same({}, pushed(phone, away, from_away(phone, direct)));
			assert.same({ important }, pushed(phone, muc, from_room(phone, nil, { type = "normal"; from = "fun@rooms.test";
				child = st.clone(invite):tag("invite", { from = "x@away.test" }):up() })));
		end);

		it("is no more when the client says so, and is kept over a reload", function ()
			local phone = phone_with({ muted(rosa.jid) });
			server:reload_module("cloud_notify", "home.test");
			assert.same({}, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
			local session = phones.login(phone, { resource = "phone" });
			devices.enable(session, { jid = push.jid; node = phone.node });
			session:close();
			assert.same({ important }, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
		end);
	end);

	describe("a stranger", function ()
		it("is silent, at home and elsewhere, until the user knows him", function ()
			local phone = phone_with({ ignore_unknown });
			assert.same({}, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
			assert.same({}, pushed(phone, rosa, { to = phone.jid; payloads.propose() }));
			assert.same({}, pushed(phone, away, from_away(phone, text())));
			add_contact(phone, rosa.jid);
			add_contact(phone, "bert@away.test");
			assert.same({ important }, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
			assert.same({ important }, pushed(phone, rosa, { to = phone.jid; payloads.propose() }));
			assert.same({ important }, pushed(phone, away, from_away(phone, text())));
		end);

		it("is no contact by asking to be one", function ()
			local phone = phone_with({ ignore_unknown });
			rosa:send(st.presence({ type = "subscribe"; to = phone.jid }));
			assert.same({}, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
		end);

		it("may invite through a room no more than directly", function ()
			local phone = phone_with({ ignore_unknown });
			add_contact(phone, rosa.jid);
			local function invitation(by)
				return st.stanza("x", { xmlns = "http://jabber.org/protocol/muc#user" }):tag("invite", { from = by }):up();
			end
			local function invited(by)
				return pushed(phone, muc, from_room(phone, nil, {
					type = "normal"; from = "fun@rooms.test"; child = invitation(by);
				}));
			end
			assert.same({}, invited("bert@away.test/pc"));
			assert.same({ important }, invited(rosa.full_jid));
			assert.same({}, pushed(phone, away, from_away(phone, text(), invitation(rosa.full_jid))));
		end);

		it("is nobody in a room, nor the server", function ()
			local phone = phone_with({ ignore_unknown });
			assert.same({ important }, pushed(phone, muc, from_room(phone, "Hello")));
			push:clear();
			server:eval([[
				local to = ...;
				prosody.core_post_stanza(hosts["home.test"], st.message({ from = "home.test", to = to }, "Maintenance"));
			]], phone.jid);
			assert.same({ important }, phones.pushed(phone));
		end);

		it("is nobody as long as the roster cannot be loaded, which is said once", function ()
			local function fail(how)
				server:eval([[
					module("home.test", "storage_faulty"):shared("failing")["roster/get"] = ...;
					hosts["home.test"].roster_cache = nil;
				]], how);
			end
			for _, how in ipairs({ "error"; "raise" }) do
				local phone = phone_with({ ignore_unknown });
				local mark = server:log_mark();
				fail(how);
				for _ = 1, 3 do assert.same({ important }, pushed(phone, muc, from_room(phone, "Hello", { type = "chat" }))); end
				local _, count = server:log_since(mark):gsub("error%s+The roster of [^\n]* the disk is on fire", "%0");
				assert.equal(1, count);
				fail(nil);
				assert.same({}, pushed(phone, muc, from_room(phone, "Hello", { type = "chat" })));
			end
		end);
	end);

	describe("rooms", function ()
		it("push if they are named, all or only what mentions the user", function ()
			local phone = phone_with({ rooms(
				{ jid = "Team@rooms.test"; allow = "always" }, { jid = "fun@rooms.test"; allow = "mentioned"; nick = "Anna B" },
				{ jid = "off@rooms.test"; allow = "never" }, { jid = "none@rooms.test" }
			) });
			local function says(room, body, child)
				return pushed(phone, muc, from_room(phone, body, { from = room .. "@rooms.test/Rosa"; child = child }));
			end
			local function reference(uri)
				return st.stanza("reference", { xmlns = "urn:xmpp:reference:0"; type = "mention"; uri = uri });
			end
			local function reply(to)
				return st.stanza("reply", { xmlns = "urn:xmpp:reply:0"; id = "x"; to = to });
			end
			assert.same({ important }, says("team", "Hello"));
			for _, room in ipairs({ "off"; "none"; "unlisted" }) do assert.same({}, says(room, "Anna B")); end
			assert.same({}, says("fun", "Hello Hanna B"));
			assert.same({ important }, says("fun", "Hello @anna b!"));
			assert.same({}, says("fun", "Hello", reference("xmpp:" .. rosa.jid)));
			assert.same({ important }, says("fun", "Hello", reference("xmpp:" .. phone.jid)));
			assert.same({ important }, says("fun", "Hello", reference("xmpp:fun@rooms.test/Anna%20B")));
			assert.same({}, says("fun", "Hello", reply("fun@rooms.test/Rosa")));
			assert.same({ important }, says("fun", "Hello", reply("fun@rooms.test/Anna B")));
			assert.same({ important }, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
		end);

		it("push nothing if the client names none", function ()
			local phone = phone_with({ rooms() });
			server:reload_module("cloud_notify", "home.test");
			assert.same({}, pushed(phone, muc, from_room(phone, "Hello")));
		end);
	end);

	describe("records", function ()
		local function write(phone, fields)
			server:eval([[
				local user, identifier, fields = ...;
				local store = require "core.storagemanager".open("home.test", "cloud_notify");
				local records = store:get(user);
				for name, value in pairs(fields) do records[identifier][name] = value; end
				assert(store:set(user, records));
			]], phone.username, phone.identifier, fields);
			inspect.begin_again(server);
		end

		it("are those of the community's module", function ()
			local phone = phone_with({});
			write(phone, {
				filter_unknown = true; muted_jids = { ["bert@away.test"] = true };
				groupchat_rules = { ["fun@rooms.test"] = { when = "mentioned"; nick = "Anna" }; ["off@rooms.test"] = {} };
			});
			add_contact(phone, "bert@away.test");
			assert.same({}, pushed(phone, away, from_away(phone, text())));
			assert.same({}, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
			assert.same({}, pushed(phone, muc, from_room(phone, "Anna", { from = "off@rooms.test/Rosa" })));
			assert.same({}, pushed(phone, muc, from_room(phone, "Hello", { from = "fun@rooms.test/Rosa" })));
			assert.same({ important }, pushed(phone, muc, from_room(phone, "Anna", { from = "fun@rooms.test/Rosa" })));
			phone = phone_with({
				ignore_unknown; muted("X@y.test"); rooms({ jid = "a@b.test"; allow = "mentioned"; nick = "N" });
			});
			local record = devices.stored(server, phone.jid)[phone.identifier];
			assert.is_true(record.filter_unknown);
			assert.same({ ["x@y.test"] = true }, record.muted_jids);
			assert.same({ ["a@b.test"] = { when = "mentioned"; nick = "N" } }, record.groupchat_rules);
		end);

		it("may be damaged", function ()
			local phone = phone_with({});
			for _, value in ipairs({ 7; "x"; true; {}; { 7 }; { ["team@rooms.test"] = 7 } }) do
				write(phone, { muted_jids = value; groupchat_rules = false });
				assert.same({ important }, pushed(phone, muc, from_room(phone, "Hello", { from = "fun@rooms.test/Rosa" })));
				write(phone, { muted_jids = false; groupchat_rules = value });
				local is_list = type(value) == "table";
				assert.same(is_list and {} or { important }, pushed(phone, muc, from_room(phone, "Hello")));
			end
		end);
	end);

	describe("an enable", function ()
		it("may name ten thousand chats and as many rooms", function ()
			local phone = phone_with({ many(muted(rosa.jid), "item", 9999); many(rooms(), "room", 9999) });
			assert.same({}, pushed(phone, rosa, { to = phone.jid; body = "Hello" }));
			assert.same({ important }, pushed(phone, away, from_away(phone, text())));
			assert.same({}, pushed(phone, muc, from_room(phone, "Hello")));
		end);

		it("with more, or with what is no JID, is refused and changes nothing", function ()
			local phone = phones.new(push);
			devices.enable(phone, { jid = push.jid; node = phone.node; extra = { muted("x@y.test") } });
			local before = devices.stored(server, phone.jid);
			local deep = muted();
			for _ = 1, 100 do deep:tag("item", { jid = "x@y.test" }); end
			for _, case in ipairs({
				{ "policy-violation"; many(muted(), "item", 10001); "10000" };
				{ "policy-violation"; many(rooms(), "room", 10001); "10000" };
				{ "policy-violation"; many(muted(), "item", 100000); "10000" };
				{ "policy-violation"; muted(("x"):rep(2 * 1024 * 1024)); "1048576" };
				{ "policy-violation"; deep:reset(); "deep" };
				{ "policy-violation"; rooms({ jid = "a@b.test"; nick = ("n"):rep(1024) }); "1023" };
				{ "jid-malformed"; muted("x@y.test", "a b@c.test"); "JID" };
				{ "jid-malformed"; muted(("x"):rep(2000) .. "@c.test"); "JID" };
				{ "jid-malformed"; rooms({ allow = "always" }); "JID" };
			}) do
				local reply = phone:enable_push({ jid = push.jid; node = phone.node; extra = { case[2] } });
				local kind, condition, why = reply:get_error();
				assert.same({ "modify"; case[1] }, { kind; condition });
				assert.truthy(why:find(case[3], 1, true), why);
				assert.same(before, devices.stored(server, phone.jid));
			end
		end);

		it("cannot have long lists written again and again, nor more than memory holds", function ()
			local phone = phones.new(push);
			local long = { many(muted(), "item", 9999) };
			local function assert_too_soon(reply)
				local kind, condition = reply:get_error();
				assert.same({ "wait"; "resource-constraint" }, { kind; condition });
			end
			devices.enable(phone, { jid = push.jid; node = "n1"; extra = long });
			assert_too_soon(phone:enable_push({ jid = push.jid; node = "n1" }));
			assert_too_soon(phone:disable_push({ jid = push.jid; node = "n2" }));
			loop.wait_for(function ()
				return phone:enable_push({ jid = push.jid; node = "n1" }).attr.type == "result";
			end, nil, "the lists to have rested");
			devices.enable(phone, { jid = push.jid; node = "n1" });

			local function set_bytes(bytes)
				return inspect.eval(server, [[
					local before, set = upvalue("max_user_bytes");
					set(...);
					return before;
				]], bytes);
			end
			local before = set_bytes(2000);
			local reply = phone:enable_push({ jid = push.jid; node = "n2"; extra = { many(muted(), "item", 20) } });
			set_bytes(before);
			local kind, condition = reply:get_error();
			assert.same({ "modify"; "policy-violation" }, { kind; condition });
			assert.same({ "push.test<n1"; phone.identifier }, devices.identifiers(server, phone.jid));
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("filters with Prosody " .. version, function () describe_all(version); end);
end
