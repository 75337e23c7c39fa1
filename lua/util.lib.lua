-- What every file needs

local pairs, pcall, xpcall = pairs, pcall, xpcall;
local traceback = debug.traceback;

local function prosody_require(name)
	local ok, lib = pcall(require, "prosody." .. name); -- COMPAT 0.12 has no prefix
	return ok and lib or require(name);
end

-- A Lua error or a Rust panic must not stop the event: the message itself has to arrive
local function guarded(handler)
	return function (...)
		local ok, result, more = xpcall(handler, traceback, ...);
		if ok then return result, more; end
		module:log("error", "This is a bug, please report it: %s", result);
	end
end

-- What is in memory changes only with what is in the store: first, it is copied
local function copy(original)
	local copied = {};
	for key, value in pairs(original) do copied[key] = value; end
	return copied;
end

local none = {}; -- In place of a table that is not there; nobody writes to it

return {
	version = "0.2.0";
	prosody_require = prosody_require;
	guarded = guarded;
	copy = copy;
	none = none;
};
