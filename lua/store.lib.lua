-- Where registrations are, a store for each protocol

local util = module.lib "util";
local is_utf8 = util.prosody_require "util.encodings".utf8.valid;
local jid = util.prosody_require "util.jid";
local usermanager = util.prosody_require "core.usermanager";
local copy, none = util.copy, util.none;
local protocols = module.lib "protocols";
local push2, protocol_of = protocols.push2, protocols.of;

local ipairs, next, pairs, pcall, tostring, type = ipairs, next, pairs, pcall, tostring, type;

local host = module.host;

local store_fails = {}; -- "read" or "written" -> the user with whom it was noticed

-- A store that fails does so for every stanza: one line until it works again for that user
local function log_store(doing, user, err)
	local failing = store_fails[doing];
	if not err and failing ~= user then return; end
	store_fails[doing] = err and (failing or user) or nil;
	if err then
		module:log(failing and "debug" or "error", "Push registrations of %s cannot be %s: %s -- "
			.. "check the storage of this host; for others such lines are at level debug until then",
			user, doing, tostring(err));
	else
		module:log("info", "Push registrations of %s can be %s again", user, doing);
	end
end

-- One that cannot be opened is one that can neither be read nor written
local function open_store(name)
	local ok, opened, err = pcall(module.open_store, module, name);
	if ok and opened then return opened; end
	err = tostring(err or opened or "it cannot be opened");
	local function fail() return nil, err; end
	return { get = fail; set = fail; users = fail }, err;
end

local stores, missing_store = {}, nil; -- protocol -> store

for _, protocol in ipairs(protocols.all) do
	if protocol.is_chosen then
		local err;
		stores[protocol], err = open_store(protocol.store);
		missing_store = missing_store or err;
	end
end

if missing_store then
	store_fails = { read = true; written = true };
	module:log("error", "Cannot open the store of push registrations: %s -- nobody gets pushes; "
		.. "check the option 'storage' and restart", missing_store);
end

local function is_account(user)
	local ok, exists, err = pcall(usermanager.user_exists, user, host);
	return not ok or exists or err == "method not implemented";
end

-- Records of mod_push2 are known by what every registration has; they are stored without that. What a newer version
-- may have in its place stays as it is.

local function known_push2(id, record)
	local known = copy(record);
	known.protocol = type(record.protocol) == "string" and record.protocol or push2.name;
	known.overlaid = (record.jid ~= nil or record.node ~= nil) and { jid = record.jid; node = record.node } or nil;
	known.jid = type(record.service) == "string" and jid.prep(record.service) or record.service;
	known.node = record.client;
	if type(record.client_id) ~= "string" and type(record.resource) ~= "string" then known.resource = id; end
	return known;
end

local function stored_push2(record)
	local stored = copy(record);
	if record.protocol == push2.name then stored.protocol = nil; end
	stored.jid, stored.node, stored.overlaid = (record.overlaid or none).jid, (record.overlaid or none).node, nil;
	return stored;
end

-- As far as it can be read
local function parse(protocol, data)
	local records = {};
	for key, record in pairs(type(data) == "table" and data or none) do
		local is_one = type(key) == "string" and is_utf8(key) and type(record) == "table";
		local identifier = is_one and protocol.prefix .. key;
		if identifier and protocol_of(identifier) == protocol then
			records[identifier] = protocol == push2 and known_push2(key, record) or record;
		end
	end
	return records;
end

-- The records of a user in an array, by identifier for each protocol that is served; or nil and an error
local function read(user)
	local found, err = {}, nil;
	for _, protocol in ipairs(protocols.all) do
		if protocol.is_served and not err then
			local store = stores[protocol];
			local ok, data;
			ok, data, err = pcall(store.get, store, user);
			if not ok then err = data or "unknown error"; end
			found[#found + 1] = parse(protocol, data);
		end
	end
	log_store("read", user, err);
	if err then return nil, err; end
	return found;
end

-- Returns whether it was written, or nil and an error
local function write_one(protocol, user, records)
	local data = {};
	for identifier, record in pairs(records) do
		if protocol_of(identifier) == protocol then
			data[identifier:sub(#protocol.prefix + 1)] = protocol == push2 and stored_push2(record) or record;
		end
	end
	local store = stores[protocol];
	local ok, written, err = pcall(store.set, store, user, next(data) and data or nil);
	if not ok then return nil, written; end
	return written, err;
end

local function has_others(protocol, records, before)
	for identifier, record in pairs(records) do
		if protocol_of(identifier) == protocol and before[identifier] ~= record then return true; end
	end
end

-- Whether they have been stored, and whether something has been although that has failed. What is as it was before is
-- left alone, unless nobody knows that: there is no before, or it was changed in place.
local function write(user, records, before)
	local is_written = false;
	for _, protocol in ipairs(protocols.all) do
		local is_changed = not before or before == records or has_others(protocol, records, before)
			or has_others(protocol, before, records);
		if protocol.is_served and is_changed then
			local written, err = write_one(protocol, user, records);
			if not written then
				log_store("written", user, err or "unknown error");
				return false, is_written;
			end
			is_written = true;
		end
	end
	log_store("written", user);
	return true;
end

-- The names of all who have registrations, in an array; or nil and why they are not known
local function users()
	local names, seen = {}, {};
	local function add_users(store)
		local next_user, state, first = store:users();
		if not next_user then return state or "unknown error"; end
		for name in next_user, state, first do
			if not seen[name] then names[#names + 1] = name; end
			seen[name] = true;
		end
	end
	for protocol, store in pairs(stores) do
		if protocol.is_served then
			if not store.users then return nil, "The storage of this host cannot list users"; end
			local _, err = pcall(add_users, store);
			if err then return nil, ("The storage of this host cannot list users: %s"):format(tostring(err)); end
		end
	end
	table.sort(names);
	return names;
end

return {
	version = "@VERSION@";
	open = open_store;
	is_missing = missing_store ~= nil;
	is_account = is_account;
	known_push2 = known_push2;
	read = read;
	users = users;
	write = write;
};
