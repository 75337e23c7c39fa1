-- XEP-0357: Push Notifications
--
-- The rules (which stanza wakes which device, and when) live in the native library next to this
-- file. Here Prosody's events are handed over to it, and what it decides is carried out.
--
-- This project is MIT licensed. Please see the LICENSE file for more information.

local function prosody_require(name)
	local ok, lib = pcall(require, "prosody." .. name); -- COMPAT 0.12 has no prefix
	return ok and lib or require(name);
end

local cache = prosody_require "util.cache";
local jid = prosody_require "util.jid";
local st = prosody_require "util.stanza";
local timer = prosody_require "util.timer";

local os_time, next, pairs, pcall, tostring, type, xpcall = os.time, next, pairs, pcall, tostring, type, xpcall;
local traceback = debug.traceback;

local version = "0.1.0"; -- That of the native library

local xmlns_push = "urn:xmpp:push:0";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local host = module.host;
local hosts = prosody.hosts;
local host_events = hosts[host].events;
local host_sessions = hosts[host].sessions or {};

local max_cached_users = 10000; -- whose registrations are kept in memory
local max_logged_text = 200; -- of a peer
local max_language = 64;

-- A Lua error or a Rust panic must not stop the event: the message itself has to arrive
local function guarded(handler)
	return function (...)
		local ok, result = xpcall(handler, traceback, ...);
		if ok then return result; end
		module:log("error", "This is a bug, please report it: %s", result);
	end
end

-- The native library

local function load_native()
	local path = module:get_directory() .. "/cloud_notify.so";
	local open, err = package.loadlib(path, "luaopen_cloud_notify");
	local ok, native;
	if open then
		ok, native = pcall(open, "cloud_notify");
		if ok and native.lua == _VERSION and native.version == version then return native; end
		err = ok and ("it is version %s for %s"):format(native.version, native.lua) or native;
	end
	-- An error that is no string is logged in one line, without a traceback
	error(setmetatable({}, { __tostring = function ()
		return ("cannot use %s with version %s and %s: %s -- build it with 'make LUA=%s', install it and restart")
			:format(path, version, _VERSION, tostring(err):gsub("%s+", " "), _VERSION:match("%d.%d"));
	end }));
end

local native = load_native();
local engine = native.open(host, st.stanza_mt, st.deserialize);
local engine_archived, engine_offline, engine_unacked = engine:readers();

-- Options

-- What Prosody's own get_option_boolean takes
local function boolean(value)
	if value == true or value == "true" or value == 1 then return true; end
	if value == false or value == "false" or value == 0 then return false; end
end

local function text(value)
	if type(value) == "string" or type(value) == "number" then return tostring(value); end
end

local function number(min, integer)
	return function (value)
		value = tonumber(value);
		if value and value >= min and value <= 1e9 and not (integer and value % 1 ~= 0) then return value; end
	end
end

local function one_of(...)
	local values = {};
	for _, value in pairs({ ... }) do values[value] = value; end
	return function (value) return values[value]; end
end

local known_options = {
	push_answer_timeout = { default = 120, number(1), "a number of seconds, at least 1" };
	push_coalesce_window = { default = 1, number(0), "a number of seconds" };
	push_max_devices = { default = 5, number(1, true), "a whole number, at least 1" };
	push_max_errors = { default = 16, number(1, true), "a whole number, at least 1" };
	push_max_hibernation_timeout = { default = 72*3600, number(1), "a number of seconds, at least 1" };
	push_max_per_minute = { default = 60, number(0, true), "a whole number, 0 for no limit" };
	push_notification_important_body = { default = "New Message!", text, "a string" };
	push_notification_with_body = { default = false, boolean, "true or false" };
	push_notification_with_sender = { default = false, boolean, "true or false" };
	push_notify_on = { default = "all", one_of("all", "messages", "important"), "'all', 'messages' or 'important'" };
};

local options = {};

local function read_options()
	for name, option in pairs(known_options) do
		local value = module:get_option(name);
		local valid = option[1](value);
		if value ~= nil and valid == nil then
			module:log("error", "Option %s must be %s, not %q: using the default, %s",
				name, option[2], tostring(value), tostring(option.default));
		end
		if valid == nil then valid = option.default; end
		options[name] = valid;
	end
