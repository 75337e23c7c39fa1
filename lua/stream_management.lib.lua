-- Rule (a): stream management

local util = module.lib "util";
local guarded, none = util.guarded, util.none;
local engine_lib = module.lib "engine";
local engine, engine_unacked, engine_read = engine_lib.engine, engine_lib.unacked, engine_lib.read;
local sessions = module.lib "sessions";
local user_sessions, get_registration = sessions.user_sessions, sessions.get_registration;
local is_attached = sessions.is_attached;
local protocols = module.lib "protocols";
local push, push2 = protocols.push, protocols.push2;
local arm = module.lib "timer".arm;
local judge_queue = module.lib "filters".judge_queue;
local hibernation = module.lib "hibernation";
local extend_hibernation, plan_wake = hibernation.extend, hibernation.plan_wake;
local publishing = module.lib "publishing";
local has_listeners, carry_out = publishing.has_listeners, publishing.carry_out;

local ipairs, pairs = ipairs, pairs;

local max_unread = 500; -- mod_smacks lets go of those that are too many

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

-- What is left unread is read when it matters: while the session hibernates, it is met by no other rule

-- Returns whether something of it is left unread, for the registration of this protocol
local function meet_queue_by(session, queue, protocol)
	local identifier, record = get_registration(session, protocol);
	if not record then return false; end
	local user, place, is_push2 = session.username, 1, protocol == push2;
	local reply, next_place, unread, left_unread, judged;
	repeat
		reply, next_place, unread = engine_unacked(user, session, user_sessions(user), queue, place, has_listeners(), judged,
			is_push2);
		if reply == false then
			judged = judge_queue(user, identifier, record, queue, 1);
			next_place = place;
		elseif reply then carry_out(user, reply, queue, session);
		end
		place, left_unread = next_place, left_unread or unread;
	until not place
	return left_unread;
end

local function unacked_queue(session, queue)
	local left_unread = meet_queue_by(session, queue, push);
	left_unread = meet_queue_by(session, queue, push2) or left_unread;
	if not left_unread then return; end
	read_queue(session); -- A listener may have caused a stanza
	session.unread_queue = queue;
end

local function meet_stanza_by(session, stanza, protocol)
	local identifier, record = get_registration(session, protocol);
	if not record then return false; end
	local user, is_push2 = session.username, protocol == push2;
	local reply, _, left_unread = engine_unacked(user, session, user_sessions(user), stanza, 0, false, nil, is_push2);
	if reply == false then
		local judged = judge_queue(user, identifier, record, stanza, 0);
		reply, _, left_unread = engine_unacked(user, session, user_sessions(user), stanza, 0, false, judged, is_push2);
	end
	if reply then carry_out(user, reply, stanza, session); end
	return left_unread;
end

local function unacked_stanza(session, stanza)
	local left_unread = meet_stanza_by(session, stanza, push);
	left_unread = meet_stanza_by(session, stanza, push2) or left_unread;
	if not left_unread then return; end
	local queue = session.unread_queue;
	if queue and #queue < max_unread then
		queue[#queue + 1] = stanza;
	else
		read_queue(session);
		session.unread_queue = { stanza };
	end
end

local function on_ack_delayed(event)
	local session = event.origin;
	read_queue(session);
	unacked_queue(session, event.stanza and { event.stanza } or event.queue);
	read_queue(session);
end

local meet_queue = guarded(function (session, queue)
	read_queues(session.username);
	unacked_queue(session, queue);
end);

-- Whoever was called for what is in the queue gets no more time: timers are not set where they would be set back
local function on_hibernation_start(event)
	local session = event.origin;
	session.first_hibernated_push, session.push_woken = nil, nil;
	if not is_attached(session) then return; end
	plan_wake(session);
	meet_queue(session, event.queue);
	if is_attached(session) and not session.first_hibernated_push then extend_hibernation(session); end
end

local function on_hibernation_stanza(event)
	unacked_stanza(event.origin, event.stanza);
end

local function on_hibernation_end(event)
	local session = event.resumed;
	if not session then return; end
	session.first_hibernated_push = nil;
	session.original_smacks_timeout = nil;
	if is_attached(session) then read_queue(session); end
	for _, protocol in ipairs(protocols.all) do
		local identifier = get_registration(session, protocol);
		if identifier then engine:back(session.username, identifier); end
	end
end

return {
	version = "@VERSION@";
	read_queue = read_queue;
	read_queues = read_queues;
	on_ack_delayed = on_ack_delayed;
	on_hibernation_start = on_hibernation_start;
	on_hibernation_stanza = on_hibernation_stanza;
	on_hibernation_end = on_hibernation_end;
};
