-- Starts real Prosody servers on loopback and looks inside them.

local installed_source = require "spec.support.init";

local clock = require "spec.support.clock";
local lfs = require "lfs";
local loop = require "spec.support.loop";
local loopback = require "spec.support.loopback";
local process = require "spec.support.process";
local serialization = require "util.serialization";

local serialize = serialization.new({ preset = "oneline" });
local deserialize = serialization.deserialize;

local repository = lfs.currentdir();

local prosody = {};

local shells = 0;

-- Those that the module is made for, or the one that is asked for: specs of one version can be run beside
-- those of another.
local only = os.getenv("SPEC_PROSODY");
prosody.versions = only and { only } or { "0.12"; "13.0" };

-- For what depends most on Prosody's own modules, also the newest release.
prosody.all_versions = only and { only } or { "0.12"; "13.0"; "newest" };

local own_plugins = os.getenv("PLUGINS") or repository .. "/build/plugins";
local spec_plugins = repository .. "/spec/support/plugins";
local community_plugins = repository .. "/build/debian/prosody-modules/usr/lib/prosody/modules";
local upstream_plugins = installed_source .. "/modules/mod_cloud_notify";

local default_modules = {
	"roster"; "saslauth"; "disco"; "ping"; "carbons"; "mam"; "smacks"; "cloud_notify"; "spec_control";
};

-- What a Lua error, a failed module or a Rust panic leaves in the log.
local fault_patterns = {
	"[Tt]raceback";
	"%.lua:%d+: ";
	"Error initializing module";
	"Unable to load module";
	"panicked at";
};

