-- The native library for the Lua that runs the specs, as the module uses it.

require "spec.support.init";

local st = require "util.stanza";
local parse_xml = require "util.xml".parse;

local library = "./build/plugins/mod_cloud_notify/lua" .. _VERSION:match("%d.%d") .. "/cloud_notify.so";

local native = assert(package.loadlib(library, "luaopen_cloud_notify"))("cloud_notify");

local support = {};

support.library = native;
support.host = "home.test";
support.user = "anna";
support.account = "anna@home.test";

local default_options = {
	contact_uri = "xmpp:home.test";
	push_answer_timeout = 120;
	push_coalesce_window = 1;
	push_max_devices = 5;
	push_max_errors = 16;
	push_max_failures = 5;
	push_max_in_flight = 4096;
	push_max_per_minute = 0;
	push_notification_important_body = "New Message!";
	push_notification_count = "one";
	push_notification_with_body = false;
	push_notification_with_sender = false;
	push_notify_on = "all";
	push_notify_read = "asked";
	push_recovery_rate = 50;
	push_retry_age = 86400;
	push_retry_max = 1800;
	push_retry_min = 5;
	push_trace = true;
	push_wake_before_timeout = 0;
};

-- One push, as the module gets it
local function as_table(stanza, identifier, important, details)
	if not stanza then return nil; end
	details = details or {};
	return {
		id = stanza.attr.id; stanza = stanza; identifier = identifier; important = important;
		record = details.record; original = details.original; body = details.body; sender = details.sender;
	};
end

-- The engine with its readers as methods that return what is to be done: pushes, silent
-- registrations and their reasons in turn, a delay, the place to go on from in a queue and whether
-- something in it was left unread. What waits counts as silent for them, too.
local function with_outcome(engine)
	local archived, offline, unacked, read, _, away, subscription = engine:readers();

	local function outcome(identifier, stanzas, source, reply, next_place, unread)
		if reply ~= true then return nil, reply and { identifier; reply }, nil, next_place, unread; end
		local count, silent, delay, _, stanza, key, important, details = engine:settle(stanzas, source, true);
		local pushes = stanza and { as_table(stanza, key, important, details) };
		for i = 2, count do pushes[i] = as_table(engine:next_push(stanzas, source, true)); end
		return pushes, silent, delay, next_place, unread;
	end

	local methods = {};
	function methods.archived(_, user, records, sessions, stanza, id)
		return outcome(next(records), stanza, records, archived(user, records, sessions, stanza, id));
	end
	function methods.offline(_, user, records, sessions, stanza)
		return outcome(next(records), stanza, records, offline(user, records, sessions, stanza));
	end
	function methods.away(_, user, records, sessions, stanza)
		return outcome(next(records), stanza, records, away(user, records, sessions, stanza));
	end
	function methods.subscription(_, user, records, sessions, stanza, requests)
		return outcome(next(records), stanza, records, subscription(user, records, sessions, stanza, requests));
	end
	function methods.unacked(_, user, session, sessions, queue, place)
		return outcome(session.push_identifier, queue, session, unacked(user, session, sessions, queue, place, true));
	end
	function methods.read(_, user, session, sessions, queue)
		if read(user, session, sessions, queue) then engine:settle(queue, session, true); end
	end
	function methods.release(_, user, identifier, record, sessions)
		local delay, stanza, important, details;
		delay, stanza, identifier, important, details = engine:release(user, identifier, record, sessions, true);
		return as_table(stanza, identifier, important, details), delay;
	end
	function methods.ping(_, user, identifier, record)
		local delay, stanza, important, details;
		delay, stanza, identifier, important, details = engine:ping(user, identifier, record, true);
		return as_table(stanza, identifier, important, details), delay;
	end
	return setmetatable(methods, {
		__index = function (_, name)
			return function (_, ...) return engine[name](engine, ...); end;
		end;
	});
end

-- How often something is repeated, where that is only for the statistics; less often where it is slow.
function support.times(count)
	return math.ceil(count * (tonumber(os.getenv("SPEC_REPEAT")) or 1));
end

-- An engine that has seen nothing yet, with the given options besides the defaults.
function support.engine(options)
	local all = {};
	for name, value in pairs(default_options) do all[name] = value; end
	for name, value in pairs(options or {}) do all[name] = value; end
	native.close(support.host);
	local engine = native.open(support.host, st.stanza_mt, st.deserialize);
	engine:configure(all);
	engine:learn_chat_settings(support.user, {});
	return with_outcome(engine);
end

-- A stanza as Prosody reads it from the wire.
function support.xml(text)
	return assert(parse_xml(text));
end

-- What is the same in two stanzas that mean the same XML.
function support.canonical(stanza)
	return st.preserialize(support.xml(tostring(stanza)));
end

-- A user's table with one registration, and its record.
function support.records(record)
	record = record or { jid = "push.test", node = "n1" };
	return { [record.jid .. "<" .. (record.node or "")] = record }, record;
end

local archive_ids = 0;

-- An archive id that was not there before.
function support.archive_id()
	archive_ids = archive_ids + 1;
	return ("archive-%d"):format(archive_ids);
end

-- The push to the only registration of a user without sessions, when the stanza is
-- archived; else nil and why there is none.
function support.archive(engine, stanza, record, sessions)
	local records = support.records(record);
	local pushes, silent = engine:archived(support.user, records, sessions, stanza, support.archive_id());
	return pushes and pushes[1], silent and silent[2];
end

return support;
