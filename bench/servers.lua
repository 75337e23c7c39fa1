-- The servers that are compared: Prosody of each version, with this module, with
-- upstream's, and without one; for single events also with the least Lua that sends the same pushes.

local prosody = require "spec.support.prosody";

local servers = {};

servers.versions = prosody.versions;
servers.contenders = { "ours", "upstream", "none" };
servers.contenders_and_least = { "ours", "upstream", "none", "least" };

-- Functions run on each version's servers in turn, so that whatever else the
-- machine does meanwhile hits all of them alike.
local fleet_mt = {};
fleet_mt.__index = fleet_mt;

function servers.start(options, contenders, versions)
	local fleet = setmetatable({}, fleet_mt);
	for _, version in ipairs(versions or servers.versions) do
		for _, contender in ipairs(contenders or servers.contenders) do
			local all = {
				version = version;
				upstream = contender == "upstream";
				without = contender == "none" and { "cloud_notify" } or nil;
			};
			for name, value in pairs(options) do all[name] = value; end
			if contender == "least" then -- The first path that has the module counts
				all.plugin_paths = table.move(all.plugin_paths, 1, #all.plugin_paths, 2, { "bench/plugins/least" });
			end
			local server = prosody.start(all);
			server.version, server.contender = version, contender;
			fleet[#fleet+1] = server;
		end
	end
	return fleet;
end

function fleet_mt:each(f)
	for _, server in ipairs(self) do f(server); end
end

-- Of a version, or of all
function fleet_mt:only(contenders, version)
	local chosen = setmetatable({}, fleet_mt);
	for _, server in ipairs(self) do
		for _, contender in ipairs(contenders or servers.contenders_and_least) do
			if server.contender == contender and server.version == (version or server.version) then
				chosen[#chosen+1] = server;
			end
		end
	end
	return chosen;
end

-- { ["0.12"] = { ours = ..., upstream = ..., none = ... }, ... }
function fleet_mt:map(f)
	local results = {};
	for _, server in ipairs(self) do
		local of_version = results[server.version] or {};
		results[server.version] = of_version;
		of_version[server.contender] = f(server);
	end
	return results;
end

-- A fault in a measured server makes the numbers worthless.
function fleet_mt:stop()
	for _, server in ipairs(self) do
		local fault = server:faults()[1];
		if fault then
			error(("Prosody %s, %s: %s"):format(server.version, server.contender, fault));
		end
		server:stop();
	end
end

-- Servers with what fires the events, and with the push service that swallows.
function servers.start_with_events(contenders)
	local fleet = servers.start({
		modules = { "bench_events" };
		plugin_paths = { "bench/plugins" };
		community = true;
		components = {};
		config = 'Component "push.test" "bench_sink"';
	}, contenders);
	fleet:each(function (server)
		servers.log_less(server);
		servers.call(server, "init", server.contender);
		while servers.call(server, "create_users") do end
	end);
	return fleet;
end

-- Calls a function of mod_bench_events.
function servers.call(server, name, ...)
	return server:eval([[
		local name = ...;
		return module("home.test", "bench_events").bench[name](select(2, ...));
	]], name, ...);
end

-- As in production; what the harness logs would cost more than what is measured.
function servers.log_less(server)
	server:eval([[
		local config = require "core.configmanager";
		config.set("*", "log", { info = config.get("*", "log").debug });
		require "core.loggingmanager".reload_logging();
	]]);
end

-- The processor time that the server has used, in seconds.
function servers.cpu(server)
	return server:eval("return os.clock()");
end

return servers;
