-- A client that logs in and binds in one go: SASL2 (XEP-0388) with Bind 2 (XEP-0386).

require "spec.support.init";

local base64 = require "util.encodings".base64.encode;
local client = require "spec.support.client";
local st = require "util.stanza";

local xmlns_bind = "urn:xmpp:bind:0";
local xmlns_sasl = "urn:xmpp:sasl:2";
local xmlns_sm = "urn:xmpp:sm:3";

local sasl2 = {};

-- What may be asked for in the bind, as the server says, sorted.
function sasl2.offered(features)
	local inline = features:get_child("authentication", xmlns_sasl):get_child("inline"):get_child("bind", xmlns_bind)
		:get_child("inline");
	local names = {};
	for feature in inline:childtags("feature") do names[#names + 1] = feature.attr.var; end
	table.sort(names);
	return names;
end

-- Logs in on a new connection. options: client_id, bind = elements (an empty table binds and asks for nothing), and
-- resume = true. self.offered is what could be asked for, self.success the server's answer, self.bound what it says
-- of the bind.
local function log_in(self, options)
	self.offered = sasl2.offered(self:open());
	local request = st.stanza("authenticate", { xmlns = xmlns_sasl; mechanism = "PLAIN" })
		:text_tag("initial-response", base64("\0" .. self.username .. "\0" .. self.password));
	if options.client_id then
		request:tag("user-agent", { id = options.client_id }):text_tag("software", "Spec"):up();
	end
	if options.resume then
		request:tag("resume", { xmlns = xmlns_sm; previd = self.sm_id; h = ("%d"):format(self.handled) }):up();
	end
	if options.bind then
		request:tag("bind", { xmlns = xmlns_bind }):text_tag("tag", "Spec");
		for _, element in ipairs(options.bind) do request:add_child(element); end
		request:up();
	end
	self:send(request);
	self.success = self:expect({ xmlns = xmlns_sasl });
	assert(self.success.name == "success", tostring(self.success));
	self:expect({ name = "features" });
	self.full_jid = self.success:get_child_text("authorization-identifier");
	self.bound = self.success:get_child("bound", xmlns_bind);
	local sm = self.bound and (self.bound:get_child("enabled", xmlns_sm) or self.bound:get_child("enabled", xmlns_bind));
	if sm then self.sm_id, self.handled = sm.attr.id, 0; end -- mod_sasl2_sm leaves out the namespace
	return self;
end

function sasl2.connect(server, jid, options)
	return log_in(client.new(server, jid), options);
end

-- The same client once more, with options as above.
function sasl2.reconnect(self, options)
	return log_in(self, options);
end

function sasl2.enable_sm()
	return st.stanza("enable", { xmlns = xmlns_sm; resume = "true" });
end

return sasl2;
