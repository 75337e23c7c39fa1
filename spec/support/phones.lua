-- Phones: clients with stream management and a push registration of their own.

require "spec.support.init";

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local jid_split = require "util.jid".split;
local loop = require "spec.support.loop";

local phones = {};

local nodes = 0;

-- What phones.pushed() has for a push: the server's text for an important stanza
-- (push_notification_important_body), or that there was none.
phones.important = "New Message!";
phones.unimportant = false;

-- Acknowledges everything received, and returns when the server knows.
function phones.acknowledge(phone)
	loop.wait_for(function ()
		phone:ack();
		return phone.server:eval([[
			local session = prosody.full_sessions[...];
			return session.outgoing_stanza_queue:count_unacked() == 0 and not session.awaiting_ack;
		]], phone.full_jid);
	end, nil, "the server to take the acknowledgement of " .. phone.full_jid);
end

-- Registers a client at a push service, with a node that nobody else has. away: what the attribute says.
function phones.register(phone, service, away)
	nodes = nodes + 1;
	phone.service = service;
	phone.node = ("phone%d"):format(nodes);
	phone.identifier = service.jid .. "<" .. phone.node;
	devices.enable(phone, { jid = service.jid; node = phone.node; away = away });
	if phone.sm_enabled then
		phones.acknowledge(phone);
	end
	return phone;
end

-- Another session of the same phone: the old one may be there still.
function phones.login(phone, options)
	local new_options = { sm = "resume" };
	for name, value in pairs(options or {}) do
		new_options[name] = value;
	end
	local session = client.connect(phone.server, phone.jid, new_options);
	session.service, session.node, session.identifier = phone.service, phone.node, phone.identifier;
	session.sm_enabled = new_options.sm;
	return session;
end

-- A phone that owes the server no acknowledgement. options: those of
-- client.connect() with sm = "resume" | "noresume" | false, host, or jid for
-- one more device of a user, and away.
function phones.new(service, options)
	options = options or {};
	local server = service.server;
	local jid = options.jid or devices.new_user(server, options.host);
	return phones.register(phones.login({ server = server; jid = jid }, options), service, options.away);
end

-- A phone that has gone without leaving a session.
function phones.away(service, options)
	local phone = phones.new(service, options);
	phone:close();
	return phone;
end

-- A phone whose session hibernates, with nothing left to acknowledge.
function phones.hibernated(service, options)
	local phone = phones.new(service, options);
	phone:cut();
	return phone;
end

-- Waits until the server has found an acknowledgement overdue.
function phones.await_overdue(phone)
	loop.wait_for(function ()
		return phone.server:eval([[
			local session = prosody.full_sessions[...];
			return session.awaiting_ack and not session.delayed_ack_timer;
		]], phone.full_jid);
	end, nil, "the acknowledgement of " .. phone.full_jid .. " to be overdue");
end

-- Ends a hibernated session as its time being over would.
function phones.expire(phone)
	phone.server:eval([[
		local session = prosody.full_sessions[...];
		session.hibernating_watchdog:callback();
	]], phone.full_jid);
	assert(not phone.server:session(phone.full_jid), "the session has not ended");
end

local function collect(phone)
	local pushed = {};
	for _, publish in ipairs(phone.service.received) do
		if publish.node == phone.node then
			pushed[#pushed + 1] = publish.form["last-message-body"] or false;
		end
	end
	return pushed;
end

-- The texts of the pushes for a phone so far, false where there is none. What the
-- given client has sent before has been handled by then.
function phones.pushed(phone, sender)
	if sender then sender:ping(); end
	if phone.server:running() then phone.service:ping(); end
	return collect(phone);
end

-- Waits for the nth push, and returns what phones.pushed() does.
function phones.await(phone, n, timeout)
	loop.wait_for(function ()
		return #collect(phone) >= n;
	end, timeout, ("push %d for %s"):format(n, phone.full_jid));
	return collect(phone);
end

-- What phones.pushed() says after some seconds, for pushes that are not to come.
function phones.pushed_within(phone, seconds)
	loop.settle(seconds);
	return phones.pushed(phone);
end

-- The bodies of what offline storage keeps for a user.
function phones.stored_messages(phone)
	local username, host = jid_split(phone.jid);
	return phone.server:eval([[
		local host, username = ...;
		local messages, bodies = module(host, "offline"):open_store("offline", "archive"):find(username), {};
		for _, stanza in messages or function () end do
			bodies[#bodies + 1] = stanza:get_child_text("body") or "";
		end
		return bodies;
	]], host, username);
end

return phones;
