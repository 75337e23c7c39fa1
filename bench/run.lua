-- make bench: what this module costs, beside upstream's, none at all, and the least that could do it, in real servers.
-- QUICK=1: the same with fewer repetitions, in about three minutes.
--
-- Fails where memory grows; never because of a time, which depends on the machine.

package.path = "./?.lua;" .. package.path;

local events = require "bench.events";
local growth = require "bench.growth";
local lfs = require "lfs";
local outside = require "bench.outside";
local report = require "bench.report";
local servers = require "bench.servers";
local monotonic = require "util.time".monotonic;

local begin = monotonic();

local quick = (os.getenv("QUICK") or "") ~= "";

-- Numbers of a quick run are not for publication
local directory = quick and "build/bench" or "docs/performance";

local options = quick and {
	quick = true;
	rounds = 2; scale = 0.2;
	pushes = 2000; users = 2; warm = 6000; registered = 500; requests = { "enable_plain" };
	outstanding = 1000; segment = 500;
	segments = 2; segment_seconds = 3; load = 0.15;
} or {
	quick = false;
	rounds = 9; scale = 1;
	pushes = 20000; users = 8; warm = 20000; registered = 10000; requests = { "enable_plain", "enable" };
	outstanding = 30000; segment = 2500;
	segments = 6; segment_seconds = 8; load = 0.3;
};

local function step(title)
	io.stderr:write(("%4.0f s  %s\n"):format(monotonic() - begin, title));
end

local function machine()
	local processor = "unknown";
	for line in io.lines("/proc/cpuinfo") do
		processor = line:match("^model name%s*:%s*(.*)") or processor;
	end
	return processor;
end

local results = { quick = quick; date = os.date("!%Y-%m-%d"); processor = machine() };

local fleet = quick and servers.start_with_events(servers.contenders_and_least);

local function start()
	return quick and fleet:only({ "ours", "none" }) or servers.start_with_events();
end

local function stop(growing)
	if not quick then growing:stop(); end
end

step("growth");
results.growth = growth.run(start, stop, options);
step("registered users");
results.registered = growth.registered(start, stop, options);
fleet = fleet or servers.start_with_events(servers.contenders_and_least);
step("events");
results.events = events.run(fleet, events.rows, options);
step("extensions");
results.extensions = events.run(fleet, events.extension_rows, options);
step("Push 2.0");
results.push2 = events.run_push2(fleet, events.push2_rows, options);
step("cost of a push, after many");
results.outstanding = growth.outstanding(fleet:only(servers.contenders), options);
fleet:stop();

step("whole servers");
results.outside = outside.run(options);

report.print(results);
lfs.mkdir((directory:match("^[^/]+")));
lfs.mkdir(directory);
report.write(results, directory);

local failed = false;
for _, result in ipairs(results.growth) do
	if result.grows then
		print(("\nProsody %s: memory grows with each %s"):format(result.version, result.title));
		failed = true;
	end
end
os.exit(not failed, true);
