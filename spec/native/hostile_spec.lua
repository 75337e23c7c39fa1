local hostile = require "spec.support.hostile";
local native = require "spec.support.native";
local st = require "util.stanza";
local parse_xml = require "util.xml".parse;

local library, user, host = native.library, native.user, native.host;

local function greeting()
	return st.message({ from = "bert@away.test/pc", to = "anna@home.test", id = "m1" }, "Hi");
end

-- Nothing of what came before is left in the way.
local function works(engine)
	local push = native.archive(engine, greeting());
	assert.is_true(push.important);
	assert.equal(push.id, native.xml(tostring(push.stanza)).attr.id);
	assert.equal("delivered", (engine:answered(push.id, "push.test", false)));
end

-- Calls a function that may raise an error, as long as it is one for its caller.
local function survives(f, ...)
	local ok, err = pcall(f, ...);
	if not ok then
		local text = tostring(err);
		assert.is_nil(text:lower():find("panic"), text);
	end
	return ok;
end

-- All that the module may be asked, with arguments that are right.
local function calls(engine)
	local record = { jid = "push.test"; node = "n1" };
	local records = { ["push.test<n1"] = record };
	local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
	local sessions = { phone = session };
	local enable = st.stanza("enable", { xmlns = "urn:xmpp:push:0"; jid = "push.test"; node = "n1" });
	return {
		archived = { engine.archived; engine, user, records, sessions, greeting(), "a1" };
		offline = { engine.offline; engine, user, records, sessions, greeting() };
		unacked = { engine.unacked; engine, user, session, sessions, { greeting() }, 1 };
		release = { engine.release; engine, user, "push.test<n1", record, sessions };
		ping = { engine.ping; engine, user, "push.test<n1", record };
		answered = { engine.answered; engine, "push-0000000000000000", "push.test", true, "cancel", "gone" };
		expire = { engine.expire; engine };
		vetoed = { engine.vetoed; engine, "push-0000000000000000" };
		back = { engine.back; engine, user, "push.test<n1" };
		enabled = { engine.enabled; engine, user, "push.test<n1" };
		forget = { engine.forget; engine, user, "push.test<n1" };
		forget_user = { engine.forget_user; engine, user };
		in_flight = { engine.in_flight; engine };
		configure = { engine.configure; engine, {} };
		open = { library.open; host, st.stanza_mt, st.deserialize };
		close = { library.close; "elsewhere.test" };
		enable = { library.enable; enable, "anna@home.test/phone" };
		disable = { library.disable; enable };
		revoked_node = { library.revoked_node; enable, "anna@home.test" };
		admit = { library.admit; records, "push.test", "n1", "client", "phone", 5, 1000 };
		matching = { library.matching; records, "push.test", "n1" };
		surplus = { library.surplus; records, 5 };
		owned_by = { library.owned_by; records, "client", "phone" };
	};
end

describe("a call with a wrong argument", function ()
	local argument_count = 7;

	for name in pairs(calls(native.engine())) do
		it("to " .. name .. "() is an error at worst, and the engine goes on", function ()
			local engine = native.engine();
			for place = 2, argument_count do
				for _, value in pairs(hostile.values) do
					local call = calls(engine)[name];
					call[place] = value;
					survives(table.unpack(call, 1, argument_count));
				end
				survives(table.unpack(calls(engine)[name], 1, place - 1));
			end
			works(name == "configure" and native.engine() or engine);
		end);
	end

	it("does not change the options", function ()
		local engine = native.engine({ push_notification_important_body = "Hello" });
		for _, value in pairs(hostile.values) do
			survives(engine.configure, engine, value);
			survives(engine.configure, engine, { push_max_errors = value });
		end
		assert.equal("Hello", native.archive(engine, greeting()).body);
	end);
end);

