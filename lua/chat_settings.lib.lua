-- What users want of their chats (XEP-0492): it is in their bookmarks (XEP-0402), which mod_pep has

local util = module.lib "util";
local cache = util.prosody_require "util.cache";
local jid = util.prosody_require "util.jid";
local guarded, none = util.guarded, util.none;
local engine = module.lib "engine".engine;
local store = module.lib "store";

local ipairs, pcall, tostring, type = ipairs, pcall, tostring, type;

local host = module.host;
local hosts = prosody.hosts;

local bookmarks = "urn:xmpp:bookmarks:1";

local nodes = store.open("pep"); -- Where mod_pep keeps which nodes there are
local services = {}; -- user -> what mod_pep has in memory of the user's nodes
local deleted = cache.new(1000); -- user -> whether mod_pep may have some of before the user was deleted

local failing; -- The user whose bookmarks could not be read
local said_too_many = false;

-- One line until they can be read again for that user
local function log_reading(user, err)
	if not err and failing ~= user then return; end
	if err then
		module:log(failing and "debug" or "error", "Bookmarks of %s cannot be read: %s -- pushes go on as if there were "
			.. "no notification settings in them; check the storage of this host", user, err);
	else
		module:log("info", "Bookmarks of %s can be read again", user);
	end
	failing = err and (failing or user) or nil;
end

local on_change = guarded(function (event)
	if event.node == bookmarks then engine:forget_chat_settings((jid.node(event.service.config.jid))); end
end);

local changes = { "item-published/" .. bookmarks; "item-retracted"; "node-purged"; "node-deleted" };

local function watch(user, service)
	services[user] = service;
	for _, change in ipairs(changes) do module:hook_object_event(service.events, change, on_change); end
end

local function on_service_added(event)
	watch(jid.node(event.item.jid), event.item.service);
end

local function on_service_removed(event)
	local item = event.item;
	services[jid.node(item.jid)] = nil;
	for _, change in ipairs(changes) do module:unhook_object_event(item.service.events, change, on_change); end
end

-- Whoever has no bookmarks shall not take the place of others in the cache of mod_pep
local function find_service(user)
	local pep = hosts[host].modules.pep;
	if pep and deleted:get(user) then -- COMPAT mod_pep does not announce it if there is one of that name again
		deleted:set(user, nil);
		watch(user, pep.get_pep_service(user));
	end
	if not pep or services[user] then return services[user]; end
	local known, err = nodes:get(user);
	if err then error(err, 0); end
	return type(known) == "table" and known[bookmarks] and pep.get_pep_service(user);
end

local function read_items(user)
	local service = find_service(user);
	if not service then return none; end
	local ok, ids = service:get_items(bookmarks, true);
	if not ok then return none; end -- There is no such node, or it keeps nothing
	local items = {};
	for i, id in ipairs(ids) do items[i] = ids[id]; end
	return items;
end

local function load(user)
	local ok, items = pcall(read_items, user);
	log_reading(user, not ok and tostring(items):gsub("^.-%.lua:%d+: ", "") or nil);
	if not ok then return; end
	local left_out = engine:learn_chat_settings(user, items);
	if left_out == 0 then return; end
	module:log(said_too_many and "debug" or "warn", "%s has too many bookmarks: notification settings in the oldest %d "
		.. "are ignored", user, left_out);
	said_too_many = true;
end

-- Until then there was nothing to be read
local function on_module_loaded(event)
	if event.module == "pep" then engine:forget_chat_settings(); end
end

local function on_user_deleted(event)
	if event.host ~= host then return; end
	local user = event.username;
	engine:forget_chat_settings(user);
	if services[user] then deleted:set(user, true); end
end

return {
	version = "@VERSION@";
	load = load;
	on_service_added = guarded(on_service_added);
	on_service_removed = guarded(on_service_removed);
	on_module_loaded = guarded(on_module_loaded);
	on_user_deleted = guarded(on_user_deleted);
};
