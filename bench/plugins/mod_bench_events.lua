-- Fires the events that mod_cloud_notify lives from, in a running Prosody, and says what
-- they cost. The driver runs one batch at a time, through module.bench.

local function prosody_require(name)
	local ok, lib = pcall(require, "prosody." .. name); -- COMPAT 0.12 has no prefix
	return ok and lib or require(name);
end

local config = prosody_require "core.configmanager";
local logger = prosody_require "util.logger";
local modulemanager = prosody_require "core.modulemanager";
local new_id = prosody_require "util.id".medium;
local new_watchdog = prosody_require "util.watchdog".new;
local new_xmpp_stream = prosody_require "util.xmppstream".new;
local st = prosody_require "util.stanza";
local usermanager = prosody_require "core.usermanager";

local clock, os_time = os.clock, os.time;

local host = module.host;
local push_host = "push.test";
local fire_event = prosody.hosts[host].events.fire_event;
local host_sessions = prosody.hosts[host].sessions;

local bench = {};
module.bench = bench;

-- Stanzas, parsed as those of a client are

local function base64ish(length)
	return (("x7Q/kZ2mB9+dLw4RtY"):rep(math.ceil(length / 18)):sub(1, length));
end

local function omemo_keys(count)
	local keys = {};
	for i = 1, count do
		keys[i] = ("<key rid='%d'>%s</key>"):format(1000000 + i * 7919, base64ish(i == 1 and 244 or 108));
	end
	return table.concat(keys);
end

local chat = [[
	<body>Are you coming to the orchard tonight? Bring the good lamp, it gets dark early.</body>
	<active xmlns='http://jabber.org/protocol/chatstates'/>
	<markable xmlns='urn:xmpp:chat-markers:0'/>
	<request xmlns='urn:xmpp:receipts'/>
	<origin-id xmlns='urn:xmpp:sid:0' id='a-b-c'/>]];

