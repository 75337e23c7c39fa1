-- What Prosody's events cost.

local loop = require "spec.support.loop";
local servers = require "bench.servers";
local statistics = require "bench.statistics";

local call = servers.call;

local events = {};

local push = { ["0.12"] = 0.15; ["13.0"] = 0.20 };

-- name in mod_bench_events, title, ratio to upstream that is to be reached
events.rows = {
	{ "archive_unregistered", "archive, user without registrations", { ["0.12"] = 0.15; ["13.0"] = 0.16 } };
	{ "archive_live", "archive, device live", { ["0.12"] = 0.30; ["13.0"] = 0.30 } };
	{ "archive_away", "archive, one device away: 1 push", push };
	{ "archive_urgent", "archive, a call, device live: 1 push", push };
	{ "archive_own", "archive, own message, user not online", { ["0.12"] = 0.95; ["13.0"] = 1.0 } };
	{ "offline_0", "offline, user without registrations", { ["0.12"] = 0.30; ["13.0"] = 0.22 } };
	{ "offline_1", "offline, 1 device: 1 push", push };
	{ "offline_5", "offline, 5 devices: 5 pushes", push };
	{ "hibernate_1", "hibernation start, 1 stanza", push };
	{ "hibernate_50", "hibernation start, 50 mixed" };
	{ "hibernate_500_mixed", "hibernation start, 500 mixed", { ["0.12"] = 0.20; ["13.0"] = 0.20 } };
	{ "hibernate_500_messages", "hibernation start, 500 messages" };
	{ "hibernate_500_unimportant", "hibernation start, 500 unimportant", { ["0.12"] = 0.15; ["13.0"] = 0.12 } };
	{ "queued_1", "hibernated, 1 stanza", push };
	{ "queued_20", "hibernated, burst of 20", { ["0.12"] = 0.06; ["13.0"] = 0.07 } };
	{ "enable", "enable", { ["0.12"] = 0.85; ["13.0"] = 1.05 } };
	{ "disable", "disable" };
	{ "push_result", "push and its result", push };
	{ "push_error", "push answered with an error", { ["0.12"] = 0.15; ["13.0"] = 0.25 } };
	{ "push_unanswered", "push never answered", { ["0.12"] = 0.14; ["13.0"] = 0.14 } };
	{ "routing", "(routing of a finished publish)" };
};

-- What upstream does with a module of the community, if at all: name, title, ratio that is to be reached
events.extension_rows = {
	{ "extension_encrypted", "encrypted push (mod_cloud_notify_encrypted)", { ["13.0"] = 0.15 } };
	{ "extension_muted", "muted chat (mod_cloud_notify_filters)", { ["0.12"] = 0.15; ["13.0"] = 0.15 } };
	{ "extension_mentioned", "mentioned in a room (mod_cloud_notify_filters)", push };
	{ "extension_priority", "push with priority (mod_cloud_notify_priority_tag)", push };
	{ "extension_call", "call with jingle (upstream's: a push)", push };
	{ "extension_read", "read elsewhere: 1 push (upstream's: nothing)" };
	{ "extension_chat_settings", "room on mention, by bookmarks (upstream's: a push)",
		{ ["0.12"] = 0.15; ["13.0"] = 0.15 } };
};

-- Push 2.0, beside an XEP-0357 push for the same: name, title, the other's name, ratio to it that is to be reached.
-- There is no other module to compare: Debian's prosody-modules has no mod_push2.
events.push2_rows = {
	{ "push2_archive_notify", "archive, one device away: notify only", "archive_away" };
	{ "push2_archive_encrypted", "archive, one device away: encrypted", "archive_away", 3.0 };
	{ "push2_queued_notify", "hibernated, 1 stanza: notify only", "queued_1" };
	{ "push2_queued_encrypted", "hibernated, 1 stanza: encrypted", "queued_1", 3.0 };
};

