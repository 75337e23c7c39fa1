-- What enabling and disabling is with both protocols: records change, and what goes by them

local native = module.lib "native";
local util = module.lib "util";
local st = util.prosody_require "util.stanza";
local copy, guarded = util.copy, util.guarded;
local options = module.lib "options".values;
local engine = module.lib "engine".engine;
local only = module.lib "protocols".only;
local sessions = module.lib "sessions";
local attach, is_suspended = sessions.attach, sessions.is_suspended;
local add_history = module.lib "history".add;
local registrations = module.lib "registrations";
local push_errors, forget_registration = registrations.push_errors, registrations.forget;
local read_records, save_records, may_save = registrations.read, registrations.save, registrations.may_save;
local fits, remove_registrations = registrations.fits, registrations.remove;
local meet_service = module.lib "self_test".meet_service;

local os_time = os.time;
local ipairs, pairs = ipairs, pairs;
local unpack = table.unpack;

local text_too_large = ("The registrations of this account would take more than %d bytes in all"):format(
	registrations.max_user_bytes);
local text_too_soon = "The registrations of this account are large and have just been changed: try again in "
	.. "a few seconds";

local function refuse(event, ...)
	event.origin.send(st.error_reply(event.stanza, ...));
	return true;
end

local function guarded_request(handler)
	handler = guarded(handler);
	return function (event)
		return handler(event) or refuse(event, "wait", "internal-server-error");
	end
end

-- Says so to the client, too
local function is_too_soon(event)
	return not may_save(event.origin.username) and refuse(event, "wait", "resource-constraint", text_too_soon);
end

local function is_of(record, session)
	if record.client_id then return record.client_id == session.client_id; end
	return record.resource == session.resource;
end

-- What a registration means for its user's others, and whether it is more than the same once more
local function what_happened(session, records, displaced, identifier, record)
	local happened = {};
	for _, key in ipairs(displaced) do
		if key ~= identifier then
			local is_own = is_of(records[key], session);
			happened[#happened + 1] = {
				what = is_own and "replaced" or "evicted"; identifier = key; record = records[key];
				by = is_own and "client" or "server"; why = not is_own and "push_max_devices is reached" or nil;
			};
		end
	end
	local before = records[identifier];
	if not before or is_suspended(before) or before.client_id ~= record.client_id then
		happened[#happened + 1] = { what = "enabled"; identifier = identifier; record = record; by = "client" };
	end
	return unpack(happened);
end

-- The record says all but its age
local function enable(event, protocol, identifier, record)
	local origin = event.origin;
	local user = origin.username;
	local records = read_records(user);
	local changed, displaced = nil, {};
	if records then
		displaced, record.timestamp, record.sequence = native.admit(only(protocol, records), record.jid, record.node,
			origin.client_id, origin.resource, options.push_max_devices, os_time());
		changed = copy(records);
		for _, key in pairs(displaced) do changed[key] = nil; end
		changed[identifier] = record;
		if not fits(user, changed) then return refuse(event, "modify", "policy-violation", text_too_large); end
	end
	if not records or not save_records(user, changed) then
		return refuse(event, "wait", "internal-server-error", "The registration could not be stored");
	end
	for _, key in pairs(displaced) do
		if key ~= identifier then
			forget_registration(user, key);
			origin.log("info", "The push registration at %s takes the place of an older one", record.jid);
		end
	end
	engine:enabled(user, identifier);
	push_errors[identifier] = nil;
	attach(origin, protocol, identifier, record);
	add_history(user, what_happened(origin, records, displaced, identifier, record));
	meet_service(record.jid);
	local before = records[identifier];
	local is_in_force = before and not is_suspended(before); -- Most clients ask for it whenever they connect
	origin.log(is_in_force and "debug" or "info", "Push notifications enabled at %s", record.jid);
	origin.send(st.reply(event.stanza));
	return true;
end

-- Those that find(records) names
local function disable(event, find)
	local origin = event.origin;
	local user = origin.username;
	local records = read_records(user);
	local identifiers = records and find(records);
	if not records or identifiers[1] and not remove_registrations(user, identifiers, "disabled", "client") then
		return refuse(event, "wait", "internal-server-error", "The registration could not be removed");
	end
	for _, identifier in ipairs(identifiers) do
		origin.log("info", "Push notifications disabled at %s", records[identifier].jid);
	end
	origin.send(st.reply(event.stanza));
	return true;
end

return {
	version = "@VERSION@";
	guarded_request = guarded_request;
	refuse = refuse;
	is_too_soon = is_too_soon;
	enable = enable;
	disable = disable;
};