describe("a hostile stanza", function ()
	local engine;

	before_each(function ()
		engine = native.engine({ push_notification_with_body = true; push_notification_with_sender = true });
	end);

	-- Each rule reads it, and each of what waits is released.
	local function read(stanza)
		local record = { jid = "push.test"; node = "n1" };
		local records = { ["push.test<n1"] = record };
		local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
		for _, outcome in ipairs({
			{ pcall(engine.archived, engine, user, records, nil, stanza, native.archive_id()) };
			{ pcall(engine.offline, engine, user, records, nil, stanza) };
			{ pcall(engine.unacked, engine, user, session, { phone = session }, { stanza }, 1) };
		}) do
			assert.is_true(outcome[1], tostring(outcome[2]));
			for _, push in ipairs(outcome[2] or {}) do
				assert.truthy(tostring(push.stanza):find("^<iq .*</iq>$"));
			end
		end
	end

	for name, value in pairs(hostile.values) do
		it("does no harm with " .. name .. " in any place", function ()
			for _, place in ipairs({ "name", "attr", "tags", "namespaces", "_push_id", 1, 2 }) do
				local stanza = greeting();
				stanza[place] = value;
				read(stanza);
			end
			for _, attribute in ipairs({ "from", "to", "id", "type", "xmlns" }) do
				local stanza = greeting();
				stanza.attr[attribute] = value;
				read(stanza);
			end
			for _, place in ipairs({ "name", "attr", "tags", 1 }) do
				local stanza = greeting();
				stanza.tags[1][place] = value;
				read(stanza);
			end
			local stanza = greeting();
			stanza[1], stanza.tags[1] = value, value;
			read(stanza);
			stanza = greeting():tag("stanza-id", { xmlns = "urn:xmpp:sid:0"; by = "anna@home.test" }):up();
			stanza.tags[2].attr.id = value;
			read(stanza);
			if type(value) == "table" then read(value); end
			works(engine);
		end);
	end

	it("may lack everything", function ()
		for _, missing in ipairs({ "name", "attr", "tags" }) do
			local stanza = greeting();
			stanza[missing] = nil;
			read(stanza);
			stanza = greeting();
			stanza.tags[1][missing] = nil;
			read(stanza);
		end
		read(setmetatable({}, st.stanza_mt));
		works(engine);
	end);

	it("is read without its metamethods", function ()
		local stanza = hostile.raising({
			name = "message";
			attr = hostile.raising({ from = "bert@away.test", id = "m1" });
		});
		local body = hostile.raising({ name = "body"; attr = hostile.raising({}); tags = hostile.raising({}); "Hi" });
		rawset(stanza, "tags", hostile.raising({ body }));
		rawset(stanza, 1, body);
		assert.equal("Hi", native.archive(engine, stanza).body);
		read(stanza);
		works(engine);
	end);

	it("may wrap itself in carbons", function ()
		local stanza = st.message({ from = "anna@home.test", to = "anna@home.test/phone" })
			:tag("received", { xmlns = "urn:xmpp:carbons:2" }):tag("forwarded", { xmlns = "urn:xmpp:forward:0" });
		local forwarded = stanza.tags[1].tags[1];
		forwarded[1], forwarded.tags[1] = stanza, stanza;
		read(stanza);
		works(engine);
	end);

	it("may be very deep", function ()
		local stanza = greeting();
		local innermost = stanza;
		for _ = 1, 100000 do
			local child = { name = "x"; attr = {}; tags = {} };
			innermost[1], innermost.tags[1] = child, child;
			innermost = child;
		end
		read(stanza);
		works(engine);
	end);

	it("may have 100,000 children", function ()
		local stanza = greeting();
		for i = 1, 100000 do
			local attributes = { xmlns = "urn:xmpp:sid:0"; by = "anna@home.test"; id = tostring(i) };
			local child = { name = "stanza-id"; attr = attributes; tags = {} };
			stanza[i + 1], stanza.tags[i + 1] = child, child;
		end
		read(stanza);
		works(engine);
	end);

	it("may be of strings of 8 MB", function ()
		local text = ("€123"):rep(1400000);
		for _, stanza in ipairs({
			st.message({ from = text, to = text, id = text, type = text }, text);
			{ name = text; attr = { xmlns = text }; tags = {}; text };
			st.message({ from = "bert@away.test", id = "m1" }, text);
		}) do
			read(stanza);
		end
		assert.is_true(#native.archive(engine, st.message({}, text)).body < 10000);
		works(engine);
	end);

	it("may have a body in a million pieces", function ()
		local stanza = greeting();
		for i = 1, 2^20 do stanza.tags[1][i] = "x"; end
		read(stanza);
		works(engine);
	end);

	it("leaves no trace in memory, however often it comes", function ()
		local record = { jid = "push.test"; node = "n1" };
		local records = { ["push.test<n1"] = record };
		local sessions = { pc = { push_identifier = "push.test<n1" }; phone = { push_identifier = {} } };
		local stanzas = {};
		for _, value in pairs(hostile.values) do
			local stanza = greeting();
			stanza.attr.id, stanza.attr.type, stanza.tags[1].name = value, value, value;
			stanzas[#stanzas + 1] = stanza;
		end
		local function read_all(count)
			for i = 1, count do
				local stanza = stanzas[i % #stanzas + 1];
				engine:archived(user, records, sessions, stanza, "a1");
				pcall(engine.offline, engine, user, records, stanza, stanzas);
				pcall(engine.unacked, engine, user, sessions.pc, sessions, stanzas, i % #stanzas + 1);
			end
			collectgarbage();
			collectgarbage();
			return collectgarbage("count");
		end
		local before = read_all(1000);
		local after = read_all(native.times(100000));
		assert.is_true(after - before < 32, ("%.1f KiB more"):format(after - before));
		works(engine);
	end);

	it("never makes the push service's stream ill-formed", function ()
		for _, text in ipairs({ "a\0b", "a\1b", "a\27b", "\239\191\190" }) do
			local stanza = greeting();
			stanza.attr.from, stanza.tags[1][1] = text, text;
			local push = native.archive(engine, stanza, { jid = "push.test"; node = text });
			if push then
				assert.truthy(parse_xml(tostring(push.stanza)), ("%q"):format(text));
			end
		end
	end);
end);

-- Prosody makes none of these, but other modules may make anything.
describe("hundreds of thousands of hostile stanzas", function ()
	local seed = tonumber(os.getenv("SPEC_SEED")) or os.time();
	local names = { "message", "body", "stanza-id", "x", "propose", "received", "sent", "forwarded", "delay", "iq" };
	local texts = {
		"bert@away.test/pc"; user .. "@" .. host; host; "chat"; "groupchat"; "error"; "m1"; "\255\254"; "a\0b"; "";
		"urn:xmpp:sid:0"; "urn:xmpp:carbons:2"; "urn:xmpp:forward:0"; "urn:xmpp:delay"; "jabber:client";
		"urn:xmpp:jingle-message:0"; "jabber:x:conference"; ("x"):rep(10000); "1700000000";
	};
	local attributes = { "from", "to", "id", "type", "by", "stamp", "xmlns" };
	local places = { "name", "attr", "tags", "_push_id", 1, 2 };
	local values = {};
	for _, value in pairs(hostile.values) do values[#values + 1] = value; end

	local random = math.random;
	local elements; -- Those of the last stanza

	local function one_of(list)
		return list[random(#list)];
	end

	-- Something that does not belong there, one time in ten.
	local function perhaps(value)
		local dice = random(20);
		if dice == 1 then return nil; end
		if dice == 2 then return one_of(values); end
		return value;
	end

	local function any_attributes()
		local attr = {};
		for _ = 1, random(0, 4) do attr[one_of(attributes)] = perhaps(one_of(texts)); end
		return attr;
	end

	-- Above are the elements around it: one of them may be in it, too.
	local function any_element(above, name)
		local element = {};
		elements[#elements + 1] = element;
		local depth = #above + 1;
		above[depth] = element;
		element.name, element.attr = perhaps(name), perhaps(any_attributes());
		local tags, dice = {}, random(30);
		for i = 1, random(0, depth < 4 and 3 or 0) do
			local child = perhaps(random(20) == 1 and one_of(above) or any_element(above, one_of(names)));
			element[i], tags[random(20) == 1 and i + 1 or i] = child, child;
		end
		if random(3) == 1 then element[#element + 1] = perhaps(one_of(texts)); end
		element.tags = perhaps(dice == 1 and element or dice == 2 and one_of(above) or tags);
		if dice == 3 then element._push_id = one_of(values); end
		if dice == 4 then hostile.raising(element); end
		above[depth] = nil;
		return element;
	end

	-- One inside the other, or itself at last.
	local function deep_element()
		local outermost = any_element({}, "message");
		local element = outermost;
		for _ = 1, random(1000) do
			local child = { name = one_of(names); attr = any_attributes(); tags = {} };
			rawset(element, "tags", { child });
			element = child;
		end
		if random(2) == 1 then element.tags[1] = outermost; end
		return outermost;
	end

	local function any_stanza()
		elements = {};
		return random(1000) == 1 and deep_element() or any_element({}, "message");
	end

	local function resident()
		local file = io.open("/proc/self/statm");
		local pages = file:read("*a"):match("^%d+ (%d+)");
		file:close();
		return pages * 4;
	end

	it(("raise nothing, end, and leave no trace in memory (seed %d)"):format(seed), function ()
		math.randomseed(seed);
		local engine = native.engine();
		local archived, offline, unacked, read_queue = engine:readers();
		local record = { jid = "push.test"; node = "n1" };
		local records = { ["push.test<n1"] = record };
		local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
		local sessions = { phone = session; twin = { push_identifier = "push.test<n1" } };
		local queue = {};

		local function read(stanza, i)
			local source, stanzas = records, stanza;
			local reply;
			if i % 3 == 0 then
				reply = archived(user, records, nil, stanza, i % 2 == 0 and "a1" or nil);
			elseif i % 3 == 1 then
				reply = offline(user, records, nil, stanza);
			else
				queue[1], queue[2] = stanza, one_of(values);
				source, stanzas = session, queue;
				reply = unacked(user, session, sessions, queue, 1, i % 2 == 0);
			end
			if reply == true then
				local count, _, _, _, push = engine:settle(stanzas, source, i % 2 == 0);
				for n = 1, count do
					push = n == 1 and push or engine:next_push(stanzas, source, i % 2 == 0);
					engine:answered(push.attr.id, "push.test", false);
				end
			end
			if i % 3 == 2 and read_queue(user, session, sessions, queue) then engine:settle(queue, session, false); end
		end

		-- Making them takes longest, so that of eight only the first is new, and the others are
		-- that one with something else in it.
		local function read_all(count)
			local stanza;
			for i = 1, count do
				if i % 8 == 1 then stanza = any_stanza(); else rawset(one_of(elements), one_of(places), one_of(values)); end
				local ok, err = pcall(read, stanza, i);
				if not ok then error(("stanza %d: %s"):format(i, tostring(err))); end
			end
			engine:forget_user(user);
			engine:expire();
			collectgarbage();
			collectgarbage();
			return collectgarbage("count"), resident();
		end

		-- A byte for each stanza would be a megabyte. Malloc may keep twice the largest block that was
		-- ever freed, which is of 8 MiB here, but not again and again; a leak goes on.
		local count_before, resident_before = read_all(native.times(100000));
		local lua_growth, growth;
		for _ = 1, 3 do
			local count, size = read_all(native.times(300000));
			lua_growth, growth = count - count_before, size - resident_before;
			if lua_growth < 64 and growth < 24 * 1024 then break; end
			count_before, resident_before = count, size;
		end
		local grown = ("%.0f KiB more in Lua, %.0f KiB more in all"):format(lua_growth, growth);
		assert.is_true(lua_growth < 64 and growth < 24 * 1024, grown);
		works(engine);
	end);
end);
