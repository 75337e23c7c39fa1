local hostile = require "spec.support.hostile";
local native = require "spec.support.native";
local sleep = require "socket".sleep;
local st = require "util.stanza";

local user = native.user;

local call_xml = "<message from='bert@away.test/pc'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>";

local function hibernated()
	return { push_identifier = "push.test<n1"; push_settings = { jid = "push.test"; node = "n1" }; hibernating = 1 };
end

local function message(body)
	return st.message({ from = "bert@away.test/pc"; to = "anna@home.test/phone" }, body);
end

-- Goes through a queue as the module does; returns all pushes and the places to go on from.
local function go_through(engine, session, queue)
	local all_pushes, places, place = {}, {}, 1;
	repeat
		local pushes, _, _, next_place = engine:unacked(user, session, { phone = session }, queue, place);
		for _, push in ipairs(pushes or {}) do all_pushes[#all_pushes + 1] = push; end
		places[#places + 1] = next_place;
		place = next_place;
	until not place;
	return all_pushes, places;
end

describe("a stream management queue", function ()
	local engine, session;

	before_each(function ()
		engine = native.engine({ push_coalesce_window = 0 });
		session = hibernated();
	end);

	it("is gone through push by push", function ()
		local queue = { message("one"), message("two"), message("three") };
		local pushes, places = go_through(engine, session, queue);
		assert.same({ 2, 3, -1 }, places);
		assert.equal(3, #pushes);
		for i, push in ipairs(pushes) do
			assert.equal(queue[i], push.original);
			assert.equal(session.push_settings, push.record);
		end
		pushes, places = go_through(engine, session, queue);
		assert.same({ {}, {} }, { pushes, places });
	end);

	it("says when what waits is due", function ()
		engine = native.engine({ push_coalesce_window = 10 });
		local pushes, silent, delay = engine:unacked(user, session, { phone = session }, { message(), message() }, 1);
		assert.same({}, pushes or {});
		assert.equal("push.test<n1", silent[1]);
		assert.is_true(delay > 9 and delay <= 10);
	end);

	it("is gone through in one go where an important push speaks for the rest", function ()
		engine = native.engine();
		local pushes, places = go_through(engine, session, { message("one"), message("two"), message() });
		assert.equal(1, #pushes);
		assert.same({ 2 }, places);
		assert.same({}, (go_through(engine, session, { message(), message() })));
	end);

	it("is searched for what is important first, and for calls to the end", function ()
		engine = native.engine();
		local call = native.xml(call_xml);
		local queue = { message(), message(), message("one"), message("two"), call, message() };
		local pushes, places = go_through(engine, session, queue);
		assert.same({ queue[3], call }, { pushes[1].original, pushes[2].original });
		assert.equal(2, #pushes);
		assert.same({ 4, 6 }, places);
	end);

	it("may be left unread, and is known when it has been read", function ()
		local function many(first)
			local queue = { first };
			for i = 2, 100 do queue[i] = message(i % 3 == 0 and ("text %d"):format(i) or nil); end
			return queue;
		end
		local unimportant = {};
		for i = 1, 100 do unimportant[i] = message(); end
		for name, kinds in pairs({ spoken = many(message("one")); unimportant = unimportant }) do
			engine = native.engine();
			local sessions = { phone = session };
			local place, unread = 1, false;
			repeat
				local _, next_place, left;
				_, _, _, next_place, left = engine:unacked(user, session, sessions, kinds, place);
				place, unread = next_place, unread or left;
			until not place;
			assert.is_true(unread, name);
			session.unread_queue = kinds;
			local records = native.records(session.push_settings);
			local archived = engine:readers();
			local call = native.xml(call_xml);
			assert.is_false(archived(user, records, sessions, call, "id1"));
			session.unread_queue = nil;
			engine:read(user, session, sessions, kinds);
			engine:back(user, "push.test<n1");
			assert.same({}, (go_through(engine, session, kinds)), name);
			assert.equal(1, #go_through(engine, session, { message("three") }));
		end
	end);

	describe("and a stanza that joins it", function ()
		local id = "push.test<n1";
		local sessions;

		local function join(stanza)
			local pushes, silent, _, place, unread = engine:unacked(user, session, sessions, stanza, 0);
			assert.is_nil(place);
			return pushes or {}, silent and silent[2], unread;
		end

		-- What is pushed when the push service could not take a push
		local function next_attempt(push)
			assert.equal("failed", (engine:answered(push.id, "push.test", true, "wait", "remote-server-timeout")));
			sleep(0.4);
			engine:expire();
			return engine:release(user, id, session.push_settings, sessions);
		end

		before_each(function ()
			engine = native.engine({ push_retry_min = 0.1; push_retry_max = 0.2 });
			sessions = { phone = session };
			local first = message("one");
			local pushes, _, unread = join(first);
			assert.equal(1, #pushes);
			assert.equal(first, pushes[1].original);
			assert.equal(session.push_settings, pushes[1].record);
			assert.is_false(unread);
		end);

		it("is left unread where a push speaks for it, and known when it has been read", function ()
			local left = { message("two"), message(), st.presence(), message("two") };
			for _, stanza in ipairs(left) do
				local pushes, why, unread = join(stanza);
				assert.same({ {}, "device has just been woken", true }, { pushes, why, unread });
			end
			engine:read(user, session, sessions, left);
			engine:back(user, id);
			for _, stanza in ipairs(left) do
				assert.same({ {}, "already pushed", false }, { join(stanza) });
			end
			assert.equal(1, #join(message("two")));
		end);

		it("is read at once where another session of the device has a clone", function ()
			sessions.tablet = hibernated();
			local pushes, why, unread = join(message("two"));
			assert.same({ {}, "device has just been woken", false }, { pushes, why, unread });
		end);

		it("rings if it is a call, whatever speaks for it", function ()
			local call = native.xml(call_xml);
			local pushes, _, unread = join(call);
			assert.equal(call, pushes[1].original);
			assert.is_false(unread);
		end);

		for what, own in pairs({ ["its caller"] = false; ["another device, in a carbon copy"] = true }) do
			it("ends a call that " .. what .. " ends, whatever speaks for it", function ()
				local ring = join(native.xml(call_xml))[1];
				local end_xml = own and ([[<message from='anna@home.test'><sent xmlns='urn:xmpp:carbons:2'>
					<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='anna@home.test/desk'>
					<reject xmlns='urn:xmpp:jingle-message:0' id='c'/></message></forwarded></sent></message>]]):gsub("%s*\n%s*", "")
					or "<message from='bert@away.test/pc'><retract xmlns='urn:xmpp:jingle-message:0' id='c'/></message>";
				local pushes, why, unread = join(native.xml(end_xml));
				assert.same({ {}, "device has just been woken", false }, { pushes, why, unread });
				local missed = next_attempt(ring);
				assert.is_true(missed.important);
				assert.is_nil(missed.original);
			end);
		end

		it("rings when it is owed, unless it has ended", function ()
			local call = native.xml(call_xml);
			local ring = join(call)[1];
			join(native.xml((call_xml:gsub("propose", "retract"):gsub("id='c'", "id='other'"))));
			assert.equal(call, next_attempt(ring).original);
		end);
	end);

	it("may be empty, or start anywhere", function ()
		assert.same({}, (go_through(engine, session, {})));
		for _, place in ipairs({ 2, 100, 2^40 }) do
			assert.is_nil((engine:unacked(user, session, { phone = session }, { message("one") }, place)));
		end
	end);

	it("may have anything in it", function ()
		local queue = {};
		for _, value in pairs(hostile.values) do
			queue[#queue + 1] = value;
			queue[#queue + 1] = message("Hello");
		end
		local bodies = 0;
		for _, push in ipairs((go_through(engine, session, queue))) do
			if push.important then bodies = bodies + 1; end
		end
		assert.equal(#queue / 2, bodies);
	end);

	it("may have a metatable that raises", function ()
		local pushes = go_through(engine, session, hostile.raising({ message("one"), message("two") }));
		assert.equal(2, #pushes);
	end);
end);
