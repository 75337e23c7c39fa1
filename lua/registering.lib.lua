-- XEP-0357 sections 4 to 6 and 8: discovery, enabling, disabling, and the push service's own end of it

local native = module.lib "native";
local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local st = util.prosody_require "util.stanza";
local none = util.none;
local others = module.lib "others".loaded;
local protocols = module.lib "protocols";
local push, only = protocols.push, protocols.only;
local registrations = module.lib "registrations";
local get_records, remove_registrations = registrations.get, registrations.remove;
local enabling = module.lib "enabling";
local refuse, is_too_soon, guarded_request = enabling.refuse, enabling.is_too_soon, enabling.guarded_request;
local enable, disable = enabling.enable, enabling.disable;

local os_time = os.time;
local ipairs, pairs = ipairs, pairs;

local xmlns_push = "urn:xmpp:push:0";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local host = module.host;

local max_language = 64;

local function on_disco_info(event)
	local reply = event.reply or event.stanza;
	reply:tag("feature", { var = xmlns_push }):up();
	for _, feature in ipairs(native.features(others)) do reply:tag("feature", { var = feature }):up(); end
end

local function on_enable(event)
	local origin, stanza = event.origin, event.stanza;
	local request = stanza.tags[1];
	local address, error_type, condition, error_text = native.enable(request, origin.full_jid, others);
	if not address then return refuse(event, error_type, condition, error_text); end
	if is_too_soon(event) then return true; end
	local form = request:get_child("x", "jabber:x:data");
	local record = {
		jid = address.jid;
		node = address.node;
		include_payload = request.attr.include_payload;
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
	return enable(event, push, address.identifier, record);
end

local function on_disable(event)
	local address, error_type, condition, error_text = native.disable(event.stanza.tags[1]);
	if not address then return refuse(event, error_type, condition, error_text); end
	return is_too_soon(event) or disable(event, function (records)
		return native.matching(only(push, records), address.jid, address.node);
	end);
end

-- Section 8: the push service ends a registration
local function on_farewell(event)
	local stanza = event.stanza;
	local pubsub = stanza:get_child("pubsub", xmlns_pubsub);
	if not pubsub or stanza.attr.type == "error" then return; end
	local user = jid.node(stanza.attr.to) or event.origin.username;
	local node = user and native.revoked_node(pubsub, user .. "@" .. host);
	local records = node and get_records(user); -- Anybody may send anything to anybody: first of all, what it says
	local identifiers = records and native.matching(only(push, records), stanza.attr.from, node);
	if not identifiers or not identifiers[1] then return; end
	if remove_registrations(user, identifiers, "removed", "service", "ended by its push service") then
		module:log("info", "%s ended a push registration of %s -- that device gets no more pushes until its app "
			.. "registers again", stanza.attr.from, user);
	end
	return true;
end

return {
	version = "@VERSION@";
	on_disco_info = on_disco_info;
	on_enable = guarded_request(on_enable);
	on_disable = guarded_request(on_disable);
	on_farewell = on_farewell;
};
