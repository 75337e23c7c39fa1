local statistics = {};

function statistics.quantile(values, q)
	if #values == 0 then return nil; end
	local sorted = table.move(values, 1, #values, 1, {});
	table.sort(sorted);
	local place = 1 + (#sorted - 1) * q;
	local below = math.floor(place);
	local above = math.min(below + 1, #sorted);
	return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
end

function statistics.median(values)
	return statistics.quantile(values, 0.5);
end

-- The ratio of the medians, and the quartiles of the ratios of single rounds.
function statistics.ratio(ours, upstream)
	local ratios = {};
	for i = 1, math.min(#ours, #upstream) do ratios[i] = ours[i] / upstream[i]; end
	return {
		median = statistics.median(ours) / statistics.median(upstream);
		q1 = statistics.quantile(ratios, 0.25);
		q3 = statistics.quantile(ratios, 0.75);
	};
end

return statistics;
