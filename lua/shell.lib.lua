-- The administrator's shell: prosodyctl shell push list, and push:list() in it

local util = module.lib "util";
local jid = util.prosody_require "util.jid";
local guarded, none = util.guarded, util.none;
local administration = module.lib "administration";
local terminal = module.lib "terminal";
local indented, message = terminal.indented, terminal.message;
local read_arguments = module.lib "shell_arguments".read;
local commands = module.lib "shell_commands".commands;

local ipairs, next, pairs, rawset = ipairs, next, pairs, rawset;

local version = "@VERSION@";

-- All hosts with this module share the commands; the last one to be loaded has registered them
local shared = module:shared("/*/cloud_notify/shell");

commands.help = {
	arguments = ""; most = 0; no_json = true;
	desc = "Show these commands";
	run = function (print)
		local names = {};
		for name in pairs(commands) do names[#names + 1] = name; end
		table.sort(names);
		for _, name in ipairs(names) do
			print((("push %s %s"):format(name, commands[name].arguments):gsub(" $", "")));
			indented(print, commands[name].desc, "    ");
		end
		return true, "mod_cloud_notify " .. version .. "; --json at the end, but for help and trace: for machines";
	end;
};

-- What the shell calls
local function handler_of(name, command)
	local run = guarded(function (session, arguments)
		return { command.run(session.print, arguments, session) };
	end);
	return function (self, ...)
		local session = self and self.session;
		if not session then return nil, "This shell was there before mod_cloud_notify: open another one"; end
		local arguments, problem = read_arguments(name, command, ...);
		if not arguments then return nil, message(problem); end
		local result = run(session, arguments);
		if not result then return nil, "That failed: the log says why"; end
		return result[1], message(result[2]);
	end
end

-- The shell of Prosody 13 takes items of global modules; for 0.12, commands are put where it finds them.
local function register()
	local env = module:shared("/*/admin_shell/env");
	local global = module:context("*");
	rawset(global, "items", {}); -- Not those of this host
	local items = {};
	for name, command in pairs(commands) do
		local item = {
			section = "push"; section_desc = "Push notifications (XEP-0357)";
			name = name; desc = command.desc; args = {};
			handler = handler_of(name, command);
		};
		for argument in command.arguments:lower():gsub(" or ", "_or_"):gmatch("%f[%w%-]%w[%w_]*") do
			item.args[#item.args + 1] = { name = argument; type = "string" };
		end
		items[name] = item;
		global:add_item("shell-command", item);
		if not env.push or env.push[name] ~= item.handler then
			env.push = env.push or {};
			env.push[name] = item.handler;
		end
	end
	return function ()
		for name, item in pairs(items) do
			global:remove_item("shell-command", item);
			if env.push and env.push[name] == item.handler then env.push[name] = nil; end
		end
		if env.push and not next(env.push) then env.push = nil; end
	end
end

local function take_over()
	if shared.unregister then shared.unregister(); end
	shared.owner, shared.unregister = module.host, register();
end

local function load()
	shared.instances[module.host] = { administration = administration; take_over = take_over };
	take_over();
end

local function unload()
	shared.instances[module.host] = nil;
	for account in pairs(module.reloading and none or shared.followed) do
		if jid.host(account) == module.host then shared.followed[account] = nil; end
	end
	if shared.owner ~= module.host then return; end
	shared.unregister();
	shared.owner, shared.unregister = nil, nil;
	local _, other = next(shared.instances);
	if other then other.take_over(); end
end

local function on_module_loaded(event)
	if event.module == "admin_shell" and shared.owner == module.host then take_over(); end
end

return {
	version = version;
	commands = commands;
	load = load;
	unload = unload;
	on_module_loaded = on_module_loaded;
};
