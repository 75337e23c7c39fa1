-- What messages carry besides a body.

require "spec.support.init";

local new_id = require "util.id".short;
local st = require "util.stanza";

local payloads = {};

-- Nothing to show to a person, and not archived.
function payloads.composing()
	return st.stanza("composing", { xmlns = "http://jabber.org/protocol/chatstates" });
end

-- Nothing to show to a person, but archived.
function payloads.displayed()
	return st.stanza("displayed", { xmlns = "urn:xmpp:chat-markers:0"; id = new_id() });
end

-- XEP-0353: a call.
function payloads.propose()
	return st.stanza("propose", { xmlns = "urn:xmpp:jingle-message:0"; id = new_id() })
		:tag("description", { xmlns = "urn:xmpp:jingle:apps:rtp:1"; media = "audio" }):up();
end

-- XEP-0482: a call.
function payloads.call_invite()
	return st.stanza("invite", { xmlns = "urn:xmpp:call-invites:0"; video = "true" })
		:tag("jingle", { sid = new_id() }):up();
end

-- XEP-0334
function payloads.hint(name)
	return st.stanza(name, { xmlns = "urn:xmpp:hints" });
end

return payloads;
