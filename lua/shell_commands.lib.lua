-- The commands of the administrator's shell: run(print, arguments, session) returns true and a message, or nil and what
-- is wrong

local util = module.lib "util";
local async = util.prosody_require "util.async";
local none = util.none;
local outcomes = module.lib "explain".outcomes;
local terminal = module.lib "terminal";
local echo, row, shorten = terminal.echo, terminal.row, terminal.shorten;
local indented, labelled, print_json = terminal.indented, terminal.labelled, terminal.print_json;
local age, count, date, duration = terminal.age, terminal.count, terminal.date, terminal.duration;
local finding = module.lib "shell_arguments";
local find_account, find_user, find_hosts = finding.find_account, finding.find_user, finding.find_hosts;

local ipairs, tonumber = ipairs, tonumber;

local shared = module:shared("/*/cloud_notify/shell"); -- by all hosts with this module
shared.followed = shared.followed or {}; -- account -> { count }, of shells that follow it

-- Others have their turn while much is read
local function pause()
	if async.ready() then async.sleep(0); end
end

local registration_columns = { 13; 20; 11; 7; 7; 10 };
local registration_titles = { "Name"; "Push service"; "Client"; "Enabled"; "Seen"; "State" };

local function print_registration(print, one)
	local seen = one.state ~= "away" and "now" or age(one.last_seen);
	print(row(registration_columns, { one.name; one.jid; one.client; age(one.enabled); seen; one.state }));
	if one.suspended then
		local since = age(one.suspended.since);
		local text, trial = one.suspended.text, one.suspended.next_trial and date(one.suspended.next_trial);
		indented(print, ("suspended%s: %s%s%s"):format(since and " for " .. since or "",
			one.suspended.condition or "no reason", text and " (" .. text .. ")" or "",
			trial and ("; the next trial is after %s UTC"):format(trial) or ""), "    ");
	elseif one.errors > 0 then
		indented(print, count(one.errors, "error") .. " in a row", "    ");
	end
	if one.owed_since then
		indented(print, ("owed a push for %s: %s"):format(age(one.owed_since), one.waits_for), "    ");
	end
end

-- The identifier has the node in it, which is a token
local function public(one, host)
	return {
		account = one.user .. "@" .. host; name = one.name; protocol = one.protocol; service = one.jid; client = one.client;
		enabled = one.enabled; last_seen = one.last_seen; state = one.state; errors = one.errors;
		owed_since = one.owed_since; waits_for = one.waits_for; suspended = one.suspended;
	};
end

-- Prints registrations of several accounts, those of each under its name
local function print_registrations(print, all)
	local account;
	for _, found in ipairs(all) do
		local of = found.one.user .. "@" .. found.host;
		if of ~= account then
			if account then print(""); else print(row(registration_columns, registration_titles)); end
			account = of;
			print(shorten(account));
		end
		print_registration(print, found.one);
	end
end

local function show(print, arguments, all)
	if not arguments.json then return print_registrations(print, all); end
	local elements = {};
	for i, found in ipairs(all) do elements[i] = public(found.one, found.host); end
	print_json(print, elements);
end

