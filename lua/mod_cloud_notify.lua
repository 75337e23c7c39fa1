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
local datetime = prosody_require "util.datetime".datetime;
local jid = prosody_require "util.jid";
local st = prosody_require "util.stanza";
local timer = prosody_require "util.timer";
local usermanager = prosody_require "core.usermanager";

local math_max, os_date, os_time = math.max, os.date, os.time;
local ipairs, next, pairs, pcall, tostring, type, xpcall = ipairs, next, pairs, pcall, tostring, type, xpcall;
local traceback = debug.traceback;

local version = "0.1.0"; -- That of the native library

local xmlns_push = "urn:xmpp:push:0";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local host = module.host;
local hosts = prosody.hosts;
local host_events = hosts[host].events;
local host_sessions = hosts[host].sessions or {};

local max_cached_users = 10000; -- whose registrations are kept in memory, and as many who have none
local max_cached_bytes = 64*1024*1024; -- of all registrations in memory
local max_user_bytes = 1024*1024; -- What takes more is read each time
local max_cached_addresses = 10000;
local max_cached_address = 256; -- Longer ones are split each time
local max_logged_text = 200; -- of a peer
local max_logged_value = 100; -- of an option
local max_language = 64;
local max_text = 4096;

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
local engine_archived, engine_offline, engine_unacked, engine_read, engine_undelivered = engine:readers();

-- Options

-- What Prosody's own get_option_boolean takes
local function boolean(value)
	if value == true or value == "true" or value == 1 then return true; end
	if value == false or value == "false" or value == 0 then return false; end
end

local function text(value)
	if type(value) == "number" then value = tostring(value); end
	if native.is_xml_text(value) and #value <= max_text then return value; end
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
	push_cache_age = { default = 60, number(1), "a number of seconds, at least 1" };
	push_coalesce_window = { default = 1, number(0), "a number of seconds" };
	push_max_devices = { default = 5, number(1, true), "a whole number, at least 1" };
	push_max_errors = { default = 16, number(1, true), "a whole number, at least 1" };
	push_max_failures = { default = 5, number(0, true), "a whole number, 0 for no limit" };
	push_max_hibernation_timeout = { default = 72*3600, number(1), "a number of seconds, at least 1" };
	push_max_in_flight = { default = 4096, number(1, true), "a whole number, at least 1" };
	push_max_per_minute = { default = 60, number(0, true), "a whole number, 0 for no limit" };
	push_notification_important_body = { default = "New Message!", text,
		"a string in UTF-8 without control characters, of at most 4096 bytes" };
	push_notification_with_body = { default = false, boolean, "true or false" };
	push_notification_with_sender = { default = false, boolean, "true or false" };
	push_notify_on = { default = "all", one_of("all", "messages", "important"), "'all', 'messages' or 'important'" };
	push_recovery_rate = { default = 50, number(1, true), "a whole number, at least 1" };
	push_retry_age = { default = 24*3600, number(0), "a number of seconds" };
	push_retry_max = { default = 30*60, number(0.1), "a number of seconds, at least 0.1" };
	push_retry_min = { default = 5, number(0.1), "a number of seconds, at least 0.1" };
};

local options = {};

-- A value may be anything, also something that cannot be printed
local function describe(value)
	local ok, printed = pcall(tostring, value);
	if not ok then printed = type(value); end
	return (printed:sub(1, max_logged_value):gsub("[^\32-\126]", function (char)
		return ("\\%d"):format(char:byte());
	end));
end

-- The value in the configuration if it is valid, or nil and what is wrong
local function read_option(name, option)
	local ok, value = pcall(module.get_option, module, name);
	if not ok then return nil, ("cannot be read (%s)"):format(describe(value)); end
	if value == nil then return; end
	local valid;
	ok, valid = pcall(option[1], value);
	if ok and valid ~= nil then return valid; end
	return nil, ("must be %s, not %s '%s'"):format(option[2], type(value), describe(value));
end

local function read_options()
	for name, option in pairs(known_options) do
		local value, problem = read_option(name, option);
		if problem then
			module:log("error", "Option %s %s: using the default, %s", name, problem, tostring(option.default));
		end
		if value == nil then value = option.default; end
		options[name] = value;
	end
