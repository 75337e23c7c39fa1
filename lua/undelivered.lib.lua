-- What a session has not acknowledged that ends without hibernating. If it makes way for one that binds the
-- same resource, it is known only afterwards whether the device is away.

local util = module.lib "util";
local guarded, none = util.guarded, util.none;
local engine_lib = module.lib "engine";
local engine, engine_undelivered, engine_read = engine_lib.engine, engine_lib.undelivered, engine_lib.read;
local sessions = module.lib "sessions";
local user_sessions, get_registration = sessions.user_sessions, sessions.get_registration;
local is_attached = sessions.is_attached;
local protocols = module.lib "protocols".all;
local get_records = module.lib "registrations".get;
local arm = module.lib "timer".arm;
local stream_management = module.lib "stream_management";
local read_queue, read_queues = stream_management.read_queue, stream_management.read_queues;
local meet = module.lib "meeting".meet;

local ipairs, pairs = ipairs, pairs;

local undelivered = {};
local binding_user;

local meet_undelivered = guarded(function (user, stanza, only)
	local records = get_records(user);
	if not records then return; end
	if only then
		for identifier in pairs(only) do only[identifier] = records[identifier]; end
		records = only;
	end
	read_queues(user);
	meet(engine_undelivered, user, records, stanza);
end);

local function meet_all_undelivered()
	local all = undelivered;
	undelivered = {};
	for _, one in ipairs(all) do meet_undelivered(one.user, one.stanza, one.only); end
end

local function attached_to(session)
	local records = {};
	for _, protocol in ipairs(protocols) do
		local identifier, record = get_registration(session, protocol);
		if identifier then records[identifier] = record; end
	end
	return records;
end

local function on_undelivered(event)
	local session, stanza = event.session, event.stanza;
	read_queue(session); -- It is not among the user's any more when another one has been bound
	local user = session.username;
	if not user or stanza.name ~= "message" or not get_records(user) then return; end
	-- One that has hibernated is a matter of rule (a), and only of its own device
	if session.hibernating and not is_attached(session) then return; end
	undelivered[#undelivered + 1] = { user = user; stanza = stanza; only = session.hibernating and attached_to(session) };
	if user ~= binding_user then
		meet_all_undelivered();
	elseif not undelivered[2] then
		module:add_timer(0, meet_all_undelivered); -- It may not be bound after all
	end
end

local function before_bind(event)
	binding_user = event.session.username;
end

local function after_bind()
	binding_user = nil;
	meet_all_undelivered();
end

-- What a device has received, its user's other sessions may not acknowledge before they end. mod_smacks stamps
-- what it queues (XEP-0203), which tells whether this session was there already.
local function queued_since(session, queue)
	local received = {};
	for _, stanza in ipairs(queue) do
		local delay = stanza:get_child("delay", "urn:xmpp:delay");
		local stamp = delay and delay.attr.stamp;
		if stamp and session.push_bound and stamp >= session.push_bound then received[#received + 1] = stanza; end
	end
	return received;
end

local function before_unbind(event)
	local session = event.session;
	local user = session.username;
	-- mod_smacks has set the first to false where something is not acknowledged
	local is_available = session.presence and (session.priority or -1) >= 0;
	if not session.smacks or not is_available or not is_attached(session) then return; end
	for _, other in pairs(user_sessions(user) or none) do
		local queue = other.smacks and other.outgoing_stanza_queue;
		if queue and queue:count_unacked() > 0 then
			queue = queued_since(session, queue:table());
			if engine_read(user, session, user_sessions(user), queue) then
				local _, _, delay = engine:settle(queue, session, false);
				arm(delay);
			end
		end
	end
end

-- Nothing reaches the client any more, although the session lives on until it answers
local function on_session_close(event)
	event.session.push_stream_closed = true;
end

return {
	version = "@VERSION@";
	meet_all = meet_all_undelivered;
	on_undelivered = on_undelivered;
	before_bind = before_bind;
	after_bind = after_bind;
	before_unbind = before_unbind;
	on_session_close = on_session_close;
};
