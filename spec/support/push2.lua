-- Clients of Push 2.0: what they ask for, and what their devices make of a notification.

require "spec.support.init";

local base64 = require "util.encodings".base64.decode;
local devices = require "spec.support.devices";
local jid_split = require "util.jid".split;
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local phones = require "spec.support.phones";
local st = require "util.stanza";
local web_push = require "spec.support.web_push";
local xml = require "util.xml";

local xmlns_push2 = "urn:xmpp:push2:0";

local push2 = {
	xmlns = xmlns_push2;
	profiles = { "all"; "important"; "archived"; "archived-with-body" };
	-- The lengths that what is encrypted may have: they say little.
	sizes = { 512; 1024; 2048; 2847 };
	notify_only = "urn:xmpp:push2:send:notify-only:0";
	encrypted = "urn:xmpp:push2:send:sce+rfc8291+rfc8292:0";
	audience = "https://gw.test";
};

local last_device = 0;

function push2.profile(name)
	return "urn:xmpp:push2:match:" .. name;
end

-- match: profile ("important"), grace, filters = { { jid = ..., mention = true, reply = true } }, keys: those of the
-- device, without which it is only told that there is something; changed = the text of a child of <send/>, or false,
-- by name; claims = { name = value }.
function push2.match(match)
	local element = st.stanza("match", { profile = push2.profile(match.profile or "important") });
	if match.grace then element:text_tag("grace", ("%d"):format(match.grace)); end
	for _, filter in ipairs(match.filters or {}) do
		element:tag("filter", { jid = filter.jid });
		if filter.mention then element:tag("mention"):up(); end
		if filter.reply then element:tag("reply"):up(); end
		element:up();
	end
	local keys, changed = match.keys, match.changed or {};
	if not keys then return element:tag("send", { xmlns = push2.notify_only }):reset(); end
	element:tag("send", { xmlns = push2.encrypted });
	for _, child in ipairs({
		{ "ua-public"; keys.ua_public }; { "auth-secret"; keys.auth_secret };
		{ "jwt-alg"; "ES256" }; { "jwt-key"; keys.jwt_key };
	}) do
		local text = changed[child[1]];
		if text == nil then text = child[2]; end
		if text then element:text_tag(child[1], text); end
	end
	for name, value in pairs(match.claims or { aud = push2.audience }) do
		element:text_tag("jwt-claim", value, { name = name });
	end
	return element:reset();
end

-- push: service, client, matches = { those of push2.match(), or elements }.
function push2.request(push)
	local iq = st.iq({ type = "set"; id = new_id() }):tag("enable", { xmlns = xmlns_push2 });
	if push.service then iq:text_tag("service", push.service); end
	if push.client then iq:text_tag("client", push.client); end
	for _, match in ipairs(push.matches or {}) do
		iq:add_child(st.is_stanza(match) and match or push2.match(match));
	end
	return iq:reset();
end

-- Enables push and insists on success.
function push2.enable(client, push)
	local reply = client:iq(push2.request(push));
	assert(reply.attr.type == "result", tostring(reply));
end

function push2.disable(client)
	local reply = client:iq(st.iq({ type = "set"; id = new_id() }):tag("disable", { xmlns = xmlns_push2 }):reset());
	assert(reply.attr.type == "result", tostring(reply));
end

-- Registers a client at a push service of Push 2.0, as a device that nobody else is. Matches without keys of their own
-- get those of the device, unless keys = false.
function push2.register(phone, service, matches)
	last_device = last_device + 1;
	phone.service = service;
	phone.node = ("https://gw.test/apns/%d#test.app"):format(last_device);
	phone.keys = phone.keys or web_push.keys();
	local complete = {};
	for i, match in ipairs(matches or { {} }) do
		local copy = {};
		for name, value in pairs(match) do copy[name] = value; end
		if copy.keys == nil then copy.keys = phone.keys; end
		complete[i] = st.is_stanza(match) and match or copy;
	end
	push2.enable(phone, { service = service.jid; client = phone.node; matches = complete });
	if phone.sm_enabled then phones.acknowledge(phone); end
	return phone;
end

-- As those of phones, with the matches in options.
function push2.new(service, options)
	options = options or {};
	local server = service.server;
	local jid = options.jid or devices.new_user(server, options.host);
	return push2.register(phones.login({ server = server; jid = jid }, options), service, options.matches);
end

function push2.away(service, options)
	local phone = push2.new(service, options);
	phone:close();
	return phone;
end

function push2.hibernated(service, options)
	local phone = push2.new(service, options);
	phone:cut();
	return phone;
end

-- Registration id -> record, as the store has them; nil if there is nothing.
function push2.stored(server, jid)
	local username, host = jid_split(jid);
	return server:store_get(host, "push2_registrations", username);
end

local function of(phone)
	local pushes = {};
	for _, push in ipairs(phone.service.received) do
		if push.node == phone.node then pushes[#pushes + 1] = push; end
	end
	return pushes;
end

-- The notifications for a device so far. What the given client has sent before has been handled by then.
function push2.pushed(phone, sender)
	if sender then sender:ping(); end
	phone.service:ping();
	return of(phone);
end

-- Waits for the nth notification, and returns it.
function push2.await(phone, n)
	return loop.wait_for(function () return of(phone)[n]; end, nil, ("notification %d for %s"):format(n, phone.node));
end

local function only_child(element, name, xmlns)
	local child = element:get_child(name, xmlns);
	assert(child and #element.tags == 1, tostring(element));
	return child;
end

-- The one of the sizes that a text has. There is no padding of less than 13 bytes.
local function size_of(text)
	for _, size in ipairs(push2.sizes) do
		if #text == size or size == 2847 and #text < size and #text > size - 13 then return size; end
	end
	error(("%d bytes tell too much"):format(#text));
end

-- What a device finds in an encrypted notification (XEP-0420): the stanza, and which of the sizes all of it was.
function push2.decrypt(push, keys)
	assert(#base64(push.payload) <= 4096);
	local text = web_push.decrypt(keys, push.payload);
	local size = size_of(text);
	local envelope = assert(xml.parse(text));
	assert(envelope.name == "envelope" and envelope.attr.xmlns == "urn:xmpp:sce:1", text);
	local content = envelope:get_child("content");
	assert(#envelope.tags == 1 or #envelope.tags == 2 and envelope:get_child("rpad"), text);
	local stanza = only_child(content, "forwarded", "urn:xmpp:forward:0").tags[1];
	assert(stanza.attr.xmlns == "jabber:client", text);
	return stanza, size;
end

-- That, once the push service has found the token to be right (RFC 8292); the claims, too.
function push2.read(push, phone)
	local claims, header = web_push.verify(push.jwt, push.jwt_key, push2.audience);
	assert(header.alg == "ES256" and push.jwt_key == phone.keys.jwt_public);
	assert(claims.aud == push2.audience and claims.sub:find("^%l+:."), claims.sub);
	local stanza, size = push2.decrypt(push, phone.keys);
	return stanza, size, claims;
end

-- The ids that the archive of a user has, the oldest first.
function push2.archived(server, jid)
	local username, host = jid_split(jid);
	return server:eval([[
		local host, username = ...;
		local ids = {};
		for id in module(host, "mam"):open_store("archive", "archive"):find(username) do ids[#ids + 1] = id; end
		return ids;
	]], host, username);
end

-- The id of a stanza in the archive of the device's user, as the stanza has it.
function push2.archive_id(stanza, phone)
	local id = stanza:get_child_with_attr("stanza-id", "urn:xmpp:sid:0", "by", phone.jid);
	return id and id.attr.id;
end

return push2;
