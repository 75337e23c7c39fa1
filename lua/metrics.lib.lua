-- What is counted, for Prosody's statistics

local native = module.lib "native";
local util = module.lib "util";
local copy, guarded = util.copy, util.guarded;
local engine = module.lib "engine".engine;
local count_registrations = module.lib "registrations".count;

local ipairs, pairs = ipairs, pairs;
local unpack = table.unpack;

-- The histogram takes them one by one, so that many are given to it in portions: the server need not stand still
local portion, pause = 1000, 0.1;
local most = 100000; -- when there is no other chance

-- Values of labels stand in names of statsd, which have no dots and colons
local function metric(kind, name, unit, description, ...)
	local buckets = copy(native.latency_bounds); -- It is changed there
	return module:metric(kind, name, unit, description, { ... }, { buckets = buckets });
end

local counters = {
	pushes = metric("counter", "pushes", "", "Pushes that were decided on",
		"protocol", "rule", "importance");
	silences = metric("counter", "silences", "", "Stanzas without a push, and waits that ended without one",
		"reason");
	holds = metric("counter", "holds", "", "Stanzas that had to wait for their push, and turns that had to wait again",
		"cause");
	answers = metric("counter", "answers", "", "Pushes that are over",
		"outcome", "condition");
};

local gauges = {
	in_flight = metric("gauge", "in_flight", "", "Pushes that wait for an answer");
	waiting = metric("gauge", "waiting", "", "Devices that something waits for; with cause debt, they are owed a push",
		"cause");
	open_circuits = metric("gauge", "open_circuits", "", "Push services that are left alone because they failed");
	trail = metric("gauge", "trail", "bytes", "Memory for what is remembered of decisions and answers");
};

local registrations = metric("gauge", "registrations_in_memory", "",
	"Registrations of the users who were active last, at most 10000 users", "protocol", "state");

local latency = metric("histogram", "answer_latency", "seconds", "How long push services took to answer"):with_labels();

local is_first = true;
local next_portion;

local function sample_latencies(max)
	local latencies, is_more = engine:latencies(max);
	for _, one in ipairs(latencies) do
		for _ = 1, one[2] do latency:sample(one[1]); end
	end
	return is_more;
end

local function sample_portions()
	local is_more = sample_latencies(portion);
	next_portion = is_more and module:add_timer(pause, guarded(sample_portions)) or nil;
end

-- By what the engine has counted since the last time, whoever has asked then: nothing is lost or counted twice over a
-- reload
local function update_counters()
	for _, row in ipairs(engine:counts(is_first)) do
		counters[row[1]]:with_labels(unpack(row, 3)):add(row[2]);
	end
	is_first = false;
end

local function update()
	update_counters();
	for _, row in ipairs(engine:gauges()) do
		gauges[row[1]]:with_labels(unpack(row, 3)):set(row[2]);
	end
	for protocol, states in pairs(count_registrations()) do
		for state, count in pairs(states) do registrations:with_labels(protocol, state):set(count); end
	end
	if not next_portion then sample_portions(); end
end

-- Before the engine is closed
local function flush()
	update_counters();
	sample_latencies(most);
end

return {
	version = "@VERSION@";
	update = update;
	flush = flush;
};
