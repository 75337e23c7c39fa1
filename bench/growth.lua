-- What stays in memory, and whether cost depends on the past.

local loop = require "spec.support.loop";
local servers = require "bench.servers";

local call = servers.call;

local growth = {};

-- What may be left over without being growth: Lua's tables have sizes that are powers of
-- two, and the allocator gives pages back when it likes to.
-- In bytes, for all pushes together.
growth.heap_tolerance = 64 * 1024;
growth.rss_tolerance = 1024 * 1024;

growth.heap_target = 800; -- bytes per registered user

local at_once = 500; -- pushes between two looks of the event loop
local answer_time = 1;

local function memory(server)
	-- In this order: the heap is counted after a collection
	local heap = call(server, "heap");
	return { heap = heap; rss = server:rss() * 1024 };
end

local function push(fleet, count, answer, users, settle)
	for first = 1, count, at_once do
		local n = math.min(at_once, count - first + 1);
		fleet:each(function (server) call(server, "push", n, answer, users); end);
		if settle and first % (4 * at_once) == 1 then loop.settle(0.3); end
	end
	if settle then loop.settle(answer_time + 0.5); end
end

local kinds = {
	{
		name = "answered"; title = "answered push";
		setup = function (server) call(server, "growth_setup", "result"); end;
		run = function (fleet, count, users) push(fleet, count, "result", users); end;
	};
	{
		name = "refused"; title = "refused push";
		setup = function (server) call(server, "growth_setup", "error"); end;
		run = function (fleet, count, users) push(fleet, count, "error", users); end;
	};
	{
		name = "unanswered"; title = "unanswered push";
		setup = function (server) call(server, "growth_setup", nil, { push_answer_timeout = answer_time }); end;
		run = function (fleet, count, users) push(fleet, count, nil, users, true); end;
	};
	{
		name = "resumed"; title = "hibernation and resumption";
		setup = function (server) call(server, "resumption_setup"); end;
		run = function (fleet, count)
			for first = 1, count, at_once do
				local n = math.min(at_once, count - first + 1);
				fleet:each(function (server) call(server, "hibernate_and_resume", n); end);
			end
			loop.settle(3.5); -- until the watchdogs of 0.12 are gone
		end;
	};
};

-- options: pushes, users, warm (pushes before the first look)
-- start() and stop(fleet): new servers for each kind, if there is time for that. Memory that
-- was used before and is free now can hide a leak outside Lua.
function growth.run(start, stop, options)
	local results = {};
	for _, kind in ipairs(kinds) do
		io.stderr:write("  per ", kind.title, "\n");
		local fleet = start();
		fleet:each(kind.setup);
		kind.run(fleet, options.warm, options.users);
		local before = {};
		fleet:each(function (server) before[server] = memory(server); end);
		kind.run(fleet, options.pushes, options.users);
		for version, contenders in pairs(fleet:map(function (server)
			local after = memory(server);
			return { heap = after.heap - before[server].heap; rss = after.rss - before[server].rss };
		end)) do
			local result = { name = kind.name; title = kind.title; version = version; count = options.pushes };
			for name, grown in pairs(contenders) do
				result[name] = {
					heap = (grown.heap - contenders.none.heap) / options.pushes;
					rss = grown.rss / options.pushes;
				};
			end
			local ours = contenders.ours;
			result.grows = (ours.heap - contenders.none.heap) > growth.heap_tolerance
				or ours.rss - math.max(0, contenders.none.rss) > growth.rss_tolerance;
			results[#results+1] = result;
		end
		stop(fleet);
	end
	return results;
end

-- Bytes per user who has registered a device and logged out
function growth.registered(start, stop, options)
	local results = {};
	for _, request in ipairs(options.requests) do
		io.stderr:write("  ", request == "enable" and "with" or "without", " publish options\n");
		local fleet = start();
		fleet:each(function (server) call(server, "register_setup"); end);
		local before = {};
		fleet:each(function (server) before[server] = memory(server); end);
		for first = 1, options.registered, at_once do
			fleet:each(function (server) call(server, "register", request, first, first + at_once - 1); end);
		end
		for version, contenders in pairs(fleet:map(function (server)
			local after = memory(server);
			return {
				heap = (after.heap - before[server].heap) / options.registered;
				rss = (after.rss - before[server].rss) / options.registered;
			};
		end)) do
			contenders.ours.heap = contenders.ours.heap - contenders.none.heap;
			if contenders.upstream then
				contenders.upstream.heap = contenders.upstream.heap - contenders.none.heap;
			end
			contenders.version = version;
			contenders.publish_options = request == "enable";
			contenders.count = options.registered;
			contenders.target = request == "enable_plain" and growth.heap_target or nil;
			results[#results+1] = contenders;
		end
		stop(fleet);
	end
	return results;
end

-- Microseconds per push, with more and more of them sent before: answered, or still waiting
-- for their answer
function growth.outstanding(fleet, options)
	local results = {};
	for _, mode in ipairs({ "answered", "outstanding" }) do
		local answer = mode == "answered" and "result" or nil;
		io.stderr:write("  with pushes ", mode, "\n");
		fleet:each(function (server) call(server, "growth_setup", answer, { push_answer_timeout = 36000 }); end);
		push(fleet, at_once, answer, 1000);
		local sent = 0;
		while sent < options.outstanding do
			local cpu = {};
			fleet:each(function (server) cpu[server] = 0; end);
			for _ = 1, options.segment, at_once do
				fleet:each(function (server)
					cpu[server] = cpu[server] + call(server, "push", at_once, answer, 1000);
				end);
			end
			for version, contenders in pairs(fleet:map(function (server)
				return cpu[server] / options.segment * 1e6;
			end)) do
				results[#results+1] = {
					version = version; mode = mode; from = sent; to = sent + options.segment;
					ours = contenders.ours; upstream = contenders.upstream; none = contenders.none;
				};
			end
			sent = sent + options.segment;
		end
	end
	return results;
end

return growth;
