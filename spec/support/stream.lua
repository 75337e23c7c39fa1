-- An XML stream over TCP: what clients and components have in common.

require "spec.support.init";

local loop = require "spec.support.loop";
local st = require "util.stanza";
local new_xmpp_stream = require "util.xmppstream".new;

local stream = {};

local methods = {};
local stream_mt = { __index = methods };

local callbacks = {};

function callbacks.streamopened(self, attr)
	self.notopen = nil;
	self.id = attr.id;
end

-- The server waits for our end of the stream before it closes the connection.
function callbacks.streamclosed(self)
	self:finish();
end

function callbacks.handlestanza(self, stanza)
	self.on_stanza(stanza);
end

function callbacks.error(self, kind, detail)
	if kind == "stream-error" then
		self.error = detail;
	else
		error(("XML stream error: %s %s"):format(kind, detail));
	end
end

-- Opens a TCP connection and an XML stream on it. on_stanza(stanza) runs inside
-- the loop for each stanza and other top-level element.
function stream.open(port, namespace, to, on_stanza)
	local self = setmetatable({ namespace = namespace; to = to; on_stanza = on_stanza }, stream_mt);
	self.parser = new_xmpp_stream(self, {
		default_ns = namespace;
		streamopened = callbacks.streamopened;
		streamclosed = callbacks.streamclosed;
		handlestanza = callbacks.handlestanza;
		error = callbacks.error;
	});

	local function on_data(data)
		assert(self.parser:feed(data));
	end

	local function on_close()
		self.closed = true;
	end

	self.connection = assert(loop.connect(port, on_data, on_close));
	self:restart();
	return self;
end

-- Sends a stream header and waits for that of the server.
function methods:restart()
	self.notopen = true;
	self.parser:reset();
	self:send("<?xml version='1.0'?>" .. st.stanza("stream:stream", {
		["xmlns:stream"] = "http://etherx.jabber.org/streams";
		xmlns = self.namespace;
		version = "1.0";
		to = self.to;
	}):top_tag());
	loop.wait_for(function () return not self.notopen or self.closed; end, nil, "a stream header from " .. self.to);
end

-- A parser that has seen part of a long token waits for as much again before it looks
-- once more (Expat since CVE-2023-52425). White space between stanzas is as good as any.
local long = 4096;

function methods:send(data)
	assert(not self.closed, "the stream is closed");
	data = tostring(data);
	self.connection:send(data);
	if #data > long then self.connection:send((" "):rep(#data)); end
end

function methods:finish()
	if self.finished then return; end
	self.finished = true;
	self:send("</stream:stream>");
end

-- Ends the stream the proper way.
function methods:close()
	if self.closed then return; end
	self:finish();
	loop.wait_for(function () return self.closed; end, nil, self.to .. " to close the stream");
end

-- Closes the TCP connection without ending the stream.
function methods:cut()
	self.closed = true;
	self.connection:close();
end

return stream;
