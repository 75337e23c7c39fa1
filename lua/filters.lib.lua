-- What is known of a stanza only if it is asked for: what filters say, which clients have set

local util = module.lib "util";
local rostermanager = util.prosody_require "core.rostermanager";
local engine = module.lib "engine".engine;

local host = module.host;

local function load_roster(user)
	return (rostermanager.load_roster(user, host));
end

-- Of each of the user's registrations
local function judge(user, records, stanza)
	return engine:judge(user, records, stanza, load_roster);
end

-- Of all stanzas of a queue, or of a single one at place 0
local function judge_queue(user, record, queue, place)
	return engine:judge_queue(user, record, queue, place, load_roster);
end

return {
	version = "0.2.0";
	judge = judge;
	judge_queue = judge_queue;
};
