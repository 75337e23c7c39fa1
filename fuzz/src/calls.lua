-- What lua/mod_cloud_notify.lua asks of the native module, with values that it would never have.

local native, is_xml = ...;

-- Prosody's own util.stanza, which makes and writes what the module is given and gives.
package.path = "/usr/lib/prosody/?.lua;" .. package.path;
package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath;
local st = require "util.stanza";

local user, host, own = "anna", "home.test", "anna@home.test/phone";
local now, max_devices = 1700000000, 3;
local options = {
	contact_uri = "xmpp:home.test";
	push_answer_timeout = 120;
	push_coalesce_window = 1;
	push_max_errors = 2;
	push_max_failures = 0;
	push_max_in_flight = 100;
	push_max_per_minute = 0;
	push_notification_important_body = "New Message!";
	push_notification_count = "unread";
	push_notification_with_body = true;
	push_notification_with_sender = true;
	push_notify_on = "all";
	push_notify_read = true;
	push_recovery_rate = 50;
	push_retry_age = 86400;
	push_retry_max = 1800;
	push_retry_min = 5;
	push_trace = true;
	push_wake_before_timeout = 0;
};

-- A store gives no table that contains itself. With one, st.deserialize() ends when Lua's stack is
-- full, but that takes a second.
local function deserialize(form)
	local left = 1000;
	local function visit(element, depth)
		left = left - 1;
		if left < 0 or depth > 50 then error("too large"); end
		for _, child in next, element do
			if type(child) == "table" then visit(child, depth + 1); end
		end
	end
	visit(form, 1);
	return st.deserialize(form);
end

local function new_engine()
	native.close(host);
	local engine = native.open(host, st.stanza_mt, deserialize);
	engine:configure(options);
	engine:learn_chat_settings(user, {});
	return engine;
end

-- An error is an answer, too.
local function ask(f, ...)
	local results = table.pack(pcall(f, ...));
	if results[1] then return table.unpack(results, 2, results.n); end
end

local function check_push(engine, stanza, identifier, important, details)
	local id, service = stanza.attr.id, stanza.attr.to;
	assert(is_xml(tostring(stanza)));
	assert(stanza.attr.from == host, "a push that nobody can answer");
	local record = details and details.record; -- A push of push2 has no listeners
	assert(record or stanza.name == "message", "neither a publish nor a message");
	if record then assert(is_xml(tostring(engine:discreet(id, record, important)))); end
	if important then
		local outcome, _, _, found = engine:answered(id, service, true, "cancel", "item-not-found");
		-- Some are no addresses, and nobody can answer from there.
		assert(found == identifier or not record or service ~= record.jid:lower(), "an answer to nothing");
		if outcome == "removed" then engine:forget(user, identifier); end
	else
		engine:vetoed(id);
	end
end

local function carry_out(engine, reply, stanzas, source)
	if reply ~= true then
		assert(not reply or type(reply) == "string", "neither a reason nor work");
		return;
	end
	local count, _, _, _, stanza, identifier, important, details = ask(engine.settle, engine, stanzas, source, true);
	for i = 1, count or 0 do
		if i > 1 then stanza, identifier, important, details = ask(engine.next_push, engine, stanzas, source, true); end
		if stanza then check_push(engine, stanza, identifier, important, details); end
	end
end

local function nobody_knows() end

local function meet_by(reader, engine, records, sessions, stanza, more)
	local reply = ask(reader, user, records, sessions, stanza, more);
	if reply == false then
		local judged = ask(engine.judge, engine, user, records, stanza, nobody_knows, nobody_knows, sessions, 1000);
		reply = ask(reader, user, records, sessions, stanza, more, judged or {});
	end
	carry_out(engine, reply, stanza, records);
end

local function meet(engine, readers, records, sessions, stanza)
	meet_by(readers[1], engine, records, sessions, stanza, "a1");
	meet_by(readers[2], engine, records, sessions, stanza);
end

local function go_through(engine, readers, session, sessions, queue, is_push2)
	local place, steps, judged = 1, 0, nil;
	repeat
		steps = steps + 1;
		assert(steps < 10000, "a queue without end");
		local reply, next_place = ask(readers[3], user, session, sessions, queue, place, true, judged, is_push2);
		if reply == false then
			assert(not judged, "never judged enough");
			local record = is_push2 and session.push2_settings or session.push_settings;
			judged = ask(engine.judge_queue, engine, user, record, queue, 1, nobody_knows, nobody_knows, sessions, 1000,
				session.push2_identifier);
			if not judged then break; end
			next_place = place;
		else
			carry_out(engine, reply, queue, session);
		end
		place = next_place;
	until not place
	if ask(readers[4], user, session, sessions, queue) then ask(engine.settle, engine, queue, session, true); end
end

-- What administrators are told
local function look_back(engine, records, sessions)
	for _, entry in ipairs(engine:trail(user)) do
		assert(type(entry.event) == "string" and entry.since <= entry.at and entry.count > 0, "a damaged entry");
	end
	for identifier, record in next, records do
		ask(engine.outlook, engine, user, identifier, record, sessions, 100, true);
		ask(engine.device, engine, user, identifier);
	end
	engine:services();
	engine:counts(true);
	engine:gauges();
end

local function greeting()
	return st.message({ from = "bert@away.test/pc", to = "anna@home.test", id = "m1" }, "Hi");
