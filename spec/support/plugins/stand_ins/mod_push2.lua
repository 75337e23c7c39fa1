-- As much of mod_push2 as there has to be for others to leave it alone: it takes registrations.

local st = require "util.stanza";

local registrations = module:open_store("push2_registrations", "keyval");

module:hook("account-disco-info", function (event)
	(event.reply or event.stanza):tag("feature", { var = "urn:xmpp:push2:0" }):up();
end);

module:hook("iq-set/self/urn:xmpp:push2:0:enable", function (event)
	local origin, enable = event.origin, event.stanza.tags[1];
	local all = registrations:get(origin.username) or {};
	all[origin.client_id or origin.resource] = {
		service = enable:get_child_text("service"); client = enable:get_child_text("client");
		timestamp = os.time(); matches = {};
	};
	assert(registrations:set(origin.username, all));
	origin.send(st.reply(event.stanza));
	return true;
end);