local templates = {
	omemo = [[<message type='chat' from='romeo@away.test/phone' to='' id=''>
		<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1186246410'>]] .. omemo_keys(6)
		.. [[<iv>]] .. base64ish(16) .. [[</iv></header><payload>]] .. base64ish(180) .. [[</payload></encrypted>
		<encryption xmlns='urn:xmpp:eme:0' name='OMEMO' namespace='eu.siacs.conversations.axolotl'/>
		<body>I sent you an OMEMO encrypted message but your client doesn't seem to support that.</body>
		<store xmlns='urn:xmpp:hints'/>
		<markable xmlns='urn:xmpp:chat-markers:0'/>
		<request xmlns='urn:xmpp:receipts'/>
		<origin-id xmlns='urn:xmpp:sid:0' id='a-b-c'/></message>]];
	chat = [[<message type='chat' from='romeo@away.test/phone' to='' id=''>]] .. chat .. [[</message>]];
	muc = [[<message type='groupchat' from='orchard@rooms.test/romeo' to='' id=''>
		<body>The next meeting is on Thursday, at the usual place.</body>
		<occupant-id xmlns='urn:xmpp:occupant-id:0' id=']] .. base64ish(44) .. [['/>
		<x xmlns='http://jabber.org/protocol/muc#user'/>
		<markable xmlns='urn:xmpp:chat-markers:0'/>
		<origin-id xmlns='urn:xmpp:sid:0' id='a-b-c'/></message>]];
	mention = [[<message type='groupchat' from='orchard@rooms.test/romeo' to='' id=''>
		<body>Juliet, the next meeting is on Thursday, at the usual place.</body>
		<reference xmlns='urn:xmpp:reference:0' type='mention' begin='0' end='5' uri='xmpp:orchard@rooms.test/Juliet'/>
		<occupant-id xmlns='urn:xmpp:occupant-id:0' id=']] .. base64ish(44) .. [['/>
		<origin-id xmlns='urn:xmpp:sid:0' id='a-b-c'/></message>]];
	received = [[<message type='chat' from='juliet@home.test' to='' id=''>
		<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>
		<message xmlns='jabber:client' type='chat' from='romeo@away.test/phone' to='juliet@home.test/desk' id='r1'>]]
		.. chat .. [[</message></forwarded></received></message>]];
	sent = [[<message type='chat' from='juliet@home.test' to='' id=''>
		<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>
		<message xmlns='jabber:client' type='chat' from='juliet@home.test/desk' to='romeo@away.test' id='s1'>]]
		.. chat .. [[</message></forwarded></sent></message>]];
	composing = [[<message type='chat' from='romeo@away.test/phone' to='' id=''>
		<composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/></message>]];
	receipt = [[<message type='chat' from='romeo@away.test/phone' to='' id=''>
		<received xmlns='urn:xmpp:receipts' id='m1'/><store xmlns='urn:xmpp:hints'/></message>]];
	displayed = [[<message type='chat' from='romeo@away.test/phone' to='' id=''>
		<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/><store xmlns='urn:xmpp:hints'/></message>]];
	presence = [[<presence from='romeo@away.test/phone' to='' id=''><show>away</show><status>Out</status>
		<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.test/' ver=']]
		.. base64ish(28) .. [['/><x xmlns='vcard-temp:x:update'><photo>]] .. ("0a1b2c3d"):rep(5)
		.. [[</photo></x></presence>]];
	pep = [[<message type='headline' from='romeo@away.test' to='' id=''>
		<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='eu.siacs.conversations.axolotl.devicelist'>
		<item id='current'><list xmlns='eu.siacs.conversations.axolotl'><device id='1'/><device id='2'/>
		</list></item></items></event></message>]];
	call = [[<message type='chat' from='romeo@away.test/phone' to='' id=''>
		<propose xmlns='urn:xmpp:jingle-message:0' id='ca3cf894-5325-482f-a412-a6e9f832298d'>
		<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>
		<request xmlns='urn:xmpp:receipts'/><store xmlns='urn:xmpp:hints'/></message>]];
	enable = [[<iq type='set' from='' id=''><enable xmlns='urn:xmpp:push:0' jid='push.test' node=''>
		<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>
		<value>http://jabber.org/protocol/pubsub#publish-options</value></field>
		<field var='secret'><value>]] .. base64ish(32) .. [[</value></field></x></enable></iq>]];
	enable_plain = [[<iq type='set' from='' id=''><enable xmlns='urn:xmpp:push:0' jid='push.test' node=''/></iq>]];
	disable = [[<iq type='set' from='' id=''><disable xmlns='urn:xmpp:push:0' jid='push.test' node=''/></iq>]];
};

local parsed = {};

do
	local current;
	local parser = new_xmpp_stream({ notopen = true }, {
		default_ns = "jabber:client";
		streamopened = function (session) session.notopen = nil; end;
		handlestanza = function (_, stanza) parsed[current] = stanza; end;
	});
	parser:feed("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'>");
	for name, xml in pairs(templates) do
		current = name;
		assert(parser:feed((xml:gsub(">%s+<", "><"))));
	end
end

-- What waits for a phone in an hour, ten at a time
local mixed = { "presence"; "composing"; "chat"; "omemo"; "receipt"; "sent"; "muc"; "received"; "displayed"; "pep" };
local unimportant = { "presence"; "composing"; "receipt"; "presence"; "displayed"; "sent"; "pep"; "presence" };
local messages = { "omemo"; "chat" };

local function new_stanza(kinds, i)
	local stanza = st.clone(parsed[kinds[(i - 1) % #kinds + 1]]);
	if stanza.name == "message" then
		stanza:tag("stanza-id", { xmlns = "urn:xmpp:sid:0"; by = ""; id = "" }):up();
		stanza = st.clone(stanza);
	end
	return stanza;
end

-- Makes it another stanza, for this user. Upstream's module marks stanzas that it has pushed.
local function renew(stanza, username, without_archive_id)
	local bare = username .. "@" .. host;
	stanza._push_notify = nil;
	stanza._push_id = nil;
	stanza.attr.to = bare;
	stanza.attr.id = new_id();
	if stanza.tags[1].attr.xmlns == "urn:xmpp:carbons:2" then stanza.attr.from = bare; end
	local stanza_id = stanza.tags[#stanza.tags];
	if stanza_id.name == "stanza-id" then
		stanza_id.attr.by = without_archive_id and "other.test" or bare;
		stanza_id.attr.id = new_id();
	end
	return stanza;
end

-- Users and sessions

local pool_size = 1000; -- more than a processor's cache holds, as on a real server
local users = {}; -- devices, or "push2" -> names

local function identifier(node)
	return push_host .. "<" .. node;
end

local function push_node(username, device)
	return username .. "/" .. device .. "/" .. base64ish(40);
end

local store = module:open_store("cloud_notify");
local options_form = parsed.enable.tags[1].tags[1];

local function new_record(username, device)
	return {
		jid = push_host;
		node = push_node(username, device);
		options = st.preserialize(st.clone(options_form));
		timestamp = os_time() - 1000 + device;
		resource = "phone" .. device;
	};
end

-- What a device of Push 2.0 has asked for, with the key of RFC 8291's example. Each has a push service of its own,
-- and so a token.
local push2_store = module:open_store("push2_registrations");

local function new_push2_record(username, send)
	return {
		service = push_host;
		client = push_node(username, 1);
		timestamp = os_time() - 1000;
		resource = "phone1";
		matches = { {
			match = "urn:xmpp:push2:match:important";
			send = send;
			ua_public = "BCVxsr7N/eNgVRqvHtD0zTZsEc6+VV+JvLexhqUzORcxaOzi6+AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4=";
			auth_secret = "BTBZMqHH6r4Tts7J/aSIgg==";
			jwt_alg = "ES256";
			jwt_key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgw/G4LPpf8JPsY6uU3E2sQpjRNvzCOdnwG9PHhQ8GiMGh"
				.. "RANCAASzr87EvAs0+EEcyUTAZ+7/4c/WUn1WMN09G+2AWYOB/i9j44XJbQRgb/cKshTNIQ8bnc7lNcO75leGZCWC/ot7";
			jwt_claims = { aud = ("https://%s.push.test"):format(username) };
		} };
	};
end

local function create_user(devices)
	local username = ("user%s-%d"):format(devices, #users[devices] + 1);
	table.insert(users[devices], username);
	-- Who is nobody has no registrations
	assert(usermanager.create_user(username, "secret", host));
	if devices == "push2" or devices == 0 then return; end
	local records = {};
	for device = 1, devices do
		local record = new_record(username, device);
		records[identifier(record.node)] = record;
	end
	assert(store:set(username, records));
end

-- Creates some of them, for the driver waits ten seconds only. Returns whether there may be more to come.
function bench.create_users()
	for _, devices in ipairs({ 0; 1; 5; "push2" }) do
		users[devices] = users[devices] or {};
		if #users[devices] < pool_size then
			for _ = 1, 100 do create_user(devices); end
			return true;
		end
	end
	return false;
end

-- Registrations that ask for extensions, until the next scenario
local extended = {}; -- username -> true

local function extend(username, fields)
	local records = assert(store:get(username));
	for _, record in pairs(records) do
		for name, value in pairs(fields) do record[name] = value; end
		extended[username] = fields;
	end
	assert(store:set(username, records));
end

local function reduce_all()
	for username, fields in pairs(extended) do
		local records = assert(store:get(username));
		for _, record in pairs(records) do
			for name in pairs(fields) do record[name] = nil; end
		end
		assert(store:set(username, records));
	end
	extended = {};
end

local function swallow()
	return true;
end

local remote = { type = "s2sin"; host = host; from_host = "away.test"; to_host = host; send = swallow;
	log = logger.init("s2sin-bench") };

local sessions = {};

local function log_in(username, resource)
	local full_jid = username .. "@" .. host .. "/" .. resource;
	local session = {
		type = "c2s"; id = "c2s" .. full_jid; username = username; host = host; resource = resource;
		full_jid = full_jid; log = logger.init("c2sbench"); send = swallow; presence = st.presence();
		priority = 0; smacks = "urn:xmpp:sm:3"; secure = true; ip = "192.0.2.1"; conntime = os_time();
	};
	local user = host_sessions[username] or { sessions = {}; top_resources = {} };
	host_sessions[username] = user;
	prosody.bare_sessions[username .. "@" .. host] = user;
	user.sessions[resource] = session;
	prosody.full_sessions[full_jid] = session;
	sessions[#sessions+1] = session;
	return session;
end

local function attach(session, device)
	local record = new_record(session.username, device);
	session.push_identifier = identifier(record.node);
	session.push_settings = record;
	return session;
end

-- The session of a device that has registered anew, by Push 2.0
local function attach_push2(session, send)
	local record = new_push2_record(session.username, send);
	assert(push2_store:set(session.username, { [record.resource] = record }));
	record.protocol, record.jid, record.node = "push2", record.service, record.client;
	session.push2_identifier = "push2 " .. record.resource;
	session.push2_settings = record;
	return session;
end

local function log_out(session)
	prosody.bare_sessions[session.username .. "@" .. host] = nil;
	prosody.full_sessions[session.full_jid] = nil;
	host_sessions[session.username] = nil;
end

local function log_out_all()
	for _, session in ipairs(sessions) do
		if session.hibernating_watchdog then session.hibernating_watchdog:cancel(); end
		log_out(session);
	end
	sessions = {};
end

local function hibernate(session, timeout)
	session.hibernating = os_time();
	session.hibernating_watchdog = new_watchdog(timeout or 600, swallow);
end

-- As mod_smacks does it when a session is resumed
local function resume(session)
	if session.hibernating_watchdog then session.hibernating_watchdog:cancel(); end
	session.hibernating_watchdog = nil;
	session.hibernating = nil;
	fire_event("smacks-hibernation-end", { origin = session; resumed = session; queue = {} });
end

-- The user's phone shows up for a moment: nothing is owed to it any more
local function come_back(username)
	local phone = attach({ username = username }, 1);
	fire_event("smacks-hibernation-end", { origin = phone; resumed = phone; queue = {} });
end

-- The module under test

local contender; -- "ours", "upstream" or "none"

local function sink()
	return modulemanager.get_module(push_host, "bench_sink").module.sink;
end

-- The cost of a push is to be seen, not that of a push service that is left alone
local measured_options = {
	push_answer_timeout = 120;
	push_max_errors = 1000000;
	push_max_failures = 0;
	push_max_in_flight = 60000;
	push_cache_age = 1e6;
	push_max_per_minute = 1e6; -- It is counted, but not reached
	push_retry_min = 3600;
	push_retry_max = 3600;
};

local beside; -- A module of the community that upstream's needs for the scenario

local function start_module(options)
	for name, value in pairs(options) do config.set(host, name, value); end
	if contender ~= "none" then assert(modulemanager.load(host, "cloud_notify")); end
	if contender == "upstream" and beside then assert(modulemanager.load(host, beside)); end
end

local function stop_module()
	for _, name in ipairs({ beside or "cloud_notify", "cloud_notify", "pep" }) do
		if modulemanager.is_loaded(host, name) then assert(modulemanager.unload(host, name)); end
	end
end

-- What happens to the message after all modules have had their look is not the matter here
module:hook("message/offline/handle", swallow, 0.5);

-- Scenarios. Each has setup(), called once; prepare(i), called for each event of a batch
-- before the clock runs (events are one table, used again, for the harness should make no
-- garbage); fire(i), what is measured; and perhaps:
--   events: in a batch; finish(i): afterwards, not measured; settle: seconds in which timers
--   run, which count; answer: what the push service says, which counts as well.

local scenarios = {};
local answers_at_once = 100; -- pushes that are answered together, where that is not the scenario's

local pool, archive_ids, queues; -- stanzas, ids, and queues of stanzas, used again and again

local current; -- the scenario

local function setup_pool(kinds)
	return function ()
		for i = 1, current and current.events or answers_at_once do pool[i] = new_stanza(kinds, i); end
	end
end

local function archive_scenario(name, kinds, devices, setup, settings)
	local scenario = { events = pool_size };
	function scenario.setup()
		setup_pool(kinds)();
		for i = 1, current.events do setup(users[devices][i]); end
	end
	function scenario.prepare(i)
		renew(pool[i], users[devices][i], true);
		archive_ids[i] = new_id();
	end
	local event = { origin = remote };
	function scenario.fire(i)
		event.stanza, event.for_user, event.id = pool[i], users[devices][i], archive_ids[i];
		fire_event("archive-message-added", event);
	end
	for key, value in pairs(settings or {}) do scenario[key] = value; end
	scenarios[name] = scenario;
	return scenario;
end

-- Cheap ones are repeated with the same stanza, or the clock would see the harness
local function repeated(scenario, times)
	local fire = scenario.fire;
	scenario.times = times;
	function scenario.fire(i)
		for _ = 1, times do fire(i); end
	end
end

repeated(archive_scenario("archive_unregistered", messages, 0, function (username)
	log_in(username, "desk");
end), 10);

repeated(archive_scenario("archive_live", messages, 1, function (username)
	attach(log_in(username, "phone"), 1);
end), 10);

archive_scenario("archive_away", messages, 1, function (username)
	log_in(username, "desk");
end);

archive_scenario("archive_urgent", { "call" }, 1, function (username)
	attach(log_in(username, "phone"), 1);
end);

local own = archive_scenario("archive_own", messages, 1, function () end);
function own.prepare(i)
	renew(pool[i], users[0][i], true);
	pool[i].attr.from = users[1][i] .. "@" .. host .. "/phone";
	archive_ids[i] = new_id();
end
repeated(own, 20);

local function offline_scenario(name, devices, settings)
	local scenario = { events = devices == 5 and 300 or pool_size; setup = setup_pool(messages) };
	function scenario.prepare(i)
		renew(pool[i], users[devices][i]);
	end
	local event = { origin = remote };
	function scenario.fire(i)
		event.stanza, event.username = pool[i], users[devices][i];
		fire_event("message/offline/handle", event);
	end
	for key, value in pairs(settings or {}) do scenario[key] = value; end
	scenarios[name] = scenario;
	return scenario;
end

repeated(offline_scenario("offline_0", 0), 10);
offline_scenario("offline_1", 1);
offline_scenario("offline_5", 5);
offline_scenario("push_result", 1, { answer = "result" });
offline_scenario("push_error", 1, { answer = "error" });
offline_scenario("push_unanswered", 1, {
	settle = 1.2;
	options = { push_answer_timeout = 1 };
	finish = function (i) come_back(users[1][i]); end;
});

-- Extensions. A device that has asked for them is away, and its user's desk is there

local romeo = "romeo@away.test";

local function extension_scenario(name, kinds, settings)
	return archive_scenario(name, kinds, 1, function (username)
		log_in(username, "desk");
		extend(username, settings.fields);
	end, settings);
end

local muted_jids = { [romeo] = true };
for i = 1, 20 do muted_jids[("nurse%d@away.test"):format(i)] = true; end

extension_scenario("extension_encrypted", { "chat" }, {
	beside = "cloud_notify_encrypted";
	fields = { encryption = { algorithm = "aes-128-gcm"; key_base64 = "AAECAwQFBgcICQoLDA0ODw==" } };
});
extension_scenario("extension_muted", { "chat" }, {
	beside = "cloud_notify_filters";
	fields = { muted_jids = muted_jids };
});
extension_scenario("extension_priority", { "chat" }, {
	beside = "cloud_notify_priority_tag";
	fields = { priority = true };
});
extension_scenario("extension_call", { "call" }, { fields = { jingle = true } });

-- Rooms send to those who are not there, too
local mentioned = extension_scenario("extension_mentioned", { "mention" }, {
	beside = "cloud_notify_filters";
	fields = { groupchat_rules = { ["orchard@rooms.test"] = { when = "mentioned"; nick = "Juliet" } } };
});
local said = { origin = remote };
function mentioned.fire(i)
	said.stanza = pool[i];
	fire_event("message/bare/groupchat", said);
end

-- Something of the chat was pushed; then another device of the user has read it
local reading = extension_scenario("extension_read", { "chat" }, {
	fields = { encryption = { algorithm = "aes-128-gcm"; key_base64 = "AAECAwQFBgcICQoLDA0ODw==" } };
});
local prepare_message, archive, markers = reading.prepare, reading.fire, {};
function reading.prepare(i)
	prepare_message(i);
	archive(i);
	markers[i] = st.message({ type = "chat"; from = sessions[i].full_jid; to = romeo; id = new_id() })
		:tag("displayed", { xmlns = "urn:xmpp:chat-markers:0"; id = pool[i].attr.id }):up();
end
local read = {};
function reading.fire(i)
	read.origin, read.stanza = sessions[i], markers[i];
	fire_event("pre-message/bare", read);
end

-- The user's bookmarks say of the room: on mention
local quiet = extension_scenario("extension_chat_settings", { "muc" }, { fields = {} });
local set_up_quiet = quiet.setup;
function quiet.setup()
	set_up_quiet();
	assert(modulemanager.load(host, "pep"));
	for i = 1, current.events do
		local bookmark = st.stanza("item", { xmlns = "http://jabber.org/protocol/pubsub"; id = "orchard@rooms.test" })
			:tag("conference", { xmlns = "urn:xmpp:bookmarks:1" }):text_tag("nick", "Juliet"):tag("extensions")
				:tag("notify", { xmlns = "urn:xmpp:notification-settings:1" }):tag("on-mention"):reset();
		local service = modulemanager.get_module(host, "pep").get_pep_service(users[1][i]);
		assert(service:publish("urn:xmpp:bookmarks:1", true, "orchard@rooms.test", bookmark,
			{ persist_items = true; access_model = "whitelist" }));
	end
end
quiet.fire = mentioned.fire;

local function hibernated_session(i)
	return attach(log_in(users[1][i], "phone"), 1);
end

local function hibernation_scenario(name, kinds, length, events)
	local scenario = { events = events; settle = 1.2 };
	function scenario.setup()
		for i = 1, current.events do
			hibernated_session(i);
			queues[i] = {};
			for k = 1, length do queues[i][k] = new_stanza(kinds, k); end
		end
	end
	function scenario.prepare(i)
		for k = 1, length do renew(queues[i][k], users[1][i]); end
		hibernate(sessions[i]);
	end
	local event = {};
	function scenario.fire(i)
		event.origin, event.queue = sessions[i], queues[i];
		fire_event("smacks-hibernation-start", event);
	end
	function scenario.finish(i)
		resume(sessions[i]);
	end
	scenarios[name] = scenario;
end

hibernation_scenario("hibernate_1", { "chat" }, 1, 500);
hibernation_scenario("hibernate_50", mixed, 50, 40);
hibernation_scenario("hibernate_500_mixed", mixed, 500, 8);
hibernation_scenario("hibernate_500_messages", { "chat", "omemo", "muc", "received" }, 500, 8);
hibernation_scenario("hibernate_500_unimportant", unimportant, 500, 8);

local function queued_scenario(name, length, events, new_session)
	local scenario = { events = events; settle = 1.2 };
	function scenario.setup()
		for i = 1, current.events do
			(new_session or hibernated_session)(i);
			queues[i] = {};
			for k = 1, length do queues[i][k] = new_stanza(mixed, k + 2); end
		end
	end
	function scenario.prepare(i)
		for k = 1, length do renew(queues[i][k], sessions[i].username); end
		hibernate(sessions[i]);
		fire_event("smacks-hibernation-start", { origin = sessions[i]; queue = {} });
	end
	local event = {};
	function scenario.fire(i)
		local queue = queues[i];
		event.origin, event.queue = sessions[i], queue;
		for k = 1, length do
			event.stanza = queue[k];
			fire_event("smacks-hibernation-stanza-queued", event);
		end
	end
	function scenario.finish(i)
		resume(sessions[i]);
	end
	scenarios[name] = scenario;
end

queued_scenario("queued_1", 1, 500);
queued_scenario("queued_20", 20, 100);

-- Push 2.0. Its device is away, and its user's desk is there; or it hibernates

for name, send in pairs({
	notify = "urn:xmpp:push2:send:notify-only:0";
	encrypted = "urn:xmpp:push2:send:sce+rfc8291+rfc8292:0";
}) do
	archive_scenario("push2_archive_" .. name, messages, "push2", function (username)
		attach_push2({ username = username }, send);
		log_in(username, "desk");
	end);
	queued_scenario("push2_queued_" .. name, 1, 500, function (i)
		attach_push2(log_in(users.push2[i], "phone1"), send);
	end);
end

local function setup_requests(request)
	return function ()
		for i = 1, current.events do
			log_in(users[1][i], "phone");
			pool[i] = st.clone(parsed[request]);
		end
	end
end

-- Wants a registration that is not in the store yet, as does a new client
local function request(i, stanza)
	stanza.attr.from = sessions[i].full_jid;
	stanza.attr.id = new_id();
	stanza.tags[1].attr.node = push_node(users[1][i], 2);
	return stanza;
end

local function fire_request(i, name, stanza)
	return fire_event("iq-set/self/urn:xmpp:push:0:" .. name, { origin = sessions[i]; stanza = stanza });
end

scenarios.enable = {
	events = 200;
	setup = setup_requests("enable");
	prepare = function (i) request(i, pool[i]); end;
	fire = function (i) fire_request(i, "enable", pool[i]); end;
	finish = function (i) fire_request(i, "disable", request(i, st.clone(parsed.disable))); end;
};

scenarios.disable = {
	events = 200;
	setup = setup_requests("disable");
	prepare = function (i)
		request(i, pool[i]);
		fire_request(i, "enable", request(i, st.clone(parsed.enable)));
	end;
	fire = function (i) fire_request(i, "disable", pool[i]); end;
};

-- What it costs to route a publish that is there already: part of each push, of any module
scenarios.routing = {
	events = pool_size;
	setup = function () end;
	prepare = function (i)
		local node = push_node(users[1][i], 1);
		pool[i] = st.iq({ type = "set"; from = host; to = push_host; id = new_id() })
			:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub" }):tag("publish", { node = node }):reset();
	end;
	fire = function (i) module:send(pool[i]); end;
};

-- Running them

local batch; -- { cpu, bytes, pushes, clock }

function bench.init(which)
	contender = which;
end

local owed_store = module:open_store("cloud_notify_owed");

-- With a module that knows nothing yet
local function start_afresh(options)
	log_out_all();
	stop_module();
	reduce_all();
	beside = current and current.beside;
	owed_store:set(nil, nil); -- What was under way is owed
	pool, archive_ids, queues = {}, {}, {};
	sink().kept = {};
	local all = {};
	for key, value in pairs(measured_options) do all[key] = value; end
	for key, value in pairs(options or {}) do all[key] = value; end
	start_module(all);
end

-- Begins a scenario. scale: how many events of the usual number. Returns how long its timers
-- run.
function bench.setup(name, scale)
	current = setmetatable({}, { __index = scenarios[name] });
	current.events = math.max(2, math.ceil(current.events * (scale or 1)));
	start_afresh(current.options);
	sink().keep = current.answer ~= nil;
	current.setup();
	collectgarbage();
	return current.settle or 0;
end

local function make_answers(type)
	local answers = {};
	local service = sink();
	for i, kept in ipairs(service.kept) do
		local attr = { type = type; id = kept.id; from = kept.from; to = kept.to };
		local answer = st.iq(attr);
		if type == "error" then
			answer:tag("error", { type = "cancel" })
				:tag("item-not-found", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" }):reset();
		end
		answers[i] = answer;
	end
	service.kept = {};
	return answers;
end

local function deliver(answers)
	local context = modulemanager.get_module(push_host, "bench_sink").module;
	for i = 1, #answers do context:send(answers[i]); end
end

-- The measured part of a batch as far as it needs no timers.
local function fire_batch()
	local cpu, bytes = 0, 0;
	local function measure(f, arg)
		local bytes_before, clock_before = collectgarbage("count"), clock();
		f(arg);
		cpu = cpu + clock() - clock_before;
		bytes = bytes + (collectgarbage("count") - bytes_before) * 1024;
	end
	measure(function ()
		local fire = current.fire;
		for i = 1, current.events do fire(i); end
	end);
	if current.answer then
		measure(deliver, make_answers(current.answer));
	end
	return cpu, bytes;
end

-- bytes: say how many are allocated instead of how long it takes.
function bench.start(bytes)
	for i = 1, current.events do current.prepare(i); end
	if bytes then
		collectgarbage();
		collectgarbage("stop");
	end
	batch = { of_bytes = bytes; pushes = sink().pushes };
	batch.cpu, batch.bytes = fire_batch();
	batch.clock, batch.count = clock(), collectgarbage("count");
end

function bench.finish()
	local cpu = batch.cpu + clock() - batch.clock;
	local bytes = batch.bytes + (collectgarbage("count") - batch.count) * 1024;
	if batch.of_bytes then collectgarbage("restart"); end
	local finish = current.finish;
	for i = 1, finish and current.events or 0 do finish(i); end
	local n = current.events * (current.times or 1);
	return { us = cpu / n * 1e6; bytes = bytes / n; pushes = (sink().pushes - batch.pushes) / n };
end

function bench.batch(bytes)
	bench.start(bytes);
	return bench.finish();
end


-- What stays behind. The same few devices again and again: what is remembered of a device
-- has a limit, and it is to be reached before the measurement begins.

local growing_users = 8;

function bench.growth_setup(answer, options)
	local all = { push_max_per_minute = 0 };
	for key, value in pairs(options or {}) do all[key] = value; end
	current = nil;
	start_afresh(all);
	sink().keep = answer ~= nil;
	setup_pool(messages)();
end

-- Pushes, and their answers ("result", "error", or nil: none). Returns the CPU time.
function bench.push(count, answer, user_count)
	user_count = user_count or growing_users;
	local cpu = 0;
	local event = { origin = remote };
	for first = 1, count, answers_at_once do
		for i = 1, answer and 0 or user_count do come_back(users[1][i]); end
		local last = math.min(count, first + answers_at_once - 1);
		for i = first, last do
			renew(pool[i - first + 1], users[1][i % user_count + 1]);
		end
		local clock_before = clock();
		for i = first, last do
			event.stanza, event.username = pool[i - first + 1], users[1][i % user_count + 1];
			fire_event("message/offline/handle", event);
		end
		cpu = cpu + clock() - clock_before;
		if answer then
			local answers = make_answers(answer);
			clock_before = clock();
			deliver(answers);
			cpu = cpu + clock() - clock_before;
		end
	end
	return cpu;
end

function bench.resumption_setup()
	-- Nobody answers, and what waits for an answer is not what is to be seen
	start_afresh({ push_answer_timeout = 1 });
	sink().keep = false;
	for i = 1, growing_users do
		hibernated_session(i);
		queues[i] = {};
		for k = 1, 4 do queues[i][k] = new_stanza(mixed, k); end
	end
end

-- Hibernations with stanzas in the queue and one that comes later, and resumptions. On 0.12
-- a cancelled watchdog stays in memory until its time is over, so that has to be short here.
function bench.hibernate_and_resume(count)
	for i = 1, count do
		local place = i % growing_users + 1;
		local session, queue = sessions[place], queues[place];
		for k = 1, 4 do renew(queue[k], session.username); end
		hibernate(session, 1);
		fire_event("smacks-hibernation-start", { origin = session; queue = { queue[1], queue[2], queue[3] } });
		fire_event("smacks-hibernation-stanza-queued", { origin = session; queue = queue; stanza = queue[4] });
		resume(session);
	end
end

-- Registers new users, who log out again.
function bench.register(request_name, first, last)
	for i = first, last do
		local username = ("%s-%d"):format(request_name, i);
		local session = log_in(username, "phone");
		sessions = {};
		local stanza = st.clone(parsed[request_name]);
		stanza.attr.from = session.full_jid;
		stanza.attr.id = new_id();
		stanza.tags[1].attr.node = push_node(username, 1);
		fire_event("iq-set/self/urn:xmpp:push:0:enable", { origin = session; stanza = stanza });
		log_out(session);
	end
end

function bench.register_setup()
	start_afresh();
end

-- Bytes in use by Lua
function bench.heap()
	collectgarbage();
	collectgarbage();
	return collectgarbage("count") * 1024;
end
