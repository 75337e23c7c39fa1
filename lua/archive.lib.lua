-- Rule (b): the archive

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local guarded = util.guarded;
local engine_archived = module.lib "engine".archived;
local calls = module.lib "calls";
local called, is_called = calls.called, calls.is_called;
local get_records = module.lib "registrations".get;
local meet = module.lib "meeting".meet;

local host = module.host;

local max_cached_addresses = 10000;
local max_cached_address = 256; -- Longer ones are split each time

-- Address -> the user of this host whose it is, or false
local recipients, recipients_left = {}, max_cached_addresses;

local function is_recipient(user, address)
	if not address then return true; end -- One's own
	local recipient = recipients[address];
	if recipient == nil then
		local node, address_host = jid.split(address);
		recipient = address_host == host and node or false;
		if #address > max_cached_address then return recipient == user; end
		if recipients_left == 0 then recipients, recipients_left = {}, max_cached_addresses; end
		recipients[address], recipients_left = recipient, recipients_left - 1;
	end
	return recipient == user;
end

local meet_archived = guarded(function (event)
	local user, stanza = event.for_user, event.stanza;
	if not user or not is_recipient(user, stanza.attr.to) and not is_called(user) then return; end
	local records = get_records(user);
	if not records then return; end
	meet(engine_archived, user, records, stanza, event.id, event.id);
end);

-- Most events are about one's own copy of what goes to somebody else: a look at the address takes
-- less time than anything else.
local function on_archived(event)
	local stanza = event.stanza;
	local attr = stanza and stanza.attr;
	local recipient = attr and recipients[attr.to];
	if recipient == nil or recipient == event.for_user or called[event.for_user] then meet_archived(event); end
end

return {
	version = "@VERSION@";
	on_archived = on_archived;
};
