-- XEP-0050: Ad-Hoc Commands. What users may do with their own devices, and administrators with anybody's.
-- (Not adhoc.lib.lua: module:require would take it for mod_adhoc's.)

local util = module.lib "util";
local cache = util.prosody_require "util.cache";
local dataforms = util.prosody_require "util.dataforms";
local jid = util.prosody_require "util.jid";
local new_id = util.prosody_require "util.id".short;
local guarded, none = util.guarded, util.none;
local administration = module.lib "administration";
local terminal = module.lib "terminal";
local age, count, date, duration, echo = terminal.age, terminal.count, terminal.date, terminal.duration, terminal.echo;
local printable = terminal.printable;
local new_command = module:require "adhoc".new;

local ipairs = ipairs;

local xmlns_commands = "http://jabber.org/protocol/commands";

local host = module.host;

-- mod_adhoc finds what it keeps between the steps by an id that clients choose, and keeps it for ever where they
-- do not go on. So nothing is left to it: all that a step needs is in its form, which is worth what anybody could
-- have written there.

local function completed(text)
	return { status = "completed"; info = text };
end

local function failed(text)
	return { status = "completed"; error = { message = text } };
end

local function ask(layout, values, action)
	return {
		status = "executing"; form = { layout = dataforms.new(layout); values = values };
		actions = { default = action; action };
	};
end

-- Devices, as people see them

local states = {
	live = "connected";
	hibernated = "connection lost, but it may come back";
	away = "not connected";
};

local function client_of(one)
	return one.client and echo(one.client) or "a client without a name";
end

local function service_of(one)
	return one.jid and echo(one.jid) or "an unknown push service";
end

local function since(time)
	local at = time and date(time);
	return at and ("%s UTC, %s ago"):format(at, age(time)) or "unknown";
end

local function reason_of(condition, text)
	if not text then return condition or "no reason given"; end
	return ("%s (%s)"):format(condition or "no reason given", printable(text));
end

local function details_of(one)
	local lines = { "Push service: " .. service_of(one) };
	if one.protocol == "push2" then lines[2] = "Protocol: Push 2.0"; end
	lines[#lines + 1] = "State: " .. states[one.state];
	lines[#lines + 1] = "Enabled: " .. since(one.enabled);
	if one.state == "away" and one.last_seen then lines[#lines + 1] = "Last seen: " .. since(one.last_seen); end
	if one.suspended then
		lines[#lines + 1] = "Suspended: " .. since(one.suspended.since);
		lines[#lines + 1] = "Reason: " .. reason_of(one.suspended.condition, one.suspended.text);
	elseif one.errors > 0 then
		lines[#lines + 1] = ("Not suspended, %s in a row"):format(count(one.errors, "error"));
	else
		lines[#lines + 1] = "Not suspended";
	end
	if one.owed_since then
		lines[#lines + 1] = ("Owed a push for %s: %s"):format(age(one.owed_since), one.waits_for);
	end
	return table.concat(lines, "\n");
end

local function option_of(one)
	local enabled = one.enabled and age(one.enabled);
	return {
		value = one.name;
		label = ("%s (%s): %s, %s%s%s"):format(client_of(one), one.name, service_of(one),
			enabled and "enabled " .. enabled .. " ago, " or "", states[one.state], one.suspended and ", suspended" or "");
	};
end

-- What can be done. Each gets the user, who asks, and what the form says, and returns a reply for mod_adhoc.

local account_field = { name = "accountjid"; type = "jid-single"; label = "JID of the account"; required = true };
local hidden_account = { name = "accountjid"; type = "hidden" };
local hidden_test = { name = "test"; type = "hidden" };

-- Calls back with the devices of a user who has any
local function with_devices(user, callback)
	local listed, problem = administration.list(user);
	if not listed then return failed(problem); end
	if not listed[1] then return completed(("%s@%s has no push devices"):format(user, host)); end
	return callback(listed);
end

local function list(user)
	return with_devices(user, function (listed)
		local layout = { title = ("Push devices of %s@%s"):format(user, host) };
		for i, one in ipairs(listed) do
			layout[i] = {
				name = one.name; type = "text-multi"; label = ("%s (%s)"):format(client_of(one), one.name);
				value = details_of(one);
			};
		end
		return { status = "completed"; result = dataforms.new(layout) };
	end);
end

local function choose_device(user, title, action)
	return with_devices(user, function (listed)
		local options = {};
		for i, one in ipairs(listed) do options[i] = option_of(one); end
		return ask({
			title = title; instructions = ("Choose one of the devices of %s@%s"):format(user, host);
			hidden_account;
			{ name = "device"; type = "list-single"; label = "Device"; required = true; options = options };
		}, { accountjid = user .. "@" .. host }, action);
	end);
end

local function remove(user, _, said, by)
	if not said.device then return choose_device(user, "Remove a push device", "complete"); end
	local removed, problem = administration.remove(user, said.device, by);
	if not removed then return failed(problem); end
	return completed(("%s (%s) gets no more pushes, until its app registers again"):format(
		client_of(removed), removed.name));
end

local max_tests = 1000; -- that are remembered

local tests = cache.new(max_tests); -- who asks -> the last test that they have begun

local outcomes = {
	delivered = "The push service has taken it";
	sent = "It has been sent, and no error has come: services of Push 2.0 answer errors alone";
	failed = "It did not get through, and is tried again";
	refused = "The push service has refused it";
	suspended = "The push service has refused it too often: the device is suspended";
	removed = "The push service has refused it too often: the device is removed";
};

-- An answer may take longer than clients wait for the next step, and mod_adhoc's handlers hold up their session. So
-- there is a step to look whether it has come.
local function show_answer(user, asker, id)
	local test = tests:get(asker);
	if not test or test.id ~= id or test.user ~= user then
		return failed("What has come of that test is not known any more");
	end
	local result = test.result;
	if not result then
		return ask({
			title = "Test a push device";
			instructions = "A push has been sent, and the push service has not answered yet. " .. (test.protocol == "push2"
				and "It answers errors alone. Go on to see whether one has come." or "Go on to see its answer.");
			hidden_account; hidden_test;
			{ type = "fixed"; value = ("Device: %s"):format(test.name) };
		}, { accountjid = user .. "@" .. host; test = id }, "next");
	end
	local said = (outcomes[result.outcome] or result.outcome)
		.. (result.condition and ": " .. reason_of(result.condition, result.text) or "");
	local text = ("%s at %s. %s, after %s."):format(result.name, echo(result.jid), said, duration(result.seconds));
	return (result.outcome == "delivered" or result.outcome == "sent") and completed(text) or failed(text);
end

local function test_device(user, asker, said)
	if said.test then return show_answer(user, asker, said.test); end
	if not said.device then return choose_device(user, "Test a push device", "next"); end
	local test = { id = new_id(); user = user };
	local sent, problem = administration.test(user, said.device, function (result) test.result = result; end);
	if not sent then return failed(problem); end
	test.name, test.protocol = sent.name, sent.protocol;
	tests:set(asker, test);
	return show_answer(user, asker, test.id);
end

-- Whose devices: a user, or nil and a reply for mod_adhoc, which has seen to it that they may do this

local function own_account(from)
	local user = jid.node(from);
	if user then return user; end
	return nil, { status = "error"; error = { type = "auth"; condition = "forbidden" } };
end

local function any_account(_, said, title)
	if not said.has_account then return nil, ask({ title = title; account_field }, nil, "next"); end
	local user, users_host = jid.split(said.accountjid);
	if not user then return nil, failed("That is no JID of an account"); end
	if users_host ~= host then
		return nil, failed(("%s is no account of %s: look for this command at its own host"):format(
			echo(said.accountjid), host));
	end
	return user;
end

-- What may be in a form of any step
local answers = dataforms.new({
	account_field; hidden_test;
	{ name = "device"; type = "list-single"; required = true }; -- An empty one is none
});

local function read_form(form)
	local said, _, present = answers:data(form);
	said.has_account = present.accountjid;
	return said;
end

local actions = { execute = true; next = true; complete = true; prev = true };

local function handler_of(find_account, by, title, act)
	local handle = guarded(function (data)
		if data.action == "cancel" or data.form and data.form.attr.type == "cancel" then return { status = "canceled" }; end
		if not actions[data.action] then
			return { status = "error"; error = {
				type = "modify"; condition = "bad-request"; extra = { namespace = xmlns_commands; condition = "malformed-action" };
			} };
		end
		local said = data.form and data.action ~= "prev" and read_form(data.form) or none;
		local user, reply = find_account(data.from, said, title);
		return user and act(user, jid.bare(data.from), said, by) or reply;
	end);
	return function (_, data)
		return handle(data) or { status = "error"; error = { type = "wait"; condition = "internal-server-error" } };
	end
end

local function of_user(title, name, act)
	return new_command(title, "cloud_notify#" .. name, handler_of(own_account, "client", title, act), "local_user");
end

local function of_admin(title, name, act)
	return new_command(title, "cloud_notify#admin-" .. name, handler_of(any_account, "admin", title, act), "admin");
end

return {
	version = "@VERSION@";
	commands = {
		of_user("My push devices", "list", list);
		of_user("Test a push device", "test", test_device);
		of_user("Remove a push device", "remove", remove);
		of_admin("Push devices of a user", "list", list);
		of_admin("Test a push device of a user", "test", test_device);
		of_admin("Remove a push device of a user", "remove", remove);
	};
};