end

-- Registrations: user -> identifier -> record, as they are in the store

local store = module:open_store();
local accounts = cache.new(max_cached_users);
local push_errors = module:shared("push_errors"); -- identifier -> count, for administrators' tools
local no_records = {};
local store_fails = {}; -- "read" or "written" -> the user with whom it was noticed

-- A store that fails does so for every stanza: one line until it works again for that user
local function log_store(doing, user, err)
	local failing = store_fails[doing];
	if not err and failing ~= user then return; end
	store_fails[doing] = err and (failing or user) or nil;
	if err then
		module:log(failing and "debug" or "error", "Push registrations of %s cannot be %s: %s -- "
			.. "check the storage of this host; for others such lines are at level debug until then",
			user, doing, tostring(err));
	else
		module:log("info", "Push registrations of %s can be %s again", user, doing);
	end
end

local function user_sessions(user)
	local sessions = host_sessions[user];
	return sessions and sessions.sessions;
end

local function remember(user, records)
	accounts:set(user, next(records) and records or no_records);
	for _, session in pairs(user_sessions(user) or no_records) do
		local record = records[session.push_identifier or false];
		if record then session.push_settings = record; end
	end
end

local function load_records(user)
	local records = accounts:get(user);
	if records then return records; end
	local ok, data, err = pcall(store.get, store, user);
	if not ok then err = data; end
	log_store("read", user, err);
	if err then return; end
	records = {};
	for identifier, record in pairs(type(data) == "table" and data or no_records) do
		if type(identifier) == "string" and type(record) == "table" then records[identifier] = record; end
	end
	for _, identifier in pairs(native.surplus(records, options.push_max_devices)) do
		records[identifier] = nil;
	end
	remember(user, records);
	return records;
end

-- The user's registrations, or nil if there are none
local function get_records(user)
	local records = load_records(user);
	return records and next(records) and records;
end

local function save_records(user, records)
	local ok, written, err = pcall(store.set, store, user, next(records) and records or nil);
	if not ok then written, err = false, written; end
	log_store("written", user, not written and (err or "unknown error") or nil);
	if not written then return false; end
	remember(user, records);
	return true;
end

-- Hibernation

-- COMPAT 0.12: its watchdogs cannot be given another timeout, and a cancelled one stays in memory
-- until that is over.
local watchdog = {};
watchdog.__index = watchdog;

function watchdog:reset(timeout)
	self:cancel();
	self.timeout = timeout;
	self.timer_id = timer.add_task(timeout, function () self:callback(); end);
end

function watchdog:cancel()
	if self.timer_id then timer.stop(self.timer_id); end
	self.timer_id = nil;
end

local function set_hibernation_timeout(session, timeout)
	local dog = session.hibernating_watchdog;
	if not dog then return; end
	dog:reset(timeout);
	if dog.timeout ~= timeout then
		dog:cancel();
		session.hibernating_watchdog = setmetatable({ callback = dog.callback }, watchdog);
		session.hibernating_watchdog:reset(timeout);
	end
end

local function extend_hibernation(session)
	local dog = session.hibernating_watchdog;
	if not dog then return; end
	session.original_smacks_timeout = dog.timeout;
	set_hibernation_timeout(session, options.push_max_hibernation_timeout);
end

local function end_extension(session)
	if session.hibernating and session.original_smacks_timeout then
		set_hibernation_timeout(session, session.original_smacks_timeout);
	end
	session.original_smacks_timeout = nil;
end

-- From the first important push on, the device has the time that mod_smacks gives
local function device_was_called(user, identifier)
	for _, session in pairs(user_sessions(user) or no_records) do
		if session.push_identifier == identifier and session.hibernating and not session.first_hibernated_push then
			session.first_hibernated_push = os_time();
			end_extension(session);
		end
	end
end

-- Sessions and the registrations that they are attached to

-- Other modules write these fields, too
local function get_registration(session)
	local identifier, record = session.push_identifier, session.push_settings;
	if type(identifier) == "string" and type(record) == "table" then return identifier, record; end
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
	end_extension(session);
end

local function forget_registration(user, identifier)
	engine:forget(user, identifier);
	push_errors[identifier] = nil;
	for _, session in pairs(user_sessions(user) or no_records) do
		if session.push_identifier == identifier then detach(session); end
	end
