-- Registrations: user -> identifier -> record, as they are in the store

local native = module.lib "native";
local util = module.lib "util";
local cache = util.prosody_require "util.cache";
local monotonic = util.prosody_require "util.time".monotonic;
local copy, none = util.copy, util.none;
local options_lib = module.lib "options";
local options, text = options_lib.values, options_lib.text;
local engine = module.lib "engine".engine;
local store = module.lib "store";
local is_account, read_store, write_store = store.is_account, store.read, store.write;
local protocol_of, protocols = module.lib "protocols".of, module.lib "protocols".all;
local history = module.lib "history";
local add_history, forget_seen = history.add, history.forget;
local sessions = module.lib "sessions";
local user_sessions, is_suspended = sessions.user_sessions, sessions.is_suspended;
local detach, detach_all, attach_owners = sessions.detach, sessions.detach_all, sessions.attach_owners;

local ipairs, next, pairs, type = ipairs, next, pairs, type;
local unpack = table.unpack;

local host = module.host;

local max_cached_users = 10000; -- whose registrations are kept in memory, and as many who have none
local max_cached_bytes = 128*1024*1024; -- of all registrations in memory
local max_user_bytes = 16*1024*1024; -- What takes more is refused; if others have written it, it is read each time
local max_moved_bytes = 1024*1024; -- What may be read or written for one user in a second: long lists of chats
local min_rest = 1; -- Only long lists take more than a second

local push_errors = module:shared("push_errors"); -- identifier -> count, for administrators' tools

-- Others write to the store, too. So what was read is trusted for push_cache_age; from then on it only
-- tells what has changed.
local fresh = {}; -- user -> records, if there are any
local without, without_left = {}, max_cached_users; -- user -> true, if there are none
local trust_timer;
local sizes, total_size = {}, 0; -- user -> bytes, about
local graced = {}; -- user -> whether any of them has a grace
local read_rest, write_rest = {}, {}; -- user -> until when they are not to be read, or written, once more

local function let_go(user, records)
	total_size = total_size - (sizes[user] or 0);
	sizes[user], fresh[user], graced[user] = nil, nil, nil;
	for identifier in pairs(records) do push_errors[identifier] = nil; end
end

-- What was read last, of those who have any. A user who has not been seen for long is let go of.
local accounts = cache.new(max_cached_users, let_go);

local function forget_records(user)
	local records = accounts:get(user);
	if records then
		let_go(user, records);
		accounts:set(user, nil);
	end
end

local function size_of(value, depth)
	if type(value) == "string" then return 40 + #value; end
	if type(value) ~= "table" or depth == 0 then return 40; end
	local size = 80;
	for key, field in next, value do size = size + size_of(key, 0) + size_of(field, depth - 1); end
	return size;
end

local function has_grace(records)
	for _, record in pairs(records) do
		for _, match in pairs(type(record.matches) == "table" and record.matches or none) do
			if type(match) == "table" and match.grace then return true; end
		end
	end
	return false;
end

local function begin_rest(rests, user)
	local rest = (sizes[user] or 0) / max_moved_bytes;
	if rest > min_rest then rests[user] = monotonic() + rest; end
end

local function is_resting(rests, user)
	return monotonic() < (rests[user] or 0);
end

local function end_trust()
	read_rest, write_rest = {}, {};
	trust_timer, fresh, without, without_left = nil, {}, {}, max_cached_users;
end

local function remember(user, records)
	trust_timer = trust_timer or module:add_timer(options.push_cache_age, end_trust);
	local size = next(records) and size_of(user) + size_of(records, 16) or 0;
	without[user] = nil;
	if size == 0 then
		forget_records(user);
		if without_left == 0 then without, without_left = {}, max_cached_users; end
		without[user], without_left = true, without_left - 1;
	elseif size > max_user_bytes then
		forget_records(user);
	else
		total_size = total_size - (sizes[user] or 0) + size;
		accounts:set(user, records);
		sizes[user], fresh[user], graced[user] = size, records, has_grace(records);
		while total_size > max_cached_bytes do forget_records((accounts:tail())); end
	end
	for _, session in pairs(user_sessions(user) or none) do
		for _, protocol in pairs(protocols) do
			local record = records[session[protocol.identifier] or false];
			if record then session[protocol.settings] = record; end
		end
	end
end

local function forget_registration(user, identifier)
	engine:forget(user, identifier);
	push_errors[identifier] = nil;
	detach_all(user, identifier);
end

local function client_of(record)
	return text(record.client_id) or text(record.resource);
end

local function is_same_enabling(one, other)
	return text(one.timestamp) == text(other.timestamp) and text(one.sequence) == text(other.sequence);
end

