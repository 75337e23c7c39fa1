-- Messages that a user's sessions receive while nobody looks at them (tigase:push:away:0)

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local guarded = util.guarded;
local engine_lib = module.lib "engine";
local engine, engine_away = engine_lib.engine, engine_lib.away;
local user_sessions = module.lib "sessions".user_sessions;
local load_records = module.lib "registrations".load;
local have_read = module.lib "reading".everything;
local meet = module.lib "meeting".meet;

local pairs, setmetatable = pairs, setmetatable;

-- Records that were read -> whether there is one among them that wants to know
local is_wanted = setmetatable({}, { __mode = "k" });

local function wants_any(records)
	local wanted = is_wanted[records];
	if wanted == nil then
		wanted = false;
		for _, record in pairs(records) do wanted = wanted or record.away ~= nil; end
		is_wanted[records] = wanted;
	end
	return wanted;
end

-- Before it is delivered; what is stored in the archive and copied has been by then
local on_message = guarded(function (event)
	local stanza = event.stanza;
	local user = jid.node(stanza.attr.to) or event.origin.username;
	local sessions = user and user_sessions(user);
	local records = sessions and load_records(user);
	if not records or not wants_any(records) then return; end
	meet(engine_away, user, records, stanza);
end);

-- Who is there again sees what has come meanwhile
local on_presence = guarded(function (event)
	local user = event.origin.username;
	local records = user and not event.stanza.attr.to and load_records(user);
	if not records or not wants_any(records) then return; end
	if engine:is_back(event.stanza, user_sessions(user)) then have_read(user, "away"); end
end);

return {
	version = "@VERSION@";
	on_message = on_message;
	on_presence = on_presence;
};