local function find_faults(text, faults)
	for line in text:gmatch("[^\n]+") do
		for _, pattern in ipairs(not line:find("\tdebug\t", 1, true) and fault_patterns or {}) do
			if line:find(pattern) then
				faults[#faults + 1] = line;
				break;
			end
		end
	end
	return faults;
end

local servers = {}; -- all that have not been stopped

local methods = {};
local server_mt = { __index = methods };

-- What a file has behind so many bytes.
local function read_file(path, mark)
	local file = io.open(path, "rb");
	if not file then return ""; end
	file:seek("set", mark or 0);
	local text = file:read("*a");
	file:close();
	return text;
end

local function size_of(path)
	local file = io.open(path, "rb");
	if not file then return 0; end
	local size = file:seek("end");
	file:close();
	return size;
end

local function write_file(path, text)
	local file = assert(io.open(path, "wb"));
	assert(file:write(text));
	assert(file:close());
end

local function make_directory()
	local output = io.popen("mktemp -d -t prosody-spec.XXXXXXXX");
	local path = output:read("*l");
	assert(output:close());
	assert(lfs.mkdir(path .. "/data"));
	return path;
end

local function installation(version, lua)
	if lua ~= "5.4" then
		local tree = repository .. "/build/prosody-0.12-lua" .. lua;
		return { script = tree .. "/prosody"; source = tree; plugins = tree .. "/plugins" };
	elseif version ~= "0.12" then
		local prefix = repository .. "/build/debian/prosody-" .. version .. "/usr";
		local source = prefix .. "/lib/prosody";
		return { script = prefix .. "/bin/prosody"; source = source; plugins = source .. "/modules" };
	end
	return { script = "/usr/bin/prosody"; source = installed_source; plugins = installed_source .. "/modules" };
end

local function enabled_modules(options)
	local without = {};
	for _, name in ipairs(options.without or {}) do
		without[name] = true;
	end
	local enabled = {};
	for _, list in ipairs({ default_modules; options.modules or {} }) do
		for _, name in ipairs(list) do
			if not without[name] then
				enabled[#enabled + 1] = name;
			end
		end
	end
	return enabled, not without.cloud_notify;
end

local function plugin_paths(options, needs_cloud_notify)
	local paths = {};
	for _, path in ipairs(options.plugin_paths or {}) do
		paths[#paths + 1] = path:match("^/") and path or repository .. "/" .. path;
	end
	if options.upstream then
		if options.version == "0.12" then
			paths[#paths + 1] = upstream_plugins;
		end
	else
		-- Prosody would silently take upstream's module instead.
		assert(not needs_cloud_notify or lfs.attributes(own_plugins .. "/mod_cloud_notify"),
			"no mod_cloud_notify in " .. own_plugins);
		paths[#paths + 1] = own_plugins;
	end
	paths[#paths + 1] = spec_plugins;
	if options.community then
		paths[#paths + 1] = community_plugins;
	end
	return paths;
end

local function sorted_keys(map)
	local keys = {};
	for key in pairs(map) do
		keys[#keys + 1] = key;
	end
	table.sort(keys);
	return keys;
end

local function render_config(server)
	local options, ports = server.options, server.ports;
	local modules, needs_cloud_notify = enabled_modules(options);

	local settings = {
		run_as_root = true;
		data_path = server.data;
		certificates = server.data; -- there are none, but Prosody looks for them
		log = { debug = server.directory .. "/prosody.log" };
		plugin_paths = plugin_paths(options, needs_cloud_notify);
		modules_enabled = modules;
		modules_disabled = not options.s2s and { "s2s"; "s2s_auth_certs" } or {};
		storage = "internal";
		authentication = "internal_plain";
		allow_unencrypted_plain_auth = true;
		c2s_require_encryption = false;
		interfaces = { loopback.address };
		local_interfaces = { loopback.address };
		c2s_ports = { ports.c2s };
		c2s_direct_tls_ports = {};
		s2s_ports = { ports.s2s };
		s2s_direct_tls_ports = {};
		component_ports = { ports.component };
		http_ports = {};
		https_ports = {};
		spec_control_ports = { ports.control };
	};
	for name, value in pairs(options.options or {}) do
		settings[name] = value;
	end
	local text, of_hosts = options.text and options.text(settings), nil;
	for _, name in ipairs(options.set_by_text or {}) do
		if name == "modules_enabled" then of_hosts = "modules_enabled = " .. serialize(modules); end
		settings[name] = nil;
	end

	local lines = {};
	for _, name in ipairs(sorted_keys(settings)) do
		lines[#lines + 1] = name .. " = " .. serialize(settings[name]);
	end
	lines[#lines + 1] = text;
	for _, host in ipairs(options.hosts) do
		lines[#lines + 1] = "VirtualHost " .. serialize(host);
		lines[#lines + 1] = of_hosts;
	end
	for _, host in ipairs(sorted_keys(options.components)) do
		lines[#lines + 1] = "Component " .. serialize(host);
		lines[#lines + 1] = "component_secret = " .. serialize(options.components[host]);
	end
	lines[#lines + 1] = options.config;
	return table.concat(lines, "\n") .. "\n";
end

local function write_config(server)
	write_file(server.directory .. "/prosody.cfg.lua", render_config(server));
end

-- The command that runs one of the scripts of Prosody's installation for a server.
local function command_of(server, name, ...)
	local paths = installation(server.options.version, server.options.lua);
	return {
		"lua" .. server.options.lua; "spec/support/launch.lua";
		(paths.script:gsub("prosody$", name)); paths.source; paths.plugins; server.data;
		"--config"; server.directory .. "/prosody.cfg.lua"; ...;
	};
end

local function launch(server)
	write_config(server);

	local mark = server:log_mark();
	local command = command_of(server, "prosody", "-F");
	if server.options.own_clock then
		command = clock.command(server.directory .. "/clock", command);
	end
	server.process = process.spawn(command, server.directory .. "/console.log");

	local control_port = loop.wait_for(function ()
		return server:log_since(mark):match("Activated service 'spec_control' on ([^\n]*)\n")
			or not server:running() and "dead";
	end, nil, "Prosody to open its control port");
	if control_port == "dead" then
		server:kill();
		error("Prosody did not start:\n" .. server:console_text() .. server:log_since(mark), 0);
	elseif control_port ~= "no ports" then
		server:open_control();
		-- Prosody answers as soon as it has started everything.
		server:eval("");
	end
	return not server:log_since(mark):find("Failed to open server port", 1, true);
end

-- options: version = "0.12" | "13.0" | "newest", lua, hosts, modules, without, options, config,
-- components, plugin_paths, community, upstream, s2s, data, own_clock; text(settings), which returns what stands before
-- the hosts, and set_by_text, the names of the options in it: modules_enabled of the test is that of the hosts then.
function prosody.start(options)
	local server = setmetatable({ options = {}; directory = make_directory(); found = { mark = 0 } }, server_mt);
	server:change({
		version = "0.12";
		lua = "5.4";
		hosts = { "home.test" };
		components = { ["push.test"] = "secret" };
		upstream = os.getenv("SPEC_UPSTREAM") ~= nil;
	});
	server:change(options);
	server.data = server.options.data or server.directory .. "/data";
	servers[server] = true;

	for _ = 1, 5 do
		server.ports = {
			c2s = loopback.free_port();
			s2s = loopback.free_port();
			component = loopback.free_port();
			control = loopback.free_port();
		};
		if launch(server) then return server; end
		server:kill();
		os.remove(server.directory .. "/prosody.log");
	end
	error("found no free ports for Prosody");
end

-- For after_each(): ends all servers that a test has left running.
function prosody.stop_all()
	local all_ok, first_err = true, nil;
	for server in pairs(servers) do
		local ok, err = pcall(server.stop, server);
		if not ok and all_ok then
			all_ok, first_err = false, err;
		end
	end
	if not all_ok then error(first_err, 0); end
end

function methods:change(options)
	for name, value in pairs(options or {}) do
		self.options[name] = value;
	end
end

function methods:running()
	return self.process ~= nil and self.process:running();
end

function methods:pid()
	return self.process and self.process.pid;
end

-- The logs can still be read after this.
local function remove_files(server)
	if server.removed then return; end
	server.removed = { log = server:log_text(); console = server:console_text() };
	assert(os.execute("rm -rf " .. process.quote(server.directory)));
end

local function terminate(server)
	if not server.process then return; end
	local kind, status = server.process:terminate();
	if kind ~= "exit" or status ~= 0 then
		error(("Prosody ended with %s %d:\n%s"):format(kind, status, server:console_text()), 0);
	end
end

-- Ends Prosody the usual way and raises an error if it does not end well.
-- Its data is removed, unless it is to be kept: stop({ keep = true }).
function methods:stop(how)
	local ok, err = pcall(terminate, self);
	self:kill();
	if not (how and how.keep) then
		remove_files(self);
		servers[self] = nil;
	end
	if not ok then error(err, 2); end
end

-- Ends Prosody the hard way; the data stays for restart() or until stop().
function methods:kill()
	if self.process then
		self.process:kill();
		self.process = nil;
	end
	if self.control then
		self.control:close();
		self.control = nil;
	end
end

-- Starts Prosody again with the same data and ports, after stopping it if need be.
function methods:restart(changes)
	self:stop({ keep = true });
	self:change(changes);
	assert(launch(self), "a port of the server was taken while it restarted");
end

-- Has Prosody read a new configuration while it runs.
function methods:reconfigure(changes)
	self:change(changes);
	write_config(self);
	self:eval([[assert(prosody.reload_config())]]);
end

-- Whatever a test forgets or fails to stop is cleaned up all the same.
server_mt.__gc = remove_files;

function methods:console_text()
	return self.removed and self.removed.console or read_file(self.directory .. "/console.log");
end

function methods:log_text()
	return self:log_since(0);
end

-- Where the log ends now. Logs grow long: nobody reads again what was there before a mark.
function methods:log_mark()
	return self.removed and #self.removed.log or size_of(self.directory .. "/prosody.log");
end

function methods:log_since(mark)
	return self.removed and self.removed.log:sub(mark + 1) or read_file(self.directory .. "/prosody.log", mark);
end

-- Waits until the log has the plain text or pattern, counting from a mark (or
-- from the beginning), and returns the log from the mark.
function methods:wait_log(wanted, timeout, mark)
	return loop.wait_for(function ()
		local text = self:log_since(mark or 0);
		return (text:find(wanted, 1, true) or text:find(wanted)) and text;
	end, timeout, ("%q in the log"):format(wanted));
end

-- Log lines that tell of a Lua error or a Rust panic, from the beginning. Debug
-- messages do not: there are errors that are handled.
function methods:faults()
	local found = self.found;
	local new = self:log_since(found.mark):match("^.*\n") or "";
	find_faults(new, found);
	found.mark = found.mark + #new;
	return find_faults(self:console_text(), { table.unpack(found) });
end

function methods:open_control()
	local buffer = "";
	self.asked, self.answered, self.replies = 0, 0, {};

	local function on_data(data)
		buffer = buffer .. data;
		local consumed = 0;
		for line, position in buffer:gmatch("([^\n]*)\n()") do
			consumed = position - 1;
			self.answered = self.answered + 1;
			self.replies[self.answered] = line;
		end
		buffer = buffer:sub(consumed + 1);
	end

	self.control = assert(loop.connect(self.ports.control, on_data, function () end));
end

-- Sets the clock of a server with a clock of its own: seconds from the right time.
function methods:set_clock(seconds)
	clock.set(self.directory .. "/clock", seconds);
end

-- Runs Lua code inside Prosody and returns its results, which must be plain data.
-- The code gets the arguments as `...`, and finds prosody, hosts, st, jid and
-- module(host, name) besides the usual globals.
function methods:eval(code, ...)
	local control = assert(self.control, "Prosody does not run");
	self.asked = self.asked + 1;
	local number = self.asked;
	control:send(serialize({ code = code; arguments = table.pack(...) }) .. "\n");
	local line = loop.wait_for(function ()
		return self.replies[number] or control.closed;
	end, nil, "an answer from Prosody");
	if line == true then
		error("Prosody has gone:\n" .. self:console_text(), 2);
	end
	self.replies[number] = nil;
	local reply = assert(deserialize(line));
	if not reply[1] then
		error("in Prosody: " .. tostring(reply[2]), 2);
	end
	return table.unpack(reply, 2, reply.n);
end

function methods:add_user(user, password, host)
	self:eval([[assert(require "core.usermanager".create_user(...))]], user, password, host);
end

function methods:delete_user(user, host)
	self:eval([[assert(require "core.usermanager".delete_user(...))]], user, host);
end

-- What an administrator does in a shell, in a process of its own. Input is what is typed.
function methods:prosodyctl(input, ...)
	local quoted = {};
	for i, argument in ipairs(command_of(self, "prosodyctl", ...)) do quoted[i] = process.quote(argument); end
	local pipe = io.popen(("printf %%s %s | %s 2>&1"):format(process.quote(input), table.concat(quoted, " ")));
	local output = pipe:read("*a");
	assert(pipe:close(), output);
	return output;
end

-- Runs `prosodyctl shell`: a process whose output() is what it has printed so far.
function methods:start_shell(...)
	shells = shells + 1;
	local path = ("%s/shell%d"):format(self.directory, shells);
	local shell = process.spawn(command_of(self, "prosodyctl", "shell", ...), path);
	function shell.output() return read_file(path); end
	return shell;
end

-- What it prints, and its exit status. Meanwhile push services answer.
function methods:shell(...)
	local shell = self:start_shell(...);
	loop.wait_for(function () return not shell:running(); end, nil, "the shell to end");
	local _, status = shell:kill();
	return shell.output(), status;
end

-- Deletes an account, or makes it, in another process.
function methods:prosodyctl_deluser(jid)
	if self.options.version == "0.12" then return self:prosodyctl("", "deluser", jid); end
	-- From 13.0 on, deluser asks the server to do it, but this does not.
	return self:prosodyctl("", "unregister", jid:match("^(.*)@(.*)$"));
end

function methods:prosodyctl_adduser(jid, password)
	if self.options.version == "0.12" then
		return self:prosodyctl(password .. "\n" .. password .. "\n", "adduser", jid);
	end
	local username, host = jid:match("^(.*)@(.*)$");
	return self:prosodyctl("", "register", username, host, password);
end

function methods:load_module(name, host)
	self:eval([[assert(require "core.modulemanager".load(...))]], host, name);
end

function methods:unload_module(name, host)
	self:eval([[assert(require "core.modulemanager".unload(...))]], host, name);
end

function methods:reload_module(name, host)
	self:eval([[assert(require "core.modulemanager".reload(...))]], host, name);
end

-- KiB in use by Lua in Prosody.
function methods:heap()
	return self:eval([[
		collectgarbage();
		collectgarbage();
		return collectgarbage("count");
	]]);
end

-- KiB of memory the process occupies.
function methods:rss()
	return tonumber(read_file("/proc/" .. self:pid() .. "/status"):match("VmRSS:%s*(%d+)"));
end

-- What matters of a session, or nil if there is none.
function methods:session(full_jid)
	return self:eval([[
		local session = prosody.full_sessions[...];
		return session and {
			push_identifier = session.push_identifier;
			hibernating = not not session.hibernating;
			first_hibernated_push = session.first_hibernated_push;
		};
	]], full_jid);
end

function methods:store_get(host, store, user)
	return self:eval([[
		local host, store, user = ...;
		local data, err = assert(require "core.storagemanager".open(host, store)):get(user);
		if err then error(err); end
		return data;
	]], host, store, user);
end

return prosody;
