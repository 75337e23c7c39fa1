-- What push needs, and does not find here: one line each in the log, and in what `module:info` of the shell shows

local native = module.lib "native";
local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local parse_duration = util.prosody_require "util.human.io".parse_duration; -- COMPAT 0.12 takes numbers only
local options = module.lib "options".values;
local others = module.lib "others".loaded;
local push2 = module.lib "protocols".push2;
local has_never_connected = module.lib "connections".has_never_connected;
local guarded, none = util.guarded, util.none;

local math_huge = math.huge;
local ipairs, next, pairs, tonumber, tostring, type = ipairs, next, pairs, tonumber, tostring, type;
local table_concat = table.concat;

local hosts = prosody.hosts;
local host = module.host;

local version = "@VERSION@";

local wanted_modules = { "smacks"; "mam"; "carbons"; "csi"; "offline" };
local enable_events = { "iq-set/self/urn:xmpp:push:0:enable"; "iq/self/urn:xmpp:push:0:enable" };
local xmlns_push2 = "urn:xmpp:push2:0";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local time_to_connect = 60; -- What a component has after the start of the server

local met = {}; -- Domain of a push service -> true, until it is looked at
local foreign_service; -- One on another server, of those that registrations are at
local absent_components = {}; -- Domain -> true; or false, while it has time to connect

local said = {}; -- line -> true
local is_due = false;

local function is_loaded(name)
	return hosts[host].modules[name] ~= nil;
end

local function handles(name, event)
	local handlers = hosts[host].modules[name].module.event_handlers:get(hosts[host].events, event);
	return handlers and next(handlers) ~= nil;
end

local function can_reach_others()
	return is_loaded("s2s") and handles("s2s", "route/remote");
end

-- As core.storagemanager chooses it
local function storage_of(store)
	local storage = module:get_option("storage");
	if type(storage) == "table" then storage = storage[store]; end
	return tostring(storage or module:get_option("default_storage") or "internal");
end

-- Without its driver, Prosody takes one that keeps nothing
local function has_driver(storage)
	for _, provider in pairs(module:get_host_items("storage-provider")) do
		if provider.name == storage then return true; end
	end
	return false;
end

-- As mod_smacks reads it
local function hibernation_time()
	local value = module:get_option("smacks_hibernation_time", 600);
	local seconds = tonumber(value);
	if not parse_duration then return seconds or 600; end
	if value == "never" or value == false or seconds and seconds < 0 then return math_huge; end
	return seconds or type(value) == "string" and parse_duration(value) or 600;
end

