-- Push notifications at work in a throwaway Prosody: `make demo`.
--
-- The server, the clients and the push service are real ones and talk over TCP on
-- the loopback interface. Each scene is told as it happens, and judged by the rule
-- that it is about. With KEEP=1 the server stays up afterwards, for clients of
-- your own.

require "spec.support.init";

local client = require "spec.support.client";
local isatty = require "util.pposix".isatty;
local loop = require "spec.support.loop";
local loopback = require "spec.support.loopback";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";
local signal = require "util.signal";
local socket = require "socket";
local st = require "util.stanza";
local termcolours = require "util.termcolours";

local xmlns_chat_states = "http://jabber.org/protocol/chatstates";
local xmlns_csi = "urn:xmpp:csi:0";
local xmlns_jmi = "urn:xmpp:jingle-message:0";
local xmlns_rtp = "urn:xmpp:jingle:apps:rtp:1";

local host = "home.test";
local push_jid = "push.test";
local password = "secret";

-- Everything else is left as it is by default.
local max_errors = 3;
local max_ack_delay = 1;
local window = 1;
local retry_min = 1;
local options = {
	push_coalesce_window = window;
	push_max_errors = max_errors;
	push_retry_min = retry_min;
	smacks_max_ack_delay = max_ack_delay;
};

-- When nothing has come for so long, then nothing is waiting to be sent.
local quiet_time = 1.1;
local patience = 3;

local max_fault_lines = 20;

-- Printing

local columns = 80;
local left_column = 14;

local use_colours = isatty(io.stdout) and not os.getenv("NO_COLOR") and os.getenv("TERM") ~= "dumb";

local function style(name)
	return use_colours and termcolours.getstyle(name) or nil;
end

local styles = {
	bad = style("red");
	good = style("green");
	name = style("bold");
	push = style("cyan");
	title = style("bold");
};

local function coloured(text, text_style)
	return text ~= "" and termcolours.getstring(text_style, text) or "";
end

local function print_line(text, line_style)
	io.write(coloured(text, line_style), "\n");
end

local function print_title(text)
	print_line("");
	print_line(text, styles.title);
end

local function count_characters(text)
	return select(2, text:gsub("[^\128-\191]", ""));
end

