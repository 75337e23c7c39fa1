-- Both protocols: what they are called where they differ, and which of them this module serves

local options = module.lib "options".values;
local others = module.lib "others".loaded;

local none = module.lib "util".none;

local pairs, type = pairs, type;

-- XEP-0357. Other modules read and write the fields of sessions
local push = {
	name = "push";
	label = "push0"; -- Of metrics
	store = "cloud_notify";
	prefix = "";
	identifier = "push_identifier";
	settings = "push_settings";
};

-- The store is that of mod_push2, whose keys say who has a registration: a client id, or a resource. No JID begins
-- like an identifier.
local push2 = {
	name = "push2";
	label = "push2";
	store = "push2_registrations";
	prefix = "push2 ";
	identifier = "push2_identifier";
	settings = "push2_settings";
};

push.other, push2.other = push2, push;

local all = { push; push2 };

-- Chosen once, for hooks depend on it
for _, protocol in pairs(all) do protocol.is_chosen = options.push_protocols[protocol.name] == true; end

-- mod_push2 comes and goes: returns whether that has changed anything
local function look()
	local is_served = push2.is_chosen and not others.push2;
	local is_changed = push2.is_served ~= is_served;
	push.is_served, push2.is_served = push.is_chosen, is_served;
	return is_changed;
end

local function protocol_of(identifier)
	return identifier:sub(1, #push2.prefix) == push2.prefix and push2 or push;
end

-- Whether it is one that this version can serve: newer ones may have others, named by records or, as push2 is, before
-- the identifier as a word of its own (the JID of a push service may have a space, too)
local function is_known(identifier, record)
	local name = (record or none).protocol;
	if not record then name = identifier:match("^(%w+) "); end
	return type(name) ~= "string" or name == push2.name;
end

-- Those of the records that are of this protocol
local function only(protocol, records)
	local found = {};
	for identifier, record in pairs(records) do
		if protocol_of(identifier) == protocol then found[identifier] = record; end
	end
	return found;
end

-- Whose registration is whose, with push2
local function push2_id(session)
	local id = session.client_id or session.resource;
	return type(id) == "string" and id or nil;
end

return {
	version = "@VERSION@";
	push = push;
	push2 = push2;
	all = all;
	look = look;
	of = protocol_of;
	is_known = is_known;
	only = only;
	push2_id = push2_id;
};
