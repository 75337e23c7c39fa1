-- lua5.4 bench/fairness.lua [VERSION]: how long it takes from a message to the push for it at the push service, with
-- and without devices for which that service has errors, or no answer; and what one more push, and a second in
-- which nothing happens, cost with and without pushes that nobody answers.

package.path = "./?.lua;" .. package.path;

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";
local quantile = require "bench.statistics".quantile;

local version = arg[1] or "0.12";
local samples = 400;
local good_users = 50;
local crowds = { { 0, 0 }; { 1, 1 }; { 1, 5 }; { 1, 100 }; { 100, 1 } };
local outstanding = { 0; 65536 };

local kinds = {
	{ "bad-request, wait", push_service.error("wait", "bad-request") };
	{ "recipient-unavailable, wait", push_service.error("wait", "recipient-unavailable") };
	{ "resource-constraint, wait", push_service.error("wait", "resource-constraint") };
	{ "internal-server-error", push_service.error("wait", "internal-server-error") };
	{ "no answer", push_service.never };
};

local function new_users(server, prefix, count, devices_each, service)
	return server:eval([[
		local prefix, count, devices, service = ...;
		local store = require "core.storagemanager".open("home.test", "cloud_notify");
		local names = {};
		for i = 1, count do
			local name, records = ("%s-%d"):format(prefix, i), {};
			for j = 1, devices do
				local jid, node = service:gsub("%%d", i), ("%s-%d"):format(name, j);
				records[jid .. "<" .. node] = { jid = jid; node = node; timestamp = os.time(); sequence = j; resource = node };
			end
			assert(require "core.usermanager".create_user(name, "secret", "home.test"));
			assert(store:set(name, records));
			names[i] = name;
		end
		return names;
	]], prefix, count, devices_each, service or "push.test");
end

local function start(options)
	options.push_max_devices = 200;
	local server = prosody.start({
		version = version; options = options; config = [[Component "local.test" "spec_push_service"]];
	});
	local push = push_service.connect(server, "push.test", "secret");
	return server, push, client.connect(server, devices.new_user(server));
end

local function latency(kind, crowd)
	local server, push, rosa = start({ push_answer_timeout = 2 });
	local bad = new_users(server, "bad", crowd[1], crowd[2]);
	local good = new_users(server, "good", good_users, 1);
	local arrived;
	push.answer = function (publish, service)
		if publish.node:find("^good") then
			arrived = publish.at;
			push_service.result(publish, service);
		elseif kind then
			kind[2](publish, service);
		end
	end;
	local times = {};
	for i = 1, samples do
		-- The bad ones get a message now and then, too, and their own attempts go on.
		if i % 50 == 1 then
			for _, name in ipairs(bad) do rosa:message({ to = name .. "@home.test"; body = "Hello" }); end
			rosa:ping();
			push:ping("somebody@push.test");
		end
		arrived = nil;
		local sent = loop.now();
		rosa:message({ to = good[i % #good + 1] .. "@home.test"; body = "Hello" });
		loop.wait_for(function () return arrived; end, 60, "a push");
		times[i] = (arrived - sent) * 1000;
	end
	server:stop();
	return times;
end

local function report(name, times)
	print(("%-50s p50 %6.2f ms  p99 %6.2f ms  longest %7.2f ms"):format(
		name, quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1)));
end

report("without bad devices", latency(nil, crowds[1]));
for _, kind in ipairs(kinds) do
	for i = 2, #crowds do
		report(("%s: %d of each of %d users"):format(kind[1], crowds[i][2], crowds[i][1]), latency(kind, crowds[i]));
	end
end

for _, count in ipairs(outstanding) do
	local server = start({ push_answer_timeout = 3600; push_max_per_minute = 0 });
	local crowd = new_users(server, "crowd", count // 256, 1, "local.test/x%d");
	local good = new_users(server, "good", 1000, 1, "local.test");
	server:eval([[
		module("local.test", "spec_push_service"):shared("answer").never = true;
		rawset(_G, "spec_archive", function (user, count)
			local events = hosts["home.test"].events;
			local start = os.clock();
			for i = 1, count do
				events.fire_event("archive-message-added", {
					origin = hosts["home.test"]; for_user = user; id = user .. i;
					stanza = st.message({
						type = "chat"; from = "bert@away.test/pc"; to = user .. "@home.test"; id = "m" .. i;
					}, "Hello");
				});
			end
			return os.clock() - start;
		end);
	]]);
	for _, name in ipairs(crowd) do server:eval([[spec_archive(..., 256);]], name); end
	assert(inspect.in_flight(server) == count);
	inspect.eval(server, [[for _, name in ipairs(...) do upvalue("load_records")(name); end]], good);
	server:heap(); -- Collects
	local cost = server:eval([[
		local cost = 0;
		for _, name in ipairs(...) do cost = cost + spec_archive(name, 1); end
		return cost;
	]], good);
	local before = server:eval([[return os.clock();]]);
	loop.settle(5);
	local idle = server:eval([[return os.clock();]]) - before;
	print(("%d pushes without an answer: %.1f µs for one more, %.2f ms of processor time in an idle second"):format(
		count, cost / #good * 1e6, idle / 5 * 1e3));
	server:stop();
end
os.exit(0, true);