local function describe_host()
	local found, missing = {}, {};
	for _, name in pairs(wanted_modules) do
		local list = is_loaded(name) and found or missing;
		list[#list+1] = "mod_" .. name;
	end
	return ("Version %s with Prosody %s and %s; found: %s; not loaded: %s; registrations in storage '%s'"):format(
		version, tostring(prosody.version), _VERSION, found[1] and table_concat(found, ", ") or "nothing",
		missing[1] and table_concat(missing, ", ") or "none", storage_of("cloud_notify"));
end

-- push2.lib.lua says what is to be said of mod_push2
local function describe_others()
	local names = {};
	for _, name in ipairs(native.community) do
		if others[name] and name ~= "push2" then names[#names+1] = "mod_" .. name; end
	end
	return names[1] and ("Extensions are left to %s, which do the same -- these are no longer needed: remove them from "
		.. "modules_enabled, and \"cloud_notify_extensions\", which loads them"):format(table_concat(names, ", "));
end

local function find_problems()
	local problems = {};
	local function problem(text, ...)
		problems[#problems+1] = text:format(...);
	end
	if not is_loaded("smacks") then
		problem("mod_smacks is not loaded: what is sent into a connection that has died unnoticed is lost, without a push -- "
			.. "add \"smacks\" to modules_enabled");
	elseif hibernation_time() > options.push_max_hibernation_timeout then
		problem("smacks_hibernation_time (%s) is longer than push_max_hibernation_timeout (%s): sessions end earlier with "
			.. "push than without -- raise the latter, or lower the former",
			tostring(hibernation_time()), tostring(options.push_max_hibernation_timeout));
	end
	if not is_loaded("mam") then
		problem("mod_mam is not loaded: a device without a session is woken only for what is stored offline, and cannot "
			.. "fetch what others have got%s -- add \"mam\" to modules_enabled",
			push2.is_served and "; clients of Push 2.0 that want what is archived alone get no push at all" or "");
	end
	local storage = storage_of("cloud_notify");
	if storage == "memory" then
		problem("Storage 'memory' forgets registrations when the server stops: devices stay silent until their apps register "
			.. "again -- choose another in the option 'storage'");
	elseif storage == "none" or not has_driver(storage) then
		problem("Storage '%s' keeps nothing: no app can register -- choose another in the option 'storage', and restart",
			storage);
	end
	for name in pairs(hosts[host].modules) do
		for _, event in pairs(name ~= module.name and enable_events or none) do
			if handles(name, event) then
				problem("mod_%s takes registrations (urn:xmpp:push:0), too: devices are woken twice, or not at all -- "
					.. "remove one of the two from modules_enabled, and restart", name);
			end
		end
	end
	if foreign_service and not can_reach_others() then
		problem("Push service %s is on another server, and this host has no connections to others: pushes to it fail -- "
			.. "remove \"s2s\" from modules_disabled, and restart", foreign_service);
	end
	for name, is_absent in pairs(absent_components) do
		if is_absent and has_never_connected(name) then
			problem("Push service %s is a component of this server that has never connected: pushes to it wait -- start it, "
				.. "and compare its port and secret with the configuration", name);
		end
	end
	return problems;
end

local schedule;

local function say(level, line)
	if not said[line] then module:log(level, "%s", line); end
	return line;
end

-- While the server starts, its other hosts may not be there yet when a push service is met
local function look_at_services()
	for name in pairs(met) do
		if not hosts[name] then
			foreign_service = name;
		elseif has_never_connected(name) and absent_components[name] == nil then
			absent_components[name] = false;
			module:add_timer(time_to_connect, function ()
				absent_components[name] = true;
				schedule();
			end);
		end
	end
	met = {};
end

-- Each line once, until it is true no more
local run = guarded(function ()
	is_due = false;
	look_at_services();
	local saying = {};
	local found, problems = describe_host(), find_problems();
	saying[say("info", found)] = true;
	local left = describe_others();
	if left then saying[say("info", left)] = true; end
	for _, line in pairs(problems) do saying[say("warn", line)] = true; end
	said = saying;
	module:set_status(problems[1] and "warn" or "info", problems[1] and table_concat(problems, "; ") or found);
end);

-- A reload of the module is no news
local function save()
	return said;
end

local function restore(saved)
	said = saved or said;
end

-- Modules of a host are loaded in any order, and what the configuration has changed is read by others, too:
-- the test is once that is done
function schedule()
	if is_due then return; end
	is_due = true;
	module:add_timer(0, run);
end

-- Of a registration, at the moment when it is made or used: what is in the store is not gone through
local function meet_service(service)
	local name = jid.host(service);
	if not name then return; end -- Others write to the store
	if hosts[name] and has_never_connected(name) or not hosts[name] and not foreign_service then
		met[name] = true;
		schedule();
	end
end

-- A stanza that nobody has taken to another server
local function on_unrouted(event)
	local stanza = event.stanza;
	if stanza.attr.from == host and (stanza:get_child("pubsub", xmlns_pubsub)
		or stanza:get_child("notification", xmlns_push2)) then meet_service(stanza.attr.to); end
end

return {
	version = version;
	schedule = schedule;
	save = save;
	restore = restore;
	meet_service = meet_service;
	on_unrouted = on_unrouted;
};
