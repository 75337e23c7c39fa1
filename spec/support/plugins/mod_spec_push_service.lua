-- A push service inside the server, which answers before module:send() returns.
-- The shared table "answer" has the type and condition of the error that it gives,
-- if any, or "never", or what it raises, or that it changes what it gets, as mod_pubsub
-- does; what it gets is counted in "received", node by node.

local st = require "util.stanza";

local answer = module:shared("answer");
local received = module:shared("received"); -- node -> count

module:hook("iq/host", function (event)
	local stanza = event.stanza;
	local pubsub = stanza.attr.type == "set" and stanza:get_child("pubsub", "http://jabber.org/protocol/pubsub");
	if not pubsub then return; end
	local node = pubsub:get_child("publish").attr.node;
	received[node] = (received[node] or 0) + 1;
	if answer.change then
		pubsub.tags[1].tags[1].attr.id = "changed";
		pubsub.tags[1].tags[1].tags[1].tags = {};
	end
	if answer.raise then
		error(answer.raise, 0);
	elseif answer.never then
		return true;
	elseif answer.condition then
		event.origin.send(st.error_reply(stanza, answer.type, answer.condition));
	else
		event.origin.send(st.reply(stanza));
	end
	return true;
end, 100);
