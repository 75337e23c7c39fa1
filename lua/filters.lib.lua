-- What is known of a stanza only if it is asked for: what filters say, which clients have set, and the user's
-- settings for chats

local util = module.lib "util";
local rostermanager = util.prosody_require "core.rostermanager";
local monotonic = util.prosody_require "util.time".monotonic;
local engine = module.lib "engine".engine;
local user_sessions = module.lib "sessions".user_sessions;
local load_chat_settings = module.lib "chat_settings".load;

local pcall, tostring = pcall, tostring;

local host = module.host;

local fails_for; -- The user with whom it was noticed

-- A storage that fails does so for every stanza: one line until it works again for that user
local function log_roster(user, err)
	if not err and fails_for ~= user then return; end
	if err then
		module:log(fails_for and "debug" or "error", "The roster of %s cannot be loaded: %s -- filters of push "
			.. "notifications take everybody as known; check the storage of this host; for others such lines are at "
			.. "level debug until then", user, tostring(err));
	else
		module:log("info", "The roster of %s can be loaded again", user);
	end
	fails_for = err and (fails_for or user) or nil;
end

-- rostermanager remembers one that could not be loaded as empty and broken
local function try_roster(user)
	local roster, err = rostermanager.load_roster(user, host);
	local metadata = roster and roster[false];
	return roster, err or metadata and metadata.broken;
end

-- Or nil, if nobody knows it
local function load_roster(user)
	local ok, roster, err = pcall(try_roster, user);
	if not ok then err = roster or "unknown error"; end
	log_roster(user, err);
	return not err and roster or nil;
end

-- Of each of the user's registrations
local function judge(user, records, stanza)
	return engine:judge(user, records, stanza, load_roster, load_chat_settings, user_sessions(user), monotonic());
end

-- Of all stanzas of a queue, or of a single one at place 0
local function judge_queue(user, identifier, record, queue, place)
	return engine:judge_queue(user, record, queue, place, load_roster, load_chat_settings, user_sessions(user),
		monotonic(), identifier);
end

return {
	version = "@VERSION@";
	judge = judge;
	judge_queue = judge_queue;
};
