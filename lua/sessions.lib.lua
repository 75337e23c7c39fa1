-- Sessions and the registrations that they are attached to

local native = module.lib "native";
local none = module.lib "util".none;
local end_extension = module.lib "hibernation".end_extension;

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
local function get_registration(session)
	local identifier, record = session.push_identifier, session.push_settings;
	if type(identifier) == "string" and type(record) == "table" and not is_suspended(record) then
		return identifier, record;
	end
end

local function attach(session, identifier, record)
	session.push_identifier = identifier;
	session.push_settings = record;
	session.first_hibernated_push = nil;
end

local function detach(session)
	session.push_identifier = nil;
	session.push_settings = nil;
	session.first_hibernated_push = nil;
	session.unread_queue = nil;
	end_extension(session);
end

local function detach_all(user, identifier)
	for _, session in pairs(user_sessions(user) or none) do
		if session.push_identifier == identifier then detach(session); end
	end
end

-- Attaches a session to the registration that its client has made
local function attach_owner(session, records)
	local identifier = native.owned_by(records, session.client_id, session.resource);
	if identifier then attach(session, identifier, records[identifier]); end
	return identifier;
end

-- Those that were detached when the registration was suspended. Returns them.
local function attach_owners(user, records, identifier)
	local attached = {};
	for _, session in pairs(user_sessions(user) or none) do
		if not get_registration(session)
		and native.owned_by(records, session.client_id, session.resource, true) == identifier then
			attach(session, identifier, records[identifier]);
			attached[#attached + 1] = session;
		end
	end
	return attached;
end

-- From the first important push on, the device has the time that mod_smacks gives
local function device_was_called(user, identifier)
	for _, session in pairs(user_sessions(user) or none) do
		if session.push_identifier == identifier and session.hibernating and not session.first_hibernated_push then
			session.first_hibernated_push = os_time();
			end_extension(session);
		end
	end
end

return {
	version = "0.2.0";
	user_sessions = user_sessions;
	for_all = for_all;
	is_suspended = is_suspended;
	get_registration = get_registration;
	attach = attach;
	detach = detach;
	detach_all = detach_all;
	attach_owner = attach_owner;
	attach_owners = attach_owners;
	device_was_called = device_was_called;
};