end

local function composing()
	local xmlns = "http://jabber.org/protocol/chatstates";
	return st.message({ from = "bert@away.test/pc" }):tag("composing", { xmlns = xmlns });
end

local function check_order(stored)
	-- As the shim does when it loads them
	local records = {};
	for identifier, record in next, stored do
		if type(identifier) == "string" and type(record) == "table" then records[identifier] = record; end
	end
	local function remove(identifiers)
		for _, identifier in ipairs(identifiers or {}) do
			assert(type(rawget(records, identifier)) == "table", "an identifier that is none");
			rawset(records, identifier, nil);
		end
	end
	remove(ask(native.matching, records, "push.test", "n1"));
	local displaced, timestamp, sequence =
		ask(native.admit, records, "push.test", "n1", "client", "phone", max_devices, now);
	if not displaced then return; end
	assert(math.type(timestamp) == "integer" and timestamp >= now and math.type(sequence) == "integer");
	remove(displaced);
	rawset(records, "push.test<n1", { jid = "push.test"; node = "n1"; timestamp = timestamp; sequence = sequence });
	-- What cannot be read goes first.
	remove(ask(native.surplus, records, max_devices));
	local surplus = ask(native.surplus, records, max_devices);
	assert(surplus and not surplus[1], "too many after room was made");
	local owner = ask(native.owned_by, records, "client", "phone");
	assert(owner == nil or rawget(records, owner), "owned, but not there");
	remove(ask(native.surplus, records, 1));
	assert(sequence == math.maxinteger or rawget(records, "push.test<n1"), "the newest is not the newest");
end

local calls = {};

-- What was owed before a restart.
function calls.owed(owed)
	local engine = new_engine();
	local count = ask(engine.restore, engine, owed, 60);
	assert(not count or count == engine:waiting(), "owed, but not waiting");
	local again = engine:owed();
	if again then assert(ask(new_engine().restore, new_engine(), again, 0), "not owed any more"); end
end

-- A user's records; they serve as sessions, too.
function calls.record(records)
	local engine = new_engine();
	local readers = { engine:readers() };
	meet(engine, readers, records, nil, greeting());
	meet(engine, readers, records, records, composing());
	if type(records) ~= "table" then return; end
	for identifier, record in next, records do
		local session = {
			push_identifier = identifier; push_settings = record;
			push2_identifier = identifier; push2_settings = record;
			hibernating = 1;
		};
		local sessions = { phone = session; other = record };
		for _, is_push2 in ipairs({ false, true }) do
			go_through(engine, readers, session, sessions, { greeting(), composing(), composing() }, is_push2);
		end
		go_through(engine, readers, record, records, { greeting() });
		for method, arguments in pairs({ release = { sessions; true }; ping = { true } }) do
			local _, stanza, name, important, details = ask(engine[method], engine, user, identifier, record,
				table.unpack(arguments));
			if stanza then check_push(engine, stanza, name, important, details); end
		end
		local suspended, wait = ask(native.suspend, record, "gone", nil, now);
		assert(not suspended or wait >= 0 and wait <= 16 * 86400, "suspended for ever");
		look_back(engine, records, sessions);
		ask(engine.back, engine, user, identifier);
		ask(engine.forget, engine, user, identifier);
	end
	check_order(records);
end

-- A stanza, or a queue of them.
function calls.stanza(stanza)
	local engine = new_engine();
	local readers = { engine:readers() };
	local record = { jid = "push.test"; node = "n1" };
	local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
	meet(engine, readers, { ["push.test<n1"] = record }, nil, stanza);
	ask(engine.learn_chat_settings, engine, user, { stanza });
	meet(engine, readers, { ["push.test<n1"] = record }, nil, stanza);
	engine:learn_chat_settings(user, {});
	for _, queue in ipairs({ { stanza, stanza }, stanza }) do
		go_through(engine, readers, session, { phone = session; twin = { push_identifier = "push.test<n1" } }, queue);
		local _, push, name, important, details = engine:release(user, "push.test<n1", record,
			{ phone = session }, true);
		if push then check_push(engine, push, name, important, details); end
	end
	-- It joins the queue of a session for which a push may speak
	for _ = 1, 2 do
		carry_out(engine, ask(readers[3], user, session, { phone = session }, stanza, 0), stanza, session);
	end
	look_back(engine, { ["push.test<n1"] = record }, { phone = session });
	local address, _, condition = ask(native.enable, stanza, own);
	if address then
		assert(address.identifier == address.jid .. "<" .. (address.node or ""), "an identifier of something else");
		assert(native.disable(stanza).jid == address.jid, "enabled, but not to be disabled");
	elseif type(stanza) == "table" then
		assert(type(condition) == "string", "refused without a reason");
	end
	local enabled2, _, condition2 = ask(native.enable2, stanza, own);
	if enabled2 then
		assert(enabled2.matches[1] and enabled2.jid == enabled2.service, "enabled for nothing");
	elseif type(stanza) == "table" then
		assert(type(condition2) == "string", "refused without a reason");
	end
	ask(native.disable, stanza);
	ask(native.revoked_node, stanza, "anna@home.test");
end

local function raise()
	error("a metamethod was called");
end

return calls, { __index = raise; __newindex = raise; __len = raise; __pairs = raise; __eq = raise; __tostring = raise };
