-- Plays the part of the modules that work beside mod_cloud_notify. The shared
-- table "plans" tells what to do for a user, "seen" has the events that it got.
-- (spec/support/companion.lua is the other side.)

local plans = module:shared("plans"); -- username -> plan
local seen = module:shared("seen"); -- username -> descriptions of events

local st = require "util.stanza";

local payload_path = "{http://jabber.org/protocol/pubsub}pubsub/publish/item/{urn:xmpp:push:0}notification";

local nothing = {};

local function plan_of(username)
	return plans[username] or nothing;
end

local function note(username, description)
	seen[username] = seen[username] or {};
	table.insert(seen[username], description);
end

-- What is in a record of its own, as plain data.
local function snapshot(record)
	local copy = {};
	for name, value in pairs(record) do copy[name] = value; end
	return copy;
end

-- A client that says who it is (XEP-0388), without what that takes.
module:hook("authentication-success", function (event)
	event.session.client_id = plan_of(event.session.username).client_id;
end);

-- A module that links sessions to registrations itself.
local function attach(when)
	return function (event)
		local session = event.session;
		local plan = plan_of(session.username);
		if plan.attach ~= when then return; end
		local registrations = module:open_store("cloud_notify"):get(session.username);
		session.push_identifier = plan.identifier;
		session.push_settings = registrations[plan.identifier];
	end
end

module:hook("resource-bind", attach("before"), 100);
module:hook("resource-bind", attach("after"), -100);

module:hook("cloud_notify/registration", function (event)
	local origin, stanza, push_info = event.origin, event.stanza, event.push_info;
	local plan = plan_of(origin.username);
	note(origin.username, {
		event = "cloud_notify/registration";
		from = origin.full_jid;
		enable = stanza.tags[1].name;
		push_info = snapshot(push_info);
	});
	for name, value in pairs(plan.add_to_record or nothing) do
		push_info[name] = value;
	end
	if plan.refuse then
		origin.send(st.error_reply(stanza, "cancel", "not-allowed", plan.refuse));
		return false;
	end
end);

local function is_of_a_session(username, record)
	local sessions = prosody.hosts[module.host].sessions[username];
	for _, session in pairs(sessions and sessions.sessions or nothing) do
		if rawequal(session.push_settings, record) then return true; end
	end
	return false;
end

module:hook("cloud_notify/push", function (event)
	local plan = plan_of(event.username);
	if plan.needs_a_stanza then
		-- As careless as other modules are
		note(event.username, { event = "cloud_notify/push"; from = event.original_stanza.attr.from });
		return;
	end
	note(event.username, {
		event = "cloud_notify/push";
		notification_stanza = tostring(event.notification_stanza);
		payload_is_in_stanza = event.notification_payload == event.notification_stanza:find(payload_path);
		original_stanza = event.original_stanza and tostring(event.original_stanza);
		username = event.username;
		push_info = snapshot(event.push_info);
		is_push_settings = is_of_a_session(event.username, event.push_info);
		push_summary = event.push_summary;
		important = event.important;
	});
	if plan.add_to_payload then
		event.notification_payload:text_tag("spec", plan.add_to_payload, { xmlns = "urn:example:spec" });
	end
	if plan.veto then
		event.reason = plan.veto;
		return true;
	end
end);
