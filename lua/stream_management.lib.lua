-- Rule (a): stream management

local none = module.lib "util".none;
local engine_lib = module.lib "engine";
local engine, engine_unacked, engine_read = engine_lib.engine, engine_lib.unacked, engine_lib.read;
local sessions = module.lib "sessions";
local user_sessions, get_registration = sessions.user_sessions, sessions.get_registration;
local arm = module.lib "timer".arm;
local extend_hibernation = module.lib "hibernation".extend;
local publishing = module.lib "publishing";
local has_listeners, carry_out = publishing.has_listeners, publishing.carry_out;

local pairs = pairs;

local function read_queue(session)
	local queue, user = session.unread_queue, session.username;
	session.unread_queue = nil;
	if queue and engine_read(user, session, user_sessions(user), queue) then
		local _, _, delay = engine:settle(queue, session, false);
		arm(delay);
	end
end

local function read_queues(user)
	for _, session in pairs(user_sessions(user) or none) do read_queue(session); end
end

local function unacked(session, queue)
	if not get_registration(session) then return; end
	local user, place = session.username, 1;
	local reply, next_place, unread, left_unread;
	repeat
		reply, next_place, unread = engine_unacked(user, session, user_sessions(user), queue, place, has_listeners());
		if reply then carry_out(user, reply, queue, session); end
		place, left_unread = next_place, left_unread or unread;
	until not place
	-- It is read when it matters: while the session hibernates, the stanzas are met by no other rule
	if left_unread then session.unread_queue = queue; end
end

local function on_ack_delayed(event)
	local session = event.origin;
	read_queue(session);
	unacked(session, event.stanza and { event.stanza } or event.queue);
	read_queue(session);
end

local function on_hibernation_start(event)
	local session = event.origin;
	session.first_hibernated_push = nil;
	if not get_registration(session) then return; end
	extend_hibernation(session);
	read_queues(session.username);
	unacked(session, event.queue);
end

local function on_hibernation_stanza(event)
	unacked(event.origin, { event.stanza });
end

local function on_hibernation_end(event)
	local session = event.resumed;
	if not session then return; end
	session.first_hibernated_push = nil;
	session.original_smacks_timeout = nil;
	local identifier = get_registration(session);
	if identifier then
		read_queue(session);
		engine:back(session.username, identifier);
	end
end

return {
	version = "0.2.0";
	read_queues = read_queues;
	on_ack_delayed = on_ack_delayed;
	on_hibernation_start = on_hibernation_start;
	on_hibernation_stanza = on_hibernation_stanza;
	on_hibernation_end = on_hibernation_end;
};
