-- Where registrations are, and what is owed over a restart

local usermanager = module.lib "util".prosody_require "core.usermanager";

local next, pcall, tostring = next, pcall, tostring;

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

local store, missing_store = open_store();
if missing_store then
	store_fails = { read = true; written = true };
	module:log("error", "Cannot open the store of push registrations: %s -- nobody gets pushes; "
		.. "check the option 'storage' and restart", missing_store);
end

local function is_account(user)
	local ok, exists, err = pcall(usermanager.user_exists, user, host);
	return not ok or exists or err == "method not implemented";
end

-- What is in the store of a user, or nil and an error
local function read(user)
	local ok, data, err = pcall(store.get, store, user);
	if not ok then err = data or "unknown error"; end
	log_store("read", user, err);
	if err then return nil, err; end
	return data;
end

-- Returns whether they have been stored
local function write(user, records)
	local ok, written, err = pcall(store.set, store, user, next(records) and records or nil);
	if not ok then written, err = false, written; end
	log_store("written", user, not written and (err or "unknown error") or nil);
	return written;
end

-- The names of all who have registrations, in an array; or nil and why they are not known
local function users()
	if not store.users then return nil, "The storage of this host cannot list users"; end
	local names = {};
	local ok, err = pcall(function ()
		local next_user, state, first = store:users();
		if not next_user then return state or "unknown error"; end
		for name in next_user, state, first do names[#names + 1] = name; end
	end);
	if err then return nil, ("The storage of this host cannot list users: %s"):format(tostring(err)); end
	table.sort(names);
	return ok and names;
end

return {
	version = "0.2.0";
	open = open_store;
	is_missing = missing_store ~= nil;
	is_account = is_account;
	read = read;
	users = users;
	write = write;
};
