-- Why a phone stayed silent: what has been decided lately, and what would become of a message now, in sentences

local util = module.lib "util";
local time = util.prosody_require "util.time";
local none = util.none;
local engine = module.lib "engine".engine;
local user_sessions = module.lib "sessions".user_sessions;
local protocols = module.lib "protocols";
local is_known, protocol_of = protocols.is_known, protocols.of;
local history = module.lib "history";
local name_of = history.name_of;
local terminal = module.lib "terminal";
local monotonic, now = time.monotonic, time.now;
local count, date, describe_duration = terminal.count, terminal.date, terminal.duration;

local ipairs, pairs = ipairs, pairs;

local host_modules = prosody.hosts[module.host].modules;

-- By which rule a stanza has met a registration
local rules = {
	unacked = "not acknowledged";
	archived = "archived";
	undelivered = "left behind by a session";
	sent = "sent by the user";
	offline = "stored offline";
	room = "to the bare JID";
	away = "delivered while the user is away";
	subscription = "for a user who is offline";
};

-- With the day, if it is another one than that of the reader or of what is said besides
local function time_of(seconds, beside)
	local same_day = date(seconds, "%Y-%m-%d") == date(beside, "%Y-%m-%d");
	return date(seconds, same_day and "%H:%M:%S" or "%a %d %b %H:%M:%S");
end

local function what_became_of(it)
	if it.result == "pushed" then return "pushed"; end
	if it.result == "silent" then return "no push, " .. it.phrase; end
	return "no push yet, " .. it.phrase .. (it.due and " at " .. time_of(it.due, it.at or now()) or "");
end

local function since_when(entry)
	local since = time_of(entry.since, entry.at);
	return since ~= time_of(entry.at, entry.at) and " since " .. since or "";
end

local function stanza_of(entry)
	local rule = rules[entry.rule];
	if not entry.kind then
		return ("%s%s, %s"):format(count(entry.count, "stanza"), since_when(entry), rule);
	end
	local unimportant = entry.importance == "unimportant" and entry.kind == "message" and "unimportant " or "";
	local id = entry.id ~= "" and " " .. entry.id or "";
	local from = entry.from ~= "" and " from " .. entry.from or "";
	local many = entry.count > 1 and ("the last of %d%s: "):format(entry.count, since_when(entry)) or "";
	return ("%s%s%s%s%s, %s"):format(many, unimportant, entry.kind, id, from, rule);
end

-- Why a push without a message
local occasions = {
	ping = "push without a message";
	["before-timeout"] = "push to keep its session, which is about to end";
	["on-start"] = "push after the start of the server";
};

local outcomes = {
	delivered = "taken";
	revived = "taken, the registration is in force again";
	failed = "not taken, it is tried again";
	refused = "refused, that counts towards push_max_errors";
	suspended = "not taken, the registration is suspended";
	removed = "refused for good, the registration is removed";
	sent = "sent, no error came; services of Push 2.0 answer errors alone"; -- A test
};

local sentences = {
	met = function (entry)
		return ("%s: %s"):format(stanza_of(entry), what_became_of(entry));
	end;
	turn = function (entry)
		return (entry.trial and "trial: " or "what waited: ") .. what_became_of(entry);
	end;
	ping = function (entry)
		return occasions[entry.occasion] .. ": " .. what_became_of(entry);
	end;
	read = function (entry)
		return "all is read elsewhere, the device is told so: " .. what_became_of(entry);
	end;
	answer = function (entry)
		local is_answered = entry.condition or entry.outcome == "delivered" or entry.outcome == "revived";
		local outcome = entry.outcome == "failed" and not entry.owed and "not taken, but the device needs it no more"
			or outcomes[entry.outcome];
		if not entry.after then return outcome .. ": no error came"; end
		return ("%s after %s: %s%s"):format(is_answered and "answer" or "no answer", describe_duration(entry.after),
			outcome, entry.condition and " (" .. entry.condition .. ")" or "");
	end;
	vetoed = function (entry)
		local reason = entry.phrase ~= "" and entry.phrase or "no reason given";
		return "but another module has held that push back: " .. reason;
	end;
	discreet = function ()
		return "another module has failed: that push leaves without text and sender";
	end;
	restored = function ()
		return "owed a push from before the restart";
	end;
	unreadable = function ()
		return "what waited: no push yet, its registration could not be read, that is tried again";
	end;
	blind = function (entry)
		return ("no push for what came%s, the registrations of this account could not be read"):format(since_when(entry));
	end;
};

