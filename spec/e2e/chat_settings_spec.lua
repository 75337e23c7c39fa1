-- The user's notification settings for chats (XEP-0492), as clients publish them with bookmarks (XEP-0402), decide for
-- registrations that bring no filter of their own.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important = phones.important;

local xmlns_bookmarks = "urn:xmpp:bookmarks:1";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local hosts = [[
	VirtualHost "without.test"
		modules_disabled = { "pep"; "bookmarks"; "s2s"; "s2s_auth_certs" }

	VirtualHost "faulty.test"
		storage = { pep = "faulty"; pep_data = "faulty" }

	VirtualHost "small.test"
		pep_service_cache_size = 1
]];

local rooms = 0;

local function new_room()
	rooms = rooms + 1;
	return ("team%d@rooms.test"):format(rooms);
end

local function bookmark(setting, nick)
	local conference = st.stanza("conference", { xmlns = xmlns_bookmarks; autojoin = "true" });
	if nick then conference:text_tag("nick", nick); end
	conference:tag("extensions"):tag("notify", { xmlns = "urn:xmpp:notification-settings:1" });
	if type(setting) == "string" then setting = st.stanza(setting); end
	return conference:add_child(setting):reset();
end

for _, version in ipairs(prosody.versions) do
	describe("notification settings of chats, with Prosody " .. version .. ":", function ()
		local server, push, room, rosa;

		local function connect()
			push = push_service.connect(server, "push.test", "secret");
			room = push_service.connect(server, "rooms.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "pep"; "bookmarks" };
				components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
				options = { push_coalesce_window = 0; push_max_per_minute = 0 };
				config = hosts;
			});
			connect();
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		before_each(function ()
			push:clear();
		end);

		local ids = 0;

		local function request(session, action, xmlns)
			ids = ids + 1;
			local iq = st.iq({ type = "set"; id = ("pep%d"):format(ids) });
			local reply = session:iq(iq:tag("pubsub", { xmlns = xmlns or xmlns_pubsub }):add_child(action):reset());
			assert.equal("result", reply.attr.type, tostring(reply));
		end

		local function publish(session, chat, payload)
			local form = st.stanza("x", { xmlns = "jabber:x:data"; type = "submit" });
			for var, value in pairs({
				FORM_TYPE = "http://jabber.org/protocol/pubsub#publish-options";
				["pubsub#persist_items"] = "true";
				["pubsub#max_items"] = "max";
				["pubsub#access_model"] = "whitelist";
			}) do form:tag("field", { var = var }):text_tag("value", value):up(); end
			ids = ids + 1;
			local reply = session:iq(st.iq({ type = "set"; id = ("pep%d"):format(ids) })
				:tag("pubsub", { xmlns = xmlns_pubsub })
					:tag("publish", { node = xmlns_bookmarks })
						:tag("item", { id = chat }):add_child(payload):up()
					:up()
					:tag("publish-options"):add_child(form));
			assert.equal("result", reply.attr.type, tostring(reply));
		end

		local function retract(session, chat)
			request(session, st.stanza("retract", { node = xmlns_bookmarks }):tag("item", { id = chat }):reset());
		end

		-- One more client of the user, which keeps the bookmarks
		local function laptop_of(phone)
			return client.connect(server, phone.jid, { presence = false });
		end

		local function groupchat(phone, from, text)
			ids = ids + 1;
			return st.message({ type = "groupchat"; from = from; to = phone.jid; id = ("room%d"):format(ids) })
				:text_tag("body", text or "Hello");
		end

		-- Returns when the server has handled it: it answers to the room
		local function send_from_room(stanza)
			room:send(stanza);
			loop.wait_for(function ()
				for _, answer in ipairs(room.others) do
					if answer.attr.id == stanza.attr.id then return true; end
				end
			end, nil, "an answer to the room");
		end

		-- How many pushes such a message causes
		local function pushes_for(phone, from, text)
			push:clear();
			send_from_room(groupchat(phone, from, text));
			return #phones.pushed(phone);
		end

		-- Whether mod_pep has made anything for the user
		local function is_in_memory(phone)
			return server:eval([[
				for _, item in ipairs(module("home.test", "pep"):get_host_items("pep-service")) do
					if item.jid == ... then return true; end
				end
				return false;
			]], phone.jid);
		end

		it("a chat without a setting is as ever", function ()
			local phone = phones.away(push);
			local team, other = new_room(), new_room();
			assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			publish(laptop_of(phone), other, bookmark("never"));
			publish(laptop_of(phone), team, st.stanza("conference", { xmlns = xmlns_bookmarks }));
			assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			assert.equal(0, pushes_for(phone, other .. "/Rosa"));
		end);

		it("always, on mention and never", function ()
			local phone = phones.away(push);
			local laptop = laptop_of(phone);
			local always, mention, never = new_room(), new_room(), new_room();
			publish(laptop, always, bookmark("always"));
			publish(laptop, mention, bookmark("on-mention", "Queen"));
			publish(laptop, never, bookmark("never", "Queen"));
			assert.equal(1, pushes_for(phone, always .. "/Rosa"));
			assert.equal(0, pushes_for(phone, mention .. "/Rosa"));
			assert.equal(0, pushes_for(phone, mention .. "/Rosa", phone.username .. ", are you there?"));
			assert.equal(1, pushes_for(phone, mention .. "/Rosa", "queen, are you there?"));
			assert.equal(0, pushes_for(phone, never .. "/Rosa"));
			assert.equal(0, pushes_for(phone, never .. "/Rosa", "queen, are you there?"));
		end);

		it("the nickname is the name of the account if the bookmark has none", function ()
			local phone = phones.away(push);
			local team = new_room();
			publish(laptop_of(phone), team, bookmark("on-mention"));
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			assert.equal(1, pushes_for(phone, team .. "/Rosa", phone.username .. ": are you there?"));
		end);

		it("the setting for phones comes first", function ()
			local phone = phones.away(push);
			local team, pc = new_room(), new_room();
			local laptop = laptop_of(phone);
			local payload = bookmark(st.stanza("never", { ["identity-category"] = "client"; ["identity-type"] = "phone" }));
			payload:get_child("extensions"):get_child("notify", "urn:xmpp:notification-settings:1"):tag("always");
			publish(laptop, team, payload:reset());
			publish(laptop, pc, bookmark(st.stanza("never", { ["identity-category"] = "client"; ["identity-type"] = "pc" })));
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			assert.equal(1, pushes_for(phone, pc .. "/Rosa"));
		end);

		it("a change counts at once, and so do a retraction, a purge and the end of the node", function ()
			local phone = phones.away(push);
			local laptop = laptop_of(phone);
			local team = new_room();
			local function assert_counts_at_once(undo)
				publish(laptop, team, bookmark("never"));
				assert.equal(0, pushes_for(phone, team .. "/Rosa"));
				undo();
				assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			end
			assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			assert_counts_at_once(function () publish(laptop, team, bookmark("always")); end);
			assert_counts_at_once(function () retract(laptop, team); end);
			local xmlns_owner = xmlns_pubsub .. "#owner";
			for _, action in ipairs({ "purge"; "delete" }) do
				assert_counts_at_once(function ()
					request(laptop, st.stanza(action, { node = xmlns_bookmarks }), xmlns_owner);
				end);
			end
		end);

		it("nothing else in PEP has bookmarks read again", function ()
			local phone = phones.away(push);
			local laptop = laptop_of(phone);
			local team = new_room();
			publish(laptop, team, bookmark("never"));
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			local mark = server:log_mark();
			request(laptop, st.stanza("publish", { node = "urn:example" }):tag("item", { id = "current" })
				:tag("x", { xmlns = "urn:example" })
				:reset());
			request(laptop, st.stanza("retract", { node = "urn:example" }):tag("item", { id = "current" }):reset());
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			assert.not_matches("Listed items", server:log_since(mark));
			publish(laptop, new_room(), bookmark("never"));
			mark = server:log_mark();
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			assert.matches("Listed items", server:log_since(mark));
		end);

		it("what is said in private in a room that never notifies is left out, and so are calls and invitations", function ()
			local phone = phones.away(push);
			local never, mention = new_room(), new_room();
			local laptop = laptop_of(phone);
			publish(laptop, never, bookmark("never"));
			publish(laptop, mention, bookmark("on-mention"));
			laptop:close();
			local function private(from, child)
				ids = ids + 1;
				room:send(st.message({ type = "chat"; from = from .. "/Rosa"; to = phone.jid; id = ("pm%d"):format(ids) })
					:add_child(child));
				room:ping();
			end
			local hello = st.stanza("body"):text("Hello");
			private(never, hello);
			private(never, payloads.propose());
			private(never, payloads.call_invite());
			assert.same({}, phones.pushed(phone));
			private(mention, hello);
			private(mention, payloads.propose());
			assert.same({ important; important }, phones.pushed(phone));
		end);

		it("a chat with a person can have one, by any rule", function ()
			local phone = phones.away(push);
			local hibernated = phones.hibernated(push, { jid = phone.jid });
			local sam = client.connect(server, devices.new_user(server));
			publish(laptop_of(phone), rosa.jid, bookmark("never"));
			rosa:message({ to = phone.jid; body = "Hello" });
			rosa:message({ to = hibernated.full_jid; body = "Hello" });
			rosa:message({ to = phone.jid; payloads.propose() });
			assert.same({ {}; {} }, { phones.pushed(phone, rosa); phones.pushed(hibernated, rosa) });
			sam:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, phones.pushed(phone, sam));
			assert.same({ important }, phones.pushed(hibernated, sam));
		end);

		it("a queue that a session leaves is gone through", function ()
			local phone = phones.new(push);
			local laptop = laptop_of(phone);
			local team = new_room();
			publish(laptop, team, bookmark("never"));
			local function fill()
				for i = 1, 12 do
					room:send(st.message({ type = "groupchat"; from = team .. "/Rosa"; to = phone.full_jid; id = "q" .. i })
						:text_tag("body", "Hello"));
				end
				room:ping();
			end
			fill();
			phone:cut();
			assert.same({}, phones.pushed(phone));
			fill();
			assert.same({}, phones.pushed(phone));
			publish(laptop, team, bookmark("always"));
			room:send(st.message({ type = "groupchat"; from = team .. "/Rosa"; to = phone.full_jid; id = "last" })
				:text_tag("body", "Hello"));
			room:ping();
			assert.same({ important }, phones.pushed(phone));
		end);

		it("copies of what another client has received or sent are of their chat", function ()
			local phone = phones.new(push);
			phone:iq(st.iq({ type = "set"; id = "carbons" }):tag("enable", { xmlns = "urn:xmpp:carbons:2" }));
			phones.acknowledge(phone);
			local laptop = laptop_of(phone);
			publish(laptop, rosa.jid, bookmark("never"));
			phone:cut();
			rosa:message({ to = laptop.full_jid; body = "Hello" });
			assert.same({}, phones.pushed(phone, rosa));
			publish(laptop, rosa.jid, bookmark("always"));
			rosa:message({ to = laptop.full_jid; body = "Hello" });
			assert.same({ important }, phones.pushed(phone, rosa));
		end);

		it("a registration with a filter of its own is not left to them", function ()
			local phone = phones.away(push);
			local plain = phones.away(push, { jid = phone.jid });
			local team = new_room();
			publish(laptop_of(phone), team, bookmark("never"));
			for field, value in pairs({
				muted_jids = {};
				filter_unknown = true;
				groupchat_rules = { [team] = { when = "always" } };
			}) do
				server:eval([[
					local user, identifier, field, value = ...;
					local store = require "core.storagemanager".open("home.test", "cloud_notify");
					local records = store:get(user);
					for _, name in ipairs({ "muted_jids"; "filter_unknown"; "groupchat_rules" }) do
						records[identifier][name] = nil;
					end
					records[identifier][field] = value;
					assert(store:set(user, records));
				]], phone.username, phone.identifier, field, value);
				server:reload_module("cloud_notify", "home.test");
				push:clear();
				send_from_room(groupchat(phone, team .. "/Rosa"));
				assert.same({ important }, phones.pushed(phone), field);
				assert.same({}, phones.pushed(plain), field);
			end
		end);

		it("they are read from the store after a restart", function ()
			local phone = phones.away(push);
			local without = phones.away(push);
			local team = new_room();
			publish(laptop_of(phone), team, bookmark("never"));
			server:restart();
			connect();
			phone.service, without.service = push, push;
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			assert.equal(1, pushes_for(without, team .. "/Rosa"));
			-- Nothing is made in mod_pep for whoever has none.
			assert.is_true(is_in_memory(phone));
			assert.is_false(is_in_memory(without));
			publish(laptop_of(phone), team, bookmark("always"));
			assert.equal(1, pushes_for(phone, team .. "/Rosa"));
		end);

		it("a reload of this module or of mod_pep changes nothing", function ()
			local phone = phones.away(push);
			local laptop = laptop_of(phone);
			local team = new_room();
			publish(laptop, team, bookmark("never"));
			for _, name in ipairs({ "cloud_notify"; "pep" }) do
				server:reload_module(name, "home.test");
				assert.equal(0, pushes_for(phone, team .. "/Rosa"), name);
				publish(laptop, team, bookmark("always"));
				assert.equal(1, pushes_for(phone, team .. "/Rosa"), name);
				publish(laptop, team, bookmark("never"));
				assert.equal(0, pushes_for(phone, team .. "/Rosa"), name);
			end
		end);

		it("without mod_pep there are none, until it is loaded", function ()
			local phone = phones.away(push, { host = "without.test" });
			local team = new_room();
			assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			server:load_module("pep", "without.test");
			publish(laptop_of(phone), team, bookmark("never"));
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			server:unload_module("pep", "without.test");
			server:unload_module("cloud_notify", "without.test");
			server:load_module("cloud_notify", "without.test");
			assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			server:load_module("pep", "without.test");
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
		end);

		it("they go with the account, and those of another one of that name count", function ()
			local phone = phones.away(push);
			local team = new_room();
			publish(laptop_of(phone), team, bookmark("never"));
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			server:delete_user(phone.username, "home.test");
			server:add_user(phone.username, "secret", "home.test");
			local again = phones.register(phones.login(phone), push);
			again:close();
			assert.equal(1, pushes_for(again, team .. "/Rosa"));
			local laptop = laptop_of(again);
			publish(laptop, team, bookmark("never"));
			assert.equal(0, pushes_for(again, team .. "/Rosa"));
			publish(laptop, team, bookmark("always"));
			assert.equal(1, pushes_for(again, team .. "/Rosa"));
		end);

		describe("when mod_pep has let go of the user's nodes,", function ()
			local phone, team;

			before_each(function ()
				phone, team = phones.away(push, { host = "small.test" }), new_room();
				publish(laptop_of(phone), team, bookmark("never"));
				server:eval([[
					prosody.spec_events = hosts["small.test"].modules.pep.get_pep_service(...).events;
				]], phone.username);
				assert.equal(0, pushes_for(phone, team .. "/Rosa"));
				local other = client.connect(server, devices.new_user(server, "small.test"), { presence = false });
				publish(other, team, bookmark("always"));
				other:close();
			end);

			it("so does this module, and the settings stay", function ()
				assert.is_false(server:eval([[
					local handlers = module("small.test", "cloud_notify").event_handlers:get(prosody.spec_events);
					for _, of_event in pairs(handlers or {}) do
						if next(of_event) then return true; end
					end
					return false;
				]]));
				assert.equal(0, pushes_for(phone, team .. "/Rosa"));
			end);

			it("a change counts at once", function ()
				publish(laptop_of(phone), team, bookmark("always"));
				assert.equal(1, pushes_for(phone, team .. "/Rosa"));
			end);

			it("the settings go with the account", function ()
				server:delete_user(phone.username, "small.test");
				server:add_user(phone.username, "secret", "small.test");
				local again = phones.register(phones.login(phone), push);
				again:close();
				assert.equal(1, pushes_for(again, team .. "/Rosa"));
			end);
		end);

		it("damaged bookmarks say nothing, and those beside them count", function ()
			local phone = phones.away(push);
			local team = new_room();
			local laptop = laptop_of(phone);
			local other = new_room();
			local notify = { xmlns = "urn:xmpp:notification-settings:1" };
			for id, payload in pairs({
				["not a jid"] = bookmark("never");
				[other .. "/Rosa"] = bookmark("never");
				[new_room()] = st.stanza("conference", { xmlns = "urn:example" });
				[new_room()] = st.stanza("notify", notify):tag("never"):reset();
				[other] = bookmark("sometimes");
			}) do publish(laptop, id, payload); end
			publish(laptop, team, bookmark("never"));
			assert.equal(1, pushes_for(phone, other .. "/Rosa"));
			assert.equal(0, pushes_for(phone, team .. "/Rosa"));
		end);

		it("while bookmarks cannot be read, pushes go on, and the log has one line", function ()
			local phone = phones.away(push, { host = "faulty.test" });
			local team = new_room();
			publish(laptop_of(phone), team, bookmark("never"));
			local function fail(what, how)
				server:eval([[
					local what, how = ...;
					module("faulty.test", "storage_faulty"):shared("failing")[what] = how;
				]], what, how);
			end
			local ways = { ["pep_" .. xmlns_bookmarks .. "/find"] = "error"; ["pep/get"] = "error" };
			for what, how in pairs(ways) do
				server:reload_module("pep", "faulty.test");
				server:unload_module("cloud_notify", "faulty.test");
				server:load_module("cloud_notify", "faulty.test");
				local mark = server:log_mark();
				fail(what, how);
				assert.equal(1, pushes_for(phone, team .. "/Rosa"), what);
				assert.equal(1, pushes_for(phone, team .. "/Rosa"), what);
				local lines = 0;
				for line in server:log_since(mark):gmatch("[^\n]*cannot be read[^\n]*") do
					if line:match("\terror\t") then lines = lines + 1; end
				end
				assert.equal(1, lines, server:log_since(mark));
				fail(what);
				assert.equal(0, pushes_for(phone, team .. "/Rosa"), what);
				assert.matches("Bookmarks of %w+ can be read again", server:log_since(mark));
			end
		end);

		it("of more than 10,000 bookmarks the newest count, and the log has one line", function ()
			local phone = phones.away(push);
			local oldest, newest = new_room(), new_room();
			local laptop = laptop_of(phone);
			publish(laptop, oldest, bookmark("never"));
			assert.equal(0, pushes_for(phone, oldest .. "/Rosa"));
			-- As if they were in mod_pep, which takes long to fill
			server:eval([[
				local user, newest, payload = ...;
				local service = hosts["home.test"].modules.pep.get_pep_service(user);
				local get_items = service.get_items;
				function service:get_items(...)
					local ok, old = get_items(self, ...);
					local items = {};
					for i = 1, 10000 do
						local id = i == 10000 and newest or ("room%d@rooms.test"):format(i);
						items[i] = id;
						items[id] = st.stanza("item", { id = id }):add_child(st.deserialize(payload));
					end
					for _, id in ipairs(old) do items[#items + 1], items[id] = id, old[id]; end
					return ok, items;
				end
			]], phone.username, newest, st.preserialize(bookmark("never")));
			local mark = server:log_mark();
			for _ = 1, 2 do
				publish(laptop, oldest, bookmark("never"));
				assert.equal(1, pushes_for(phone, oldest .. "/Rosa"));
				assert.equal(0, pushes_for(phone, newest .. "/Rosa"));
			end
			local _, lines = server:log_since(mark):gsub("\twarn\t[^\n]* has too many bookmarks", "");
			assert.equal(1, lines);
		end);
	end);
end
