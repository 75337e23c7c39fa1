-- A stanza meets all registrations of a user

local user_sessions = module.lib "sessions".user_sessions;
local judge = module.lib "filters".judge;
local carry_out = module.lib "publishing".carry_out;
local read_queues = module.lib "stream_management".read_queues;

-- Reader is the engine's function for the rule; more is what that is told besides. Of an archived stanza, the clones
-- have the archive's id as <stanza-id/>.
local function meet(reader, user, records, stanza, more, archive_id)
	local sessions = user_sessions(user);
	local reply = reader(user, records, sessions, stanza, more);
	if reply == false then -- It has to know more first
		read_queues(user);
		stanza._push_archive_id = archive_id;
		reply = reader(user, records, sessions, stanza, more, judge(user, records, stanza));
	end
	if reply then carry_out(user, reply, stanza, records); end
end

return {
	version = "@VERSION@";
	meet = meet;
};
