-- Requests to see the presence of users who are offline (RFC 6121 section 3.1.3)

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local rostermanager = util.prosody_require "core.rostermanager";
local ask_others, guarded = util.ask_others, util.guarded;
local engine_lib = module.lib "engine";
local engine, engine_subscription = engine_lib.engine, engine_lib.subscription;
local get_records = module.lib "registrations".get;
local meet = module.lib "meeting".meet;

local next, pairs = next, pairs;

local host = module.host;
local get_handlers = prosody.hosts[host].events.get_handlers;

local function pending_requests(user)
	local roster = rostermanager.load_roster(user, host);
	return roster and roster[false].pending;
end

-- The user's records if this request is not pending already. What devices were told of an earlier one is forgotten
-- before anybody meets this one.
local before = guarded(function (user, from)
	local records = get_records(user);
	local pending = records and pending_requests(user);
	if not pending or pending[from] then return; end
	for identifier in pairs(records) do engine:asked_anew(user, identifier, from); end
	return records;
end);

local after = guarded(function (user, from, stanza, records)
	local pending = pending_requests(user);
	if not pending or not pending[from] then return; end -- It was blocked or answered, or could not be stored
	local count = 0;
	for _ in next, pending do count = count + 1; end
	meet(engine_subscription, user, records, stanza, count);
end);

-- The first handler asks those after it: whether a request is pending that was not is known only then
local function handler_of(name)
	local function on_presence(event)
		local stanza = event.stanza;
		if stanza.attr.type ~= "subscribe" then return; end
		local user, from = jid.node(stanza.attr.to), jid.bare(stanza.attr.from);
		local records = user and from and before(user, from);
		if not records then return; end
		local result = ask_others(get_handlers, name, on_presence, event);
		after(user, from, stanza, records);
		return result;
	end
	return on_presence;
end

return {
	version = "@VERSION@";
	on_presence_bare = handler_of("presence/bare");
	on_presence_full = handler_of("presence/full");
};