end

-- Registrations: user -> identifier -> record, as they are in the store

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

-- One that cannot be opened is one that can neither be read nor written
local function open_store(name)
	local ok, opened, err = pcall(module.open_store, module, name);
	if ok and opened then return opened; end
	err = tostring(err or opened or "it cannot be opened");
	local function fail() return nil, err; end
	return { get = fail; set = fail }, err;
end

local store, missing_store = open_store();
if missing_store then
	store_fails = { read = true; written = true };
	module:log("error", "Cannot open the store of push registrations: %s -- nobody gets pushes; "
		.. "check the option 'storage' and restart", missing_store);
end

local push_errors = module:shared("push_errors"); -- identifier -> count, for administrators' tools
local no_records = {};

-- Others write to the store, too. So what was read is trusted for push_cache_age; from then on it only
-- tells what has changed.
local fresh = {}; -- user -> records, if there are any
local without, without_left = {}, max_cached_users; -- user -> true, if there are none
local trust_timer;

local sizes, total_size = {}, 0; -- user -> bytes, about

local function let_go(user, records)
	total_size = total_size - (sizes[user] or 0);
	sizes[user], fresh[user] = nil, nil;
	for identifier in pairs(records) do push_errors[identifier] = nil; end
end

-- What was read last, of those who have any. A user who has not been seen for long is let go of.
local accounts = cache.new(max_cached_users, let_go);

local function forget_records(user)
	local records = accounts:get(user);
	if records then
		let_go(user, records);
		accounts:set(user, nil);
	end
end

local function size_of(value, depth)
	if type(value) == "string" then return 40 + #value; end
	if type(value) ~= "table" or depth == 0 then return 40; end
	local size = 80;
	for key, field in next, value do size = size + size_of(key, 0) + size_of(field, depth - 1); end
	return size;
end

local function user_sessions(user)
	local sessions = host_sessions[user];
	return sessions and sessions.sessions;
end

local function end_trust()
	trust_timer, fresh, without, without_left = nil, {}, {}, max_cached_users;
end

local function remember(user, records)
	trust_timer = trust_timer or module:add_timer(options.push_cache_age, end_trust);
	local size = next(records) and size_of(user) + size_of(records, 16) or 0;
	without[user] = nil;
	if size == 0 then
		forget_records(user);
		if without_left == 0 then without, without_left = {}, max_cached_users; end
		without[user], without_left = true, without_left - 1;
	elseif size > max_user_bytes then
		forget_records(user);
	else
		total_size = total_size - (sizes[user] or 0) + size;
		accounts:set(user, records);
		sizes[user], fresh[user] = size, records;
		while total_size > max_cached_bytes do forget_records((accounts:tail())); end
	end
	for _, session in pairs(user_sessions(user) or no_records) do
		local record = records[session.push_identifier or false];
		if record then session.push_settings = record; end
	end
end

local function is_account(user)
	local ok, exists, err = pcall(usermanager.user_exists, user, host);
	return not ok or exists or err == "method not implemented";
end

local follow_store;

-- As the store has them now; nil if it cannot be read
local function read_records(user)
	local exists = is_account(user);
	local ok, data, err = pcall(store.get, store, user);
	if not ok then err = data or "unknown error"; end
	log_store("read", user, err);
	if err then return; end -- Nor are accounts known to be gone then
	local records = {};
	if not exists then -- Nothing is kept of nobody
		follow_store(user, records);
		forget_records(user);
		return records;
	end
	for identifier, record in pairs(type(data) == "table" and data or no_records) do
		if type(identifier) == "string" and type(record) == "table" then records[identifier] = record; end
	end
	for _, identifier in pairs(native.surplus(records, options.push_max_devices)) do
		records[identifier] = nil;
	end
	follow_store(user, records);
	remember(user, records);
	return records;
end

local function load_records(user)
	return fresh[user] or without[user] and no_records or read_records(user);
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
	for _, session in pairs(user_sessions(user) or no_records) do
		if session.push_identifier == identifier then detach(session); end
	end
end

