-- A real push service: an external component (XEP-0114) that takes what is
-- published to it and answers, or not, as a test wants it to.

require "spec.support.init";

local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local sha1 = require "util.hashes".sha1;
local st = require "util.stanza";
local stream = require "spec.support.stream";

local xmlns_component = "jabber:component:accept";
local xmlns_data = "jabber:x:data";
local xmlns_ping = "urn:xmpp:ping";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";
local xmlns_push = "urn:xmpp:push:0";

local push_service = {};

local methods = {};
local service_mt = { __index = methods };

-- The answers a service can give: push.answer = push_service.never, ...

function push_service.result(publish, service)
	service:send(st.reply(publish.stanza));
end

function push_service.never()
end

function push_service.twice(publish, service)
	push_service.result(publish, service);
	push_service.result(publish, service);
end

function push_service.wrong_id(publish, service)
	local reply = st.reply(publish.stanza);
	reply.attr.id = new_id();
	service:send(reply);
end

-- The jid must be one that the component may send from: anything@push.test.
function push_service.wrong_jid(jid)
	return function (publish, service)
		local reply = st.reply(publish.stanza);
		reply.attr.from = jid;
		service:send(reply);
	end
end

function push_service.error(type, condition, text)
	return function (publish, service)
		service:send(st.error_reply(publish.stanza, type, condition, text));
	end
end

function push_service.late(seconds)
	return function (publish, service)
		loop.after(seconds, function ()
			if not service.stream.closed then
				push_service.result(publish, service);
			end
		end);
	end
end

local function form_values(parent)
	local values = {};
	local form = parent and parent:get_child("x", xmlns_data);
	if form then
		for field in form:childtags("field") do
			values[field.attr.var] = field:get_child_text("value");
		end
	end
	return values;
end

local function parse_publish(stanza)
	local pubsub = stanza.name == "iq" and stanza.attr.type == "set" and stanza:get_child("pubsub", xmlns_pubsub);
	local publish = pubsub and pubsub:get_child("publish");
	if not publish then return; end
	local item = publish:get_child("item");
	local notification = item and item:get_child("notification", xmlns_push);
	return {
		stanza = stanza;
		id = stanza.attr.id;
		node = publish.attr.node;
		notification = notification;
		form = form_values(notification);
		options = form_values(pubsub:get_child("publish-options"));
		at = loop.now();
	};
end

local function handle_element(self, element)
	local publish = self.parse(element);
	if publish then
		self.received[#self.received + 1] = publish;
		self.answer(publish, self);
	else
		self.others[#self.others + 1] = element;
	end
end

-- Of another protocol: parse(stanza) says what is a notification, and answer what becomes of it.
function push_service.connect(server, jid, secret, parse, answer)
	local self = setmetatable({
		server = server;
		jid = jid;
		secret = secret;
		received = {}; -- everything published since clear()
		others = {}; -- all other stanzas
		parse = parse or parse_publish;
		answer = answer or push_service.result;
	}, service_mt);
	self:reconnect();
	return self;
end

local function take(self, matches, what)
	return loop.wait_for(function ()
		for i, element in ipairs(self.others) do
			if matches(element) then
				return table.remove(self.others, i);
			end
		end
		if self.stream.closed then
			error(("%s was disconnected while waiting for %s"):format(self.jid, what));
		end
	end, nil, what);
end

function methods:reconnect()
	self.stream = stream.open(self.server.ports.component, xmlns_component, self.jid, function (element)
		handle_element(self, element);
	end);
	self:send(st.stanza("handshake"):text(sha1(self.stream.id .. self.secret, true)));
	take(self, function (element) return element.name == "handshake"; end, "the handshake of " .. self.jid);
end

-- Drops the connection, and returns when the server has noticed.
function methods:disconnect()
	self.stream:cut();
	if not self.server:running() then return; end
	loop.wait_for(function ()
		return not self.server:eval([[return prosody.hosts[...].modules.component.connected;]], self.jid);
	end, nil, "the server to notice that " .. self.jid .. " is gone");
end

function methods:send(stanza)
	self.stream:send(stanza);
end

-- After this everything the server has sent us before is here. From another address of
-- the component it is no sign of life of the push service.
function methods:ping(from)
	local id = new_id();
	self:send(st.iq({ type = "get"; id = id; from = from or self.jid; to = self.server.options.hosts[1] })
		:tag("ping", { xmlns = xmlns_ping }));
	take(self, function (element) return element.attr.id == id; end, "an answer to a ping of " .. self.jid);
end

-- Waits until n notifications have come since clear(), and returns the nth.
function methods:wait(n, timeout)
	return loop.wait_for(function ()
		return self.received[n];
	end, timeout, ("notification %d at %s"):format(n, self.jid));
end

function methods:clear()
	self.received = {};
end

-- Raises an error if a notification that was not there before comes meanwhile.
function methods:expect_none(seconds)
	local before = #self.received;
	loop.settle(seconds or 0);
	self:ping();
	local unexpected = self.received[before + 1];
	if unexpected then
		error("unexpected notification: " .. tostring(unexpected.stanza), 2);
	end
end

return push_service;
