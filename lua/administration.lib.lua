-- What administrators may do, on plain data: whoever calls says it to people

local native = module.lib "native";
local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local now = util.prosody_require "util.time".now;
local copy, none = util.copy, util.none;
local options = module.lib "options".values;
local engine = module.lib "engine".engine;
local sessions = module.lib "sessions";
local user_sessions, is_suspended, owned_by = sessions.user_sessions, sessions.is_suspended, sessions.owned_by;
local protocols = module.lib "protocols";
local is_known, protocol_of, push2 = protocols.is_known, protocols.of, protocols.push2;
local store = module.lib "store";
local is_account = store.is_account;
local explain = module.lib "explain";
local history = module.lib "history";
local name_of = history.name_of;
local registrations = module.lib "registrations";
local read_records, peek_records, remove_registrations = registrations.read, registrations.peek, registrations.remove;
local awaited = module.lib "reports".awaited;
local publishing = module.lib "publishing";
local publish_now, has_listeners = publishing.publish_now, publishing.has_listeners;

local math_floor, math_max, math_min = math.floor, math.max, math.min;
local os_time = os.time;
local ipairs, next, pairs, type = ipairs, next, pairs, type;

local hosts = prosody.hosts;
local host = module.host;

local day = 24*3600;
local time_for_errors = 5; -- Services of push2 answer nothing else: for so long, a test waits for them

local function number(value)
	return type(value) == "number" and value or nil;
end

local function text(value)
	return native.is_xml_text(value) and value or nil;
end

-- Where the client of a registration is. One that is suspended has no sessions, but its client may.
local function state_of(user, records, identifier)
	local state, protocol = "away", protocol_of(identifier);
	for _, session in pairs(user_sessions(user) or none) do
		local of = is_suspended(records[identifier])
			and owned_by(session, protocol, records, true) or session[protocol.identifier];
		if of == identifier and not session.hibernating then return "live"; end
		if of == identifier then state = "hibernated"; end
	end
	return state;
end

local function describe(user, records, identifier, last_seen)
	local record = records[identifier];
	local device = engine:device(user, identifier) or none;
	local name = name_of(identifier);
	local suspended = is_suspended(record) and record.suspended;
	return {
		user = user;
		name = name;
		identifier = identifier;
		protocol = protocol_of(identifier).name;
		is_known = is_known(identifier, record);
		jid = text(record.jid);
		client = text(record.client_id) or text(record.resource);
		enabled = number(record.timestamp);
		last_seen = last_seen and last_seen[name];
		state = state_of(user, records, identifier);
		errors = device.errors or 0;
		owed_since = not suspended and device.waiting and math_floor(os_time() - device.waiting) or nil;
		waits_for = not suspended and device.cause or nil;
		suspended = suspended and {
			since = number(suspended.since);
			next_trial = number(suspended["until"]);
			condition = text(suspended.condition);
			text = text(suspended.text) and history.without_node(suspended.text, identifier, record);
		} or nil;
	};
end