end

local function remove_registrations(user, identifiers)
	local records, remaining = load_records(user), {};
	if not records then return false; end
	for identifier, record in pairs(records) do remaining[identifier] = record; end
	for _, identifier in pairs(identifiers) do remaining[identifier] = nil; end
	if not save_records(user, remaining) then return false; end
	for _, identifier in pairs(identifiers) do forget_registration(user, identifier); end
	return true;
end

-- Publishing

local serve_deadlines;
local deadline_timer;

local function arm(delay)
	if not delay then return; end
	if deadline_timer then deadline_timer:stop(); end
	deadline_timer = module:add_timer(delay, serve_deadlines);
end

local listener_failed = false;

local function has_listeners()
	return host_events.get_handlers("cloud_notify/push") ~= nil;
end

-- A listener may change the payload, or veto the push
local function is_vetoed(user, push)
	if not has_listeners() then return false; end
	local publish = push.stanza.tags[1].tags[1];
	local event = {
		notification_stanza = push.stanza;
		notification_payload = publish.tags[1].tags[1];
		original_stanza = push.original;
		username = user;
		push_info = push.record;
		push_summary = {
			["message-count"] = "1";
			["last-message-body"] = push.body;
			["last-message-sender"] = push.sender;
		};
		important = push.important;
	};
	local ok, vetoed = pcall(module.fire_event, module, "cloud_notify/push", event);
	if not ok then
		-- Not every listener can do with a push that is for no stanza. Another one may have failed
		-- to encrypt it, so it must not tell anything.
		if push.original and not listener_failed then
			listener_failed = true;
			module:log("error", "A module that adds to push notifications failed for %s; such pushes go out "
				.. "without text and sender. What failed is in the log at level debug, from now on for each push", user);
		end
		module:log("debug", "Error in a listener of cloud_notify/push: %s", vetoed);
		push.stanza = engine:discreet(push);
		return false;
	end
	return vetoed, event.reason;
end

local publish = guarded(function (user, push)
	local vetoed, reason = is_vetoed(user, push);
	if vetoed then
		module:log("debug", "Push for %s to %s was vetoed: %s", user, push.identifier, reason or "no reason given");
		arm(engine:vetoed(push.id));
		return;
	end
	module:log("debug", "Sending %s push for %s to %s (%s)",
		push.important and "important" or "unimportant", user, push.identifier, push.id);
	push_errors[push.identifier] = push_errors[push.identifier] or 0;
	if push.important then device_was_called(user, push.identifier); end
	local ok, err = pcall(module.send, module, push.stanza);
	if not ok then
		module:log("error", "Error in sending a push for %s to %s: %s", user, push.stanza.attr.to, err);
		arm(engine:vetoed(push.id));
	end
end);

-- The reply of a reader is the reason why nobody is pushed, or true if there is more to be done.
-- Source is where the records are: the user's, or the session with the one that counts.
local function carry_out(user, reply, stanzas, source)
	if reply ~= true then
		module:log("debug", "No push for %s: %s", user, reply);
		return;
	end
	local pushes, silent, delay = engine:outcome(stanzas, source, has_listeners());
	arm(delay);
	for i = 1, silent and #silent or 0, 2 do
		module:log("debug", "No push for %s to %s: %s", user, silent[i], silent[i+1]);
	end
	for i = 1, pushes and #pushes or 0 do
		publish(user, pushes[i]);
	end
end

-- What has waited for a device, if it still makes sense
local release = guarded(function (user, identifier)
	local sessions = user_sessions(user);
	local records = load_records(user);
	local record = records and records[identifier];
	for _, session in pairs(sessions or no_records) do
		local attached, settings = get_registration(session);
		if attached == identifier then record = settings; end
	end
	if type(record) ~= "table" then
		if records then engine:forget(user, identifier); end
		return;
	end
	local push, delay = engine:release(user, identifier, record, sessions);
	arm(delay);
	if push then publish(user, push); end
end);

local function guarded_request(handler)
	handler = guarded(handler);
	return function (event)
		if not handler(event) then
			event.origin.send(st.error_reply(event.stanza, "wait", "internal-server-error"));
		end
		return true;
	end
end

