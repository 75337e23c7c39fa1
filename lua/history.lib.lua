-- What has happened to registrations, by whom and why. It outlives them, and no node is in it: nodes are tokens.

local native = module.lib "native";
local util = module.lib "util";
local sha256 = util.prosody_require "util.hashes".sha256;
local copy, none = util.copy, util.none;
local get_registration = module.lib "sessions".get_registration;
local protocols = module.lib "protocols";
local store = module.lib "store";
local is_account = store.is_account;

local math_floor, math_max, math_min = math.floor, math.max, math.min;
local os_time = os.time;
local ipairs, next, pairs, pcall = ipairs, next, pairs, pcall;
local tonumber, tostring, type = tonumber, tostring, type;

local max_entries = 50; -- of a user; then the oldest go
local max_names = 100; -- whose last session is known, of a user
local min_token = 8; -- bytes of a node; what is shorter is none
local max_text = 256; -- bytes of a field
local max_seen = 10000; -- registrations that are known to have been seen today
local day = 24*3600;

local history_store = store.open("cloud_notify_history");

local failing; -- The user whom the store has failed for

-- One line until it works again for that user
local function log_store(doing, user, err)
	if not err and failing ~= user then return; end
	if err then
		module:log(failing and "debug" or "error", "What happens to push registrations of %s cannot be %s: %s -- "
			.. "pushes go on, but their history has gaps; check the storage of this host", user, doing, tostring(err));
	else
		module:log("info", "What happens to push registrations can be written again");
	end
	failing = err and (failing or user) or nil;
end

-- Where its push service has the device: a token. That of push2 is in the record alone
local function node_of(identifier, record)
	if protocols.of(identifier) == protocols.push then return identifier:match("<(.*)$") or ""; end
	return record and type(record.node) == "string" and record.node or "";
end

