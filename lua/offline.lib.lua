-- Rule (c): offline storage, and groupchat messages to the bare JID

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local st = util.prosody_require "util.stanza";
local ask_others, guarded = util.ask_others, util.guarded;
local engine_offline = module.lib "engine".offline;
local get_records = module.lib "registrations".get;
local read_queues = module.lib "stream_management".read_queues;
local meet = module.lib "meeting".meet;

local hosts = prosody.hosts;
local get_handlers = hosts[module.host].events.get_handlers;

local meet_offline = guarded(function (event, is_room)
	local stanza = event.stanza;
	local user = event.username or jid.node(stanza.attr.to) or event.origin.username;
	local records = user and get_records(user);
	if not records then return; end
	read_queues(user);
	meet(engine_offline, user, records, stanza, is_room);
end);

-- Anybody may name any user as push service, and offline storage must not be filled with that
local function is_notification(stanza)
	return hosts[stanza.attr.from] ~= nil and stanza.attr.type ~= "error"
		and stanza:get_child("notification", "urn:xmpp:push2:0") ~= nil;
end

-- Only what has been taken: the sender gets the rest back. So the first handler asks those after it (to wrap the
-- event would take a closure each time).
local function on_offline(event)
	if is_notification(event.stanza) then
		module:send(st.error_reply(event.stanza, "wait", "recipient-unavailable"));
		return true;
	end
	local taken = ask_others(get_handlers, "message/offline/handle", on_offline, event);
	if taken then meet_offline(event, false); end
	return taken;
end

-- It is taken by nobody, and reaches no session
local function on_room_message(event)
	meet_offline(event, true);
end

return {
	version = "@VERSION@";
	on_offline = on_offline;
	on_room_message = on_room_message;
};
