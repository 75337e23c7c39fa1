-- XEP-0357: Push Notifications
--
-- The rules (which stanza wakes which device, and when) live in the native library, of which there
-- is one for each Lua. Here Prosody's events are handed over to it, and what it decides is carried out.
--
-- This project is MIT licensed. Please see the LICENSE file for more information.

local version = "@VERSION@"; -- And build: the same in all files of this module
local lua = _VERSION:match("%d.%d");

-- An error that is no string is logged in one line, without a traceback
local function refuse(file, problem)
	error(setmetatable({}, { __tostring = function ()
		return ("cannot use %s/%s with version %s and %s: %s -- restart, or install all files anew " ..
			"(from source: make LUA=%s)"):format(
			module:get_directory(), file, version, _VERSION, tostring(problem):gsub("%s+", " "), lua);
	end }));
end

local function load_native()
	local file = "lua" .. lua .. "/cloud_notify.so";
	local open, problem = package.loadlib(module:get_directory() .. "/" .. file, "luaopen_cloud_notify");
	local ok, native;
	if open then
		ok, native = pcall(open, "cloud_notify");
		if ok and native.lua == _VERSION and native.version == version:match("^%S+") then return native; end
		problem = ok and ("it is version %s for %s"):format(native.version, native.lua) or native;
	end
	refuse(file, problem);
end

local libs = { native = load_native() };

local function load_lib(name)
	local file = name .. ".lib.lua";
	local found, problem = module:load_resource(file);
	if not found then refuse(file, problem); end
	found:close();
	local ok, lib = pcall(module.require, module, name);
	if not ok then refuse(file, lib); end
	local lib_version = type(lib) == "table" and lib.version;
	if lib_version ~= version then refuse(file, ("it is version %s"):format(lib_version or "unknown")); end
	libs[name] = lib;
	return lib;
end

-- Where they find each other: a file has the use of those that are loaded before it. (module:require would
-- load it once more, and it may have state.)
function module.lib(name)
	return libs[name];
end

local guarded = load_lib "util".guarded;
local engine_lib = load_lib "engine";
local options = load_lib "options";
guarded(options.read)();
load_lib "others";
load_lib "protocols";
load_lib "store";
local chat_settings = load_lib "chat_settings";
local timer = load_lib "timer";
local hibernation = load_lib "hibernation";
local sessions = load_lib "sessions";
load_lib "filters";
local history = load_lib "history";
local registrations = load_lib "registrations";
local services = load_lib "services";
local reports = load_lib "reports";
local connections = load_lib "connections";
local self_test = load_lib "self_test";
local calls = load_lib "calls";
local publishing = load_lib "publishing";
local keepalive = load_lib "keepalive";
local reading = load_lib "reading";
local deadlines = load_lib "deadlines";
local stream_management = load_lib "stream_management";
load_lib "meeting";
local archive = load_lib "archive";
local undelivered = load_lib "undelivered";
local offline = load_lib "offline";
local sent = load_lib "sent";
local away = load_lib "away";
local subscriptions = load_lib "subscriptions";
local binding = load_lib "binding";
load_lib "enabling";
local registering = load_lib "registering";
local inline = load_lib "inline";
local push2 = load_lib "push2";
local owed = load_lib "owed";
load_lib "terminal";
load_lib "explain";
local administration = load_lib "administration";
load_lib "shell_arguments";
load_lib "shell_commands";
local shell = load_lib "shell";
local adhoc_commands = load_lib "adhoc_commands";
local metrics = load_lib "metrics";

local configure = guarded(function ()
	timer.arm(engine_lib.engine:configure(options.values));
end);

timer.serve_with(deadlines.serve);
configure();
push2.look();
guarded(owed.restore)();
services.report_failing_to(guarded(self_test.meet_service));
services.watch_all();
connections.meet_hosts();

-- XEP-0357 sections 4 to 6 and 8
if options.values.push_protocols.push then
	module:hook("account-disco-info", registering.on_disco_info);
	module:hook("iq-set/self/urn:xmpp:push:0:enable", registering.on_enable);
	module:hook("iq-set/self/urn:xmpp:push:0:disable", registering.on_disable);
	module:hook("message/bare", guarded(registering.on_farewell), 10);
end
module:hook("resource-bind", guarded(binding.on_resource_bind));
module:hook_global("user-deleted", guarded(registrations.on_user_deleted), 1000); -- mod_c2s ends sessions there

-- Enabling in the bind, which mod_sasl2_bind2 has done by then
module:hook("advertise-bind-features", guarded(inline.on_advertise));
module:hook("enable-bind-features", guarded(inline.on_bind));

