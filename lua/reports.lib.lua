-- What becomes of pushes: answers, and registrations that they end or suspend

local native = module.lib "native";
local util = module.lib "util";
local copy, guarded = util.copy, util.guarded;
local options = module.lib "options".values;
local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local sessions = module.lib "sessions";
local detach_all, attach_owners = sessions.detach_all, sessions.attach_owners;
local add_history = module.lib "history".add;
local registrations = module.lib "registrations";
local push_errors = registrations.push_errors;
local read_records, save_records = registrations.read, registrations.save;
local remove_registrations = registrations.remove;
local on_service = module.lib "services".on_service;

local math_floor = math.floor;
local os_date, os_time = os.date, os.time;

local max_logged_text = 200; -- of a peer
local no_answer = "no answer";
local xmlns_push2 = "urn:xmpp:push2:0";

local awaited = {}; -- id of a push -> who wants to know what becomes of it

-- Returns whether the registration has been suspended, or had to go
local function suspend(user, identifier, condition, description, errors)
	local by = errors > 0 and condition ~= no_answer and "service" or "server";
	local why = description and condition .. ": " .. description or condition;
	local records = read_records(user);
	local record = records and records[identifier];
	if not record then return false; end
	local suspended, wait_or_since = native.suspend(record, condition, description, os_time());
	local service = record.jid;
	if not suspended then
		why = "the last trial failed with " .. why;
		if not remove_registrations(user, { identifier }, "removed", by, why) then return false; end
		module:log("warn", "Removed a push registration of %s at %s, suspended since %s: the last trial failed with %s -- "
			.. "that device gets no more pushes until its app registers again",
			user, service, os_date("!%Y-%m-%d", wait_or_since), condition);
		return true;
	end
	local changed = copy(records);
	changed[identifier] = copy(record);
	changed[identifier].suspended = suspended;
	if not save_records(user, changed) then return false; end
	detach_all(user, identifier);
	arm(engine:suspend(user, identifier, wait_or_since));
	local trials, hours = suspended.trials, math_floor(wait_or_since / 3600);
	if trials > 0 then why = ("trial %d failed with %s"):format(trials, why); end
	add_history(user, { what = "suspended"; identifier = identifier; record = record; by = by; why = why });
	if trials > 0 then
		module:log("info", "Trial %d of a suspended push registration of %s at %s failed with %s -- the next one is in "
			.. "%d hours, or its app registers again", trials, user, service, condition, hours);
		return true;
	end
	local reason = errors < options.push_max_errors and "30 days of failures" or ("%d errors in a row"):format(errors);
	module:log("warn", "Suspended a push registration of %s at %s after %s, the last one: %s -- the first trial is in "
		.. "%d hours, or its app registers again", user, service, reason, condition, hours);
	return true;
end

-- A trial has succeeded: the registration is in force again
local function revive(user, identifier)
	local records = read_records(user);
	local record = records and records[identifier];
	if not record then return; end
	local changed = copy(records);
	changed[identifier] = copy(record);
	changed[identifier].suspended = nil;
	if save_records(user, changed) then
		attach_owners(user, changed, identifier);
		add_history(user, { what = "revived"; identifier = identifier; record = record; by = "service" });
		module:log("info", "%s takes pushes for %s again: the registration is in force", record.jid, user);
	end
end

local function on_outcome(outcome, user, identifier, errors, change, service, condition, description)
	condition = condition or no_answer;
	on_service(change, condition);
	if not user then return; end -- The registration has ended meanwhile
	if push_errors[identifier] then push_errors[identifier] = errors; end
	if outcome == "refused" then
		module:log(errors == 1 and "info" or "debug", "%s refused a push for %s: %s, error %d of %d -- the registration is "
			.. "suspended after the last one; until then more are logged at level debug, unless a push succeeds",
			service, user, condition, errors, options.push_max_errors);
	elseif outcome == "failed" then
		module:log("debug", "A push for %s to %s failed: %s; it is tried again", user, identifier, condition);
	elseif outcome == "suspended" then
		suspend(user, identifier, condition, description, errors);
	elseif outcome == "revived" then
		revive(user, identifier);
	elseif outcome == "removed" and remove_registrations(user, { identifier }, "removed", "service", condition) then
		module:log("warn", "Removed a push registration of %s at %s after %d errors in a row, the last one %s -- "
			.. "that device gets no more pushes until its app registers again", user, service, errors, condition);
	end
end

on_outcome = guarded(on_outcome);

local function on_report(report, service, condition)
	local tell = awaited[report.id];
	if tell then guarded(tell)(report.outcome, report.outcome ~= "delivered" and (condition or no_answer) or nil); end
	on_outcome(report.outcome, report.user, report.identifier, report.errors, report.service, service, condition);
end

local give_up = guarded(function (user, identifier)
	local description = "Nobody could reach the push service for 30 days";
	if not suspend(user, identifier, "remote-server-timeout", description, 0) then
		arm(engine:postpone(user, identifier));
	end
end);

-- Answers of the push services

-- Push services of push2 may leave the id out, but name the client
local function take_answer(id, service, is_error, error_type, condition, description, client)
	local outcome, delay, user, identifier, errors, defined, change, push =
		engine:answered(id, service, is_error, error_type, condition, client);
	arm(delay);
	if errors then on_outcome(outcome, user, identifier, errors, change, service, defined, description); end
	local tell = outcome and awaited[push or id];
	if tell then guarded(tell)(outcome, defined, description); end
	return outcome;
end

local function take_error(stanza, client)
	local attr = stanza.attr;
	local error_type, condition, error_text = stanza:get_error();
	error_text = error_text and error_text:sub(1, max_logged_text);
	if not take_answer(attr.id, attr.from, true, error_type, condition, error_text, client) then return; end
	if error_text then -- It may name the token
		module:log("debug", "%s says: %s", attr.from, error_text);
	end
	return true;
end

local function on_answer(event)
	local stanza = event.stanza;
	local attr = stanza.attr;
	if attr.type == "result" then
		return take_answer(attr.id, attr.from, false) and true;
	elseif attr.type == "error" then
		return take_error(stanza);
	end
end

-- Those of push2 are messages, and errors are all that is ever answered
local function on_message(event)
	local stanza = event.stanza;
	if stanza.attr.type ~= "error" then return; end
	local notification = stanza:get_child("notification", xmlns_push2);
	return take_error(stanza, notification and notification:get_child_text("client"));
end

return {
	version = "@VERSION@";
	awaited = awaited;
	on_report = on_report;
	give_up = give_up;
	take_answer = take_answer;
	on_answer = on_answer;
	on_message = on_message;
};
