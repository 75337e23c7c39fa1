-- The least that sends the pushes that mod_cloud_notify sends in the benchmark: what it costs is what no module in Lua
-- could go below. It retries nothing, and remembers of a push only who has to answer it. Not for use.

local function prosody_require(name)
	local ok, lib = pcall(require, "prosody." .. name); -- COMPAT 0.12 has no prefix
	return ok and lib or require(name);
end

local jid_node = prosody_require "util.jid".node;
local st = prosody_require "util.stanza";

local next, os_time, pairs = next, os.time, pairs;

local xmlns_push = "urn:xmpp:push:0";

local host = module.host;
local host_sessions = prosody.hosts[host].sessions;

local store = module:open_store();
local registrations = {}; -- user -> identifier -> record

local function get_records(user)
	local records = registrations[user];
	if not records then
		records = store:get(user) or {};
		registrations[user] = records;
	end
	return records;
end

-- Importance

local function is_call(stanza)
	return stanza:get_child("propose", "urn:xmpp:jingle-message:0") ~= nil;
end

local function is_important(stanza)
	if stanza.name ~= "message" then return false; end
	local carbon = stanza:get_child("received", "urn:xmpp:carbons:2");
	if carbon then stanza = carbon:find("{urn:xmpp:forward:0}forwarded/{jabber:client}message") or stanza; end
	return stanza:get_child("body") ~= nil or is_call(stanza);
end

-- Publishing

local function new_item(body)
	local item = st.stanza("item"):tag("notification", { xmlns = xmlns_push })
		:tag("x", { xmlns = "jabber:x:data"; type = "form" })
		:tag("field", { var = "FORM_TYPE"; type = "hidden" }):text_tag("value", "urn:xmpp:push:summary"):up()
		:tag("field", { var = "message-count" }):text_tag("value", "1"):up();
	if body then item:tag("field", { var = "last-message-body" }):text_tag("value", body); end
	return item:reset();
end

local important_item, unimportant_item = new_item("New Message!"), new_item();

-- What every push to a registration has in common is made once
local publish_options = setmetatable({}, { __mode = "k" }); -- record -> element

local function get_publish_options(record)
	if record.options and not publish_options[record] then
		publish_options[record] = st.stanza("publish-options"):add_child(st.deserialize(record.options));
	end
	return publish_options[record];
end

local services, last_id = {}, 0; -- id -> the service that has to answer

local function publish(record, important)
	last_id = last_id + 1;
	local id, service = "push" .. last_id, record.jid;
	local iq = st.iq({ type = "set"; from = host; to = service; id = id })
		:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub" })
		:tag("publish", { node = record.node }):add_child(important and important_item or unimportant_item):up();
	local options = get_publish_options(record);
	if options then iq:add_child(options); end
	services[id] = service;
	module:send(iq);
end

module:hook("iq/host", function (event)
	local attr = event.stanza.attr;
	if (attr.type == "result" or attr.type == "error") and services[attr.id] == attr.from then
		services[attr.id] = nil;
		return true;
	end
end, 10);

-- Rule (a): stream management. One push in a hibernation, and one more if that was unimportant.

local function meet_unacked(session, important)
	if session.least_pushed == important then return; end
	session.least_pushed = important;
	publish(session.push_settings, important);
end

module:hook("smacks-hibernation-start", function (event)
	local session, queue = event.origin, event.queue;
	session.least_pushed = nil;
	if not session.push_settings or not queue[1] then return; end
	local important = false;
	for i = 1, #queue do
		important = is_important(queue[i]);
		if important then break; end
	end
	meet_unacked(session, important);
end);

module:hook("smacks-hibernation-stanza-queued", function (event)
	local session = event.origin;
	if not session.push_settings or session.least_pushed then return; end
	meet_unacked(session, is_important(event.stanza));
end);

-- Rule (b): the archive

local function is_live(user, identifier)
	local sessions = host_sessions[user];
	if not sessions then return false; end
	for _, session in pairs(sessions.sessions) do
		if session.push_identifier == identifier then return true; end
	end
	return false;
end

module:hook("archive-message-added", function (event)
	local user, stanza = event.for_user, event.stanza;
	local records = user and get_records(user);
	if not records or not next(records) or jid_node(stanza.attr.to) ~= user then return; end
	local rings = is_call(stanza);
	for identifier, record in pairs(records) do
		if rings or not is_live(user, identifier) then publish(record, is_important(stanza)); end
	end
end);

-- Rule (c): offline storage

module:hook("message/offline/handle", function (event)
	local stanza = event.stanza;
	local records = get_records(event.username or jid_node(stanza.attr.to));
	if not next(records) then return; end
	local important = is_important(stanza);
	for _, record in pairs(records) do publish(record, important); end
end, 1);

-- XEP-0357 sections 5 and 6: enabling, disabling

local function change(event, records)
	local user, origin, stanza = event.origin.username, event.origin, event.stanza;
	if store:set(user, records) then
		registrations[user] = records;
		origin.send(st.reply(stanza));
	else
		origin.send(st.error_reply(stanza, "wait", "internal-server-error"));
	end
	return true;
end

module:hook("iq-set/self/" .. xmlns_push .. ":enable", function (event)
	local origin, enable = event.origin, event.stanza.tags[1];
	local service, node = enable.attr.jid, enable.attr.node;
	local form = enable:get_child("x", "jabber:x:data");
	local identifier, records = service .. "<" .. (node or ""), get_records(origin.username);
	records[identifier] = {
		jid = service; node = node; options = form and st.preserialize(form); timestamp = os_time();
		resource = origin.resource;
	};
	origin.push_identifier, origin.push_settings = identifier, records[identifier];
	return change(event, records);
end);

module:hook("iq-set/self/" .. xmlns_push .. ":disable", function (event)
	local attr = event.stanza.tags[1].attr;
	local records = get_records(event.origin.username);
	for identifier, record in pairs(records) do
		if record.jid == attr.jid and (not attr.node or record.node == attr.node) then records[identifier] = nil; end
	end
	return change(event, records);
end);
