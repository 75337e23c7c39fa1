-- Users and their push registrations, as tests of the whole server see them.

require "spec.support.init";

local jid_split = require "util.jid".split;

local devices = {};

local users = 0;

-- A user who was never there before; returns the bare JID.
function devices.new_user(server, host)
	users = users + 1;
	local username = ("user%d"):format(users);
	server:add_user(username, "secret", host or "home.test");
	return username .. "@" .. (host or "home.test");
end

-- Enables push and insists on success.
function devices.enable(client, push)
	local reply = client:enable_push(push);
	assert(reply.attr.type == "result", tostring(reply));
	return reply;
end

function devices.disable(client, push)
	local reply = client:disable_push(push);
	assert(reply.attr.type == "result", tostring(reply));
	return reply;
end

-- identifier -> record, as the store has them; nil if there is nothing.
function devices.stored(server, jid)
	local username, host = jid_split(jid);
	return server:store_get(host, "cloud_notify", username);
end

-- The identifiers in the store, sorted.
function devices.identifiers(server, jid)
	local identifiers = {};
	for identifier in pairs(devices.stored(server, jid) or {}) do
		identifiers[#identifiers + 1] = identifier;
	end
	table.sort(identifiers);
	return identifiers;
end

-- What a client's session is attached to: { identifier = ..., settings = ... }.
function devices.attached(client)
	return client.server:eval([[
		local session = prosody.full_sessions[...];
		return { identifier = session.push_identifier, settings = session.push_settings };
	]], client.full_jid);
end

-- The nodes that a message wakes at a push service, sorted. When this returns, the
-- server has the answers.
function devices.woken(service, sender, jid)
	service:clear();
	sender:message({ to = jid, body = "Wake up" });
	sender:ping();
	service:ping();
	service:ping();
	local nodes = {};
	for _, publish in ipairs(service.received) do
		nodes[#nodes + 1] = publish.node or false;
	end
	table.sort(nodes);
	return nodes;
end

-- The count that administrators' tools see for a registration.
function devices.push_errors(server, jid, identifier)
	local _, host = jid_split(jid);
	return server:eval([[
		local host, identifier = ...;
		return module(host, "cloud_notify"):shared("push_errors")[identifier];
	]], host, identifier);
end

return devices;
