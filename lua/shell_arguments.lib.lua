-- What the arguments of shell commands mean

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local none = util.none;
local echo = module.lib "terminal".echo;

local pairs, select, tostring, type = pairs, select, tostring, type;

local hosts = prosody.hosts;

local shared = module:shared("/*/cloud_notify/shell"); -- by all hosts with this module
shared.instances = shared.instances or {}; -- host -> { administration, take_over }

local function is_flag(argument)
	return argument:sub(1, 2) == "--";
end

-- The user and host that an argument names, and what can be done there; or nil and a sentence
local function find_account(argument)
	local user, host = jid.prepped_split(argument);
	if not host then return nil, ("%s is neither a JID nor a host"):format(echo(argument)); end
	local instance = shared.instances[host];
	if not instance then
		return nil, hosts[host] and ("mod_cloud_notify is not loaded on %s"):format(echo(host))
			or ("There is no host %s here"):format(echo(host));
	end
	return instance.administration, user, host;
end

local function find_user(argument)
	local admin, user, host = find_account(argument);
	if not admin then return nil, user; end
	if not user then return nil, ("%s is no JID of an account"):format(echo(argument)); end
	return admin, user, host;
end

-- The hosts that an argument means, or all: an array of { name, administration }
local function find_hosts(argument)
	local found = {};
	if argument then
		local admin, user, host = find_account(argument);
		if not admin then return nil, user; end
		if user then return nil, ("%s is no host"):format(echo(argument)); end
		found[1] = { name = host; administration = admin };
		return found;
	end
	for name, instance in pairs(shared.instances) do
		found[#found + 1] = { name = name; administration = instance.administration };
	end
	table.sort(found, function (a, b) return a.name < b.name; end);
	return found;
end

local function usage(name, command)
	return ("Usage: push %s %s%s"):format(name, command.arguments, command.no_json and "" or " [--json]");
end

-- Positional arguments, with those that are flags by name; or nil and a sentence
local function read_arguments(name, command, ...)
	local arguments = {};
	for i = 1, select("#", ...) do
		local argument = select(i, ...);
		if type(argument) == "number" then argument = tostring(argument); end
		if type(argument) == "string" and is_flag(argument) then
			local flag = argument:sub(3);
			if (flag ~= "json" or command.no_json) and not (command.flags or none)[flag] then
				return nil, ("There is no option %s. %s"):format(echo(argument), usage(name, command));
			end
			arguments[flag] = true;
		elseif type(argument) == "string" then
			arguments[#arguments + 1] = argument;
		elseif argument ~= nil then
			return nil, usage(name, command);
		end
	end
	if #arguments < (command.least or 0) or #arguments > command.most then return nil, usage(name, command); end
	return arguments;
end

return {
	version = "@VERSION@";
	find_account = find_account;
	find_user = find_user;
	find_hosts = find_hosts;
	read = read_arguments;
};
