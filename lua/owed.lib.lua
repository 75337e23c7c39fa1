-- What is owed outlives a restart, but not a crash: it is gone from the store before anything is sent

local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local store = module.lib "store";

local os_time = os.time;
local next, pcall, tonumber, tostring, type = next, pcall, tonumber, tostring, type;

local owed_store = store.open("cloud_notify_owed");

local function save_owed()
	local owed = engine:owed();
	if not owed then return; end
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
	local count, delay = engine:restore(owed, elapsed > 0 and elapsed < 1e9 and elapsed or 0);
	arm(delay);
	module:log("info", "%d devices are owed a push from before the restart", count);
end

return {
	version = "@VERSION@";
	save = save_owed;
	restore = restore_owed;
};
