-- Whole servers under real client connections at a fixed rate: what the module adds to the
-- cost of a message, and how long a push takes.

local client = require "spec.support.client";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";
local servers = require "bench.servers";
local st = require "util.stanza";
local statistics = require "bench.statistics";

local outside = {};

outside.added_target = 0.55;
outside.hibernated_target = 0.020; -- seconds

local tick = 0.005;

-- How many users, and the seconds between two messages to one of them
local groups = {
	{ name = "live"; users = 10; interval = 0.25 };
	{ name = "offline"; users = 40; interval = 1 };
	{ name = "hibernated"; users = 40; interval = 2 };
};

local encrypted = st.stanza("encrypted", { xmlns = "eu.siacs.conversations.axolotl" })
	:tag("header", { sid = "1186246410" });
for rid = 1, 6 do
	encrypted:text_tag("key", ("x7Q/kZ2mB9+dLw4RtY"):rep(6), { rid = ("%d"):format(rid) });
end
encrypted:text_tag("iv", "x7Q/kZ2mB9+dLw4R"):up():text_tag("payload", ("x7Q/kZ2mB9+dLw4RtY"):rep(10));

local extras = {
	st.stanza("markable", { xmlns = "urn:xmpp:chat-markers:0" });
	st.stanza("request", { xmlns = "urn:xmpp:receipts" });
	st.stanza("active", { xmlns = "http://jabber.org/protocol/chatstates" });
};

-- Every other message is encrypted
local function send_message(sender, to, number)
	local message = { to = to; body = "Are you coming to the orchard tonight? Bring the good lamp." };
	if number % 2 == 0 then message[1] = encrypted; end
	for _, extra in ipairs(extras) do message[#message+1] = extra; end
	sender:message(message);
end

local function set_up(server, scale)
	servers.log_less(server);
	local load = { server = server; receivers = {}; asked = {}; latencies = {}; sent = 0; acks = {} };
	load.service = push_service.connect(server, "push.test", "secret");
	load.service.answer = function (publish, service)
		service:send(st.reply(publish.stanza));
		local asked = load.asked[publish.node];
		if not asked or not asked[1] then return; end
		local latencies = load.latencies[asked.group];
		latencies[#latencies+1] = publish.at - table.remove(asked, 1);
		service.received = {};
	end
	server:add_user("romeo", "secret", "home.test");
	load.sender = client.connect(server, "romeo@home.test");
	for _, group in ipairs(groups) do
		load.latencies[group.name] = {};
		local users = math.ceil(group.users * scale);
		for i = 1, users do
			-- Not all at the same moment: a burst would measure its own length
			local name = group.name .. i;
			server:add_user(name, "secret", "home.test");
			local receiver = client.connect(server, name .. "@home.test", { sm = "resume" });
			receiver:enable_push({ jid = "push.test"; node = name });
			if group.name == "offline" then
				receiver:close();
			elseif group.name == "hibernated" then
				receiver:cut();
			end
			load.asked[name] = { group = group.name };
			load.receivers[#load.receivers+1] = {
				client = receiver; name = name; interval = group.interval; due = math.random() * group.interval;
			};
		end
	end
	return load;
end

local function send_due(load, time)
	for _, receiver in ipairs(load.receivers) do
		if receiver.due <= time then
			receiver.due = receiver.due + receiver.interval;
			load.sent = load.sent + 1;
			table.insert(load.asked[receiver.name], loop.now());
			send_message(load.sender, receiver.name .. "@home.test", load.sent);
			receiver.client.received, receiver.client.inbox = {}, {};
		end
	end
end

local function run_segment(loads, from, seconds)
	local begin = loop.now();
	local before = {};
	for _, load in ipairs(loads) do before[load] = { cpu = servers.cpu(load.server); sent = load.sent }; end
	while loop.now() - begin < seconds do
		for _, load in ipairs(loads) do send_due(load, from + loop.now() - begin); end
		loop.settle(tick);
	end
	loop.settle(1.2); -- upstream's timer
	for _, load in ipairs(loads) do
		load.sender:ping();
		local sent = load.sent - before[load].sent;
		table.insert(load.costs, (servers.cpu(load.server) - before[load].cpu) / sent * 1e6);
	end
end

local function quantiles(values)
	return {
		count = #values;
		p50 = statistics.quantile(values, 0.50);
		p95 = statistics.quantile(values, 0.95);
		p99 = statistics.quantile(values, 0.99);
	};
end

-- options: segments, segment_seconds, load (scale of the number of users)
local function run(versions, options)
	-- Storing the messages would cost far more than what is measured
	local fleet = servers.start({
		options = {
			storage = { archive = "memory" };
			modules_disabled = { "offline"; "s2s"; "s2s_auth_certs" };
		};
	}, nil, versions);
	local loads = {};
	fleet:each(function (server)
		local load = set_up(server, options.load);
		load.costs = {};
		loads[#loads+1] = load;
		loads[server] = load;
	end);
	-- The first one fills caches, and offline messages
	for segment = 0, options.segments do
		run_segment(loads, segment * options.segment_seconds, options.segment_seconds);
		if segment == 0 then
			for _, load in ipairs(loads) do
				load.costs = {};
				for _, group in ipairs(groups) do load.latencies[group.name] = {}; end
			end
		end
	end
	local rate = loads[1].sent / ((options.segments + 1) * options.segment_seconds);
	local results = {};
	for version, contenders in pairs(fleet:map(function (server) return loads[server]; end)) do
		local result = { version = version; rate = rate; target = outside.added_target;
			latency_target = outside.hibernated_target };
		for name, load in pairs(contenders) do
			result[name] = {
				us = statistics.median(load.costs);
				costs = load.costs;
				offline = quantiles(load.latencies.offline);
				hibernated = quantiles(load.latencies.hibernated);
			};
		end
		local added = {};
		for _, name in ipairs({ "ours", "upstream" }) do
			added[name] = {};
			for i, cost in ipairs(contenders[name].costs) do
				added[name][i] = cost - contenders.none.costs[i];
			end
			result[name].added = statistics.median(added[name]);
		end
		result.ratio = statistics.ratio(added.ours, added.upstream);
		results[#results+1] = result;
	end
	fleet:stop();
	return results;
end

-- One version after the other, unless there is no time for that: on a busy machine the push
-- waits for the processor.
function outside.run(options)
	if options.quick then return run(nil, options); end
	local results = {};
	for _, version in ipairs(servers.versions) do
		table.move(run({ version }, options), 1, 1, #results + 1, results);
	end
	return results;
end

return outside;