local function list_of(user, records)
	local listed = {};
	local _, last_seen = history.read(user);
	for identifier in pairs(records) do listed[#listed + 1] = describe(user, records, identifier, last_seen); end
	table.sort(listed, function (a, b)
		if a.enabled ~= b.enabled then return (a.enabled or 0) < (b.enabled or 0); end
		local a_sequence, b_sequence = records[a.identifier].sequence, records[b.identifier].sequence;
		if a_sequence ~= b_sequence then return (number(a_sequence) or 0) < (number(b_sequence) or 0); end
		return a.identifier < b.identifier;
	end);
	return listed;
end

local function no_account(user)
	return nil, ("There is no account %s@%s"):format(user, host);
end

local function unreadable(user)
	return nil, ("The registrations of %s@%s cannot be read: the log says why"):format(user, host);
end

-- A user's registrations, the oldest first
local function list(user)
	if not is_account(user) then return no_account(user); end
	local records = read_records(user);
	if not records then return unreadable(user); end
	return list_of(user, records);
end

-- What has happened to a user's registrations, the oldest first
local function read_history(user)
	if not is_account(user) then return no_account(user); end
	local entries, problem = history.read(user);
	if not entries then return nil, ("The history of %s@%s cannot be read: %s"):format(user, host, problem); end
	return entries;
end

-- What has happened to an account's registrations and what has been decided for them, oldest first, and the
-- registrations with what would become of a message now: { entries, devices, problems }. What cannot be read is one
-- of the problems.
local function explain_account(user)
	if not is_account(user) then return no_account(user); end
	local entries, history_problem = explain.look_back(user);
	local devices, problem = list(user);
	local records = devices and read_records(user);
	for _, one in ipairs(devices or none) do
		one.outlook = explain.outlook(user, one.identifier, records[one.identifier], one.state, one.suspended);
	end
	local problems = {};
	if problem then problems[#problems + 1] = problem; end
	if history_problem then
		problems[#problems + 1] = ("The history of %s@%s cannot be read: %s"):format(user, host, history_problem);
	end
	if not options.push_trace then
		problems[#problems + 1] = "push_trace is off: what is decided is not remembered";
	end
	return { entries = entries; devices = devices; problems = problems };
end

-- The names of all users with registrations, in an array
local function users()
	return store.users();
end

-- The same as list, of somebody whom users() has named. Nothing of it stays in memory.
local function list_one_of_many(user)
	local records = peek_records(user);
	if not records then return unreadable(user); end
	return list_of(user, records);
end

-- The identifier of a user's registration by its name, or by itself; and all of the user's records
local function find(user, name)
	if not is_account(user) then return no_account(user); end
	local records = read_records(user);
	if not records then return unreadable(user); end
	if records[name] then return name, records; end
	local found;
	for identifier in pairs(records) do
		if name_of(identifier) == name then
			if found then return nil, ("Several registrations of %s@%s have this name"):format(user, host); end
			found = identifier;
		end
	end
	if not found then
		return nil, next(records) and ("%s@%s has no registration of this name"):format(user, host)
			or ("%s@%s has no registrations"):format(user, host);
	end
	return found, records;
end

local function remove_found(user, identifier, records, what, by, why)
	local removed = list_of(user, { [identifier] = records[identifier] })[1];
	if not remove_registrations(user, { identifier }, what, by, why) then
		return nil, ("The registrations of %s@%s cannot be written: the log says why"):format(user, host);
	end
	module:log("info", "Push registration %s of %s at %s was removed by %s", removed.name, user, removed.jid, by);
	return removed;
end

-- Returns what has been removed. By is "admin", or "client" for the user.
local function remove(user, name, by)
	local identifier, records = find(user, name);
	if not identifier then return nil, records; end
	return remove_found(user, identifier, records, "removed", by or "admin");
end

-- Those that were neither enabled nor attached to a session for so many days. If really, they are removed. Returns
-- them, and which users' could not be read or written. Where pause is given, it is called now and then.
local function prune(days, really, pause)
	local all, err = users();
	if not all then return nil, err; end
	local before = os_time() - days * day;
	local pruned, failed = {}, {};
	for i, user in ipairs(all) do
		if pause and i % 100 == 0 then pause(); end
		local listed, is_failed = list_one_of_many(user), false;
		for _, one in ipairs(listed or none) do
			local last = math_max(one.enabled or 0, one.last_seen or 0);
			if one.is_known and one.state == "away" and last < before then
				local records = really and read_records(user);
				local record = records and records[one.identifier];
				if not really or record and record.timestamp == one.enabled
					and remove_found(user, one.identifier, records, "pruned", "admin", ("unused for %d days"):format(days)) then
					pruned[#pruned + 1] = one;
				else
					is_failed = true;
				end
			end
		end
		if not listed or is_failed then failed[#failed + 1] = user; end
	end
	return pruned, failed;
end

local function way_to(service)
	local there = hosts[service] or hosts[jid.host(service) or service];
	if not there then return "server"; end
	local component = there.modules and there.modules.component;
	if not component then return "host"; end
	return component.connected and "component" or "component that is not connected";
end

local function held_back(user, identifier)
	local device = engine:device(user, identifier);
	return device and device.cause;
end

-- Sends a push without a message, and calls back with what has come of it: { name, identifier, protocol, jid, id, way,
-- outcome, condition, text, seconds }. Returns that, as far as it is known, if it has left.
local function test(user, name, callback)
	local identifier, records = find(user, name);
	if not identifier then return nil, records; end
	local record = records[identifier];
	local shown = name_of(identifier);
	if is_suspended(record) then return nil, ("%s is suspended: nothing is sent but trials"):format(shown); end
	local delay, stanza, key, important, details = engine:ping(user, identifier, record, has_listeners());
	if not stanza then
		publish_now(user, delay);
		return nil, ("%s is not sent one now: %s"):format(shown,
			held_back(user, identifier) or explain.what_is_wrong(identifier, record));
	end
	local protocol = protocol_of(identifier);
	local test_result = {
		user = user; name = shown; identifier = identifier; protocol = protocol.name;
		jid = stanza.attr.to; id = stanza.attr.id; way = way_to(stanza.attr.to);
	};
	local begin, timeout = now(), nil;
	local function answer(outcome, condition, description)
		if not awaited[test_result.id] then return; end
		awaited[test_result.id] = nil;
		if timeout then timeout:stop(); end
		if protocol == push2 and outcome == "delivered" then outcome = "sent"; end -- Nobody has said so
		test_result.outcome, test_result.condition = outcome, condition;
		test_result.text = description and history.without_node(description, identifier, record);
		test_result.seconds = now() - begin;
		callback(test_result);
	end
	awaited[test_result.id] = answer;
	local patience = options.push_answer_timeout + 1;
	timeout = module:add_timer(protocol == push2 and math_min(patience, time_for_errors) or patience, function ()
		timeout = nil;
		if protocol == push2 then return answer("sent"); end
		answer("failed", "no answer");
	end);
	local left, problem = publish_now(user, delay, stanza, key, important, details);
	if not left then
		awaited[test_result.id] = nil;
		timeout:stop();
		return nil, ("%s was not sent one: %s"):format(shown, problem or "the log says why");
	end
	return test_result;
end

local function end_tests()
	for _, answer in pairs(copy(awaited)) do answer("failed", "the module is unloaded"); end
end

-- Push services, in the order of their names. Times are in seconds.
local function services()
	local all = engine:services();
	table.sort(all, function (a, b) return a.jid < b.jid; end);
	return all;
end

return {
	version = "@VERSION@";
	list = list;
	list_one_of_many = list_one_of_many;
	history = read_history;
	explain = explain_account;
	decisions = explain.decisions;
	users = users;
	find = find;
	remove = remove;
	prune = prune;
	test = test;
	end_tests = end_tests;
	services = services;
};
