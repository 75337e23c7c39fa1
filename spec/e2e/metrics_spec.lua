local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local json = require "util.json";
local loop = require "spec.support.loop";
local loopback = require "spec.support.loopback";
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push_service = require "spec.support.push_service";
local socket = require "socket";
local st = require "util.stanza";

local guide = {};
for line in io.lines("docs/admin/metrics.md") do guide[#guide + 1] = line; end
local prefix = table.concat(guide, "\n"):match("Each name begins with `([^`]+)`");
local in_statsd = table.concat(guide, "\n"):match("\n## With StatsD\n.*`…cloud_notify%.([^`]+)`");

-- As the table of the guide has them: metric -> names of its labels
local labels_of = {};
for _, row in ipairs(guide) do
	local name, labels = row:match("^| `([%w_]+)` | ([^|]*)|");
	if name then
		local names = {};
		for label in ("`host`" .. labels:gsub("%b()", "")):gmatch("`(%w+)`") do names[#names + 1] = label; end
		table.sort(names);
		labels_of[name:gsub("_total$", "")] = names;
	end
end

local function sorted_keys(map)
	local keys = {};
	for key in pairs(map) do keys[#keys + 1] = key; end
	table.sort(keys);
	return keys;
end

local function http_get(port, path)
	local response, closed = "", false;
	local connection = assert(loop.connect(port, function (data) response = response .. data; end,
		function () closed = true; end));
	connection:send(("GET %s HTTP/1.1\r\nHost: home.test\r\nConnection: close\r\n\r\n"):format(path));
	loop.wait_for(function () return closed; end, nil, "the response to GET " .. path);
	return tonumber(response:match("^HTTP/1%.1 (%d+)")), response:match("\r\n\r\n(.*)$");
end

-- Lines of the module's metrics: { name, labels, value }
local function parse(text)
	local rows = {};
	for line in text:gmatch("[^\n]+") do
		local name, braces, value = line:match("^" .. prefix .. "([%w_]+){(.-)} (%S+)$");
		if name then
			local labels = {};
			for key, label in braces:gmatch('([%w_]+)="([^"]*)"') do labels[key] = label; end
			rows[#rows + 1] = { name = name; labels = labels; value = assert(tonumber(value)) };
		end
	end
	return rows;
end

-- The name of its family
local function family_of(name)
	for _, suffix in ipairs({ "_total"; "_created"; "_bucket"; "_sum"; "_count" }) do
		local family = name:sub(1, -#suffix - 1);
		if name:sub(-#suffix) == suffix and labels_of[family] then return family; end
	end
	return name;
end

local function describe_all(version)
	local server, push, rosa, room, http_port;

	setup(function ()
		http_port = loopback.free_port();
		server = prosody.start({
			version = version;
			hosts = { "home.test"; "other.test" };
			modules = { "http_openmetrics" };
			components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
			options = {
				statistics = "internal"; statistics_interval = "manual";
				http_ports = { http_port }; http_interfaces = { loopback.address };
				openmetrics_allow_cidr = "127.0.0.0/8";
				push_coalesce_window = 0;
				push_max_failures = 1;
				push_max_per_minute = 0;
				push_retry_max = 3600;
				push_retry_min = 3600;
			};
		});
		push = push_service.connect(server, "push.test", "secret");
		room = push_service.connect(server, "rooms.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		inspect.begin_again(server);
		push.answer = push_service.result;
		push:clear();
	end);

	local function scrape()
		local status, body = http_get(http_port, "/metrics");
		assert.equal(200, status);
		return parse(body), body;
	end

	-- name and labels, but for home.test -> value
	local function values()
		local found = {};
		for _, row in ipairs(scrape()) do
			local key = row.name;
			for _, label in ipairs(sorted_keys(row.labels)) do
				local value = row.labels[label];
				if value ~= "home.test" then key = key .. " " .. value; end
			end
			found[key] = row.value;
		end
		return found;
	end

	-- By how much which counters grow meanwhile
	local function counted(act)
		local before, grown = values(), {};
		act();
		inspect.wait_all_answered(server);
		for key, value in pairs(values()) do
			local growth = value - (before[key] or 0);
			if key:find("_total", 1, true) and growth ~= 0 then grown[key:gsub("_total", "")] = growth; end
		end
		return grown;
	end

	local function greet(phone)
		rosa:message({ to = phone.jid; body = "Hello" });
		rosa:ping();
		push:ping("else@push.test");
		push:ping("else@push.test");
	end

	describe("pushes", function ()
		it("are counted for the archive", function ()
			local phone = phones.away(push);
			assert.same({
				["pushes important push0 archived"] = 1; ["answers none delivered"] = 1;
				["silences already-pushed"] = 1; -- By offline storage
			}, counted(function () greet(phone); end));
		end);

		it("are counted for a hibernated device", function ()
			local phone = phones.hibernated(push);
			local grown = counted(function () greet(phone); end);
			assert.equal(1, grown["pushes important push0 unacked"]);
			assert.equal(1, grown["answers none delivered"]);
			assert.equal(1, grown["silences hibernated"]);
		end);

		it("are counted for a room's message", function ()
			local phone = phones.away(push);
			assert.same({ ["pushes unimportant push0 room"] = 1; ["answers none delivered"] = 1 }, counted(function ()
				room:send(st.message({ type = "groupchat"; from = "team@rooms.test/Rosa"; to = phone.jid; id = "r1" })
					:text_tag("subject", "News"));
				push:wait(1);
			end));
		end);

		it("are counted for whoever asks for one", function ()
			local phone = phones.away(push);
			assert.same({ ["pushes unimportant push0 ping"] = 1; ["answers none delivered"] = 1 }, counted(function ()
				server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], phone.username);
				push:wait(1);
			end));
		end);

		it("are counted for what has waited", function ()
			local phone = phones.away(push);
			push.answer = push_service.error("wait", "remote-server-timeout");
			local grown = counted(function () greet(phone); end);
			assert.equal(1, grown["pushes important push0 archived"]);
			assert.equal(1, grown["answers remote-server-timeout failed"]);
			local found = values();
			assert.equal(1, found["waiting debt"]);
			assert.equal(1, found["open_circuits"]);
			push.answer = push_service.result;
			grown = counted(function ()
				push:ping();
				push:wait(2);
			end);
			assert.same({ ["pushes important push0 waiting"] = 1; ["answers none delivered"] = 1 }, grown);
			found = values();
			assert.equal(0, found["waiting debt"]);
			assert.equal(0, found["open_circuits"]);
		end);

		it("are under way", function ()
			push.answer = push_service.never;
			local phone = phones.away(push);
			greet(phone);
			assert.equal(1, values()["in_flight"]);
			push_service.result(push:wait(1), push);
			inspect.wait_all_answered(server);
			assert.equal(0, values()["in_flight"]);
		end);
	end);

	it("counts silences, with the trail or without it", function ()
		local phone = phones.new(push, { sm = false });
		local online = { ["silences online"] = 1 };
		assert.same(online, counted(function () greet(phone); end));
		assert.is_true(values()["trail_bytes"] > 0);
		server.options.options.push_trace = false;
		server:reconfigure();
		assert.equal(0, values()["trail_bytes"]);
		assert.same(online, counted(function () greet(phone); end));
		server.options.options.push_trace = nil;
		server:reconfigure();
	end);

	it("counts errors by condition", function ()
		for condition, key in pairs({
			["item-not-found"] = "answers item-not-found refused";
			["undefined-condition"] = "answers other refused";
		}) do
			push.answer = push_service.error("cancel", condition);
			local phone = phones.away(push);
			assert.equal(1, counted(function () greet(phone); end)[key]);
		end
		push.answer = function (publish, service)
			service:send(("<iq type='error' from='push.test' to='home.test' id='%s'><error type='cancel'>"
				.. "<user42 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"):format(publish.id));
		end;
		local phone = phones.away(push);
		assert.equal(1, counted(function () greet(phone); end)["answers other refused"]);
	end);

	it("counts what is not answered, and not as a latency", function ()
		local phone = phones.away(push);
		server.options.options.push_answer_timeout = 1;
		server:reconfigure();
		push.answer = push_service.never;
		local before = values()["answer_latency_seconds_count"] or 0;
		assert.equal(1, counted(function () greet(phone); end)["answers no-answer failed"]);
		assert.equal(before, values()["answer_latency_seconds_count"] or 0);
		server.options.options.push_answer_timeout = nil;
		server:reconfigure();
	end);

	it("counts the answer to a push whose registration has ended", function ()
		local phone = phones.new(push, { sm = false });
		phone:cut();
		loop.wait_for(function () return not server:session(phone.full_jid); end, nil, "the session to end");
		push.answer = push_service.never;
		local grown = counted(function ()
			greet(phone);
			local other = client.connect(server, phone.jid);
			devices.disable(other, { jid = "push.test" });
			push_service.result(push:wait(1), push);
		end);
		assert.equal(1, grown["answers none delivered"]);
	end);

	it("has a histogram of latencies", function ()
		local before = values();
		local function growth(name)
			return (values()[name] or 0) - (before[name] or 0);
		end
		push.answer = push_service.late(0.3);
		for _ = 1, 3 do
			rosa:message({ to = phones.away(push).jid; body = "Hello" });
		end
		push:wait(3);
		inspect.wait_all_answered(server);
		assert.equal(3, growth("answer_latency_seconds_count"));
		assert.equal(3, growth("answer_latency_seconds_bucket +Inf"));
		assert.equal(0, growth("answer_latency_seconds_bucket 0.25"));
		assert.equal(3, growth("answer_latency_seconds_bucket 120"));
		assert.is_true(growth("answer_latency_seconds_sum") >= 0.9);
	end);

	it("gives the histogram what is more than a portion of it later", function ()
		inspect.eval(server, [[
			local _, set = upvalue("portion");
			set(2);
		]]);
		local before = values()["answer_latency_seconds_count"] or 0;
		local function growth()
			return values()["answer_latency_seconds_count"] - before;
		end
		for _ = 1, 5 do greet(phones.away(push)); end
		inspect.wait_all_answered(server);
		assert.is_true(growth() < 5);
		loop.wait_for(function () return growth() == 5; end, nil, "all latencies");
	end);

	it("counts registrations in memory by protocol", function ()
		local function in_force(protocol)
			return values()["registrations_in_memory " .. protocol .. " in-force"];
		end
		local push0, with_push2 = in_force("push0"), in_force("push2");
		local phone = phones.away(push);
		phones.new(push, { jid = phone.jid });
		assert.same({ push0 + 2; with_push2 }, { in_force("push0"); in_force("push2") });
		push2.away(push);
		assert.same({ push0 + 2; with_push2 + 1 }, { in_force("push0"); in_force("push2") });
	end);

	it("shows all rules, reasons and causes from the beginning", function ()
		local found = values();
		for _, key in ipairs({
			"pushes_total important push0 unacked"; "silences_total vetoed"; "holds_total rate";
			"pushes_total other.test urgent push0 offline"; "silences_total other.test online"; "waiting room";
		}) do
			assert.is_number(found[key], key);
		end
	end);

	it("neither loses nor repeats anything when it is reloaded or loaded again", function ()
		local phone = phones.away(push);
		local all = {
			["pushes important push0 archived"] = 3; ["answers none delivered"] = 3; ["silences already-pushed"] = 3;
		};
		local before = values()["answer_latency_seconds_count"] or 0;
		assert.same(all, counted(function ()
			greet(phone);
			server:reload_module("cloud_notify", "home.test");
			greet(phone);
			values();
			server:reload_module("cloud_notify", "home.test");
			values();
			greet(phone);
			server:unload_module("cloud_notify", "home.test");
			server:load_module("cloud_notify", "home.test");
		end));
		assert.equal(3, values()["answer_latency_seconds_count"] - before);
	end);

	it("counts hosts apart", function ()
		local phone = phones.away(push, { host = "other.test" });
		assert.same({
			["pushes other.test important push0 archived"] = 1; ["answers none other.test delivered"] = 1;
			["silences other.test already-pushed"] = 1;
		}, counted(function ()
			greet(phone);
			push:wait(1);
			loop.wait_for(function () return values()["in_flight other.test"] == 0; end, nil, "the answer");
		end));
	end);

	it("has labels with few values, and none of a user, a node or a JID", function ()
		local _, text = scrape();
		local count, hosts = 0, { ["home.test"] = true; ["other.test"] = true };
		for _, row in ipairs(parse(text)) do
			local family = family_of(row.name);
			local labels = {};
			for key, value in pairs(row.labels) do
				assert.is_true(key == "host" and hosts[value] or key == "le" or value:find("^[a-z0-9-]+$") ~= nil, value);
				if key ~= "le" then labels[#labels + 1] = key; end
			end
			table.sort(labels);
			assert.same(labels_of[family], labels, row.name);
			count = count + 1;
		end
		assert.is_true(count < 2 * 400, count);
		local own, series = {}, {};
		for line in text:gmatch("[^\n]+") do
			if line:find(prefix, 1, true) and line:sub(1, 1) ~= "#" then
				own[#own + 1] = line;
				local one = line:match("^(.*) ");
				assert.is_nil(series[one], one);
				series[one] = true;
			end
		end
		own = table.concat(own, "\n");
		for _, pattern in ipairs({ "user%d"; "phone%d"; "push%.test"; "rooms%.test"; "@"; "[Rr]osa" }) do
			assert.is_nil(own:match("[^\n]*" .. pattern .. "[^\n]*"));
		end
	end);

	describe("the dashboard", function ()
		local file = assert(io.open("contrib/grafana-dashboard.json"));
		local dashboard = assert(json.decode(file:read("*a")));
		file:close();

		local function queries()
			local all = {};
			for _, panel in ipairs(dashboard.panels) do
				for _, target in ipairs(panel.targets) do all[#all + 1] = target.expr; end
			end
			return all;
		end

		-- Names that exist, each with the values that its labels have
		local function existing()
			local names = {};
			for _, row in ipairs(scrape()) do
				local labels = names[row.name] or {};
				names[row.name] = labels;
				for key, value in pairs(row.labels) do
					labels[key] = labels[key] or {};
					labels[key][value] = true;
				end
			end
			return names;
		end

		it("asks for what there is", function ()
			greet(phones.away(push));
			push.answer = push_service.error("wait", "resource-constraint");
			greet(phones.away(push));
			inspect.wait_all_answered(server);
			local names, used = existing(), {};
			for _, query in ipairs(queries()) do
				local selectors = 0;
				for name, matchers in query:gmatch(prefix .. "([%w_]+)(%b{})") do
					selectors = selectors + 1;
					local labels = assert(names[name], "there is no metric " .. name);
					used[family_of(name)] = true;
					for key, operator, value in matchers:gmatch('(%w+)([=!~]+)"([^"]*)"') do
						assert(labels[key], name .. " has no label " .. key);
						assert(value == "$host" or labels[key][value], name .. " is never " .. key .. operator .. value);
					end
					for group in query:gmatch("by %(([^)]*)%)") do
						for key in group:gmatch("[%w_]+") do assert(labels[key], name .. " has no label " .. key); end
					end
				end
				assert.equal(select(2, query:gsub("prosody_", "")), selectors, query);
				assert.is_true(selectors > 0, query);
			end
			used.trail_bytes = true; -- That is for whoever looks for memory
			assert.same(sorted_keys(labels_of), sorted_keys(used));
		end);

		it("has its source of data and the host as variables", function ()
			local variables = {};
			for _, variable in ipairs(dashboard.templating.list) do variables[variable.name] = variable; end
			assert.equal("prometheus", variables.datasource.query);
			local name, label = variables.host.query.query:match("^label_values%(" .. prefix .. "([%w_]+), (%w+)%)$");
			assert(existing()[name][label]);
			for _, panel in ipairs(dashboard.panels) do
				assert.equal("${datasource}", panel.datasource.uid);
				for _, target in ipairs(panel.targets) do
					assert.equal("${datasource}", target.datasource.uid);
					assert(target.expr:find('host=~"$host"', 1, true), target.expr);
				end
			end
		end);
	end);

	it("does nothing where there are no statistics", function ()
		local silent = prosody.start({ version = version });
		local service = push_service.connect(silent, "push.test", "secret");
		local sender = client.connect(silent, devices.new_user(silent));
		sender:message({ to = phones.away(service).jid; body = "Hello" });
		service:wait(1);
		inspect.wait_all_answered(silent);
		local counted_pushes = 0;
		for _, row in ipairs(inspect.engine(silent, "counts")) do
			if row[1] == "pushes" then counted_pushes = counted_pushes + row[2]; end
		end
		assert.equal(1, counted_pushes); -- Nobody has fetched it
		silent:stop();
		assert.same({}, silent:faults());
	end);

	it("can be read by statsd", function ()
		local receiver = assert(socket.udp());
		assert(receiver:setsockname(loopback.address, 0));
		receiver:settimeout(10);
		local _, port = receiver:getsockname();
		local other = prosody.start({ version = version; options = {
			statistics = "statsd"; statistics_interval = "manual";
			statistics_config = { statsd_server = loopback.address; statsd_port = tonumber(port) };
		} });
		local service = push_service.connect(other, "push.test", "secret");
		local sender = client.connect(other, devices.new_user(other));
		sender:message({ to = phones.away(service).jid; body = "Hello" });
		service:wait(1);
		inspect.wait_all_answered(other);
		other:eval([[require "core.statsmanager".collect();]]);
		local seen = {};
		local wanted = {
			in_statsd:gsub("example_org", "home_test") .. ":1|c";
			"answers.home_test.delivered.none:1|c";
			"answer_latency_seconds.home_test.bucket.120:1|c";
			"registrations_in_memory.home_test.push0.in-force:1|g";
		};
		local function has_all()
			for _, line in ipairs(wanted) do
				if not seen[line] then return false; end
			end
			return true;
		end
		while not has_all() do
			local line = assert(receiver:receive());
			local own = line:match("^prosody%.prosody_mod_cloud_notify%.(.*)$");
			if own then
				assert.is_truthy(own:find("^[%w_.+-]+:[%d.e-]+|[cg]$"), own);
				seen[own] = true;
			end
		end
		receiver:close();
		other:stop();
		assert.same({}, other:faults());
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("metrics of Prosody " .. version, function () describe_all(version); end);
end
