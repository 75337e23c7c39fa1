-- Users' settings for their chats: when the readers ask for them, and what is read of bookmarks.

local hostile = require "spec.support.hostile";
local native = require "spec.support.native";
local st = require "util.stanza";

local user, room = native.user, "team@rooms.test";

local function item(chat, setting)
	return st.stanza("item", { xmlns = "http://jabber.org/protocol/pubsub"; id = chat })
		:tag("conference", { xmlns = "urn:xmpp:bookmarks:1" })
			:tag("extensions")
				:tag("notify", { xmlns = "urn:xmpp:notification-settings:1" }):tag(setting):reset();
end

local function message(from, text)
	return st.message({ type = "groupchat"; from = from; to = native.account; id = "m1" }, text or "Hello");
end

describe("settings for chats", function ()
	local engine, offline, unacked, loads;
	local records, record, session;

	before_each(function ()
		engine = native.engine({ push_coalesce_window = 0 });
		engine:forget_chat_settings(user);
		offline, unacked = select(2, engine:readers());
		records, record = native.records();
		session = { push_identifier = next(records); push_settings = record; hibernating = 1 };
		loads = 0;
	end);

	local function load_nothing()
		loads = loads + 1;
		engine:learn_chat_settings(user, {});
	end

	local function load_roster() return {}; end

	local function judged(stanza, load)
		local found = engine:judge(user, records, stanza, load_roster, load or load_nothing);
		return next(found) ~= nil;
	end

	-- Whether each rule asks for them
	local function asks(stanza, queue)
		local sessions = { phone = session };
		local answers = {
			offline(user, records, nil, stanza) == false;
			(unacked(user, session, sessions, stanza, 0)) == false;
			(unacked(user, session, sessions, queue or { stanza }, 1)) == false;
		};
		engine:forget(user, session.push_identifier);
		return answers;
	end

	local yes, no = { true; true; true }, { false; false; false };

	it("are asked for while they are not known, and loaded once", function ()
		assert.same(yes, asks(message(room .. "/Rosa")));
		assert.is_false(judged(message(room .. "/Rosa")));
		assert.is_false(judged(message(room .. "/Rosa")));
		assert.equal(1, loads);
		assert.same(no, asks(message(room .. "/Rosa")));
		engine:forget_chat_settings();
		assert.same(yes, asks(message(room .. "/Rosa")));
	end);

	it("are asked for where a stanza may be of a chat that has one", function ()
		engine:learn_chat_settings(user, { item(room, "never"); item("all@rooms.test", "always") });
		assert.same(yes, asks(message(room .. "/Rosa")));
		assert.same(yes, asks(message(native.account))); -- a copy
		assert.same(no, asks(message("all@rooms.test/Rosa")));
		assert.same(no, asks(message("else@rooms.test/Rosa")));
		assert.same({ false; false; true }, asks(message("all@rooms.test/Rosa"), {
			message("all@rooms.test/Rosa"); message(room .. "/Rosa");
		}));
		engine:learn_chat_settings(user, {});
		assert.same(no, asks(message(room .. "/Rosa")));
	end);

	it("are not asked for, nor do they count, where all registrations have filters", function ()
		local rules = { [room] = { when = "always" } };
		for field, value in pairs({ muted_jids = {}; filter_unknown = true; groupchat_rules = rules }) do
			records, record = native.records({ jid = "push.test"; node = "n1"; [field] = value });
			session.push_settings = record;
			-- What filters ask is another matter: as if they did not, there are modules that do it.
			engine:leave_to({ cloud_notify_filters = true });
			assert.same(no, asks(message(room .. "/Rosa")), field);
			engine:learn_chat_settings(user, { item(room, "never") });
			assert.same(no, asks(message(room .. "/Rosa")), field);
			assert.is_false(judged(message(room .. "/Rosa")), field);
			engine:forget_chat_settings(user);
		end
	end);

	it("leave out what the user does not want", function ()
		engine:learn_chat_settings(user, { item(room, "never"); item("fans@rooms.test", "on-mention") });
		assert.is_true(judged(message(room .. "/Rosa")));
		assert.is_true(judged(message("fans@rooms.test/Rosa")));
		assert.is_false(judged(message("fans@rooms.test/Rosa", "anna, hello")));
		assert.is_false(judged(message("else@rooms.test/Rosa")));
		local queue = { message(room .. "/Rosa"); message("else@rooms.test/Rosa"); message("fans@rooms.test/Rosa") };
		local codes = engine:judge_queue(user, record, queue, 1, load_roster, load_nothing);
		assert.same({ true; false; true }, { codes:byte(1) > 0; codes:byte(2) > 0; codes:byte(3) > 0 });
		assert.equal(0, loads);
	end);

	it("that cannot be loaded leave out nothing", function ()
		assert.is_false(judged(message(room .. "/Rosa"), function () end));
		assert.same(yes, asks(message(room .. "/Rosa")));
	end);

	it("are those of the first 10,000 bookmarks", function ()
		local items = {};
		for i = 1, 10000 do items[i] = item(("room%d@rooms.test"):format(i), "never"); end
		assert.equal(0, engine:learn_chat_settings(user, items));
		items[10001], items[10002] = item(room, "never"), item(room, "never");
		assert.equal(2, engine:learn_chat_settings(user, items));
		assert.is_false(judged(message(room .. "/Rosa")));
		assert.is_true(judged(message("room10000@rooms.test/Rosa")));
	end);

	it("are read of whatever is a bookmark", function ()
		local items = {};
		for _, value in pairs(hostile.values) do items[#items + 1] = value; end
		local damaged = item(room, "never");
		for _, field in ipairs({ "attr"; "tags"; "name" }) do
			for _, value in pairs(hostile.values) do
				local copy = st.clone(damaged);
				local conference = copy.tags[1];
				copy[field] = value;
				items[#items + 1] = copy;
				items[#items + 1] = { name = "item"; attr = { id = room }; tags = { conference; value } };
				conference[field] = value;
			end
		end
		engine:learn_chat_settings(user, items);
		items[#items + 1] = item("fans@rooms.test", "never");
		engine:learn_chat_settings(user, items);
		assert.is_true(judged(message("fans@rooms.test/Rosa")));
	end);
end);
