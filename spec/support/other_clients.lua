-- Clients that others have made, with the programs of spec/support/clients: what they do is theirs. They answer by
-- themselves what the server asks, as they do it in apps.

require "spec.support.init";

local devices = require "spec.support.devices";
local json = require "util.json";
local loop = require "spec.support.loop";
local loopback = require "spec.support.loopback";
local phones = require "spec.support.phones";
local process = require "spec.support.process";
local signal = require "util.signal";
local st = require "util.stanza";

local other_clients = {};

local methods = {};
local client_mt = { __index = methods };

local programs = {
	slixmpp = { "/usr/bin/python3"; "-B"; "spec/support/clients/with_slixmpp.py" };
	["stanza.js"] = { "node"; "spec/support/clients/with_stanza.mjs" };
	["xmpp.js"] = { "node"; "spec/support/clients/with_xmpp.mjs" };
};

local nodes = 0;

local function on_line(self, line)
	line = json.decode(line);
	if line.message then
		self.messages[#self.messages + 1] = line.message;
	else
		self.answer = line;
	end
end

-- Starts a program, to be stopped in the end: for one client at a time. What it says is among the output of the tests.
function other_clients.start(server, name, url)
	local self = setmetatable({ server = server; name = name; url = url; messages = {} }, client_mt);
	local port = loopback.free_port();
	local command = { table.unpack(programs[name]) };
	command[#command + 1] = loopback.address;
	command[#command + 1] = ("%d"):format(port);
	self.process = process.spawn(command, "/dev/stderr");
	local buffer = "";
	local function on_data(data)
		local lines, rest = (buffer .. data):match("^(.*\n)(.*)$");
		buffer = rest or buffer .. data;
		for line in (lines or ""):gmatch("[^\n]+") do on_line(self, line); end
	end
	self.connection = loop.wait_for(function ()
		assert(self.process:running(), name .. " has ended");
		return loop.connect(port, on_data, function () end);
	end, nil, name .. " to listen");
	return self;
end

function methods:stop()
	self.connection:close();
	self.process:kill();
end

-- Has the program do something, and returns what comes of it.
function methods:command(name, argument)
	self.answer = nil;
	self.connection:send(json.encode({ name; argument }) .. "\n");
	local answer = loop.wait_for(function ()
		assert(not self.connection.closed, self.name .. " has ended");
		return self.answer;
	end, nil, ("%s to %s"):format(self.name, name));
	if answer.error then error(("%s, %s: %s"):format(self.name, name, answer.error), 2); end
	return answer.answer;
end

-- What a client asks a push service for: a node and a secret that nobody else has.
local function push_of(self)
	return { jid = self.service.jid; node = self.node; secret = self.node };
end

-- A new session, with stream management, as all clients have it.
local function log_in(self)
	self.messages = {};
	self.full_jid = self:command("log_in", {
		jid = self.jid; password = "secret"; url = self.url; push = self.inline and push_of(self) or nil;
	});
	loop.wait_for(function ()
		return self.server:eval([[return not not prosody.full_sessions[...].smacks;]], self.full_jid);
	end, nil, "stream management of " .. self.full_jid);
end

-- As a user who was never there before. options: host ("home.test"), and the service at which push is enabled in the
-- bind (xmpp.js).
function methods:log_in(options)
	options = options or {};
	nodes = nodes + 1;
	self.jid = devices.new_user(self.server, options.host);
	self.node = ("other%d"):format(nodes);
	self.service, self.inline = options.service, options.service ~= nil;
	log_in(self);
end

-- As apps do when they are started: with the push service that they have.
function methods:log_in_again()
	log_in(self);
	if not self.inline then self:register(self.service); end
end

-- Enables push.
function methods:register(service)
	self.service = service;
	self:command("enable", push_of(self));
	phones.acknowledge(self);
end

-- The same with xmpp.js, which then acknowledges one stanza too few.
function methods:register_miscounting(service)
	self.service = service;
	self:command("enable_miscounting", push_of(self));
end

-- Clients do that whenever they are asked.
function methods.ack()
end

function methods:disable()
	self:command("disable", push_of(self));
	phones.acknowledge(self);
end

-- What is in a request is sent in the client's own. There must be a result.
function methods:iq(stanza)
	self:command("request", tostring(stanza.tags[1]));
	phones.acknowledge(self);
	return st.reply(stanza);
end

-- The connection ends without a word. Returns when the server has noticed.
function methods:cut()
	self:command("cut");
	loop.wait_for(function ()
		return self.server:session(self.full_jid).hibernating;
	end, nil, "the server to notice that " .. self.full_jid .. " is gone");
end

-- Connects again; true if that resumes the session.
function methods:come_back()
	return self:command("come_back").resumed;
end

-- The system freezes the app: its connection stays open, and nothing is read nor answered.
function methods:freeze()
	signal.kill(self.process.pid, "SIGSTOP");
end

function methods:thaw()
	signal.kill(self.process.pid, "SIGCONT");
end

-- Ends the session.
function methods:close()
	self:command("close");
	loop.wait_for(function ()
		return not self.server:session(self.full_jid);
	end, nil, "the end of the session of " .. self.full_jid);
end

-- Waits for the nth message since the login, and returns the texts of all.
function methods:await(n)
	loop.wait_for(function () return self.messages[n]; end, nil, ("message %d for %s"):format(n, self.jid));
	return self.messages;
end

return other_clients;