-- The name of a registration wherever somebody may read it: the beginning of its node, too short to be of use, or its
-- protocol, where that is push2; and a hash that tells it from others. Never longer than 13 characters.
local function name_of(identifier)
	if protocols.of(identifier) == protocols.push2 then return "push2-" .. sha256(identifier, true):sub(1, 7); end
	local node = node_of(identifier);
	local beginning = node:sub(1, math_min(4, math_floor(#node / 4))):gsub("[^%w]", "");
	return (beginning ~= "" and beginning .. "-" or "") .. sha256(identifier, true):sub(1, 8);
end

-- What a push service says may have the node in it, or its beginning where that was cut
local function without_node(value, identifier, record)
	local node = node_of(identifier, record);
	if not value or #node < min_token then return value; end
	local name = name_of(identifier);
	value = value:gsub(node:gsub("%p", "%%%0"), name);
	for length = math_min(#node - 1, #value), min_token, -1 do
		if value:sub(-length) == node:sub(1, length) then return value:sub(1, -length - 1) .. name; end
	end
	return value;
end

local function shorten(value)
	if not native.is_xml_text(value) then return; end
	if #value <= max_text then return value; end
	return (value:sub(1, max_text):gsub("[\192-\255][\128-\191]*$", ""));
end

-- An event is a line in the store: tables take storages several times as long
local fields = { "what"; "by"; "name"; "jid"; "client"; "why" };
local max_line = #fields * (max_text + 1) + 20;

local function to_line(entry)
	local line = { ("%d"):format(entry.at) };
	for i, field in ipairs(fields) do line[i + 1] = (entry[field] or ""):gsub("%c", " "); end
	return table.concat(line, "\t");
end

-- Others write to the store, too
local function read_line(line)
	local entry, i = {}, 0;
	for value in (line .. "\t"):gmatch("([^\t]*)\t") do
		if i == 0 then
			entry.at = tonumber(value);
		elseif fields[i] and value ~= "" then
			entry[fields[i]] = shorten(value);
		end
		i = i + 1;
	end
	if entry.at and entry.at == math_floor(entry.at) and entry.what and entry.name and entry.by then return entry; end
end

-- What the store has of a user. What only a newer version could read stays in it.
local function read_data(user)
	local ok, stored, err = pcall(history_store.get, history_store, user);
	if not ok then err = stored or "unknown error"; end
	if err then
		log_store("read", user, err);
		return nil, tostring(err);
	end
	local data, entries, last_seen = copy(type(stored) == "table" and stored or none), {}, {};
	local lines = type(data.entries) == "table" and data.entries or none;
	for i = math_max(1, #lines - max_entries + 1), #lines do
		local line = lines[i];
		if type(line) == "table" or type(line) == "string" and #line <= max_line then entries[#entries + 1] = line; end
	end
	for name, at in pairs(type(data.last_seen) == "table" and data.last_seen or none) do
		if type(name) == "string" and #name <= max_text then last_seen[name] = at; end
	end
	data.entries, data.last_seen = entries, last_seen;
	return data;
end

local function seen_at(last_seen, name)
	local at = last_seen[name];
	return type(at) == "number" and at or 0;
end

-- What has happened, the oldest first, and when registrations were last attached to a session, by their names
local function read(user)
	local data, problem = read_data(user);
	if not data then return nil, problem; end
	local entries, last_seen = {}, {};
	for _, line in ipairs(data.entries) do entries[#entries + 1] = type(line) == "string" and read_line(line) or nil; end
	for name, at in pairs(data.last_seen) do last_seen[name] = type(at) == "number" and at or nil; end
	return entries, last_seen;
end

local function drop_oldest(last_seen)
	local count, oldest = 0, nil;
	for name in pairs(last_seen) do
		count = count + 1;
		if not oldest or seen_at(last_seen, name) < seen_at(last_seen, oldest) then oldest = name; end
	end
	if count <= max_names then return; end
	last_seen[oldest] = nil;
	return drop_oldest(last_seen);
end

local function write(user, data)
	drop_oldest(data.last_seen);
	if not next(data.last_seen) then data.last_seen = nil; end
	local ok, written, err = pcall(history_store.set, history_store, user, data);
	if not ok then written, err = false, written; end
	log_store("written", user, not written and (err or "unknown error") or nil);
end

local ends = { replaced = true; evicted = true; disabled = true; removed = true; pruned = true };

-- Each of what has happened is { what, identifier, record, by, why }
local function add(user, ...)
	if not (...) or not is_account(user) then return; end -- Nothing is kept of nobody
	local data = read_data(user);
	if not data then return; end
	local lines, last_seen = data.entries, data.last_seen;
	for _, one in ipairs({ ... }) do
		local record = one.record or none;
		local name = name_of(one.identifier);
		lines[#lines + 1] = to_line({
			at = os_time(); what = one.what; name = name;
			jid = shorten(record.jid); client = shorten(record.client_id) or shorten(record.resource);
			by = one.by; why = shorten(without_node(one.why, one.identifier, record));
		});
		if #lines > max_entries then table.remove(lines, 1); end
		if ends[one.what] then last_seen[name] = nil; end
	end
	write(user, data);
end

-- Sessions: what is known of a registration's last one is written once a day

local seen, seen_left, seen_on = {}, max_seen, nil; -- user -> name -> true

local function see(user, identifier)
	local now = os_time();
	local today = now - now % day;
	if today ~= seen_on or seen_left == 0 then seen, seen_left, seen_on = {}, max_seen, today; end
	local name, names = name_of(identifier), seen[user] or {};
	if names[name] then return; end
	seen[user], names[name], seen_left = names, true, seen_left - 1;
	local data = read_data(user);
	if not data or seen_at(data.last_seen, name) >= today or not is_account(user) then return; end
	data.last_seen[name] = now;
	write(user, data);
end

local function on_session(event)
	local session = event.resumed or event.session;
	local user = session and session.username;
	for _, protocol in ipairs(user and protocols.all or none) do
		local identifier = get_registration(session, protocol);
		if identifier then see(user, identifier); end
	end
end

-- The store itself is purged with the account
local function forget(user)
	seen[user] = nil;
end

return {
	version = "@VERSION@";
	name_of = name_of;
	without_node = without_node;
	read = read;
	add = add;
	forget = forget;
	on_session = on_session;
};
