-- Enabling in the bind (XEP-0388, XEP-0386): handled as the request that it stands for, without rules of its own

local util = module.lib "util";
local new_id = util.prosody_require "util.id".short;
local st = util.prosody_require "util.stanza";
local guarded, none = util.guarded, util.none;

local ipairs, next, setmetatable = ipairs, next, setmetatable;

local host_events = prosody.hosts[module.host].events;

local protocols = { "urn:xmpp:push:0"; "urn:xmpp:push2:0" };

local function event_of(protocol)
	return ("iq-set/self/%s:enable"):format(protocol);
end

-- What is left to another module is not this one's to offer
local function is_served(protocol)
	return next(module.event_handlers:get(host_events, event_of(protocol)) or none) ~= nil;
end

local function on_advertise(event)
	for _, protocol in ipairs(protocols) do
		if is_served(protocol) then event.features:tag("feature", { var = protocol }):up(); end
	end
end

local fire_event = guarded(host_events.fire_event);

-- The reply to a request that has come without an IQ: it must not go out as one
local function reply_to(protocol, enable, bind, session)
	local request = st.iq({
		type = "set"; id = new_id(); from = session.full_jid;
		["xml:lang"] = enable.attr["xml:lang"] or bind.attr["xml:lang"];
	}):add_child(enable);
	local reply;
	local function send(stanza)
		if not st.is_stanza(stanza) or stanza.attr.id ~= request.attr.id then return session.send(stanza); end
		reply = stanza;
		return true;
	end
	local origin = setmetatable({ send = send }, { __index = session; __newindex = session });
	fire_event(event_of(protocol), { origin = origin; stanza = request });
	return reply or st.error_reply(request, "wait", "internal-server-error");
end

local function on_bind(event)
	local bind = event.request;
	for _, protocol in ipairs(protocols) do
		local enable = bind:get_child("enable", protocol);
		if enable and is_served(protocol) then
			local problem = reply_to(protocol, enable, bind, event.session):get_child("error");
			local answer = st.stanza(problem and "failed" or "enabled", { xmlns = protocol });
			if problem then
				problem.attr.xmlns = "jabber:client";
				answer:add_child(problem);
			end
			event.result:add_direct_child(answer);
		end
	end
end

return {
	version = "@VERSION@";
	on_advertise = on_advertise;
	on_bind = on_bind;
};
