-- What the user has read, or fetched, on another device: those that were told of it may be told that all is read

local native = module.lib "native";
local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local guarded, none = util.guarded, util.none;
local engine = module.lib "engine".engine;
local user_sessions = module.lib "sessions".user_sessions;
local load_records = module.lib "registrations".load;
local publishing = module.lib "publishing";
local has_listeners, publish_now = publishing.has_listeners, publishing.publish_now;

local pairs = pairs;

local xmlns_mam = "urn:xmpp:mam:2";
local xmlns_markers = "urn:xmpp:chat-markers:0";
local xmlns_mds = "urn:xmpp:mds:displayed:0";
local xmlns_sid = "urn:xmpp:sid:0";

local host_modules = prosody.hosts[module.host].modules;

local offline_store;

-- A chat up to a message of this id; without an id all of the chat, without that everything. Of devices whose record
-- has this field, if one is named.
local function read(user, chat, id, field)
	chat = chat and jid.prep(jid.bare(chat));
	for identifier, record in pairs(load_records(user) or none) do
		if not field or record[field] then
			publish_now(user, engine:displayed(user, identifier, record, user_sessions(user), has_listeners(), chat, id));
		end
	end
end

-- The user has been there, whatever for
local function everything(user, field)
	read(user, nil, nil, field);
end

-- XEP-0333: a marker that a client of the user sends
local function on_message(event)
	local origin, stanza = event.origin, event.stanza;
	local marker = stanza:get_child("displayed", xmlns_markers);
	if not marker or not origin.username or stanza.attr.type == "error" then return; end
	if stanza.attr.to and marker.attr.id then read(origin.username, stanza.attr.to, marker.attr.id); end
end

-- XEP-0490: what the clients of the user tell each other
local function on_published(event)
	local displayed = event.item and event.item:get_child("displayed", xmlns_mds);
	local last = displayed and displayed:get_child("stanza-id", xmlns_sid);
	local user = event.service.config.pep_username;
	if user and last and last.attr.id then read(user, event.id, last.attr.id); end
end

on_published = guarded(on_published);

local event_published = "item-published/" .. xmlns_mds;

local function on_service(event)
	module:hook_object_event(event.item.service.events, event_published, on_published);
end

local function on_service_removed(event)
	module:unhook_object_event(event.item.service.events, event_published, on_published);
end

-- XEP-0313
local function on_archive_query(event)
	local query = event.stanza:get_child("query", xmlns_mam);
	local is_all, chat = native.fetched(query);
	if is_all then read(event.origin.username, chat); end
end

local function is_told(user)
	for identifier in pairs(load_records(user) or none) do
		local device = engine:device(user, identifier);
		if device and device.told > 0 then return true; end
	end
end

-- Before mod_offline hands out what it has
local function on_offline_broadcast(event)
	local user = event.origin.username;
	if not host_modules.offline or not is_told(user) then return; end
	offline_store = offline_store or module:open_store("offline", "archive");
	local messages = offline_store:find(user, { limit = 1 });
	if messages and messages() then everything(user); end
end

return {
	version = "@VERSION@";
	everything = everything;
	on_message = guarded(on_message);
	on_service = guarded(on_service);
	on_service_removed = guarded(on_service_removed);
	on_archive_query = guarded(on_archive_query);
	on_offline_broadcast = guarded(on_offline_broadcast);
};
