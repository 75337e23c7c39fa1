-- What a user's own clients send to others: the user is active there, rooms send it back to all, and while the user is
-- called, it may be what the call ends with

local util = module.lib "util";
local monotonic = util.prosody_require "util.time".monotonic;
local guarded, none = util.guarded, util.none;
local engine_lib = module.lib "engine";
local engine, engine_sent, engine_active = engine_lib.engine, engine_lib.sent, engine_lib.active;
local calls = module.lib "calls";
local called, is_called = calls.called, calls.is_called;
local user_sessions = module.lib "sessions".user_sessions;
local registrations = module.lib "registrations";
local get_records, may_have_grace = registrations.get, registrations.may_have_grace;
local carry_out = module.lib "publishing".carry_out;
local read_queues = module.lib "stream_management".read_queues;

local meet_said = guarded(function (user, attr)
	if attr.id and get_records(user) then engine:said(user, attr.to, attr.id); end
end);

-- What filters say does not matter: it is about the user's own stanza
local meet_sent = guarded(function (user, stanza)
	local records = is_called(user) and get_records(user);
	if not records then return; end
	local reply = engine_sent(user, records, user_sessions(user), stanza, nil, none);
	if reply == false then
		read_queues(user);
		reply = engine_sent(user, records, user_sessions(user), stanza, nil, none);
	end
	if reply then carry_out(user, reply, stanza, records); end
end);

local function on_sent(event)
	local session, stanza = event.origin, event.stanza;
	local user = session.username;
	if user and may_have_grace(user) and engine_active(stanza) then session.push_active = monotonic(); end
	if stanza.attr.type == "groupchat" then
		if user then meet_said(user, stanza.attr); end
	elseif called[user] then
		meet_sent(user, stanza);
	end
end

return {
	version = "@VERSION@";
	on_sent = on_sent;
};