local function add_all(all, listed, host)
	for _, one in ipairs(listed) do all[#all + 1] = { one = one; host = host }; end
end

local commands = {};

commands.list = {
	arguments = "[JID or HOST]"; most = 1;
	desc = "List push registrations: of an account, of a host, or all";
	run = function (print, arguments)
		local all, unreadable = {}, 0;
		local admin, user, host;
		if arguments[1] then
			admin, user, host = find_account(arguments[1]);
			if not admin then return nil, user; end
		end
		if user then
			local listed, problem = admin.list(user);
			if not listed then return nil, problem; end
			add_all(all, listed, host);
		else
			for _, one_host in ipairs(find_hosts(host)) do
				local users, problem = one_host.administration.users();
				if not users then return nil, ("%s: %s"):format(one_host.name, problem); end
				for i, name in ipairs(users) do
					if i % 100 == 0 then pause(); end
					local listed = one_host.administration.list_one_of_many(name);
					if not listed then unreadable = unreadable + 1; end
					add_all(all, listed or none, one_host.name);
				end
			end
		end
		show(print, arguments, all);
		if unreadable > 0 then
			return nil, ("%s; those of %s cannot be read"):format(count(#all, "registration"), count(unreadable, "account"));
		end
		return true, count(#all, "registration");
	end;
};

local ways = {
	server = "another server";
	host = "a host of this server";
	component = "a component of this server";
	["component that is not connected"] = "a component of this server that is not connected";
};

local function print_answer(print, result)
	local condition, text = result.condition, result.text;
	indented(print, ("to %s, %s, as %s"):format(result.jid, ways[result.way], result.id), "    ");
	indented(print, ("after %s: %s%s"):format(duration(result.seconds), outcomes[result.outcome],
		condition and (" (%s%s)"):format(condition, text and ": " .. text or "") or ""), "    ");
end

-- Sends one and waits for the answer
local function test_one(admin, user, name)
	local wait, done = async.waiter();
	local result;
	local sent, problem = admin.test(user, name, function (answer)
		result = answer;
		done();
	end);
	if not sent then return nil, problem; end
	wait();
	return result;
end

commands.test = {
	arguments = "JID [NAME]"; least = 1; most = 2;
	desc = "Send a push without a message, and wait for the answer or an error";
	run = function (print, arguments)
		local admin, user, host = find_user(arguments[1]);
		if not admin then return nil, user; end
		local names = { arguments[2] };
		if not names[1] then
			local listed, problem = admin.list(user);
			if not listed then return nil, problem; end
			for i, one in ipairs(listed) do names[i] = one.name; end
			if not names[1] then return nil, ("%s@%s has no registrations"):format(user, host); end
		end
		local elements, taken, sent = {}, 0, 0;
		for i, name in ipairs(names) do
			local result, problem = test_one(admin, user, name);
			if not result and arguments[2] then return nil, problem; end
			result = result or { name = name; outcome = "not sent"; text = problem };
			if result.outcome == "delivered" then taken = taken + 1; end
			if result.outcome == "sent" then sent = sent + 1; end
			elements[i] = {
				account = user .. "@" .. host; name = result.name; protocol = result.protocol; service = result.jid;
				way = result.way; id = result.id; outcome = result.outcome; condition = result.condition; text = result.text;
				seconds = result.seconds;
			};
			if not arguments.json then
				indented(print, result.way and result.name .. ": a push without a message" or result.text, "");
				if result.way then print_answer(print, result); end
			end
		end
		if arguments.json then print_json(print, elements); end
		local summary = ("%d of %s %s"):format(taken + sent, count(#names, "push", "pushes"),
			sent == 0 and "taken" or taken == 0 and "sent without an error" or "taken, or sent without an error");
		if taken + sent == #names then return true, summary; end
		return nil, summary;
	end;
};

commands.remove = {
	arguments = "JID NAME"; least = 2; most = 2;
	desc = "Remove a push registration; the app may register again";
	run = function (print, arguments)
		local admin, user, host = find_user(arguments[1]);
		if not admin then return nil, user; end
		local removed, problem = admin.remove(user, arguments[2]);
		if not removed then return nil, problem; end
		show(print, arguments, { { one = removed; host = host } });
		return true, ("%s of %s@%s is removed"):format(removed.name, user, host);
	end;
};

commands.prune = {
	arguments = "DAYS [HOST] [--yes]"; least = 1; most = 2; flags = { yes = true };
	desc = "Show registrations neither enabled nor in use for so long; --yes removes them";
	run = function (print, arguments)
		local days = tonumber(arguments[1]);
		if not days or days < 1 or days > 36500 or days % 1 ~= 0 then
			return nil, ("%s is no number of days, at least 1"):format(echo(arguments[1]));
		end
		local found, problem = find_hosts(arguments[2]);
		if not found then return nil, problem; end
		local all, failed = {}, 0;
		for _, host in ipairs(found) do
			local pruned, failed_here = host.administration.prune(days, arguments.yes, pause);
			if not pruned then return nil, ("%s: %s"):format(host.name, failed_here); end
			add_all(all, pruned, host.name);
			failed = failed + #failed_here;
		end
		show(print, arguments, all);
		local summary = count(#all, "registration") .. (arguments.yes and " removed" or " to be removed with --yes");
		if failed > 0 then
			return nil, ("%s; those of %s cannot be read or written"):format(summary, count(failed, "account"));
		end
		return true, summary;
	end;
};

local history_columns = { 16; 13; 20; 9; 7 };
local history_titles = { "When (UTC)"; "Name"; "Push service"; "What"; "By" };

commands.history = {
	arguments = "JID"; least = 1; most = 1;
	desc = "Show what has happened to an account's registrations, the last at the end";
	run = function (print, arguments)
		local admin, user, host = find_user(arguments[1]);
		if not admin then return nil, user; end
		local entries, problem = admin.history(user);
		if not entries then return nil, problem; end
		for i, entry in ipairs(entries) do
			if not arguments.json then
				if i == 1 then print(row(history_columns, history_titles)); end
				print(row(history_columns, { date(entry.at); entry.name; entry.jid; entry.what; entry.by }));
				if entry.why then indented(print, entry.why, "    "); end
			end
			entry.account, entry.service, entry.jid = user .. "@" .. host, entry.jid, nil;
		end
		if arguments.json then print_json(print, entries); end
		return true, count(#entries, "entry", "entries");
	end;
};

local name_width = 13;

local function print_entry(print, entry)
	labelled(print, ("%s  %s  "):format(date(entry.at, "%H:%M:%S"), shorten(entry.name, name_width)), entry.text);
end

-- By day, the last at the end
local function print_entries(print, entries)
	local day;
	for _, entry in ipairs(entries) do
		local of = date(entry.at, "%a %d %b %Y");
		if of ~= day then print(of .. ", UTC"); end
		day = of;
		print_entry(print, entry);
	end
end

local function print_outlook(print, one)
	local label = shorten(one.name, name_width) .. "  ";
	local errors = not one.suspended and one.errors > 0 and ", " .. count(one.errors, "error") .. " in a row" or "";
	labelled(print, label, ("%sat %s, %s%s"):format(one.client and one.client .. " " or "", one.jid or "?", one.state,
		one.suspended and ", suspended" or errors));
	labelled(print, (" "):rep(#label), "a message now: " .. one.outlook);
end

commands.explain = {
	arguments = "JID"; least = 1; most = 1;
	desc = "Show why an account's phones were woken or not, and what a message would do now";
	run = function (print, arguments)
		local admin, user, host = find_user(arguments[1]);
		if not admin then return nil, user; end
		local explained, problem = admin.explain(user);
		if not explained then return nil, problem; end
		local devices = explained.devices;
		if arguments.json then
			local elements = explained.entries; -- Each has an event, and each registration an outlook
			for _, entry in ipairs(elements) do
				entry.account, entry.service, entry.jid = user .. "@" .. host, entry.jid, nil;
			end
			for _, one in ipairs(devices or none) do
				elements[#elements + 1] = public(one, host);
				elements[#elements].outlook = one.outlook;
			end
			print_json(print, elements);
		else
			print_entries(print, explained.entries);
			for i, one in ipairs(devices or none) do
				if i == 1 and explained.entries[1] then print(""); end
				print_outlook(print, one);
			end
		end
		local summary = {};
		if devices then
			summary[1] = devices[1] and count(#devices, "registration") or ("%s@%s has no registrations: %s"):format(user,
				host, explained.entries[1] and "the app has to register again" or "no app has registered, as far as is known");
		end
		for _, one in ipairs(explained.problems) do summary[#summary + 1] = one; end
		return not explained.problems[1] or nil, table.concat(summary, ". ");
	end;
};

local poll_interval = 0.25; -- seconds

local function follow(print, session, admin, user, account)
	if not session.is_connected then
		return nil, "The shell of this Prosody does not say when it is left, so that it cannot follow: use push explain";
	end
	local entries = admin.decisions(user);
	local since = entries[1] and entries[#entries].tick or 0;
	local following = shared.followed[account] or { count = 0 };
	shared.followed[account], following.count = following, following.count + 1;
	print(shorten(("Following %s, times are in UTC"):format(account)));
	while session.is_connected() and shared.followed[account] == following do
		for _, entry in ipairs(admin.decisions(user, since)) do
			print_entry(print, entry);
			since = entry.tick;
		end
		async.sleep(poll_interval);
	end
	following.count = following.count - 1;
	if following.count == 0 and shared.followed[account] == following then shared.followed[account] = nil; end
	return true, ("%s is not followed any more"):format(account);
end

commands.trace = {
	arguments = "JID [on or off]"; least = 1; most = 2; no_json = true;
	desc = "Follow what is decided for an account until Ctrl-C; off ends that in all shells";
	run = function (print, arguments, session)
		local admin, user, host = find_user(arguments[1]);
		if not admin then return nil, user; end
		local listed, problem = admin.list(user);
		if not listed then return nil, problem; end
		local what = arguments[2] or "on";
		local account = user .. "@" .. host;
		if what == "off" then
			local following = shared.followed[account];
			shared.followed[account] = nil;
			return true, ("%s was followed in %s"):format(account, count(following and following.count or 0, "shell"));
		elseif what ~= "on" then
			return nil, ("%s is neither on nor off"):format(echo(what));
		end
		return follow(print, session, admin, user, account);
	end;
};

local service_columns = { 26; 10; 5; 6; 5; 7; 7 };
local service_titles = { "Push service"; "Circuit"; "Fails"; "Flying"; "Owed"; "Median"; "Worst" };

commands.services = {
	arguments = "[HOST]"; most = 1;
	desc = "Show how push services do: failures, pushes under way and owed, answer times";
	run = function (print, arguments)
		local found, problem = find_hosts(arguments[1]);
		if not found then return nil, problem; end
		local elements = {};
		for _, host in ipairs(found) do
			for i, one in ipairs(host.administration.services()) do
				if not arguments.json then
					if #elements == 0 then print(row(service_columns, service_titles)); end
					if i == 1 and not arguments[1] then print(shorten(host.name)); end
					print(row(service_columns, {
						one.jid; one.circuit; one.failures; one.in_flight; one.owed;
						one.median and duration(one.median); one.worst and duration(one.worst);
					}));
					if one.condition then
						indented(print, ("last not taken %s ago: %s"):format(duration(one.condition_age), one.condition), "    ");
					end
				end
				one.host, one.service, one.jid = host.name, one.jid, nil;
				elements[#elements + 1] = one;
			end
		end
		if arguments.json then print_json(print, elements); end
		return true, count(#elements, "push service");
	end;
};

return {
	version = "@VERSION@";
	commands = commands;
};