-- Rule (a): stream management
module:hook("smacks-ack-delayed", guarded(stream_management.on_ack_delayed));
module:hook("smacks-hibernation-start", guarded(stream_management.on_hibernation_start));
module:hook("smacks-hibernation-stanza-queued", guarded(stream_management.on_hibernation_stanza));
module:hook("smacks-hibernation-end", guarded(stream_management.on_hibernation_end));

-- Rule (b): the archive
module:hook("archive-message-added", archive.on_archived);

-- Rule (c): offline storage, and groupchat messages to the bare JID
module:hook("message/offline/handle", offline.on_offline, math.huge);
module:hook("message/bare/groupchat", offline.on_room_message, 1);

-- What the user's own clients send. mod_mam has archived it by then, or not
module:hook("pre-message/bare", sent.on_sent, -0.75);
module:hook("pre-message/full", sent.on_sent, -0.75);

-- Messages to users who are away: mod_message delivers at -1
module:hook("message/bare", away.on_message, -0.9);
module:hook("message/full", away.on_message, -0.9);
module:hook("pre-presence/bare", away.on_presence);

-- Requests to see the presence of users who are offline
module:hook("presence/bare", subscriptions.on_presence_bare, math.huge);
module:hook("presence/full", subscriptions.on_presence_full, math.huge);

-- What is read, or fetched, by another device of the user
module:hook("pre-message/bare", reading.on_message);
module:hook("pre-message/full", reading.on_message);
module:handle_items("pep-service", reading.on_service, reading.on_service_removed);
module:hook("iq-set/self/urn:xmpp:mam:2:query", reading.on_archive_query, 1);
module:hook("message/offline/broadcast", reading.on_offline_broadcast, 1);

-- Sessions that end
module:hook("delivery/failure", guarded(undelivered.on_undelivered), 1);
module:hook("pre-session-close", guarded(undelivered.on_session_close));
module:hook("pre-resource-bind", guarded(undelivered.before_bind), 1000);
module:hook("resource-bind", guarded(undelivered.after_bind), -1000); -- Other modules attach sessions there
module:hook("resource-unbind", guarded(undelivered.before_unbind), 1000); -- mod_presence forgets presence there

-- When registrations have been attached to a session
for _, event in pairs({ "resource-bind"; "smacks-hibernation-end"; "resource-unbind" }) do
	module:hook(event, guarded(history.on_session), -1);
end

-- Push services
module:hook("iq/host", guarded(reports.on_answer), 10);
module:hook("message/host", guarded(reports.on_message), 10);
module:hook("cloud-notify-ping", guarded(publishing.on_ping));
module:hook("s2sin-established", guarded(connections.on_s2s_established));
module:hook("s2sout-established", guarded(connections.on_s2s_established));
module:hook_global("host-activated", guarded(connections.on_host_activated), -1); -- Its modules are loaded there

-- Settings for chats, which mod_pep has
module:handle_items("pep-service", chat_settings.on_service_added, chat_settings.on_service_removed);
module:hook("module-loaded", chat_settings.on_module_loaded);
module:hook_global("user-deleted", chat_settings.on_user_deleted, 1); -- mod_pep lets go of its nodes there

-- Administrators, and users for themselves
shell.load();
module:hook_global("module-loaded", guarded(shell.on_module_loaded));
for _, command in pairs(adhoc_commands.commands) do module:provides("adhoc", command); end

-- What others do, and push2 if no other does
module:hook("module-loaded", push2.on_modules_changed);
module:hook("module-unloaded", push2.on_modules_changed);

-- What push needs here
module:hook("module-loaded", self_test.schedule);
module:hook("module-unloaded", self_test.schedule);
module:hook_global("module-loaded", self_test.schedule);
module:hook_global("module-unloaded", self_test.schedule);
module:hook_global("config-reloaded", self_test.schedule);
module:hook("route/remote", guarded(self_test.on_unrouted), -1000);

-- Statistics
module:hook_global("stats-update", guarded(metrics.update));

module:hook_global("server-started", keepalive.on_server_started);
module:hook_global("config-reloaded", guarded(options.read), 1);
module:hook_global("config-reloaded", configure);
module:hook_global("server-stopping", publishing.on_server_stopping, 1000); -- Before sessions are ended
module:hook_global("server-stopped", guarded(function ()
	undelivered.meet_all();
	owed.save();
end));

if not module.reloading then binding.attach_all(); end
self_test.schedule();

function module.save()
	return { calls = calls.save(); said = self_test.save(); kept = owed.kept() };
end

function module.restore(saved)
	calls.restore(saved.calls);
	self_test.restore(saved.said);
	owed.restore_kept(saved.kept);
end

function module.unload()
	undelivered.meet_all();
	administration.end_tests();
	shell.unload();
	-- After a reload the next instance goes on with what the engine knows
	if module.reloading then return; end
	owed.save();
	sessions.for_all(hibernation.end_extension);
	metrics.flush();
	engine_lib.close();
end
