-- XEP-0357 sections 4 to 6 and 8: discovery, enabling, disabling, and the push service's own end of it;
-- sessions that bind are attached to what their clients have enabled

local native = module.lib "native";
local util = module.lib "util";
local datetime = util.prosody_require "util.datetime".datetime;
local jid = util.prosody_require "util.jid";
local st = util.prosody_require "util.stanza";
local copy, guarded, none = util.copy, util.guarded, util.none;
local options = module.lib "options".values;
local engine = module.lib "engine".engine;
local others = module.lib "others".loaded;
local hibernation = module.lib "hibernation";
local extend_hibernation, plan_wake = hibernation.extend, hibernation.plan_wake;
local sessions = module.lib "sessions";
local get_registration, attach, attach_owner = sessions.get_registration, sessions.attach, sessions.attach_owner;
local is_suspended = sessions.is_suspended;
local add_history = module.lib "history".add;
local registrations = module.lib "registrations";
local push_errors = registrations.push_errors;
local read_records, load_records, get_records = registrations.read, registrations.load, registrations.get;
local save_records, remove_registrations = registrations.save, registrations.remove;
local may_save, fits = registrations.may_save, registrations.fits;
local forget_registration = registrations.forget;

local os_time = os.time;
local ipairs, pairs = ipairs, pairs;
local unpack = table.unpack;

local xmlns_push = "urn:xmpp:push:0";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local host = module.host;

local max_language = 64;

local text_too_large = ("The registrations of this account would take more than %d bytes in all"):format(
	registrations.max_user_bytes);
local text_too_soon = "The registrations of this account are large and have just been changed: try again in "
	.. "a few seconds";

local function guarded_request(handler)
	handler = guarded(handler);
	return function (event)
		if not handler(event) then
			event.origin.send(st.error_reply(event.stanza, "wait", "internal-server-error"));
		end
		return true;
	end
end

local function on_disco_info(event)
	local reply = event.reply or event.stanza;
	reply:tag("feature", { var = xmlns_push }):up();
	for _, feature in ipairs(native.features(others)) do reply:tag("feature", { var = feature }):up(); end
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

local function on_enable(event)
	local origin, stanza = event.origin, event.stanza;
	local enable = stanza.tags[1];
	local address, error_type, condition, error_text = native.enable(enable, origin.full_jid, others);
	if not address then
		origin.send(st.error_reply(stanza, error_type, condition, error_text));
		return true;
	end
	local user, identifier = origin.username, address.identifier;
	if not may_save(user) then
		origin.send(st.error_reply(stanza, "wait", "resource-constraint", text_too_soon));
		return true;
	end
	local form = enable:get_child("x", "jabber:x:data");
	local record = {
		jid = address.jid;
		node = address.node;
		include_payload = enable.attr.include_payload;
		options = form and st.preserialize(form);
		timestamp = os_time();
		client_id = origin.client_id;
		resource = not origin.client_id and origin.resource or nil;
		language = #(stanza.attr["xml:lang"] or "") <= max_language and stanza.attr["xml:lang"] or nil;
	};
	for field, value in pairs(address.fields or none) do record[field] = value; end
	local registration = { origin = origin, stanza = stanza, push_info = record };
	if module:fire_event("cloud_notify/registration", registration) == false then
		return true; -- The handler has replied
	end
	local records = read_records(user);
	local changed, displaced = nil, {};
	if records then
		displaced, record.timestamp, record.sequence = native.admit(records, address.jid, address.node,
			origin.client_id, origin.resource, options.push_max_devices, os_time());
		changed = copy(records);
		for _, key in pairs(displaced) do changed[key] = nil; end
		changed[identifier] = record;
		if not fits(user, changed) then
			origin.send(st.error_reply(stanza, "modify", "policy-violation", text_too_large));
			return true;
		end
	end
	if not records or not save_records(user, changed) then
		origin.send(st.error_reply(stanza, "wait", "internal-server-error", "The registration could not be stored"));
		return true;
	end
	for _, key in pairs(displaced) do
		if key ~= identifier then
			forget_registration(user, key);
			origin.log("info", "The push registration at %s takes the place of an older one", address.jid);
		end
	end
	engine:enabled(user, identifier);
	push_errors[identifier] = nil;
	attach(origin, identifier, record);
	add_history(user, what_happened(origin, records, displaced, identifier, record));
	local before = records[identifier];
	local is_in_force = before and not is_suspended(before); -- Most clients ask for it whenever they connect
	origin.log(is_in_force and "debug" or "info", "Push notifications enabled at %s", address.jid);
	origin.send(st.reply(stanza));
	return true;
end

local function on_disable(event)
	local origin, stanza = event.origin, event.stanza;
	local address, error_type, condition, error_text = native.disable(stanza.tags[1]);
	if not address then
		origin.send(st.error_reply(stanza, error_type, condition, error_text));
		return true;
	end
	local user = origin.username;
	if not may_save(user) then
		origin.send(st.error_reply(stanza, "wait", "resource-constraint", text_too_soon));
		return true;
	end
	local records = read_records(user);
	local identifiers = records and native.matching(records, address.jid, address.node);
	if not records or identifiers[1] and not remove_registrations(user, identifiers, "disabled", "client") then
		origin.send(st.error_reply(stanza, "wait", "internal-server-error", "The registration could not be removed"));
		return true;
	end
	origin.log(identifiers[1] and "info" or "debug", "Push notifications disabled at %s", address.jid);
	origin.send(st.reply(stanza));
	return true;
end

-- Section 8: the push service ends a registration
local function on_farewell(event)
	local stanza = event.stanza;
	local pubsub = stanza:get_child("pubsub", xmlns_pubsub);
	if not pubsub or stanza.attr.type == "error" then return; end
	local user = jid.node(stanza.attr.to) or event.origin.username;
	local node = user and native.revoked_node(pubsub, user .. "@" .. host);
	local records = node and get_records(user); -- Anybody may send anything to anybody: first of all, what it says
	local identifiers = records and native.matching(records, stanza.attr.from, node);
	if not identifiers or not identifiers[1] then return; end
	if remove_registrations(user, identifiers, "removed", "service", "ended by its push service") then
		module:log("info", "%s ended a push registration of %s -- that device gets no more pushes until its app "
			.. "registers again", stanza.attr.from, user);
	end
	return true;
end

-- Not every client enables push on every connection
local function on_resource_bind(event)
	local session = event.session;
	local user = session.username;
	session.push_bound = datetime();
	local records = read_records(user) or load_records(user);
	local identifier = get_registration(session) or records and attach_owner(session, records);
	if identifier then engine:back(user, identifier); end
end

-- Sessions that were there before this module was loaded
local function attach_all()
	local bind = guarded(on_resource_bind);
	sessions.for_all(function (session)
		bind({ session = session });
		if not get_registration(session) or not session.hibernating then return; end
		local called = session.first_hibernated_push;
		if called then plan_wake(session, os_time() - called); else extend_hibernation(session); end
	end);
end

return {
	version = "0.2.0";
	on_disco_info = on_disco_info;
	on_enable = guarded_request(on_enable);
	on_disable = guarded_request(on_disable);
	on_farewell = on_farewell;
	on_resource_bind = on_resource_bind;
	attach_all = attach_all;
};
