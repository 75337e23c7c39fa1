-- Sessions and the registrations that they are attached to

local native = module.lib "native";
local none = module.lib "util".none;
local end_extension = module.lib "hibernation".end_extension;
local protocols = module.lib "protocols";
local push, push2 = protocols.push, protocols.push2;
local protocol_of, only, push2_id = protocols.of, protocols.only, protocols.push2_id;

local os_time = os.time;
local pairs, type = pairs, type;

local host_sessions = prosody.hosts[module.host].sessions or {};

local function user_sessions(user)
	local sessions = host_sessions[user];
	return sessions and sessions.sessions;
end

-- Calls handler for each session of this host
local function for_all(handler)
	for _, user in pairs(host_sessions) do
		for _, session in pairs(user.sessions) do handler(session); end
	end
end

local function is_suspended(record)
	return type(record.suspended) == "table";
end

-- Other modules write these fields, too. A suspended registration has no sessions.
local function get_registration(session, protocol)
	local identifier, record = session[protocol.identifier], session[protocol.settings];
	if type(identifier) == "string" and type(record) == "table" and protocol.is_served and not is_suspended(record) then
		return identifier, record;
	end
end

local function is_attached(session)
	return get_registration(session, push) ~= nil or get_registration(session, push2) ~= nil;
end

-- Of a session that is attached to this registration, its record
local function get_attached(session, identifier)
	local attached, record = get_registration(session, protocol_of(identifier));
	return attached == identifier and record or nil;
end

local function attach(session, protocol, identifier, record)
	session[protocol.identifier] = identifier;
	session[protocol.settings] = record;
	if not get_registration(session, protocol.other) then session.first_hibernated_push = nil; end
end

local function detach(session, protocol)
	session[protocol.identifier] = nil;
	session[protocol.settings] = nil;
	if get_registration(session, protocol.other) then return; end
	session.first_hibernated_push = nil;
	session.unread_queue = nil;
	end_extension(session);
end

local function detach_all(user, identifier)
	local protocol = protocol_of(identifier);
	for _, session in pairs(user_sessions(user) or none) do
		if session[protocol.identifier] == identifier then detach(session, protocol); end
	end
end

-- The identifier of the registration that the session's client has made
local function owned_by(session, protocol, records, even_suspended)
	if protocol == push then
		return native.owned_by(only(push, records), session.client_id, session.resource, even_suspended);
	end
	local id = push2_id(session);
	local identifier = id and push2.prefix .. id;
	local record = records[identifier or false];
	return record and (even_suspended or not is_suspended(record)) and identifier or nil;
end

-- Attaches a session to it
local function attach_owner(session, protocol, records)
	local identifier = owned_by(session, protocol, records);
	if identifier then attach(session, protocol, identifier, records[identifier]); end
	return identifier;
end

-- Those that were detached when the registration was suspended. Returns them.
local function attach_owners(user, records, identifier)
	local attached, protocol = {}, protocol_of(identifier);
	for _, session in pairs(user_sessions(user) or none) do
		if not get_registration(session, protocol) and owned_by(session, protocol, records, true) == identifier then
			attach(session, protocol, identifier, records[identifier]);
			attached[#attached + 1] = session;
		end
	end
	return attached;
end

-- From the first important push on, the device has the time that mod_smacks gives
local function device_was_called(user, identifier)
	local protocol = protocol_of(identifier);
	for _, session in pairs(user_sessions(user) or none) do
		local is_its = session[protocol.identifier] == identifier;
		if is_its and session.hibernating and not session.first_hibernated_push then
			session.first_hibernated_push = os_time();
			end_extension(session);
		end
	end
end

return {
	version = "@VERSION@";
	user_sessions = user_sessions;
	for_all = for_all;
	is_suspended = is_suspended;
	get_registration = get_registration;
	is_attached = is_attached;
	get_attached = get_attached;
	attach = attach;
	detach = detach;
	detach_all = detach_all;
	owned_by = owned_by;
	attach_owner = attach_owner;
	attach_owners = attach_owners;
	device_was_called = device_was_called;
};
