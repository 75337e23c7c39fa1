-- What is owed outlives a restart, but not a crash: it is gone from the store before anything is sent. What only a
-- newer version knows of it is stored once more, as long as the rest is owed.

local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local store = module.lib "store";
local none = module.lib "util".none;

local os_time = os.time;
local ipairs, next, pairs, pcall = ipairs, next, pairs, pcall;
local tonumber, tostring, type = tonumber, tostring, type;

local owed_store = store.open("cloud_notify_owed");

local known = {
	all = { saved = true; devices = true; services = true };
	device = {
		user = true; identifier = true; service = true; important = true; age = true; due_in = true; failures = true;
		failing_for = true; suspended = true;
	};
	service = { jid = true; failures = true; age = true };
};

local kept = { since = 0; all = {}; devices = {}; services = {} }; -- What is not known, by what it is of

local function unknown_of(entry, names)
	local unknown = {};
	for name, value in pairs(type(entry) == "table" and entry or none) do
		if type(name) == "string" and not names[name] then unknown[name] = value; end
	end
	return next(unknown) and unknown;
end

local function device_key(device)
	return tostring(device.user) .. "@" .. tostring(device.identifier);
end

local function keep(owed)
	kept = { since = os_time(); all = unknown_of(owed, known.all) or {}; devices = {}; services = {} };
	for _, device in pairs(type(owed.devices) == "table" and owed.devices or none) do
		local unknown = unknown_of(device, known.device);
		if unknown then kept.devices[device_key(device)] = unknown; end
	end
	for _, service in pairs(type(owed.services) == "table" and owed.services or none) do
		local unknown = unknown_of(service, known.service);
		if unknown then kept.services[tostring(service.jid)] = unknown; end
	end
end

-- It is of what was owed or failed by then, and of nothing since
local function add_kept(owed)
	local age = os_time() - kept.since - 1;
	local function add(entry, unknown)
		for name, value in pairs(unknown or none) do entry[name] = value; end
	end
	add(owed, kept.all);
	for _, device in ipairs(owed.devices) do
		add(device, device.age >= age and kept.devices[device_key(device)]);
	end
	for _, service in ipairs(owed.services) do
		add(service, kept.services[service.jid]);
	end
	return owed;
end

local function save_owed()
	local owed = engine:owed();
	if not owed and not next(kept.all) then return; end
	owed = add_kept(owed or { devices = {}; services = {} });
	owed.saved = os_time();
	local ok, saved, err = pcall(owed_store.set, owed_store, nil, owed);
	if not ok or not saved then
		module:log("error", "Cannot store which devices are owed a push, they will get none: %s -- "
			.. "check the storage of this host", tostring(err or saved));
	end
end

local function restore_owed()
	local ok, owed, err = pcall(owed_store.get, owed_store, nil);
	if not ok or err then
		module:log(store.is_missing and "debug" or "error", -- Said already
			"Cannot read from the store which devices are owed a push, they will get none: %s -- "
			.. "check the storage of this host", tostring(err or owed));
	end
	if not ok or type(owed) ~= "table" then return; end
	local removed;
	ok, removed, err = pcall(owed_store.set, owed_store, nil, nil);
	if not next(owed) then return; end -- A storage that keeps nothing says so, too
	if not ok or not removed then
		module:log("error", "Cannot remove from the store which devices are owed a push, they will get none: %s -- "
			.. "check the storage of this host", tostring(err or removed));
		return;
	end
	local elapsed = os_time() - (tonumber(owed.saved) or 0);
	keep(owed);
	local count, delay = engine:restore(owed, elapsed > 0 and elapsed < 1e9 and elapsed or 0);
	arm(delay);
	module:log("info", "%d devices are owed a push from before the restart", count);
end

local function restore_kept(saved)
	kept = saved or kept;
end

return {
	version = "@VERSION@";
	kept = function () return kept; end;
	restore_kept = restore_kept;
	save = save_owed;
	restore = restore_owed;
};