-- What has been decided and answered since this tick, oldest first, each { at, tick, name, text, … }
local function decisions(user, since)
	local found = {};
	for _, entry in ipairs(engine:trail(user)) do
		if not since or entry.tick > since then
			entry.name = entry.identifier ~= "" and name_of(entry.identifier) or "all";
			entry.identifier = nil;
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
	local field = protocol_of(identifier).identifier;
	for _, session in pairs(user_sessions(user) or none) do
		if session[field] == identifier and session.smacks then return true; end
	end
	return false;
end

-- What else there is to know where things are not as they should be
local function service_state(it)
	local service = it.service or none;
	if service.circuit == "open" then
		local failures = ("%s in a row%s"):format(count(service.failures, "failure"),
			service.condition and ", the last " .. service.condition or "");
		if it.result == "pushed" then return (", though %s has had %s"):format(service.jid, failures); end
		return (". %s is left alone after %s: one push at a time finds out whether it works again"):format(
			service.jid, failures);
	end
	if service.circuit == "recovering" then
		return (". %s works again, and gets what it is owed in turn"):format(service.jid);
	end
	return "";
end

local function suspension(suspended)
	if not suspended then return ""; end
	local since = suspended.since and date(suspended.since);
	return (" (suspended%s: %s%s)"):format(since and " since " .. since or "", suspended.condition or "no reason",
		suspended.text and ", " .. suspended.text or "");
end

-- Why nothing can be sent to it
local function what_is_wrong(identifier, record)
	return is_known(identifier, record) and "its record is damaged: its app has to register again"
		or "only a newer version of this module knows its protocol";
end

-- What would become of a message now; state is where its client is, suspended since when and why its registration is
local function outlook(user, identifier, record, state, suspended)
	local it = engine:outlook(user, identifier, record, user_sessions(user), monotonic(), host_modules.mam ~= nil);
	if not it then return "nothing, " .. what_is_wrong(identifier, record); end
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
	if it.reason == "not-matched" and not host_modules.mam then
		return "no push, its client wants what is archived alone, and mod_mam is not loaded";
	end
	if it.reason == "debt" and (it.service or none).circuit == "open" then it.due = nil; end -- Others probe it
	local delivered = state == "live" and "delivered to its session, " or "";
	return delivered .. what_became_of(it) .. suspension(suspended) .. service_state(it);
end

-- The clock of the history has whole seconds: what an answer has led to comes after it
local function order_of(happened)
	return happened.what == "enabled" and happened.at or happened.at + 1;
end

local function has_led_to(entry, happened)
	return entry.event == "answer" and happened and entry.at < happened.at + 2
		and (happened.what == entry.outcome or happened.what == "removed" and entry.outcome == "suspended");
end

-- What has happened to registrations, the last decisions and answers, oldest first
local function look_back(user)
	local entries, problem = happenings(user);
	entries = entries or {};
	local merged, next_one = {}, 1;
	local function add_happened()
		merged[#merged + 1] = entries[next_one];
		next_one = next_one + 1;
	end
	for _, entry in ipairs(decisions(user)) do
		while entries[next_one] and order_of(entries[next_one]) <= entry.at do add_happened(); end
		merged[#merged + 1] = entry;
		if has_led_to(entry, entries[next_one]) then add_happened(); end
	end
	while entries[next_one] do add_happened(); end
	return merged, problem;
end

return {
	version = "@VERSION@";
	outcomes = outcomes;
	look_back = look_back;
	decisions = decisions;
	what_is_wrong = what_is_wrong;
	outlook = outlook;
};
