-- Why a phone stayed silent: what has been decided lately, and what would become of a message now, in sentences

local util = module.lib "util";
local none = util.none;
local engine = module.lib "engine".engine;
local user_sessions = module.lib "sessions".user_sessions;
local history = module.lib "history";
local name_of = history.name_of;
local terminal = module.lib "terminal";
local date, describe_duration = terminal.date, terminal.duration;

local ipairs, pairs = ipairs, pairs;

local host_modules = prosody.hosts[module.host].modules;

-- By which rule a stanza has met a registration
local rules = {
	unacked = "not acknowledged";
	archived = "archived";
	undelivered = "left behind by a session";
	offline = "stored offline";
	room = "to the bare JID";
};

local function time_of(seconds)
	return date(seconds, "%H:%M:%S");
end

local function what_became_of(it)
	if it.result == "pushed" then return "pushed"; end
	if it.result == "silent" then return "no push, " .. it.phrase; end
	return (it.due and "waits until " .. time_of(it.due) or "waits") .. ", " .. it.phrase;
end

local function stanza_of(entry)
	local rule = rules[entry.rule];
	if not entry.kind then
		local many = entry.count > 1 and ("%d stanzas since %s"):format(entry.count, time_of(entry.since));
		return ("%s, %s"):format(many or "a stanza", rule);
	end
	local unimportant = entry.importance == "unimportant" and entry.kind == "message" and "unimportant " or "";
	local id = entry.id ~= "" and " " .. entry.id or "";
	local from = entry.from ~= "" and " from " .. entry.from or "";
	local many = entry.count > 1 and ("the last of %d since %s: "):format(entry.count, time_of(entry.since)) or "";
	return ("%s%s%s%s%s, %s"):format(many, unimportant, entry.kind, id, from, rule);
end

local outcomes = {
	delivered = "taken";
	revived = "taken, the registration is in force again";
	failed = "not taken, it is tried again";
	refused = "refused, that counts";
	suspended = "not taken, the registration is suspended";
	removed = "refused for good, the registration is removed";
};

local sentences = {
	met = function (entry)
		return ("%s: %s"):format(stanza_of(entry), what_became_of(entry));
	end;
	turn = function (entry)
		return "what waited: " .. what_became_of(entry);
	end;
	ping = function (entry)
		return "push without a message: " .. what_became_of(entry);
	end;
	answer = function (entry)
		local condition = entry.condition or entry.outcome == "failed" and "no answer";
		return ("answer after %s: %s%s"):format(describe_duration(entry.after), outcomes[entry.outcome],
			condition and " (" .. condition .. ")" or "");
	end;
	vetoed = function (entry)
		return "push held back by another module: " .. (entry.phrase ~= "" and entry.phrase or "no reason given");
	end;
	discreet = function ()
		return "another module has failed: the push leaves without text and sender";
	end;
	restored = function ()
		return "owed a push from before the restart";
	end;
	unreadable = function ()
		return "what waited: its registration cannot be read, it is tried again";
	end;
};

-- What has been decided and answered since this tick, oldest first, each { at, tick, name, text, … }
local function decisions(user, since)
	local found = {};
	for _, entry in ipairs(engine:trail(user)) do
		if not since or entry.tick > since then
			entry.name, entry.identifier = name_of(entry.identifier), nil;
			entry.text = sentences[entry.event](entry);
			found[#found + 1] = entry;
		end
	end
	return found;
end

local actors = {
	client = "its client"; service = "its push service"; admin = "an administrator"; server = "this server";
};

local function happenings(user)
	local entries, problem = history.read(user);
	if not entries then return nil, problem; end
	for _, entry in ipairs(entries) do
		local by = actors[entry.by] or entry.by;
		entry.event = entry.what;
		entry.text = ("registration at %s %s%s%s"):format(entry.jid or "a push service", entry.what,
			by and " by " .. by or "", entry.why and ": " .. entry.why or "");
	end
	return entries;
end

-- Of sessions that are attached to it
local function has_smacks(user, identifier)
	for _, session in pairs(user_sessions(user) or none) do
		if session.push_identifier == identifier and session.smacks then return true; end
	end
	return false;
end

-- What would become of a message now; state is where its client is
local function outlook(user, identifier, record, state)
	local it = engine:outlook(user, identifier, record, user_sessions(user));
	if not it then return "nothing, its record is damaged: its app has to register again"; end
	if it.reason == "online" then
		if has_smacks(user, identifier) then
			return "delivered to its session, and pushed if that does not acknowledge it";
		end
		return "delivered to its session, without a push: it does not use stream management, so that nobody "
			.. "knows whether it arrives";
	end
	if state == "away" and not host_modules.mam and not host_modules.offline then
		return "no push, for nothing keeps it: neither mod_mam nor mod_offline is loaded";
	end
	return what_became_of(it);
end

-- The clock of the history has whole seconds: what an answer has led to comes after it
local function order_of(entry)
	return entry.tick and entry.at or entry.what == "enabled" and entry.at or entry.at + 1;
end

-- What has happened to registrations, the last decisions and answers, oldest first
local function look_back(user)
	local entries, problem = happenings(user);
	entries = entries or {};
	for _, entry in ipairs(decisions(user)) do entries[#entries + 1] = entry; end
	local places = {};
	for i, entry in ipairs(entries) do places[entry] = i; end
	table.sort(entries, function (a, b)
		local before, after = order_of(a), order_of(b);
		if before ~= after then return before < after; end
		return places[a] < places[b];
	end);
	return entries, problem;
end

return {
	version = "0.2.0";
	look_back = look_back;
	decisions = decisions;
	outlook = outlook;
};
