-- Tells mod_spec_companion, which plays the part of another module in the server,
-- what to do for a user, and what it has seen.

require "spec.support.init";

local jid_split = require "util.jid".split;

local companion = {};

-- plan: client_id = the one that the user's next sessions have; attach = "before" |
-- "after" (mod_cloud_notify) and identifier = a registration, at resource-bind;
-- add_to_record = { name = value }, refuse = text, at cloud_notify/registration;
-- add_to_payload = text, veto = reason, needs_a_stanza = true, at cloud_notify/push.
function companion.plan(server, jid, plan)
	local username, host = jid_split(jid);
	server:eval([[
		local host, username, plan = ...;
		module(host, "spec_companion"):shared("plans")[username] = plan;
	]], host, username, plan);
end

-- The events since the last call.
function companion.seen(server, jid)
	local username, host = jid_split(jid);
	return server:eval([[
		local host, username = ...;
		local seen = module(host, "spec_companion"):shared("seen");
		local events = seen[username] or {};
		seen[username] = nil;
		return events;
	]], host, username);
end

return companion;
