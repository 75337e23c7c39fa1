-- A server with a day's work in a few minutes, and what Prometheus makes of its metrics: the queries of the dashboard
-- in contrib, as Grafana would ask them.

require "spec.support.init";

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local files = require "spec.support.files";
local http = require "socket.http";
local json = require "util.json";
local loop = require "spec.support.loop";
local loopback = require "spec.support.loopback";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local process = require "spec.support.process";
local prosody = require "spec.support.prosody";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local urlencode = require "util.http".urlencode;

local host = "example.org";
local minutes = 6;
local scrape_interval, step = 2, 4;
-- $__rate_interval
local rate_interval = ("%ds"):format(math.max(step + scrape_interval, 4 * scrape_interval));

local options = {
	openmetrics_allow_cidr = "127.0.0.0/8";
	push_answer_timeout = 8;
	push_max_per_minute = 30;
	push_retry_max = 8;
	push_retry_min = 2;
	statistics = "internal";
	statistics_interval = "manual";
};

local dashboard = {};

local function start_prometheus(directory, target)
	local address = ("%s:%d"):format(loopback.address, loopback.free_port());
	local file = assert(io.open(directory .. "/prometheus.yml", "w"));
	file:write(([[
global: { scrape_interval: %ds, scrape_timeout: %ds }
scrape_configs:
  - job_name: prosody
    static_configs: [{ targets: ["%s"] }]
]]):format(scrape_interval, scrape_interval, target));
	file:close();
	local running = process.spawn({
		"build/debian/prometheus/usr/bin/prometheus"; "--config.file=" .. directory .. "/prometheus.yml";
		"--storage.tsdb.path=" .. directory .. "/prometheus"; "--web.listen-address=" .. address; "--log.level=warn";
	}, directory .. "/prometheus.log");
	return running, "http://" .. address;
end

-- What a query of a panel gives: for each series its values, a step apart. Where there is none (NaN) there is a gap.
local function ask(prometheus, target, from, seconds)
	local query = target.expr:gsub("%$host", ".*"):gsub("%$__rate_interval", rate_interval);
	local answer, status = http.request(("%s/api/v1/query_range?query=%s&start=%d&end=%d&step=%d")
		:format(prometheus, urlencode(query), from, from + seconds, step));
	assert(status == 200, answer);
	local series = {};
	for i, result in ipairs(json.decode(answer).data.result) do
		local name = target.legendFormat:gsub("{{(%w+)}}", result.metric);
		local values = {};
		for place = 1, seconds / step + 1 do values[place] = json.null; end
		for _, point in ipairs(result.values) do
			local value = tonumber(point[2]);
			if value then values[(point[1] - from) / step + 1] = tonumber(("%.4g"):format(value)); end
		end
		series[i] = { name = name; values = values };
	end
	table.sort(series, function (a, b) return a.name < b.name; end);
	return { expr = target.expr; series = series };
end

-- Whether that is a time from one minute to another of those that have passed
local function between(began, from, to)
	local now = (loop.now() - began) / 60;
	return now >= from and now < to;
end

local function wait_a_little(least, most)
	return push_service.late(least + (most - least) * math.random());
end

-- Who there is: devices of all kinds, each of a user of its own
local function populate(server, services)
	local all = {};
	local function add(count, make, service, options_of)
		for _ = 1, count do all[#all + 1] = make(service, options_of or { host = host }); end
	end
	add(18, phones.away, services.org);
	add(8, phones.away, services.net);
	add(6, phones.hibernated, services.org);
	add(6, phones.new, services.org);
	add(5, push2.away, services.gw, { host = host; matches = { { profile = "all"; keys = false } } });
	local senders = {};
	for i = 1, 3 do senders[i] = client.connect(server, devices.new_user(server, host)); end
	return all, senders;
end

local function write(all, senders)
	local sender, receiver = senders[math.random(#senders)], all[math.random(#all)];
	local chance = math.random();
	if chance < 0.04 then
		sender:message({ to = receiver.jid; payloads.propose() });
	elseif chance < 0.3 then
		sender:message({ to = receiver.full_jid; payloads.composing() });
	else
		sender:message({ to = receiver.jid; id = ("m%d"):format(math.random(1e9)); body = "Hello" });
	end
end

-- Minute 2: one service is gone. Minute 3: somebody is flooded. Minute 4: the other service is slow and busy.
local function live(services, all, senders)
	local began = loop.now();
	local gone = all[1].node;
	services.org.answer = function (publish, service)
		local answer = wait_a_little(0.02, 0.15);
		if publish.node == gone then
			answer = push_service.error("cancel", "item-not-found");
		elseif between(began, 4, 4.8) then
			local chance = math.random();
			answer = chance < 0.1 and push_service.never or chance < 0.4 and push_service.error("wait", "resource-constraint")
				or wait_a_little(0.5, 3);
		end
		answer(publish, service);
	end
	services.net.answer = function (publish, service) wait_a_little(0.1, 0.4)(publish, service); end
	local is_gone = false;
	repeat
		local outage = between(began, 2, 2.7);
		if outage ~= is_gone then
			is_gone = outage;
			services.net[outage and "disconnect" or "reconnect"](services.net);
		end
		write(all, senders);
		if between(began, 3, 3.5) then
			senders[1]:message({ to = all[2].jid; id = ("f%d"):format(math.random(1e9)); body = "Flood" });
		end
		loop.settle(0.05 + 0.15 * math.random());
	until not between(began, 0, minutes);
end

-- The dashboard's panels by id, each with the answers to its queries
function dashboard.play()
	math.randomseed(357);
	local http_port = loopback.free_port();
	options.http_ports, options.http_interfaces = { http_port }, { loopback.address };
	local server = prosody.start({
		hosts = { host }; modules = { "http_openmetrics" }; options = options;
		components = { ["push.example.org"] = "secret"; ["push.example.net"] = "secret"; ["gw.example.org"] = "secret" };
	});
	local services = {
		org = push_service.connect(server, "push.example.org", "secret");
		net = push_service.connect(server, "push.example.net", "secret");
		gw = push2_service.connect(server, "gw.example.org", "secret");
	};
	local all, senders = populate(server, services);
	local prometheus, url = start_prometheus(server.directory, ("%s:%d"):format(loopback.address, http_port));
	loop.settle(5 * scrape_interval);
	local from = os.time();
	live(services, all, senders);
	local panels = {};
	for _, panel in ipairs(json.decode(files.read("contrib/grafana-dashboard.json")).panels) do
		local answers = {};
		for i, target in ipairs(panel.targets) do answers[i] = ask(url, target, from, 60 * minutes); end
		panels[tostring(panel.id)] = answers;
	end
	prometheus:terminate();
	server:stop();
	return { from = from; step = step; panels = panels };
end

return dashboard;
