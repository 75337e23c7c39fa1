-- A real XMPP client: one account, one resource, one connection at a time.

require "spec.support.init";

local base64 = require "util.encodings".base64.encode;
local jid_bare = require "util.jid".bare;
local jid_split = require "util.jid".split;
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local st = require "util.stanza";
local stream = require "spec.support.stream";

local xmlns_bind = "urn:ietf:params:xml:ns:xmpp-bind";
local xmlns_client = "jabber:client";
local xmlns_data = "jabber:x:data";
local xmlns_muc = "http://jabber.org/protocol/muc";
local xmlns_ping = "urn:xmpp:ping";
local xmlns_publish_options = "http://jabber.org/protocol/pubsub#publish-options";
local xmlns_push = "urn:xmpp:push:0";
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
local xmlns_session = "urn:ietf:params:xml:ns:xmpp-session";
local xmlns_sm = "urn:xmpp:sm:3";

local stanza_names = { message = true; presence = true; iq = true };

local function new_iq(type, to)
	return st.iq({ type = type; to = to; id = new_id() });
end

local client = {};

local methods = {};
local client_mt = { __index = methods };

local function handle_element(self, element)
	if element.attr.xmlns == xmlns_sm then
		if element.name == "r" then
			if not self.withhold_acks then self:ack(); end
			return;
		elseif element.name == "a" then
			self.acked = tonumber(element.attr.h);
			return;
		elseif element.name == "enabled" then
			self.handled = 0;
			self.sm_id = element.attr.id;
		end
	elseif not element.attr.xmlns and stanza_names[element.name] then
		self.handled = self.handled + 1;
		self.received[#self.received + 1] = element;
	end
	self.inbox[#self.inbox + 1] = element;
end

-- Turns { name = "message", body = "hi", from = ... } into a predicate: name and
-- body are those of the stanza, everything else is an attribute.
local function matcher(wanted)
	if type(wanted) == "function" then return wanted; end
	return function (stanza)
		for key, value in pairs(wanted) do
			local actual;
			if key == "name" then
				actual = stanza.name;
			elseif key == "body" then
				actual = stanza:get_child_text("body");
			else
				actual = stanza.attr[key];
			end
			if actual ~= value then return false; end
		end
		return true;
	end
end

local function describe(wanted)
	if type(wanted) == "function" then return "a stanza"; end
	local properties = {};
	for key, value in pairs(wanted) do
		properties[#properties + 1] = ("%s=%q"):format(key, value);
	end
	table.sort(properties);
	return "a stanza with " .. table.concat(properties, " ");
end

-- Connects and logs in: a stream of an account without a resource.
local function log_in(self)
	self:open();
	local auth = st.stanza("auth", { xmlns = xmlns_sasl; mechanism = self.username and "PLAIN" or "ANONYMOUS" });
	if self.username then auth:text(base64("\0" .. self.username .. "\0" .. self.password)); end
	self:send(auth);
	local outcome = self:expect({ xmlns = xmlns_sasl });
	assert(outcome.name == "success", tostring(outcome));

	self.stream:restart();
	self:expect({ name = "features" });
end

-- One that is not connected.
function client.new(server, jid, password)
	local username, host = jid_split(jid);
	return setmetatable({
		server = server;
		jid = jid_bare(jid);
		username = username;
		host = host;
		password = password or "secret";
		received = {}; -- all stanzas ever
		inbox = {}; -- everything nobody has expected yet
		handled = 0;
		withhold_acks = false;
	}, client_mt);
end

-- options: password = the password ("secret"), resource = a name or nil,
-- presence = true (the default) | false | a priority, sm = nil | "resume" | "noresume".
-- Where the JID is a host, the client is anonymous.
function client.connect(server, jid, options)
	options = options or {};
	local self = client.new(server, jid, options.password);
	log_in(self);
	self:bind(options.resource);
	if options.sm then
		self:enable_sm(options.sm == "resume");
	end
	if options.presence ~= false then
		self:available(tonumber(options.presence));
	end
	return self;
end

-- Opens a connection, and returns what the server offers.
function methods:open()
	self.stream = stream.open(self.server.ports.c2s, xmlns_client, self.host, function (element)
		handle_element(self, element);
	end);
	return self:expect({ name = "features" });
end

function methods:send(stanza)
	self.stream:send(stanza);
end

-- Waits for a stanza (or other element) that was not expected before, and takes it.
function methods:expect(wanted, timeout)
	local matches = matcher(wanted);
	return loop.wait_for(function ()
		for i, element in ipairs(self.inbox) do
			if matches(element) then
				return table.remove(self.inbox, i);
			end
		end
		if self.stream.closed then
			error(("%s was disconnected while waiting for %s"):format(self.full_jid or self.jid, describe(wanted)));
		end
	end, timeout, describe(wanted));
end

-- Sends an iq and returns the reply, be it a result or an error.
function methods:iq(stanza, timeout)
	self:send(stanza);
	return self:expect(function (reply)
		local type = reply.attr.type;
		return reply.name == "iq" and reply.attr.id == stanza.attr.id and (type == "result" or type == "error");
	end, timeout);
end

-- After this everything the server has sent us before is here, and everything we
-- have sent it was handled.
function methods:ping()
	self:iq(new_iq("get", self.host):tag("ping", { xmlns = xmlns_ping }));
end

function methods:bind(resource)
	local request = new_iq("set"):tag("bind", { xmlns = xmlns_bind });
	if resource then
		request:text_tag("resource", resource);
	end
	local bound = assert(self:iq(request):get_child("bind", xmlns_bind), "could not bind a resource");
	self.full_jid = bound:get_child_text("jid");
	self:iq(new_iq("set"):tag("session", { xmlns = xmlns_session }));
end

function methods:available(priority)
	local presence = st.presence();
	if priority then
		presence:text_tag("priority", ("%d"):format(priority));
	end
	self:send(presence);
	self:ping();
end

-- message({ to = ..., body = ..., type = "chat", id = ..., more children ... })
function methods:message(message)
	local stanza = st.message({ to = message.to; type = message.type or "chat"; id = message.id or new_id() });
	if message.body then
		stanza:text_tag("body", message.body);
	end
	for _, child in ipairs(message) do
		stanza:add_child(child);
	end
	self:send(stanza);
	return stanza;
end

-- Enters a room.
function methods:join(room, nick)
	self:send(st.presence({ to = room .. "/" .. nick }):tag("x", { xmlns = xmlns_muc }));
	self:expect(function (stanza)
		local x = stanza.name == "presence" and stanza:get_child("x", xmlns_muc .. "#user");
		return x and x:get_child_with_attr("status", nil, "code", "110");
	end);
end

function methods:enable_sm(resumable)
	self:send(st.stanza("enable", { xmlns = xmlns_sm; resume = resumable and "true" or nil }));
	local outcome = self:expect({ xmlns = xmlns_sm });
	assert(outcome.name == "enabled", tostring(outcome));
end

-- Acknowledges all stanzas received on this session.
function methods:ack()
	self:send(st.stanza("a", { xmlns = xmlns_sm; h = ("%d"):format(self.handled) }));
end

-- Drops the TCP connection, and returns when the server has noticed.
function methods:cut()
	self.stream:cut();
	if not self.server:running() then return; end
	loop.wait_for(function ()
		local session = self.server:session(self.full_jid);
		return not session or session.hibernating;
	end, nil, "the server to notice that " .. self.full_jid .. " is gone");
end

-- Resumes the session on a new connection. If the server refuses, this returns
-- false and the <failed/> element, and the client is left logged in but unbound.
function methods:resume()
	log_in(self);
	self:send(st.stanza("resume", { xmlns = xmlns_sm; previd = self.sm_id; h = ("%d"):format(self.handled) }));
	local outcome = self:expect({ xmlns = xmlns_sm });
	if outcome.name ~= "resumed" then
		return false, outcome;
	end
	return self;
end

function methods:close()
	self.stream:close();
end

local function publish_options(options)
	local form = st.stanza("x", { xmlns = xmlns_data; type = "submit" });
	form:tag("field", { var = "FORM_TYPE" }):text_tag("value", xmlns_publish_options):up();
	local names = {};
	for name in pairs(options) do
		names[#names + 1] = name;
	end
	table.sort(names);
	for _, name in ipairs(names) do
		form:tag("field", { var = name }):text_tag("value", options[name]):up();
	end
	return form;
end

-- enable({ jid = ..., node = ..., away = ..., options = { name = value }, extra = { stanzas } }): what asks for push.
function client.enable(push)
	local enable = st.stanza("enable", { xmlns = xmlns_push; jid = push.jid; node = push.node; away = push.away });
	if push.options then
		enable:add_child(publish_options(push.options));
	end
	for _, child in ipairs(push.extra or {}) do
		enable:add_child(child);
	end
	return enable;
end

function methods:enable_push(push)
	return self:iq(new_iq("set"):add_child(client.enable(push)));
end

-- Without a node: all nodes of the push service.
function methods:disable_push(push)
	return self:iq(new_iq("set"):tag("disable", { xmlns = xmlns_push; jid = push.jid; node = push.node }));
end

return client;
