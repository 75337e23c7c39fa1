-- What the engine has decided is carried out: pushes leave, if no listener has a veto

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local st = util.prosody_require "util.stanza";
local guarded, none = util.guarded, util.none;
local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local sessions = module.lib "sessions";
local user_sessions, device_was_called = sessions.user_sessions, sessions.device_was_called;
local registrations = module.lib "registrations";
local push_errors, get_records = registrations.push_errors, registrations.get;
local take_answer = module.lib "reports".take_answer;
local on_call = module.lib "calls".on_call;

local pairs, pcall, tostring, type = pairs, pcall, tostring, type;

local hosts = prosody.hosts;
local host_events = hosts[module.host].events;

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
			["message-count"] = details.count;
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
		module:log("error", "A module that adds to push notifications failed for %s; such pushes go out without text and "
			.. "sender -- the log at level debug says for each of them which module, and why", user);
	end
	module:log("debug", "Error in a listener of cloud_notify/push: %s", vetoed);
	return engine:discreet(id, details.record, important);
end

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

-- Details are for listeners, where there are any. Returns true if it has left, else false and why not.
local publish = guarded(function (user, stanza, identifier, important, details)
	local id = stanza.attr.id;
	if is_stopping then
		module:log("debug", "No push for %s to %s until the server runs again (%s)", user, identifier, id);
		return false, "the server stops"; -- Without an answer it is owed
	end
	if details and has_listeners() then
		local vetoed, reason;
		stanza, vetoed, reason = ask_listeners(user, id, stanza, important, details);
		if vetoed then
			module:log("debug", "Push for %s to %s was vetoed: %s", user, identifier, reason or "no reason given");
			arm(engine:vetoed(id, type(reason) == "string" and reason or nil));
			return false, "another module does not want it: " .. tostring(reason or "no reason given");
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
	return true;
end);

-- The reply of a reader is the reason why nobody is pushed, or true if there is more to be done.
-- Source is where the records are: the user's, or the session with the one that counts.
local function carry_out(user, reply, stanzas, source)
	if reply ~= true then
		module:log("debug", "No push for %s: %s", user, reply);
		return;
	end
	local listened, of_user = has_listeners(), user_sessions(user);
	local pushes, silent, delay, rings, stanza, identifier, important, details =
		engine:settle(stanzas, source, listened, of_user);
	if rings then on_call(user, rings); end
	arm(delay);
	for i = 1, silent and #silent or 0, 2 do
		module:log("debug", "No push for %s to %s: %s", user, silent[i], silent[i+1]);
	end
	if stanza then publish(user, stanza, identifier, important, details); end
	for _ = 2, pushes do
		publish(user, engine:next_push(stanzas, source, listened, of_user));
	end
end

local function publish_now(user, delay, stanza, identifier, important, details)
	arm(delay);
	if stanza then return publish(user, stanza, identifier, important, details); end
end

-- Anybody may ask for a push without a stanza
local function on_ping(event)
	local user = event.user;
	for identifier, record in pairs(event.push_services or get_records(user) or none) do
		if type(record) == "table" then
			publish_now(user, engine:ping(user, identifier, record, has_listeners()));
		end
	end
end

-- No answer would be read any more, so that what leaves now would leave once more after the restart
local function on_server_stopping()
	is_stopping = true;
end

return {
	version = "@VERSION@";
	has_listeners = has_listeners;
	carry_out = carry_out;
	publish_now = publish_now;
	on_ping = on_ping;
	on_server_stopping = on_server_stopping;
};
