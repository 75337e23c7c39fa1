-- Push services that fail, and their signs of life

local guarded = module.lib "util".guarded;
local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;

local math_max = math.max;
local pairs = pairs;

-- Signs of life, but for answers to pushes
local signs_of_life = {
	"iq/bare"; "iq/full"; "iq/host";
	"message/bare"; "message/full"; "message/host";
	"presence/bare"; "presence/full"; "presence/host";
};

local min_watched = 4096; -- as many as the engine remembers where nobody waits for them
local max_watched = min_watched; -- then the forgotten ones are looked for

local watched, watched_count = {}, 0; -- JIDs of the push services whose signs of life are waited for

local on_service;
local meet_failing; -- Is told of each push service that begins to fail

local function on_sign_of_life(event)
	local attr = event.stanza.attr;
	if not watched[attr.from] or attr.type == "result" or attr.type == "error" then return; end
	local delay, service = engine:heard(attr.from);
	arm(delay);
	on_service(service);
end

on_sign_of_life = guarded(on_sign_of_life);

local function stop_watching(service)
	if not watched[service] then return; end
	watched[service], watched_count = nil, watched_count - 1;
	if watched_count == 0 then
		for _, event in pairs(signs_of_life) do module:unhook(event, on_sign_of_life); end
	end
end

-- The engine may have forgotten some that nobody waits for
local function stop_watching_forgotten()
	local known = {};
	for _, service in pairs(engine:watched()) do known[service] = true; end
	for service in pairs(watched) do
		if not known[service] then stop_watching(service); end
	end
	max_watched = math_max(min_watched, 2 * watched_count);
end

local function watch(service)
	if watched[service] then return; end
	if watched_count >= max_watched then stop_watching_forgotten(); end
	if watched_count == 0 then
		for _, event in pairs(signs_of_life) do module:hook(event, on_sign_of_life, 1000); end
	end
	watched[service], watched_count = true, watched_count + 1;
	meet_failing(service);
end

function on_service(service, condition)
	if not service then return; end
	if service.state == "well" then
		stop_watching(service.jid);
	elseif service.state == "back" then
		module:log("info", "%s takes pushes again, %d devices are owed one", service.jid, service.owed);
	else
		watch(service.jid);
	end
	if service.state == "out" then
		module:log("warn", "%s failed to take %d pushes in a row, the last one: %s -- see whether it runs and can be "
			.. "reached; what it should get is kept, and tried again now and then", service.jid, service.failures, condition);
	end
end

local function report_failing_to(handler)
	meet_failing = handler;
end

-- After a reload
local function watch_all()
	for _, service in pairs(engine:watched()) do watch(service); end
end

return {
	version = "@VERSION@";
	on_service = on_service;
	report_failing_to = report_failing_to;
	watch_all = watch_all;
};