-- The module that encrypts needs luaossl on 0.12, and calls it by a name that it has not defined
events.only = { extension_encrypted = "13.0" };

events.bytes_target = 0.20; -- of garbage, where there are pushes

-- Where the least Lua has nothing to show
events.without_least = {
	push_unanswered = "has no time limit for an answer, so that it would be a push alone";
	routing = "is not asked";
};

local function run_batch(fleet, settle, bytes)
	local results = {};
	fleet:each(function (server)
		call(server, "start", bytes);
		if settle == 0 then results[server] = call(server, "finish"); end
	end);
	if settle > 0 then
		loop.settle(settle);
		fleet:each(function (server) results[server] = call(server, "finish"); end);
	end
	return results;
end

local function measure(fleet, name, options)
	local settle;
	fleet:each(function (server) settle = call(server, "setup", name, options.scale); end);
	run_batch(fleet, settle); -- fills the caches
	local counted = run_batch(fleet, settle, true);
	local times, pushes = {}, {};
	fleet:each(function (server) times[server] = {}; end);
	for _ = 1, options.rounds do
		local results = run_batch(fleet, settle);
		fleet:each(function (server)
			table.insert(times[server], results[server].us);
			pushes[server] = results[server].pushes;
		end);
	end
	return fleet:map(function (server)
		return {
			times = times[server];
			bytes = counted[server].bytes;
			bare_us = counted[server].us;
			pushes = pushes[server];
		};
	end);
end

local function cost(contender, none)
	return {
		us = statistics.median(contender.times);
		bare_us = contender.bare_us; -- without the collector
		bytes = contender.bytes - none.bytes;
		pushes = contender.pushes;
	};
end

local function compare(contenders)
	local ours, upstream, none = contenders.ours, contenders.upstream, contenders.none;
	local result = { ratio = statistics.ratio(ours.times, upstream.times) };
	for name, contender in pairs(contenders) do result[name] = cost(contender, none); end
	result.bytes_ratio = upstream.bytes > none.bytes and result.ours.bytes / result.upstream.bytes or nil;
	local least = result.least;
	result.least_bytes_ratio = least and least.bytes >= 1 and result.ours.bytes / least.bytes or nil;
	return result;
end

-- options: rounds, scale (events in a batch, of the usual number), quick (only what has a target)
function events.run(fleet, rows, options)
	local results = {};
	for _, row in ipairs(rows) do
		local name, title, targets = row[1], row[2], row[3];
		local measured = {};
		if targets or not options.quick then
			io.stderr:write("  ", title, "\n");
			local without_least = events.without_least[name] or rows == events.extension_rows;
			measured = measure(fleet:only(without_least and servers.contenders, events.only[name]), name, options);
		end
		for version, contenders in pairs(measured) do
			local result = compare(contenders);
			result.name, result.title, result.version = name, title, version;
			result.target = targets and targets[version];
			result.without_least = events.without_least[name];
			result.bytes_target = result.upstream.pushes > 0 and name ~= "routing" and events.bytes_target or nil;
			results[#results+1] = result;
		end
	end
	return results;
end

-- The same options. Both are measured one right after the other, in this module's server
function events.run_push2(fleet, rows, options)
	local results, plain = {}, {};
	for _, row in ipairs(rows) do
		local name, title, other, target = row[1], row[2], row[3], row[4];
		io.stderr:write("  ", title, "\n");
		plain[other] = plain[other] or measure(fleet:only({ "ours", "none" }), other, options);
		for version, contenders in pairs(measure(fleet:only({ "ours" }), name, options)) do
			local push2, other_push, none = contenders.ours, plain[other][version].ours, plain[other][version].none;
			results[#results+1] = {
				name = name; title = title; version = version; target = target;
				ratio = statistics.ratio(push2.times, other_push.times);
				bare_ratio = push2.bare_us / other_push.bare_us;
				push2 = cost(push2, none);
				push = cost(other_push, none);
			};
		end
	end
	return results;
end

return events;