-- What others have changed in the store changes here
local function follow_store(user, records)
	for identifier, before in pairs(accounts:get(user) or none) do
		local record = records[identifier];
		if not record or client_of(record) ~= client_of(before) then
			forget_registration(user, identifier);
		elseif is_suspended(record) then
			if not is_suspended(before) then detach_all(user, identifier); end
		elseif is_suspended(before) or not is_same_enabling(record, before) then
			engine:enabled(user, identifier);
			push_errors[identifier] = nil;
			attach_owners(user, records, identifier);
		end
	end
	for _, session in pairs(user_sessions(user) or none) do
		for _, protocol in pairs(protocols) do
			local identifier = session[protocol.identifier];
			if type(identifier) == "string" and not records[identifier] then forget_registration(user, identifier); end
		end
	end
end

-- Of each protocol there may be so many
local function merge(found)
	local records = {};
	for _, of_protocol in pairs(found) do
		for identifier, record in pairs(of_protocol) do records[identifier] = record; end
		for _, identifier in pairs(native.surplus(of_protocol, options.push_max_devices)) do
			records[identifier] = nil;
		end
	end
	return records;
end

-- As the store has them now; nil if it cannot be read
local function read_records(user)
	if fresh[user] and is_resting(read_rest, user) then return fresh[user]; end
	local exists = is_account(user);
	local found = read_store(user);
	if not found then return; end -- Nor are accounts known to be gone then
	local records = exists and merge(found) or {}; -- Nothing is kept of nobody
	follow_store(user, records);
	if exists then remember(user, records); else forget_records(user); end
	begin_rest(read_rest, user);
	return records;
end

-- The same for one of many: nothing of it stays in memory
local function peek_records(user)
	if fresh[user] then return fresh[user]; end
	local found = read_store(user);
	return found and (is_account(user) and merge(found) or {});
end

local function load_records(user)
	return fresh[user] or without[user] and none or read_records(user);
end

-- The user's registrations, or nil if there are none
local function get_records(user)
	local records = load_records(user);
	if not records then engine:blind(user); end
	return records and next(records) and records;
end

-- Whether it may matter for any of them when the user has been active: unless that is known, it may
local function may_have_grace(user)
	return not without[user] and (not fresh[user] or graced[user]);
end

-- How many are in memory: label of the protocol -> state -> number
local function count()
	local counts = {};
	for _, protocol in pairs(protocols) do counts[protocol.label] = { ["in-force"] = 0; suspended = 0 }; end
	for _, records in accounts:items() do
		for identifier, record in pairs(records) do
			local states = counts[protocol_of(identifier).label];
			local state = is_suspended(record) and "suspended" or "in-force";
			states[state] = states[state] + 1;
		end
	end
	return counts;
end

-- They have been read just before
local function save_records(user, records)
	local saved, is_torn = write_store(user, records, accounts:get(user) or without[user] and none or nil);
	if is_torn then fresh[user], without[user] = nil, nil; end -- What is there now, the stores know
	if not saved then return false; end
	remember(user, records);
	begin_rest(write_rest, user);
	return true;
end

-- Whether they may be written now, for the user asks for it. Each time it is all of them.
local function may_save(user)
	return not is_resting(write_rest, user);
end

local function fits(user, records)
	return size_of(user) + size_of(records, 16) <= max_user_bytes;
end

-- What happens to them is "removed" or the like
local function remove_registrations(user, identifiers, what, by, why)
	local records = read_records(user);
	if not records then return false; end
	local remaining = copy(records);
	for _, identifier in pairs(identifiers) do remaining[identifier] = nil; end
	if not save_records(user, remaining) then return false; end
	local happened = {};
	for i, identifier in ipairs(identifiers) do
		forget_registration(user, identifier);
		happened[i] = { what = what; identifier = identifier; record = records[identifier]; by = by; why = why };
	end
	add_history(user, unpack(happened));
	return true;
end

local function on_user_deleted(event)
	if event.host ~= host then return; end
	local user = event.username;
	for _, session in pairs(user_sessions(user) or none) do
		for _, protocol in pairs(protocols) do detach(session, protocol); end
	end
	engine:forget_user(user);
	forget_seen(user);
	remember(user, none); -- The store itself is purged after this event
end

return {
	version = "@VERSION@";
	push_errors = push_errors;
	read = read_records;
	peek = peek_records;
	load = load_records;
	get = get_records;
	may_have_grace = may_have_grace;
	count = count;
	end_trust = end_trust;
	save = save_records;
	may_save = may_save;
	fits = fits;
	max_user_bytes = max_user_bytes;
	remove = remove_registrations;
	forget = forget_registration;
	on_user_deleted = on_user_deleted;
};
