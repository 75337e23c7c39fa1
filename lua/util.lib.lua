-- What every file needs

local ipairs, pairs, pcall, xpcall = ipairs, pairs, pcall, xpcall;
local traceback = debug.traceback;

local function prosody_require(name)
	local ok, lib = pcall(require, "prosody." .. name); -- COMPAT 0.12 has no prefix
	return ok and lib or require(name);
end

-- What each stanza meets is said once
local max_known_bugs = 100;
local known_bugs, known_bugs_left = {}, max_known_bugs;

local function report_bug(result)
	module:log(known_bugs[result] and "debug" or "error", "This is a bug, please report it: %s", result);
	if known_bugs[result] then return; end
	if known_bugs_left == 0 then known_bugs, known_bugs_left = {}, max_known_bugs; end
	known_bugs[result], known_bugs_left = true, known_bugs_left - 1;
end

-- A Lua error or a Rust panic must not stop the event: the message itself has to arrive
local function guarded(handler)
	return function (...)
		local ok, result, more = xpcall(handler, traceback, ...);
		if ok then return result, more; end
		report_bug(result);
	end
end

-- What is in memory changes only with what is in the store: first, it is copied
local function copy(original)
	local copied = {};
	for key, value in pairs(original) do copied[key] = value; end
	return copied;
end

-- What becomes of an event by the handlers after this one: false if none of them says so
local function ask_others(get_handlers, name, own, event)
	local is_next = false;
	for _, handler in ipairs(get_handlers(name)) do
		if is_next then
			local result = handler(event);
			if result ~= nil then return result; end
		end
		is_next = is_next or handler == own;
	end
	return false;
end

local none = {}; -- In place of a table that is not there; nobody writes to it

return {
	version = "@VERSION@";
	prosody_require = prosody_require;
	guarded = guarded;
	copy = copy;
	ask_others = ask_others;
	none = none;
};
