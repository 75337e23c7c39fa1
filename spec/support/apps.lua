-- Apps as they are in the wild: what they ask for when they enable push, and what they and their push services do with
-- a notification.

require "spec.support.init";

local encrypted = require "spec.support.encrypted";
local jid_bare = require "util.jid".bare;
local json = require "util.json";
local new_id = require "util.id".short;
local st = require "util.stanza";

local xmlns_away = "tigase:push:away:0";
local xmlns_data = "jabber:x:data";
local xmlns_disco = "http://jabber.org/protocol/disco#info";
local xmlns_encrypt = "tigase:push:encrypt:0";
local xmlns_filter_groupchat = "tigase:push:filter:groupchat:0";
local xmlns_filter_muted = "tigase:push:filter:muted:0";
local xmlns_filter_unknown = "tigase:push:filter:ignore-unknown:0";
local xmlns_jingle = "tigase:push:jingle:0";
local xmlns_priority = "tigase:push:priority:0";
local xmlns_publish_options = "http://jabber.org/protocol/pubsub#publish-options";
local xmlns_push = "urn:xmpp:push:0";

local apps = {};

local function sorted_keys(map)
	local keys = {};
	for key in pairs(map) do keys[#keys + 1] = key; end
	table.sort(keys);
	return keys;
end

-- The features of the account, sorted, as often as each is announced.
function apps.features(client)
	local reply = client:iq(st.iq({ type = "get"; to = jid_bare(client.jid); id = new_id() })
		:tag("query", { xmlns = xmlns_disco }));
	local features = {};
	for feature in reply.tags[1]:childtags("feature") do features[#features + 1] = feature.attr.var; end
	table.sort(features);
	return features;
end

local function announces(client)
	local announced = {};
	for _, feature in ipairs(apps.features(client)) do announced[feature] = true; end
	return announced;
end

local function request(push)
	return st.iq({ type = "set"; id = new_id() })
		:tag("enable", { xmlns = xmlns_push; jid = push.jid; node = push.node; away = push.away });
end

local function send(client, iq)
	local reply = client:iq(iq:reset());
	assert(reply.attr.type == "result", tostring(reply));
	return iq.tags[1];
end

local function add_options(iq, options)
	iq:tag("x", { xmlns = xmlns_data; type = "submit" })
		:tag("field", { var = "FORM_TYPE" }):text_tag("value", xmlns_publish_options):up();
	for _, name in ipairs(sorted_keys(options)) do
		iq:tag("field", { var = name }):text_tag("value", options[name]):up();
	end
	return iq;
end

-- Siskin and Snikket iOS (SiskinPushNotificationsModule.swift): each thing is asked for if the account announces it and
-- what it builds on. push: jid, node; max_size = that of the push service; settings: muted = { jids }, rooms = { jid ->
-- nick, or true where everything is to be pushed }, ignore_unknown, away. Returns the <enable/> that it has sent.
function apps.enable_siskin(client, push)
	local can = announces(client);
	local iq = request({
		jid = push.jid; node = push.node; away = push.away and can[xmlns_away] and "true" or nil;
	});
	if push.ignore_unknown and can[xmlns_filter_unknown] then
		iq:tag("ignore-unknown", { xmlns = xmlns_filter_unknown }):up();
	end
	if can[xmlns_filter_groupchat] then
		iq:tag("groupchat", { xmlns = xmlns_filter_groupchat });
		for _, jid in ipairs(sorted_keys(push.rooms or {})) do
			local nick = push.rooms[jid];
			local mentioned = nick ~= true;
			iq:tag("room", { jid = jid; allow = mentioned and "mentioned" or "always"; nick = mentioned and nick or nil }):up();
		end
		iq:up();
	end
	if push.muted and can[xmlns_filter_muted] then
		iq:tag("muted", { xmlns = xmlns_filter_muted });
		for _, jid in ipairs(push.muted) do iq:tag("item", { jid = jid }):up(); end
		iq:up();
	end
	local can_filter = can[xmlns_filter_muted] and can[xmlns_filter_groupchat];
	if can_filter and can[xmlns_priority] then
		iq:tag("priority", { xmlns = xmlns_priority }):up();
		if can[xmlns_encrypt] and can["tigase:push:encrypt:aes-128-gcm"] then
			iq:add_child(encrypted.ask(nil, push.max_size));
		end
	end
	if can[xmlns_jingle] then iq:tag("jingle", { xmlns = xmlns_jingle }):up(); end
	return send(client, iq);
end

-- Monal (xmpp.m): the node is the token of the device, whatever the account.
function apps.enable_monal(client, push)
	return send(client, add_options(request(push), { pushModule = "monalProdiOS" }));
end

-- Conversations (PushManagementService): the secret is what p2 has given it.
function apps.enable_conversations(client, push)
	return send(client, add_options(request(push), { secret = push.secret }));
end

-- Converse: once for each session; a secret if the configuration has one.
function apps.enable_converse(client, push)
	local iq = request(push);
	return send(client, push.secret and add_options(iq, { secret = push.secret }) or iq);
end

local function only_child(element, name, namespace)
	assert(#element.tags == 1 and element.tags[1].name == name, tostring(element));
	assert(not namespace or element.tags[1].attr.xmlns == namespace, tostring(element));
	return element.tags[1];
end

-- Fields of a form, in a table: each must have a name, and one value at most.
local function read_form(form, form_type)
	assert(form.name == "x" and form.attr.xmlns == xmlns_data, tostring(form));
	local values = {};
	for _, field in ipairs(form.tags) do
		local value = field.tags[1];
		assert(field.name == "field" and #field.tags <= 1 and (not value or value.name == "value"), tostring(field));
		assert(values[field.attr.var] == nil, tostring(form));
		values[assert(field.attr.var, tostring(form))] = value and value:get_text() or "";
	end
	assert(values.FORM_TYPE == form_type, tostring(form));
	values.FORM_TYPE = nil;
	return values;
end

-- What a push service that reads strictly finds in a publish: the elements of the notification by name, the fields of
-- its form, and the publish options; nil for each that is not there.
function apps.read_publish(publish)
	local pubsub = only_child(publish.stanza, "pubsub", "http://jabber.org/protocol/pubsub");
	assert(pubsub.tags[1].name == "publish" and #pubsub.tags <= 2, tostring(pubsub));
	local notification = only_child(only_child(pubsub.tags[1], "item"), "notification", xmlns_push);
	local elements = {};
	for _, element in ipairs(notification.tags) do
		assert(not elements[element.name], tostring(notification));
		elements[element.name] = element;
	end
	local options = pubsub.tags[2];
	if options then
		assert(options.name == "publish-options", tostring(pubsub));
		options = only_child(options, "x", xmlns_data);
		assert(options.attr.type == "submit", tostring(options));
		options = read_form(options, xmlns_publish_options);
	end
	return {
		elements = elements;
		form = elements.x and read_form(elements.x, "urn:xmpp:push:summary");
		options = options;
		priority = elements.priority and elements.priority:get_text();
	};
end

local siskin_types = { unknown = true; groupchat = true; chat = true; call = true };
local siskin_media = { audio = true; video = true };

-- NotificationService.swift and PushEventHandler.swift: a payload that is not so is not shown, or ends the extension.
local function assert_decodes(payload)
	local text = json.encode(payload);
	assert(tostring(payload.unread):find("^%d+$"), text);
	assert(type(payload.sender) == "string", text);
	assert(payload.type == nil or siskin_types[payload.type], text);
	for _, name in ipairs({ "message"; "nickname"; "sid" }) do
		assert(payload[name] == nil or type(payload[name]) == "string", text);
	end
	if payload.type == "call" then assert(payload.sid, text); end
	for _, media in ipairs(payload.media or {}) do assert(siskin_media[media], text); end
end

-- What Siskin makes of a publish that its push service has read: the payload, whether the phone rings (a push of VoIP
-- that says who calls with what), how large the cipher text is, and what else stands in the clear.
function apps.read_siskin(publish)
	local read = apps.read_publish(publish);
	if read.elements.encrypted then
		local element;
		read.payload, element = encrypted.read(publish);
		assert_decodes(read.payload);
		read.rings = element.attr.type == "voip" and #(read.payload.media or {}) > 0;
		read.size = #element:get_text();
	end
	return read;
end

-- fpush, Monal's: other forms are none that it can read.
function apps.fpush(publish, service)
	local ok, read = pcall(apps.read_publish, publish);
	local options = ok and read.options;
	if not options or not options.pushModule or next(options, next(options)) then
		return service:send(st.error_reply(publish.stanza, "wait", "bad-request"));
	end
	service:send(st.reply(publish.stanza));
end

-- p2, that of Conversations. A text, whatever it says, means that there is something to be shown.
function apps.p2(secret)
	return function (publish, service)
		local ok, read = pcall(apps.read_publish, publish);
		if not ok or not read.options or read.options.secret ~= secret then
			return service:send(st.error_reply(publish.stanza, "auth", "forbidden"));
		end
		publish.alerts = (read.form["last-message-body"] or "") ~= "";
		service:send(st.reply(publish.stanza));
	end
end

-- A room speaks to somebody who is not in it (mod_muc_offline_delivery).
function apps.said_in_room(rooms, room, nick, to, body, ...)
	local message = st.message({ from = room .. "/" .. nick; to = to; type = "groupchat"; id = new_id() });
	message:text_tag("body", body);
	for _, child in ipairs({ ... }) do message:add_child(child); end
	rooms:send(message);
	rooms:ping();
end

return apps;