-- A few words at the left, and as many lines as it takes beside them.
local function print_beside(left, left_style, text, text_style)
	local lines = { "" };
	for word in text:gmatch("%S+") do
		local line = lines[#lines];
		if line == "" then
			lines[#lines] = word;
		elseif left_column + count_characters(line .. " " .. word) <= columns then
			lines[#lines] = line .. " " .. word;
		else
			lines[#lines + 1] = word;
		end
	end
	for i, line in ipairs(lines) do
		local words = i == 1 and left or "";
		local gap = (" "):rep(left_column - count_characters(words));
		print_line(coloured(words, left_style) .. gap .. coloured(line, text_style));
	end
end

local function tell(name, text, ...)
	print_beside("   " .. name, styles.name, text:format(...));
end

local function tell_push(text, ...)
	print_beside("   " .. push_jid, styles.push, text:format(...), styles.push);
end

local function tell_verdict(good, text, ...)
	local verdict_style = good and styles.good or styles.bad;
	print_beside(good and " ✓" or " ✗", verdict_style, text:format(...), verdict_style);
end

local function fail(text, ...)
	error(text:format(...), 0);
end

-- The stage of a scene: an account of its own with the devices of its owner, and
-- Bert, who writes to it.

local stage = {};
stage.__index = stage;

local device = {};
device.__index = device;

local stages_by_node = {};

local function new_stage(world, owner)
	local username = owner:lower();
	world.server:add_user(username, password, host);
	return setmetatable({
		server = world.server;
		push = world.push;
		bert = world.bert;
		owner = owner;
		username = username;
		jid = username .. "@" .. host;
		answer = push_service.result;
		pushes = {}; -- what the push service got for this account
		told = 0; -- how many of them the scene has spoken of
		log_mark = world.server:log_mark();
	}, stage);
end

-- The push service gives the answer that the scene wants it to.
local function on_publish(publish, service)
	local concerned = stages_by_node[publish.node];
	if concerned then
		table.insert(concerned.pushes, publish);
		concerned.answer(publish, service);
	else
		push_service.result(publish, service);
	end
end

-- After this, all that has been said was handled, and all that it sets off at once
-- has arrived.
function stage:sync()
	self.bert:ping();
	if not self.push.stream.closed then
		self.push:ping(); -- its pushes are here
		self.push:ping(); -- and its answers there
	end
end

local function describe_push(publish)
	local count, body = publish.form["message-count"], publish.form["last-message-body"];
	return ("%s: %s message%s, %s"):format(publish.node or "nobody", count or "uncounted", count == "1" and "" or "s",
		body and ("text %q"):format(body) or "no text");
end

function stage:tell_next_push()
	self.told = self.told + 1;
	local publish = self.pushes[self.told];
	tell_push("gets after %.0f ms for %s", (publish.at - self.since) * 1000, describe_push(publish));
	return publish;
end

-- One push for each of the devices. wanted: important = true if it has something
-- to show, at_once = true or not_before = seconds.
function stage:expect_pushes(devices, wanted)
	self:sync();
	local last = self.told + #devices;
	local at_once = self.pushes[last] ~= nil;
	local deadline = loop.now() + patience;
	loop.wait_for(function () return self.pushes[last] or loop.now() > deadline; end, patience + 1, "a push");
	self:sync();

	local expected = {};
	for _, one in ipairs(devices) do
		expected[one.node] = true;
	end
	while self.told < math.min(last, #self.pushes) do
		local publish = self:tell_next_push();
		if not expected[publish.node] then
			fail("%s has got a push more than it should", publish.node);
		end
		expected[publish.node] = nil;
		if publish.form["FORM_TYPE"] ~= "urn:xmpp:push:summary" or publish.form["message-count"] ~= "1" then
			fail("that is no summary by XEP-0357: %s", tostring(publish.stanza));
		elseif (publish.form["last-message-body"] ~= nil) ~= (wanted.important or false) then
			fail("that push should have %s", wanted.important and "a text" or "no text");
		elseif wanted.not_before and publish.at - self.since < wanted.not_before * 0.95 then
			fail("that push came too early");
		end
	end
	local missing = next(expected);
	if missing then
		fail("no push for %s came within %g s", missing, patience);
	elseif wanted.at_once and not at_once then
		fail("that push should have come at once");
	end
end

function stage:expect_push(one, wanted)
	self:expect_pushes({ one }, wanted);
end

-- No push that has not been expected, neither at once nor in the given time.
function stage:expect_silence(seconds)
	if seconds then
		loop.settle(seconds);
	end
	self:sync();
	if self.pushes[self.told + 1] then
		self:tell_next_push();
		fail("that push should not have come");
	end
	tell_push("gets nothing%s%s", self.told > 0 and " more" or "", seconds and (" for %g s"):format(seconds) or "");
end

local function let_pass(seconds)
	loop.settle(seconds);
	tell("", "(%g s later)", seconds);
end

-- Chat messages; the time of the next pushes counts from here.
function stage:write(...)
	local quoted = {};
	self.since = loop.now();
	for i, body in ipairs({ ... }) do
		self.bert:message({ to = self.jid, body = body });
		quoted[i] = ("%q"):format(body);
	end
	tell("Bert", "writes to %s: %s", self.owner, table.concat(quoted, ", "));
end

-- Chat states (XEP-0085).
function stage:type(...)
	self.since = loop.now();
	for _, state in ipairs({ ... }) do
		self.bert:message({ to = self.jid; st.stanza(state, { xmlns = xmlns_chat_states }) });
	end
	tell("Bert", "types (chat state %s)", table.concat({ ... }, ", "));
end

function stage:call()
	self.since = loop.now();
	local propose = st.stanza("propose", { xmlns = xmlns_jmi, id = "call-" .. self.username })
		:tag("description", { xmlns = xmlns_rtp, media = "audio" }):up();
	self.bert:message({ to = self.jid; propose });
	tell("Bert", "calls %s (XEP-0353 propose)", self.owner);
end

local function count_stored(server, username, store)
	return server:eval([[
		local host, username, store = ...;
		local items = assert(require "core.storagemanager".open(host, store, "archive"):find(username));
		local count = 0;
		for _ in items do count = count + 1; end
		return count;
	]], host, username, store);
end

function stage:expect_stored(expected)
	self:sync();
	local archived = count_stored(self.server, self.username, "archive");
	local offline = count_stored(self.server, self.username, "offline");
	tell("server", "has %d in %s's archive and %d in offline storage", archived, self.owner, offline);
	if archived ~= expected.archive or offline ~= expected.offline then
		fail("there should be %d and %d", expected.archive, expected.offline);
	end
end

function stage:expect_registrations(count)
	self:sync();
	local registered = 0;
	for _ in pairs(self.server:store_get(host, "cloud_notify", self.username) or {}) do
		registered = registered + 1;
	end
	tell("server", "has %s of %s", registered == 1 and "1 registration"
		or ("%d registrations"):format(registered), self.owner);
	if registered ~= count then
		fail("there should be %d", count);
	end
end

-- What the module has written into the log since the scene began, at the given level
-- or at all.
function stage:tell_log(level)
	for line in self.server:log_since(self.log_mark):gmatch("[^\n]+") do
		local line_level, text = line:match(":cloud_notify\t(%a+)\t(.*)");
		if text and line_level == (level or line_level) then
			tell("log", "%s: %s", line_level, text);
		end
	end
end

-- Devices

-- how: sm = "resume" for a session that survives its connection (XEP-0198).
function stage:log_in(kind, how)
	local one = setmetatable({ stage = self; name = kind; node = self.username .. "-" .. kind }, device);
	one.client = client.connect(self.server, self.jid, { resource = kind; password = password; sm = how and how.sm });
	stages_by_node[one.node] = self;
	one:tell("logs in%s", how and how.sm and " with stream management" or "");
	return one;
end

function device:tell(text, ...)
	tell(self.name, text, ...);
end

function device:register()
	local reply = self.client:enable_push({ jid = push_jid; node = self.node });
	if reply.attr.type ~= "result" then
		fail("the server refused to register %s: %s", self.node, select(2, reply:get_error()));
	end
	self:tell("registers for push at %s, as %s", push_jid, self.node);
end

function device:log_out()
	self.client:close();
	self:tell("logs out");
end

-- From here on it leaves the server's requests for acknowledgement unanswered.
function device:stop_acks()
	self.client:ping();
	loop.wait_for(function ()
		return self.stage.server:eval([[
			local session = prosody.full_sessions[...];
			return not session.awaiting_ack and session.outgoing_stanza_queue:count_unacked() == 0;
		]], self.client.full_jid);
	end, nil, "the acknowledgements of " .. self.node);
	self.client.withhold_acks = true;
end

-- The server does not even ask an inactive client.
function device:go_to_pocket()
	self:stop_acks();
	self.client:send(st.stanza("inactive", { xmlns = xmlns_csi }));
	loop.wait_for(function ()
		return self.stage.server:eval([[return prosody.full_sessions[...].state == "inactive";]], self.client.full_jid);
	end, nil, "the server to know that " .. self.node .. " is inactive");
	self:tell("goes into a pocket, and tells the server so (CSI inactive)");
end

function device:enter_tunnel()
	self:stop_acks();
	self:tell("is in a tunnel: the connection looks alive, but nothing comes back");
end

function device:lose_connection()
	self.stage.since = loop.now();
	self.client:cut();
	self:tell("loses its connection; the server keeps the session");
end

function device:resume()
	self.stage.since = loop.now();
	if not self.client:resume() then
		fail("the session could not be resumed");
	end
	self:tell("is back, and resumes its session");
end

-- Each of the messages once, in this order, and no other.
function device:expect_messages(bodies)
	self.stage:sync();
	self.client:ping();
	local got = {};
	for _, stanza in ipairs(self.client.received) do
		local body = stanza.name == "message" and stanza:get_child_text("body");
		if body then
			got[#got + 1] = ("%q"):format(body);
		end
	end
	local wanted = {};
	for i, body in ipairs(bodies) do
		wanted[i] = ("%q"):format(body);
	end
	got, wanted = table.concat(got, ", "), table.concat(wanted, ", ");
	self:tell("has got %s", got == "" and "no message" or got);
	if got ~= wanted then
		fail("it should have got %s", wanted);
	end
end

function device:expect_call()
	local call = self.client:expect(function (stanza) return stanza:get_child("propose", xmlns_jmi); end);
	self:tell("rings: call from %s", call.attr.from);
end

function device:expect_session(kind)
	local session = self.stage.server:session(self.client.full_jid);
	local actual = not session and "gone" or session.hibernating and "hibernated" or "connected";
	tell("server", "takes the %s for %s", self.name, actual);
	if actual ~= kind then
		fail("it should be %s", kind);
	end
end

-- Scenes

local scenes = {
	{
		title = "A message for a phone that is offline";
		owner = "Anna";
		judge = "rule (b) says";
		law = [[what is archived is pushed to every device without a session. If nobody is
			online, offline storage gets the message, too, and rule (c) adds no second push.]];
		play = function (scene)
			local phone = scene:log_in("phone");
			phone:register();
			phone:log_out();
			scene:write("Are you there?");
			scene:expect_stored({ archive = 1; offline = 1 });
			scene:expect_push(phone, { important = true; at_once = true });
			scene:expect_silence();
			scene:log_in("laptop");
			scene:write("And now?");
			scene:expect_stored({ archive = 2; offline = 0 });
			scene:expect_push(phone, { important = true; at_once = true });
			scene:expect_silence();
		end;
	};
	{
		title = "A phone that has lost its connection";
		owner = "Bella";
		judge = "rule (a) says";
		law = [[when a session hibernates, what it has not acknowledged is pushed, and from then on
			each important message at once. Chat states wait for a second and share a push; if a message
			comes meanwhile, its push does for them, too.]];
		play = function (scene)
			local phone = scene:log_in("phone", { sm = "resume" });
			phone:register();
			phone:go_to_pocket();
			scene:write("Are you coming?");
			scene:expect_silence();
			phone:lose_connection();
			scene:expect_push(phone, { important = true; at_once = true });
			let_pass(quiet_time);
			scene:type("composing", "paused");
			scene:expect_push(phone, { not_before = window });
			scene:type("composing");
			scene:write("I am at the door");
			scene:expect_push(phone, { important = true; at_once = true });
			scene:expect_silence(quiet_time);
		end;
	};
	{
		title = "A connection that only looks alive";
		owner = "Clara";
		judge = "rule (a) says";
		law = ([[an acknowledgement that is overdue (smacks_max_ack_delay = %d) means a push. When the
			connection breaks at last, there is none for the same message.]]):format(max_ack_delay);
		play = function (scene)
			local phone = scene:log_in("phone", { sm = "resume" });
			phone:register();
			phone:enter_tunnel();
			scene:write("Where are you?");
			scene:expect_push(phone, { important = true; not_before = max_ack_delay });
			phone:expect_session("connected");
			phone:lose_connection();
			scene:expect_silence();
		end;
	};
	{
		title = "A call";
		owner = "Doris";
		judge = "the rule for calls says";
		law = [[a call is pushed to each device at once, even if it or another one is online, and
			only once.]];
		play = function (scene)
			local laptop = scene:log_in("laptop");
			local phone = scene:log_in("phone");
			phone:register();
			phone:log_out();
			local tablet = scene:log_in("tablet", { sm = "resume" });
			tablet:register();
			tablet:go_to_pocket();
			scene:call();
			laptop:expect_call();
			scene:expect_pushes({ phone; tablet }, { important = true; at_once = true });
			tablet:lose_connection();
			scene:expect_silence();
		end;
	};
	{
		title = "A phone that comes back";
		owner = "Emma";
		judge = "rule (a) says";
		law = [[the first message of a burst wakes the device, which gets them all when it resumes.
			From then on it is online and needs no push.]];
		play = function (scene)
			local phone = scene:log_in("phone", { sm = "resume" });
			phone:register();
			phone:lose_connection();
			scene:write("One", "Two", "Three");
			scene:expect_push(phone, { important = true; at_once = true });
			phone:resume();
			phone:expect_messages({ "One"; "Two"; "Three" });
			scene:write("Four");
			phone:expect_messages({ "One"; "Two"; "Three"; "Four" });
			scene:expect_silence(quiet_time);
		end;
	};
	{
		title = "A phone that is online";
		owner = "Frida";
		judge = "rules (a) and (b) say";
		law = "a device that has a live session and acknowledges what it gets needs no push.";
		play = function (scene)
			local phone = scene:log_in("phone", { sm = "resume" });
			phone:register();
			scene:type("composing");
			scene:write("Nice to see you");
			phone:expect_messages({ "Nice to see you" });
			scene:expect_silence(quiet_time);
		end;
	};
	{
		title = "A device that its push service does not know any more";
		owner = "Greta";
		judge = ("push_max_errors = %d says"):format(max_errors);
		law = [[after so many permanent errors in a row the registration is removed. Messages are
			kept as ever.]];
		play = function (scene)
			local phone = scene:log_in("phone");
			phone:register();
			phone:log_out();
			scene.answer = push_service.error("cancel", "item-not-found");
			for count = 1, max_errors do
				scene:write(("Attempt %d"):format(count));
				scene:expect_push(phone, { important = true; at_once = true });
				tell_push("answers item-not-found");
			end
			scene:tell_log("warn");
			scene:expect_registrations(0);
			scene:write("Anybody there?");
			scene:expect_stored({ archive = max_errors + 1; offline = max_errors + 1 });
			scene:expect_silence();
		end;
	};
	{
		title = "A push service that is away for a while";
		owner = "Hanna";
		judge = "the rule for errors says";
		law = [[what may pass (a push service that cannot be reached, or does not answer) never counts
			towards push_max_errors. The device is owed one push for all that it has missed, and
			gets it by an attempt after the push service is back (push_retry_min = 1).]];
		play = function (scene)
			local phone = scene:log_in("phone");
			phone:register();
			phone:log_out();
			scene.push:disconnect();
			tell_push("passes out: its component connection is gone");
			for count = 1, max_errors + 1 do
				scene:write(("Attempt %d"):format(count));
			end
			scene:expect_registrations(1);
			scene.push:reconnect();
			tell_push("is back");
			scene:expect_push(phone, { important = true });
			scene:expect_silence(quiet_time);
			scene:write("Better now?");
			scene:expect_push(phone, { important = true; at_once = true });
			scene:expect_silence();
			scene:expect_registrations(1);
		end;
	};
};

-- The play

-- Thrown where the demo happens to be when it is told to end.
local interruption = setmetatable({}, { __tostring = function () return "interrupted"; end });
local ending = false;

for _, name in ipairs({ "SIGHUP"; "SIGINT"; "SIGTERM" }) do
	signal.signal(name, function ()
		if ending then return; end
		ending = true;
		error(interruption, 0);
	end);
end

local function play(scene, number, world)
	print_title(("%d. %s"):format(number, scene.title));
	local ok, err = pcall(function ()
		scene.stage = new_stage(world, scene.owner);
		scene.play(scene.stage);
	end);
	if err == interruption then
		error(err, 0);
	end
	scene.ok = ok;
	if ok then
		tell_verdict(true, "As %s: %s", scene.judge, scene.law);
	else
		tell_verdict(false, "%s", tostring(err));
		print_beside("", nil, ("Not as %s: %s"):format(scene.judge, scene.law), styles.bad);
		if scene.stage then
			scene.stage:tell_log();
		end
	end
end

-- What comes when its scene is over has not been seen there.
local function look_for_late_pushes()
	for _, scene in ipairs(scenes) do
		local late = scene.stage and scene.stage.pushes[scene.stage.told + 1];
		if late and scene.ok then
			scene.ok = false;
			tell_verdict(false, "%s: %s has got one push more since then", scene.title, late.node);
		end
	end
end

-- Returns a function that tells whether somebody has asked for the end.
local function watch_stdin()
	local stdin = { getfd = function () return 0; end; dirty = function () return false; end };
	local interactive = isatty(io.stdin);
	local watching = true;
	return function ()
		if not watching or not socket.select({ stdin }, nil, 0)[1] then return false; end
		watching = io.read() ~= nil;
		-- What has no more input may run in the background for as long as it likes.
		return watching or interactive;
	end
end

local function stay(world)
	world.push.answer = function (publish, service)
		tell_push("gets at %s for %s", os.date("%H:%M:%S"), describe_push(publish));
		push_service.result(publish, service);
	end;
	print_title("The server stays up until you press Enter or Ctrl-C.");
	world.server:add_user("you", password, host);
	local zoe = new_stage(world, "Zoe");
	local phone = zoe:log_in("phone");
	phone:register();
	phone:log_out();
	print_line(([[

   Log in with a client of your own, and write to %s: her phone gets a
   push. Your client can register for push at %s, too.

      JID        you@%s (or %s)
      password   %s
      server     %s, port %d, to be entered by hand
      security   no TLS: allow the client an unencrypted connection
      log        %s/prosody.log
]]):format(zoe.jid, push_jid, host, zoe.jid, password, loopback.address, world.server.ports.c2s,
		world.server.directory));

	local asked_to_end = watch_stdin();
	local ok, err = pcall(loop.wait_for, function ()
		if not world.server:running() then
			fail("Prosody has ended:\n%s", world.server:console_text());
		end
		return asked_to_end();
	end, math.huge, "the end");
	if not ok and err ~= interruption then
		error(err, 0);
	end
end

local function run()
	local server = prosody.start({ hosts = { host }, components = { [push_jid] = password },
		modules = { "csi" }, options = options });
	local version, lua = server:eval([[return prosody.version, _VERSION]]);
	print_title(("mod_cloud_notify in Prosody %s with %s, on the loopback interface"):format(version, lua));
	server:add_user("bert", password, host);
	local world = {
		server = server;
		push = push_service.connect(server, push_jid, password);
		bert = client.connect(server, "bert@" .. host, { password = password });
	};
	world.push.answer = on_publish;
	for number, scene in ipairs(scenes) do
		play(scene, number, world);
	end
	look_for_late_pushes();
	if (os.getenv("KEEP") or "") ~= "" then
		stay(world);
	end
	return server;
end

local function main()
	io.stdout:setvbuf("line");
	local ok, server = pcall(run);
	ending = true;
	local stopped, err = pcall(prosody.stop_all);
	if not ok then
		io.stderr:write("demo: ", tostring(server), "\n");
		return server == interruption and 130 or 1;
	elseif not stopped then
		tell_verdict(false, "Prosody did not end well: %s", err);
	end

	local faults = server:faults();
	if faults[1] then
		tell_verdict(false, "errors in the server's log:");
		print_line(table.concat(faults, "\n", 1, math.min(#faults, max_fault_lines)));
	end
	local good = 0;
	for _, scene in ipairs(scenes) do
		good = good + (scene.ok and 1 or 0);
	end
	local all_good = good == #scenes and stopped and #faults == 0;
	print_line("");
	print_line(("%d of %d scenes went as the rules say, %s in the server's log."):format(good, #scenes,
		faults[1] and "errors" or "no error"), all_good and styles.good or styles.bad);
	return all_good and 0 or 1;
end

os.exit(main(), true);
