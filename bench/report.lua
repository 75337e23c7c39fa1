-- The table that is printed, and the JSON file.

require "spec.support.init";

local json = require "util.json";

local report = {};

local lines = {};

local function line(...)
	local text = (...):format(select(2, ...));
	print(text);
	lines[#lines+1] = text;
end

local function number(value)
	if not value or value ~= value then return "-"; end
	return (value >= 1000 and "%.0f" or value >= 10 and "%.1f" or "%.2f"):format(value);
end

local function ratio(value)
	return value and value == value and math.abs(value) ~= math.huge and ("%.2f"):format(value) or "-";
end

local function verdict(value, target)
	if not target then return ""; end
	return ("<= %.2f %s"):format(target, value <= target and "ok" or "OVER");
end

local function by_version(results)
	local sorted, versions = {}, {};
	for _, result in ipairs(results) do
		if not sorted[result.version] then
			sorted[result.version] = {};
			versions[#versions+1] = result.version;
		end
		table.insert(sorted[result.version], result);
	end
	table.sort(versions);
	local i = 0;
	return function ()
		i = i + 1;
		return versions[i], sorted[versions[i]];
	end
end

local function print_events(results)
	for version, rows in by_version(results) do
		line("\nProsody %s: microseconds of processor time per event, the collector's included", version);
		line("%-42s %9s %9s %7s  %5s %-12s %-13s %11s  %9s %5s %5s",
			"", "ours", "upstream", "none", "ratio", "(quartiles)", "target", "pushes", "least Lua", "ratio", "");
		for _, row in ipairs(rows) do
			local least = row.least or {};
			line("%-42s %9s %9s %7s  %5s %-12s %-13s %5s %5s  %9s %5s %5s", row.title,
				number(row.ours.us), number(row.upstream.us), number(row.none.us), ratio(row.ratio.median),
				("%.2f-%.2f"):format(row.ratio.q1, row.ratio.q3), verdict(row.ratio.median, row.target),
				number(row.ours.pushes), number(row.upstream.pushes),
				number(least.us), ratio(row.least and row.ours.us / least.us), number(least.pushes));
		end
		line("\nProsody %s: bytes of garbage per event, and microseconds with the collector stopped", version);
		line("%-42s %9s %9s  %5s %-13s %9s %9s  %5s  %9s %5s %9s %5s", "", "ours", "upstream", "ratio", "target",
			"ours", "upstream", "ratio", "least Lua", "ratio", "least Lua", "ratio");
		for _, row in ipairs(rows) do
			local least = row.least or {};
			line("%-42s %9.0f %9.0f  %5s %-13s %9s %9s  %5s  %9s %5s %9s %5s", row.title, row.ours.bytes, row.upstream.bytes,
				ratio(row.bytes_ratio), row.bytes_target and verdict(row.bytes_ratio, row.bytes_target) or "",
				number(row.ours.bare_us), number(row.upstream.bare_us), ratio(row.ours.bare_us / row.upstream.bare_us),
				row.least and ("%.0f"):format(least.bytes) or "-", ratio(row.least_bytes_ratio),
				number(least.bare_us), ratio(row.least and row.ours.bare_us / least.bare_us));
		end
		for _, row in ipairs(rows) do
			if row.without_least then line("%s: the least Lua %s", row.title, row.without_least); end
		end
	end
end

local function print_extensions(results)
	for version, rows in by_version(results) do
		line("\nProsody %s, extensions: microseconds of processor time and bytes of garbage per event", version);
		line("%-52s %9s %9s  %5s %-12s %-13s %11s  %9s %9s %5s",
			"", "ours", "upstream", "ratio", "(quartiles)", "target", "pushes", "bytes", "upstream", "ratio");
		for _, row in ipairs(rows) do
			line("%-52s %9s %9s  %5s %-12s %-13s %5s %5s  %9.0f %9.0f %5s", row.title,
				number(row.ours.us), number(row.upstream.us), ratio(row.ratio.median),
				("%.2f-%.2f"):format(row.ratio.q1, row.ratio.q3), verdict(row.ratio.median, row.target),
				number(row.ours.pushes), number(row.upstream.pushes),
				row.ours.bytes, row.upstream.bytes, ratio(row.bytes_ratio));
		end
	end
end

local function print_push2(results)
	for version, rows in by_version(results) do
		line("\nProsody %s, Push 2.0: microseconds per event, beside an XEP-0357 push; the same with the collector stopped; "
			.. "bytes of garbage", version);
		line("%-42s %9s %9s  %5s %-12s %-13s %7s  %9s %9s %5s  %9s %9s", "", "push2", "push", "ratio", "(quartiles)",
			"target", "pushes", "push2", "push", "ratio", "push2", "push");
		for _, row in ipairs(rows) do
			local push2, push = row.push2, row.push;
			line("%-42s %9s %9s  %5s %-12s %-13s %7s  %9s %9s %5s  %9.0f %9.0f", row.title,
				number(push2.us), number(push.us), ratio(row.ratio.median),
				("%.2f-%.2f"):format(row.ratio.q1, row.ratio.q3), verdict(row.ratio.median, row.target),
				number(push2.pushes), number(push2.bare_us), number(push.bare_us), ratio(row.bare_ratio),
				push2.bytes, push.bytes);
		end
	end
end

local function print_growth(results)
	for version, rows in by_version(results) do
		line("\nProsody %s: growth in bytes (heap and RSS)", version);
		line("%-42s %15s %15s", "", "ours", "upstream");
		for _, row in ipairs(rows) do
			local upstream = row.upstream or {};
			line("%-42s %7.1f %7.1f %7s %7s  %s", ("per %s, of %d"):format(row.title, row.count),
				row.ours.heap, row.ours.rss, number(upstream.heap), number(upstream.rss), row.grows and "GROWS" or "none");
		end
	end
end

local function print_registered(results)
	for version, rows in by_version(results) do
		line("\nProsody %s: bytes per registered user (heap and RSS)", version);
		line("%-42s %15s %15s", "", "ours", "upstream");
		for _, row in ipairs(rows) do
			local upstream = row.upstream or {};
			line("%-42s %7.0f %7.0f %7s %7s  %s",
				("%d users, with%s publish options"):format(row.count, row.publish_options and "" or "out"),
				row.ours.heap, row.ours.rss, number(upstream.heap), number(upstream.rss),
				row.target and ("< %d %s"):format(row.target, row.ours.heap < row.target and "ok" or "OVER") or "");
		end
	end
end

local function print_outstanding(results)
	for version, rows in by_version(results) do
		line("\nProsody %s: microseconds per push, after so many", version);
		line("%-42s %9s %9s", "", "ours", "upstream");
		for _, row in ipairs(rows) do
			line("%-42s %9s %9s", ("%d to %d %s"):format(row.from, row.to, row.mode), number(row.ours), number(row.upstream));
		end
	end
end

local function print_outside(results)
	for version, rows in by_version(results) do
		local row = rows[1];
		line("\nProsody %s: a whole server, %.0f messages per second from and to real clients", version, row.rate);
		line("%-42s %9s %9s %7s", "", "ours", "upstream", "none");
		line("%-42s %9s %9s %7s", "microseconds of processor time per message",
			number(row.ours.us), number(row.upstream.us), number(row.none.us));
		line("%-42s %9s %9s %7s  %5s %-12s %s", "added by the module", number(row.ours.added), number(row.upstream.added), "",
			ratio(row.ratio.median), ("%.2f-%.2f"):format(row.ratio.q1, row.ratio.q3),
			verdict(row.ratio.median, row.target));
		for _, kind in ipairs({ "offline", "hibernated" }) do
			for _, quantile in ipairs({ "p50", "p95", "p99" }) do
				local ours, upstream = row.ours[kind][quantile], row.upstream[kind][quantile];
				line("%-42s %9s %9s %7s  %s", ("push latency, %s, %s (ms)"):format(kind, quantile),
					number(ours and ours * 1000), number(upstream and upstream * 1000), "",
					kind == "hibernated" and quantile == "p50" and ours
						and ("<= %.0f %s"):format(row.latency_target * 1000,
							ours <= row.latency_target and "ok" or "OVER") or "");
			end
		end
	end
end

function report.print(results)
	print_events(results.events);
	print_extensions(results.extensions);
	print_push2(results.push2);
	print_growth(results.growth);
	print_registered(results.registered);
	print_outstanding(results.outstanding);
	print_outside(results.outside);
end

local function write_file(path, text)
	local file = assert(io.open(path, "w"));
	assert(file:write(text, "\n"));
	assert(file:close());
end

-- The numbers, and what was printed.
function report.write(results, directory)
	write_file(directory .. "/results.json", json.encode(results));
	write_file(directory .. "/results.txt", (table.concat(lines, "\n"):gsub("[ \t]+\n", "\n")));
end

return report;
