-- Requests of push2 (urn:xmpp:push2:0): discovery, enabling, disabling. A client has one registration.

local native = module.lib "native";
local guarded = module.lib "util".guarded;
local protocols = module.lib "protocols";
local push2, push2_id = protocols.push2, protocols.push2_id;
local known_push2 = module.lib "store".known_push2;
local others = module.lib "others";
local enabling = module.lib "enabling";
local guarded_request, refuse, is_too_soon = enabling.guarded_request, enabling.refuse, enabling.is_too_soon;
local attach_anew = module.lib "binding".attach_anew;

local ipairs, pairs = ipairs, pairs;

local on_enable = guarded_request(function (event)
	local origin = event.origin;
	local asked, error_type, condition, text = native.enable2(event.stanza.tags[1], origin.full_jid);
	if not asked then return refuse(event, error_type, condition, text); end
	if is_too_soon(event) then return true; end
	local id = push2_id(origin);
	return enabling.enable(event, push2, push2.prefix .. id, known_push2(id, {
		service = asked.service;
		client = asked.client;
		matches = asked.matches;
		client_id = origin.client_id;
		resource = not origin.client_id and origin.resource or nil;
	}));
end);

local on_disable = guarded_request(function (event)
	local identifier = push2.prefix .. push2_id(event.origin);
	return is_too_soon(event) or enabling.disable(event, function (records)
		return { records[identifier] and identifier };
	end);
end);

local function on_disco_info(event)
	local reply = event.reply or event.stanza;
	for _, feature in ipairs(native.features2()) do reply:tag("feature", { var = feature }):up(); end
end

local handlers = {
	["account-disco-info"] = on_disco_info;
	["iq-set/self/urn:xmpp:push2:0:enable"] = on_enable;
	["iq-set/self/urn:xmpp:push2:0:disable"] = on_disable;
};

-- What mod_push2 does is left to it: there are no handlers then. Returns whether that has changed.
local function look()
	others.look();
	local is_changed = protocols.look();
	if not is_changed then return false; end
	local hook = push2.is_served and module.hook or module.unhook;
	for event, handler in pairs(handlers) do hook(module, event, handler); end
	if push2.is_chosen and not push2.is_served then
		module:log("info", "urn:xmpp:push2:0 is left to mod_push2, which is no longer needed: without it, its registrations "
			.. "are taken over -- remove it from modules_enabled");
	end
	return true;
end

local function on_modules_changed()
	if look() then attach_anew(); end
end

return {
	version = "@VERSION@";
	look = guarded(look);
	on_modules_changed = guarded(on_modules_changed);
};
