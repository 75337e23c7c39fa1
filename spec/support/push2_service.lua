-- A push service of Push 2.0: it gets its notifications as messages, which have no answer but an error.

require "spec.support.init";

local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_push2 = "urn:xmpp:push2:0";
local xmlns_rfc8291 = "urn:xmpp:sce:rfc8291:0";

local push2_service = {};

-- What becomes of a notification: push.answer = push2_service.taken, ...

function push2_service.taken()
end

-- The ways in which services say what went wrong: with the id of the notification, as they should; with nothing
-- of it but what it was (Snikket's); with nothing at all.

function push2_service.error(type, condition)
	return function (push, service)
		service:send(st.error_reply(push.stanza, type, condition));
	end
end

local function anonymous_error(push, type, condition)
	local reply = st.error_reply(push.stanza, type, condition);
	reply.attr.id = nil;
	return reply;
end

function push2_service.error_with_payload(type, condition)
	return function (push, service)
		service:send(anonymous_error(push, type, condition):reset():add_child(st.clone(push.notification)));
	end
end

function push2_service.bare_error(type, condition)
	return function (push, service)
		service:send(anonymous_error(push, type, condition));
	end
end

-- Once as answer says, then as another one does.
function push2_service.first(answer, other)
	return function (push, service)
		service.answer = other or push2_service.taken;
		answer(push, service);
	end
end

-- A message with a notification, read strictly: client, priority, then what there may be once.
local function parse(stanza)
	local notification = stanza.name == "message" and stanza.attr.type ~= "error"
		and stanza:get_child("notification", xmlns_push2);
	if not notification then return; end
	local push = {
		stanza = stanza;
		id = stanza.attr.id;
		node = notification:get_child_text("client");
		notification = notification;
		at = loop.now();
	};
	local function read(name, xmlns)
		local first;
		for child in notification:childtags(name, xmlns) do
			assert(not first, tostring(stanza));
			first = child;
		end
		return first;
	end
	push.client = assert(read("client")):get_text();
	push.priority = assert(read("priority")):get_text();
	push.voip = read("voip") ~= nil;
	local encrypted, jwt = read("encrypted", xmlns_rfc8291), read("jwt");
	push.payload = encrypted and assert(encrypted:get_child_text("payload"));
	push.jwt, push.jwt_key = jwt and jwt:get_text(), jwt and jwt.attr.key;
	push.elements = #notification.tags;
	return push;
end

function push2_service.connect(server, jid, secret)
	return push_service.connect(server, jid, secret, parse, push2_service.taken);
end

return push2_service;