serve_deadlines = guarded(function ()
	deadline_timer = nil;
	local due, unanswered, delay = engine:expire();
	arm(delay);
	for _, device in pairs(unanswered) do
		module:log("debug", "No answer to a push for %s to %s", device.user, device.identifier);
	end
	for _, device in pairs(due) do
		release(device.user, device.identifier);
	end
end);

-- Rule (a): stream management

local function unacked(session, queue)
	if not get_registration(session) then return; end
	local user, place = session.username, 1;
	repeat
		local reply, next_place = engine_unacked(user, session, user_sessions(user), queue, place);
		if reply then carry_out(user, reply, queue, session); end
		place = next_place;
	until not place
end

local function on_ack_delayed(event)
	unacked(event.origin, event.stanza and { event.stanza } or event.queue);
end

local function on_hibernation_start(event)
	local session = event.origin;
	session.first_hibernated_push = nil;
	if not get_registration(session) then return; end
	extend_hibernation(session);
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
	if identifier then engine:back(session.username, identifier); end
end

-- Rule (b): the archive

local function on_archived(event)
	local user = event.for_user;
	local records = user and get_records(user);
	if not records then return; end
	local reply = engine_archived(user, records, user_sessions(user), event.stanza, event.id);
	if reply then carry_out(user, reply, event.stanza, records); end
end

-- Rule (c): offline storage, and groupchat messages to the bare JID

local function on_offline(event)
	local stanza = event.stanza;
	local user = event.username or jid.node(stanza.attr.to) or event.origin.username;
	local records = user and get_records(user);
	if not records then return; end
	local reply = engine_offline(user, records, user_sessions(user), stanza);
	if reply then carry_out(user, reply, stanza, records); end
end

-- Anybody may ask for a push without a stanza

local function on_ping(event)
	local user = event.user;
	for identifier, record in pairs(event.push_services or get_records(user) or no_records) do
		if type(record) == "table" then
			local push, delay = engine:ping(user, identifier, record);
			arm(delay);
			if push then publish(user, push); end
		end
	end
end

-- Answers of the push services

local function on_answer(event)
	local stanza = event.stanza;
	local attr = stanza.attr;
	if attr.type ~= "result" and attr.type ~= "error" then return; end
	local error_type, condition, error_text;
	if attr.type == "error" then
		error_type, condition, error_text = stanza:get_error();
	end
	local report = engine:answered(attr.id, attr.from, attr.type == "error", error_type, condition);
	if not report then return; end
	local user, identifier, errors = report.user, report.identifier, report.errors;
	condition = report.condition;
	if push_errors[identifier] then push_errors[identifier] = errors; end
	if report.refused then
		module:log(errors == 1 and "info" or "debug", "%s refused a push for %s: %s, error %d of %d",
			attr.from, user, condition, errors, options.push_max_errors);
	elseif condition then
		module:log("debug", "%s cannot take a push for %s now: %s", attr.from, user, condition);
	end
	if error_text then -- It may name the token
		module:log("debug", "%s says: %s", attr.from, error_text:sub(1, max_logged_text));
	end
	if report.ended and remove_registrations(user, { identifier }) then
		module:log("warn", "Removed a push registration of %s at %s after %d errors in a row, the last one %s: "
			.. "that device gets no more pushes until its app registers again", user, attr.from, errors, condition);
	end
	return true;
end

-- XEP-0357 section 8: the push service ends a registration

local function on_message(event)
	local stanza = event.stanza;
	local pubsub = stanza:get_child("pubsub", xmlns_pubsub);
	if not pubsub or stanza.attr.type == "error" then return; end
	local user = jid.node(stanza.attr.to) or event.origin.username;
	local records = user and get_records(user);
	local node = records and native.revoked_node(pubsub, user .. "@" .. host);
	local identifiers = node and native.matching(records, stanza.attr.from, node);
	if not identifiers or not identifiers[1] then return; end
	if remove_registrations(user, identifiers) then
		module:log("info", "%s ended a push registration of %s", stanza.attr.from, user);
	end
	return true;
end

-- XEP-0357 sections 4 to 6: discovery, enabling, disabling

local function on_disco_info(event)
	(event.reply or event.stanza):tag("feature", { var = xmlns_push }):up();
end