local function forget_registration(user, identifier)
	engine:forget(user, identifier);
	push_errors[identifier] = nil;
	detach_all(user, identifier);
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
	for _, session in pairs(user_sessions(user) or no_records) do
		if not get_registration(session)
		and native.owned_by(records, session.client_id, session.resource, true) == identifier then
			attach(session, identifier, records[identifier]);
			attached[#attached + 1] = session;
		end
	end
	return attached;
end

local function client_of(record)
	return text(record.client_id) or text(record.resource);
end

local function is_same_enabling(one, other)
	return text(one.timestamp) == text(other.timestamp) and text(one.sequence) == text(other.sequence);
end

-- What others have changed in the store changes here
function follow_store(user, records)
	for identifier, before in pairs(accounts:get(user) or no_records) do
		local record = records[identifier];
		if not record or client_of(record) ~= client_of(before) then
			forget_registration(user, identifier);
		elseif is_suspended(record) then
			if not is_suspended(before) then detach_all(user, identifier); end
		elseif is_suspended(before) or not is_same_enabling(record, before) then
			engine:enabled(user, identifier);
			push_errors[identifier] = nil;
			attach_owners(user, records, identifier);
		end
	end
	for _, session in pairs(user_sessions(user) or no_records) do
		local identifier = session.push_identifier;
		if type(identifier) == "string" and not records[identifier] then forget_registration(user, identifier); end
	end
end

-- What is in memory changes only with what is in the store
local function copy(original)
	local copied = {};
	for key, value in pairs(original) do copied[key] = value; end
	return copied;
end

local function remove_registrations(user, identifiers)
	local records = read_records(user);
	if not records then return false; end
	local remaining = copy(records);
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

-- A listener may change the payload, or veto the push. Returns the stanza to be sent.
local function ask_listeners(user, id, stanza, important, details)
	local event = {
		notification_stanza = stanza;
		notification_payload = stanza.tags[1].tags[1].tags[1].tags[1];
		original_stanza = details.original;
		username = user;
		push_info = details.record;
		push_summary = {
			["message-count"] = "1";
			["last-message-body"] = details.body;
			["last-message-sender"] = details.sender;
		};
		important = important;
	};
	local ok, vetoed = pcall(module.fire_event, module, "cloud_notify/push", event);
	if ok then return stanza, vetoed, event.reason; end
	-- Not every listener can do with a push that is for no stanza. Another one may have failed
	-- to encrypt it, so it must not tell anything.
	if details.original and not listener_failed then
		listener_failed = true;
		module:log("error", "A module that adds to push notifications failed for %s; such pushes go out "
			.. "without text and sender. What failed is in the log at level debug, from now on for each push", user);
	end
	module:log("debug", "Error in a listener of cloud_notify/push: %s", vetoed);
	return engine:discreet(id, details.record, important);
end

local take_answer;

-- Pushes have parts in common and leave out namespaces, which is fine where they are only written to a
-- stream. A module may do anything with them, and compares namespaces: it gets a copy as a parser would
-- have made it.
local function is_handled_here(address)
	local here = hosts[address] or address:find("[@/]") and hosts[jid.host(address)];
	return here and not (here.modules and here.modules.component);
end

local function name_namespaces(element)
	for _, child in pairs(element.tags) do
		child.attr.xmlns = child.attr.xmlns or element.attr.xmlns;
		name_namespaces(child);
	end
	return element;
end

local is_stopping = false;

local sending_failed = false;

-- Details are for listeners, where there are any
local publish = guarded(function (user, stanza, identifier, important, details)
	local id = stanza.attr.id;
	if is_stopping then
		module:log("debug", "No push for %s to %s until the server runs again (%s)", user, identifier, id);
		return; -- Without an answer it is owed
	end
	if details and has_listeners() then
		local vetoed, reason;
		stanza, vetoed, reason = ask_listeners(user, id, stanza, important, details);
		if vetoed then
			module:log("debug", "Push for %s to %s was vetoed: %s", user, identifier, reason or "no reason given");
			arm(engine:vetoed(id));
			return;
		end
	end
	module:log("debug", "Sending %s push for %s to %s (%s)",
		important and "important" or "unimportant", user, identifier, id);
	push_errors[identifier] = push_errors[identifier] or 0;
	if important then device_was_called(user, identifier); end
	local service = stanza.attr.to;
	if is_handled_here(service) then stanza = name_namespaces(st.clone(stanza)); end
	local ok, err = pcall(module.send, module, stanza);
	if not ok then
		module:log(sending_failed and "debug" or "error", "Error in sending a push for %s to %s: %s -- a module of this "
			.. "server has a fault; other such errors are logged at level debug", user, service, err);
		sending_failed = true;
		take_answer(id, service, true, "wait", "internal-server-error");
	end
end);

-- While a call rings somewhere, its user's other devices may take it
local called, called_count = {}, 0; -- user -> until when

local function on_call(user, seconds)
	local now = os_time();
	if called_count >= max_cached_users then
		for one, last in pairs(called) do
			if last < now then called[one], called_count = nil, called_count - 1; end
		end
	end
	if not called[user] then called_count = called_count + 1; end
	called[user] = now + seconds;
end

local function is_called(user)
	local last = called[user];
	if last and last < os_time() then called[user], called_count, last = nil, called_count - 1, nil; end
	return last ~= nil;
end

-- The reply of a reader is the reason why nobody is pushed, or true if there is more to be done.
-- Source is where the records are: the user's, or the session with the one that counts.
local function carry_out(user, reply, stanzas, source)
	if reply ~= true then
		module:log("debug", "No push for %s: %s", user, reply);
		return;
	end
	local listened = has_listeners();
	local pushes, silent, delay, rings = engine:settle(stanzas, listened);
	if rings then on_call(user, rings); end
	arm(delay);
	for i = 1, silent and #silent or 0, 2 do
		module:log("debug", "No push for %s to %s: %s", user, silent[i], silent[i+1]);
	end
	for _ = 1, pushes do
		publish(user, engine:next_push(stanzas, source, listened));
	end
end

local function publish_now(user, delay, stanza, identifier, important, details)
	arm(delay);
	if stanza then publish(user, stanza, identifier, important, details); end
end

-- What has waited for a device, if it still makes sense
local release = guarded(function (user, identifier)
	local records = load_records(user);
	local record = records and records[identifier];
	-- There is no trial while its client is online
	local owners = record and is_suspended(record) and attach_owners(user, records, identifier);
	local sessions = user_sessions(user);
	for _, session in pairs(sessions or no_records) do
		local attached, settings = get_registration(session);
		if attached == identifier then record = settings; end
	end
	if record then
		local delay, stanza, key, important, details = engine:release(user, identifier, record, sessions, has_listeners());
		for _, session in pairs(owners or no_records) do detach(session); end
		publish_now(user, delay, stanza, key, important, details);
	elseif records then
		engine:forget(user, identifier);
	else
		arm(engine:postpone(user, identifier));
	end
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

-- Push services that fail

-- Signs of life, but for answers to pushes
local signs_of_life = {
	"iq/bare"; "iq/full"; "iq/host";
	"message/bare"; "message/full"; "message/host";
	"presence/bare"; "presence/full"; "presence/host";
};

local min_watched = 4096; -- as many as the engine remembers where nobody waits for them
local max_watched = min_watched; -- then the forgotten ones are looked for

local watched, watched_count = {}, 0; -- JIDs of the push services whose signs of life are waited for

local on_service;

local function on_sign_of_life(event)
	local attr = event.stanza.attr;
	if not watched[attr.from] or attr.type == "result" or attr.type == "error" then return; end
	local delay, service = engine:heard(attr.from);
	arm(delay);
	on_service(service);
end

on_sign_of_life = guarded(on_sign_of_life);

local function stop_watching(service)
	if not watched[service] then return; end
	watched[service], watched_count = nil, watched_count - 1;
	if watched_count == 0 then
		for _, event in pairs(signs_of_life) do module:unhook(event, on_sign_of_life); end
	end
end

-- The engine may have forgotten some that nobody waits for
local function stop_watching_forgotten()
	local known = {};
	for _, service in pairs(engine:watched()) do known[service] = true; end
	for service in pairs(watched) do
		if not known[service] then stop_watching(service); end
	end
	max_watched = math_max(min_watched, 2 * watched_count);
end

local function watch(service)
	if watched[service] then return; end
	if watched_count >= max_watched then stop_watching_forgotten(); end
	if watched_count == 0 then
		for _, event in pairs(signs_of_life) do module:hook(event, on_sign_of_life, 1000); end
	end
	watched[service], watched_count = true, watched_count + 1;
end

function on_service(service, condition)
	if not service then return; end
	if service.state == "well" then
		stop_watching(service.jid);
	elseif service.state == "back" then
		module:log("info", "%s takes pushes again, %d devices are owed one", service.jid, service.owed);
	else
		watch(service.jid);
	end
	if service.state == "out" then
		module:log("warn", "%s failed to take %d pushes in a row, the last one: %s -- what it should get is kept until it "
			.. "is back; it is tried again now and then", service.jid, service.failures, condition);
	end
end

local function on_connected(connected_host)
	local delay, services = engine:connected(connected_host);
	arm(delay);
	for _, service in pairs(services) do on_service(service); end
end

local on_report;

-- External components (XEP-0114)

local function on_component_authenticated(event)
	on_connected(event.session.host);
end

local function on_component_disconnected(event)
	local session = event.session;
	if session.type ~= "component" then return; end -- It has never been the component
	if prosody.shutdown_reason then return; end -- What is under way is owed after the restart
	local delay, reports = engine:disconnected(session.host);
	arm(delay);
	for _, report in pairs(reports) do
		on_report(report, session.host, "remote-server-timeout");
	end
end

on_component_authenticated = guarded(on_component_authenticated);
on_component_disconnected = guarded(on_component_disconnected);

local function on_host_activated(activated)
	local activated_host = hosts[activated];
	if activated_host.type == "component" then
		module:hook_object_event(activated_host.events, "component-authenticated", on_component_authenticated);
		module:hook_object_event(activated_host.events, "component-disconnected", on_component_disconnected);
	end
	local component = activated_host.modules and activated_host.modules.component;
	if not component or component.connected then on_connected(activated); end
end

local function on_s2s_established(event)
	local session = event.session;
	local peer = session.direction == "incoming" and session.from_host or session.to_host;
	if peer then on_connected(peer); end
end

-- Reports of pushes

-- Returns whether the registration has been suspended, or had to go
local function suspend(user, identifier, condition, description, errors)
	local records = read_records(user);
	local record = records and records[identifier];
	if not record then return false; end
	local suspended, wait_or_since = native.suspend(record, condition, description, os_time());
	local service = record.jid;
	if not suspended then
		if not remove_registrations(user, { identifier }) then return false; end
		module:log("warn", "Removed a push registration of %s at %s, suspended since %s: the last trial failed with %s. "
			.. "That device gets no more pushes until its app registers again",
			user, service, os_date("!%Y-%m-%d", wait_or_since), condition);
		return true;
	end
	local changed = copy(records);
	changed[identifier] = copy(record);
	changed[identifier].suspended = suspended;
	if not save_records(user, changed) then return false; end
	detach_all(user, identifier);
	arm(engine:suspend(user, identifier, wait_or_since));
	module:log("warn", "Suspended a push registration of %s at %s after %d errors in a row, the last one: %s -- "
		.. "trial %d is in %d hours, or its app registers again", user, service, errors, condition,
		suspended.trials + 1, wait_or_since / 3600);
	return true;
end

-- A trial has succeeded: the registration is in force again
local function revive(user, identifier)
	local records = read_records(user);
	local record = records and records[identifier];
	if not record then return; end
	local changed = copy(records);
	changed[identifier] = copy(record);
	changed[identifier].suspended = nil;
	if save_records(user, changed) then
		attach_owners(user, changed, identifier);
		module:log("info", "%s takes pushes for %s again: the registration is in force", record.jid, user);
	end
end

function on_report(report, service, condition, description)
	local user, identifier, errors = report.user, report.identifier, report.errors;
	local outcome = report.outcome;
	condition = condition or "no answer";
	on_service(report.service, condition);
	if not user then return; end -- The registration has ended meanwhile
	if push_errors[identifier] then push_errors[identifier] = errors; end
	if outcome == "refused" then
		module:log(errors == 1 and "info" or "debug", "%s refused a push for %s: %s, error %d of %d",
			service, user, condition, errors, options.push_max_errors);
	elseif outcome == "failed" then
		module:log("debug", "A push for %s to %s failed: %s; it is tried again", user, identifier, condition);
	elseif outcome == "suspended" then
		suspend(user, identifier, condition, description, errors);
	elseif outcome == "revived" then
		revive(user, identifier);
	elseif outcome == "removed" and remove_registrations(user, { identifier }) then
		module:log("warn", "Removed a push registration of %s at %s after %d errors in a row, the last one %s: "
			.. "that device gets no more pushes until its app registers again", user, service, errors, condition);
	end
end

on_report = guarded(on_report);

local give_up = guarded(function (user, identifier)
	local description = "Nobody could reach the push service for 30 days";
	if not suspend(user, identifier, "remote-server-timeout", description, 0) then
		arm(engine:postpone(user, identifier));
	end
end);

serve_deadlines = guarded(function ()
	deadline_timer = nil;
	local delay, due, unanswered, given_up = engine:expire();
	arm(delay);
	for _, report in pairs(unanswered) do
		on_report(report);
	end
	for _, device in pairs(given_up) do
		give_up(device.user, device.identifier);
	end
	for _, device in pairs(due) do
		release(device.user, device.identifier);
	end
end);

-- Rule (a): stream management

local function read_queue(session)
	local queue, user = session.unread_queue, session.username;
	session.unread_queue = nil;
	if queue and engine_read(user, session, user_sessions(user), queue) then engine:settle(queue, false); end
end

local function read_queues(user)
	for _, session in pairs(user_sessions(user) or no_records) do read_queue(session); end
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

-- Rule (b): the archive

-- Address -> the user of this host whose it is, or false
local recipients, recipients_left = {}, max_cached_addresses;

local function is_recipient(user, address)
	if not address then return true; end -- One's own
	local recipient = recipients[address];
	if recipient == nil then
		local node, address_host = jid.split(address);
		recipient = address_host == host and node or false;
		if #address > max_cached_address then return recipient == user; end
		if recipients_left == 0 then recipients, recipients_left = {}, max_cached_addresses; end
		recipients[address], recipients_left = recipient, recipients_left - 1;
	end
	return recipient == user;
end

local meet_archived = guarded(function (event)
	local user, stanza = event.for_user, event.stanza;
	if not user or not is_recipient(user, stanza.attr.to) and not is_called(user) then return; end
	local records = get_records(user);
	if not records then return; end
	local reply = engine_archived(user, records, user_sessions(user), stanza, event.id);
	if reply == false then
		read_queues(user);
		reply = engine_archived(user, records, user_sessions(user), stanza, event.id);
	end
	if reply then carry_out(user, reply, stanza, records); end
end);

-- Most events are about one's own copy of what goes to somebody else: a look at the address takes
-- less time than anything else.
local function on_archived(event)
	local stanza = event.stanza;
	local attr = stanza and stanza.attr;
	local recipient = attr and recipients[attr.to];
	if recipient == nil or recipient == event.for_user or called[event.for_user] then meet_archived(event); end
end

-- What a session has not acknowledged that ends without hibernating. If it makes way for one that binds the
-- same resource, it is known only afterwards whether the device is away.

local undelivered = {};
local binding_user;

local meet_undelivered = guarded(function (user, stanza, only)
	local records = get_records(user);
	if only then records = records and { [only] = records[only] }; end
	if not records then return; end
	read_queues(user);
	local reply = engine_undelivered(user, records, user_sessions(user), stanza);
	if reply then carry_out(user, reply, stanza, records); end
end);

local function meet_all_undelivered()
	local all = undelivered;
	undelivered = {};
	for _, one in ipairs(all) do meet_undelivered(one.user, one.stanza, one.only); end
end

local function on_undelivered(event)
	local session, stanza = event.session, event.stanza;
	local user, identifier = session.username, get_registration(session);
	if not user or stanza.name ~= "message" or not get_records(user) then return; end
	-- One that has hibernated is a matter of rule (a), and only of its own device
	if session.hibernating and not identifier then return; end
	undelivered[#undelivered + 1] = { user = user; stanza = stanza; only = session.hibernating and identifier };
	if user ~= binding_user then
		meet_all_undelivered();
	elseif not undelivered[2] then
		module:add_timer(0, meet_all_undelivered); -- It may not be bound after all
	end
end

local function on_resource_binding(event)
	binding_user = event.session.username;
end

local function on_resource_bound()
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

local function on_resource_unbind(event)
	local session = event.session;
	local user = session.username;
	-- mod_smacks has set the first to false where something is not acknowledged
	local is_available = session.presence and (session.priority or -1) >= 0;
	if not session.smacks or not is_available or not get_registration(session) then return; end
	for _, other in pairs(user_sessions(user) or no_records) do
		local queue = other.smacks and other.outgoing_stanza_queue;
		if queue and queue:count_unacked() > 0 then
			queue = queued_since(session, queue:table());
			if engine_read(user, session, user_sessions(user), queue) then engine:settle(queue, false); end
		end
	end
end

-- Nothing reaches the client any more, although the session lives on until it answers
local function on_session_close(event)
	event.session.push_stream_closed = true;
end

-- Rule (c): offline storage, and groupchat messages to the bare JID

local meet_offline = guarded(function (event, is_room)
	local stanza = event.stanza;
	local user = event.username or jid.node(stanza.attr.to) or event.origin.username;
	local records = user and get_records(user);
	if not records then return; end
	read_queues(user);
	local reply = engine_offline(user, records, user_sessions(user), stanza, is_room);
	if reply then carry_out(user, reply, stanza, records); end
end);

-- Only what has been taken: the sender gets the rest back
local function on_offline(handlers, name, event)
	local taken = handlers(name, event);
	if taken then meet_offline(event, false); end
	return taken;
end

-- It is taken by nobody, and reaches no session
local function on_room_message(event)
	meet_offline(event, true);
end

-- Anybody may ask for a push without a stanza

local function on_ping(event)
	local user = event.user;
	for identifier, record in pairs(event.push_services or get_records(user) or no_records) do
		if type(record) == "table" then
			publish_now(user, engine:ping(user, identifier, record, has_listeners()));
		end
	end
end

-- Answers of the push services

function take_answer(id, service, is_error, error_type, condition, description)
	local outcome, delay, report = engine:answered(id, service, is_error, error_type, condition);
	arm(delay);
	if report then on_report(report, service, report.condition, description); end
	return outcome;
end

local function on_answer(event)
	local stanza = event.stanza;
	local attr = stanza.attr;
	if attr.type ~= "result" and attr.type ~= "error" then return; end
	local error_type, condition, error_text;
	if attr.type == "error" then
		error_type, condition, error_text = stanza:get_error();
		error_text = error_text and error_text:sub(1, max_logged_text);
	end
	if not take_answer(attr.id, attr.from, attr.type == "error", error_type, condition, error_text) then return; end
	if error_text then -- It may name the token
		module:log("debug", "%s says: %s", attr.from, error_text);
	end
	return true;
end

-- XEP-0357 section 8: the push service ends a registration

local function on_message(event)
	local stanza = event.stanza;
	local pubsub = stanza:get_child("pubsub", xmlns_pubsub);
	if not pubsub or stanza.attr.type == "error" then return; end
	local user = jid.node(stanza.attr.to) or event.origin.username;
	local node = user and native.revoked_node(pubsub, user .. "@" .. host);
	local records = node and get_records(user); -- Anybody may send anything to anybody: first of all, what it says
	local identifiers = records and native.matching(records, stanza.attr.from, node);
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
	local records = read_records(user);
	local changed, displaced = nil, {};
	if records then
		displaced, record.timestamp, record.sequence = native.admit(records, address.jid, address.node,
			origin.client_id, origin.resource, options.push_max_devices, os_time());
		changed = copy(records);
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
	local records = read_records(user);
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
	session.push_bound = datetime();
	local records = read_records(user) or load_records(user);
	local identifier = get_registration(session) or records and attach_owner(session, records);
	if identifier then engine:back(user, identifier); end
end

local function on_user_deleted(event)
	if event.host ~= host then return; end
	local user = event.username;
	for _, session in pairs(user_sessions(user) or no_records) do detach(session); end
	engine:forget_user(user);
	remember(user, no_records); -- The store itself is purged after this event
end

local configure = guarded(function ()
	read_options();
	arm(engine:configure(options));
end);

-- What is owed outlives a restart, but not a crash: it is gone from the store before anything is sent

local owed_store = open_store("cloud_notify_owed");

local function save_owed()
	local owed = engine:owed();
	if not owed then return; end
	owed.saved = os_time();
	local ok, saved, err = pcall(owed_store.set, owed_store, nil, owed);
	if not ok or not saved then
		module:log("error", "Cannot store which devices are owed a push, they will get none: %s -- "
			.. "check the storage of this host", tostring(err or saved));
	end
end

-- No answer would be read any more, so that what leaves now would leave once more after the restart
local function on_server_stopping()
	is_stopping = true;
end

local function on_server_stopped()
	meet_all_undelivered();
	save_owed();
end

local function restore_owed()
	local ok, owed, err = pcall(owed_store.get, owed_store, nil);
	if not ok or err then
		module:log(missing_store and "debug" or "error", -- Said already
			"Cannot read from the store which devices are owed a push, they will get none: %s -- "
			.. "check the storage of this host", tostring(err or owed));
	end
	if not ok or type(owed) ~= "table" then return; end
	local removed;
	ok, removed, err = pcall(owed_store.set, owed_store, nil, nil);
	if not next(owed) then return; end -- A storage that keeps nothing says so, too
	if not ok or not removed then
		module:log("error", "Cannot remove from the store which devices are owed a push, they will get none: %s -- "
			.. "check the storage of this host", tostring(err or removed));
		return;
	end
	local elapsed = os_time() - (tonumber(owed.saved) or 0);
	local count, delay = engine:restore(owed, elapsed > 0 and elapsed < 1e9 and elapsed or 0);
	arm(delay);
	module:log("info", "%d devices are owed a push from before the restart", count);
end

configure();
guarded(restore_owed)();

for _, service in pairs(engine:watched()) do watch(service); end
for name in pairs(hosts) do guarded(on_host_activated)(name); end

module:hook("account-disco-info", on_disco_info);
module:hook("iq-set/self/" .. xmlns_push .. ":enable", guarded_request(on_enable));
module:hook("iq-set/self/" .. xmlns_push .. ":disable", guarded_request(on_disable));
module:hook("iq/host", guarded(on_answer), 10);
module:hook("message/bare", guarded(on_message), 10);
module:hook("resource-bind", guarded(on_resource_bind));
module:hook("pre-resource-bind", guarded(on_resource_binding), 1000);
module:hook("resource-bind", guarded(on_resource_bound), -1000); -- Other modules attach sessions there
module:hook("smacks-ack-delayed", guarded(on_ack_delayed));
module:hook("smacks-hibernation-start", guarded(on_hibernation_start));
module:hook("smacks-hibernation-stanza-queued", guarded(on_hibernation_stanza));
module:hook("smacks-hibernation-end", guarded(on_hibernation_end));
module:hook("archive-message-added", on_archived);
module:hook("delivery/failure", guarded(on_undelivered), 1);
module:hook("pre-session-close", guarded(on_session_close));
module:hook("resource-unbind", guarded(on_resource_unbind), 1000); -- mod_presence forgets the presence there
module:wrap_event("message/offline/handle", on_offline);
module:hook("message/bare/groupchat", on_room_message, 1);
module:hook("cloud-notify-ping", guarded(on_ping));
module:hook("s2sin-established", guarded(on_s2s_established));
module:hook("s2sout-established", guarded(on_s2s_established));
module:hook_global("host-activated", guarded(on_host_activated), -1); -- Its modules are loaded there
module:hook_global("server-stopping", on_server_stopping, 1000); -- Before sessions are ended
module:hook_global("server-stopped", guarded(on_server_stopped));
module:hook_global("user-deleted", guarded(on_user_deleted), 1000); -- mod_c2s ends the sessions there
module:hook_global("config-reloaded", configure);

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

-- A call goes on ringing through a reload

function module.save()
	return { called = called, called_count = called_count };
end

function module.restore(saved)
	called, called_count = saved.called or {}, saved.called_count or 0;
end

function module.unload()
	meet_all_undelivered();
	-- After a reload the next instance goes on with what the engine knows
	if module.reloading then return; end
	save_owed();
	for _, user in pairs(host_sessions) do
		for _, session in pairs(user.sessions) do end_extension(session); end
	end
	native.close(host);
end