local function on_enable(event)
	local origin, stanza = event.origin, event.stanza;
	local enable = stanza.tags[1];
	local address, error_type, condition, error_text = native.enable(enable, origin.full_jid);
	if not address then
		origin.send(st.error_reply(stanza, error_type, condition, error_text));
		return true;
	end
	local user, identifier = origin.username, address.identifier;
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
	local registration = { origin = origin, stanza = stanza, push_info = record };
	if module:fire_event("cloud_notify/registration", registration) == false then
		return true; -- The handler has replied
	end
	local records = load_records(user);
	local changed, displaced = {}, {};
	if records then
		displaced, record.timestamp, record.sequence =
			native.admit(records, address.jid, address.node, options.push_max_devices, os_time());
		for key, other in pairs(records) do changed[key] = other; end
		for _, key in pairs(displaced) do changed[key] = nil; end
		changed[identifier] = record;
	end
	if not records or not save_records(user, changed) then
		origin.send(st.error_reply(stanza, "wait", "internal-server-error", "The registration could not be stored"));
		return true;
	end
	for _, key in pairs(displaced) do
		if key ~= identifier then forget_registration(user, key); end
	end
	engine:enabled(user, identifier);
	push_errors[identifier] = nil;
	attach(origin, identifier, record);
	origin.log("info", "Push notifications enabled at %s", address.jid);
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
	local records = load_records(user);
	local identifiers = records and native.matching(records, address.jid, address.node);
	if not records or identifiers[1] and not remove_registrations(user, identifiers) then
		origin.send(st.error_reply(stanza, "wait", "internal-server-error", "The registration could not be removed"));
		return true;
	end
	origin.log("info", "Push notifications disabled at %s", address.jid);
	origin.send(st.reply(stanza));
	return true;
end

-- Not every client enables push on every connection
local function on_resource_bind(event)
	local session = event.session;
	local user = session.username;
	local identifier = get_registration(session);
	if not identifier then
		local records = get_records(user);
		identifier = records and native.owned_by(records, session.client_id, session.resource);
		if not identifier then return; end
		attach(session, identifier, records[identifier]);
	end
	engine:back(user, identifier);
end

local function on_user_deleted(event)
	if event.host ~= host then return; end
	local user = event.username;
	for identifier in pairs(get_records(user) or no_records) do push_errors[identifier] = nil; end
	for _, session in pairs(user_sessions(user) or no_records) do detach(session); end
	engine:forget_user(user);
	accounts:set(user, no_records); -- The store itself is purged after this event
end

local function configure()
	read_options();
	arm(engine:configure(options));
end

configure();

module:hook("account-disco-info", on_disco_info);
module:hook("iq-set/self/" .. xmlns_push .. ":enable", guarded_request(on_enable));
module:hook("iq-set/self/" .. xmlns_push .. ":disable", guarded_request(on_disable));
module:hook("iq/host", guarded(on_answer), 10);
module:hook("message/bare", guarded(on_message), 10);
module:hook("resource-bind", guarded(on_resource_bind));
module:hook("smacks-ack-delayed", guarded(on_ack_delayed));
module:hook("smacks-hibernation-start", guarded(on_hibernation_start));
module:hook("smacks-hibernation-stanza-queued", guarded(on_hibernation_stanza));
module:hook("smacks-hibernation-end", guarded(on_hibernation_end));
module:hook("archive-message-added", guarded(on_archived));
module:hook("message/offline/handle", guarded(on_offline), 1);
module:hook("message/bare/groupchat", guarded(on_offline), 1);
module:hook("cloud-notify-ping", guarded(on_ping));
module:hook_global("user-deleted", guarded(on_user_deleted));
module:hook_global("config-reloaded", guarded(configure));

-- Sessions that were there before this module was loaded
if not module.reloading then
	for _, user in pairs(host_sessions) do
		for _, session in pairs(user.sessions) do
			guarded(on_resource_bind)({ session = session });
			if get_registration(session) and session.hibernating and not session.first_hibernated_push then
				extend_hibernation(session);
			end
		end
	end
end

function module.unload()
	-- After a reload the next instance goes on with what the engine knows
	if module.reloading then return; end
	for _, user in pairs(host_sessions) do
		for _, session in pairs(user.sessions) do end_extension(session); end
	end
	native.close(host);
end
