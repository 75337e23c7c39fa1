local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local files = require "spec.support.files";
local inspect = require "spec.support.inspect";
local lfs = require "lfs";
local process = require "spec.support.process";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local read, write = files.read, files.write;

local shim = "mod_cloud_notify.lua";

local function library(lua)
	return ("lua%s/cloud_notify.so"):format(lua);
end

local lua_files = {}; -- the shim and what it loads
for name in lfs.dir("lua") do
	if name:find("%.lua$") then lua_files[#lua_files + 1] = name; end
end
table.sort(lua_files);

local function built(name)
	return "build/plugins/mod_cloud_notify/" .. name;
end

local stamp = read("build/stamp"):match("^[^\n]+");

-- All files below a directory, with their permissions.
local function files_below(directory)
	local found = {};
	for name in lfs.dir(directory) do
		local path = directory .. "/" .. name;
		if name == "." or name == ".." then -- luacheck: ignore 542
		elseif lfs.attributes(path, "mode") == "directory" then
			found[name] = files_below(path);
		else
			found[name] = lfs.attributes(path, "permissions");
		end
	end
	return found;
end

local directories = {};

local function new_directory()
	local output = io.popen("mktemp -d -t install-spec.XXXXXXXX");
	local path = output:read("*l");
	assert(output:close());
	directories[#directories + 1] = path;
	return path;
end

local function remove_directories()
	for _, path in ipairs(directories) do
		os.execute("rm -rf " .. process.quote(path));
	end
	directories = {};
end

-- Runs make with what was built before, whatever has changed since; returns what it said.
local function make(arguments, lua)
	local quoted = {
		"make --no-print-directory CARGO=false"; "LUA=" .. (lua or "5.4"); "-o"; built(library(lua or "5.4"));
	};
	for _, argument in ipairs(arguments) do quoted[#quoted + 1] = process.quote(argument); end
	local output = io.popen(table.concat(quoted, " ") .. " 2>&1");
	local text = output:read("*a");
	assert(output:close(), text);
	return text;
end

describe("make install", function ()
	local root;

	before_each(function ()
		root = new_directory();
	end);

	after_each(remove_directories);

	it("puts the files where Debian's Prosody looks, and nothing else anywhere", function ()
		make({ "install"; "DESTDIR=" .. root });
		local expected = { ["lua5.4"] = { ["cloud_notify.so"] = "rw-r--r--" } };
		for _, name in ipairs(lua_files) do expected[name] = "rw-r--r--"; end
		assert.same({ usr = { ["local"] = { lib = { prosody = { modules = { mod_cloud_notify = expected } } } } } },
			files_below(root));
		local installed = root .. "/usr/local/lib/prosody/modules/mod_cloud_notify/";
		for _, name in ipairs(lua_files) do assert.equal(read(built(name)), read(installed .. name)); end
		assert.is_true(read(built(library("5.4"))) == read(installed .. library("5.4")));
	end);

	it("puts them elsewhere if it is told to", function ()
		make({ "install"; "DESTDIR=" .. root; "PREFIX=/opt" });
		assert.truthy(lfs.attributes(root .. "/opt/lib/prosody/modules/mod_cloud_notify/" .. library("5.4")));
		make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/srv/my plugins" });
		assert.truthy(lfs.attributes(root .. "/srv/my plugins/mod_cloud_notify/" .. library("5.4")));
		make({ "uninstall"; "DESTDIR=" .. root; "PLUGINDIR=/srv/my plugins" });
		assert.is_nil(lfs.attributes(root .. "/srv/my plugins/mod_cloud_notify"));
	end);

	it("says how Prosody finds them there", function ()
		assert.truthy(make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/srv/plugins" })
			:find('plugin_paths = { "/srv/plugins" }', 1, true));
	end);

	it("replaces what was there before", function ()
		local plugins = root .. "/plugins";
		lfs.mkdir(plugins);
		lfs.mkdir(plugins .. "/mod_cloud_notify");
		for _, name in ipairs(lua_files) do write(plugins .. "/mod_cloud_notify/" .. name, "error('old')"); end
		make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/plugins" });
		for _, name in ipairs(lua_files) do
			assert.equal(read(built(name)), read(plugins .. "/mod_cloud_notify/" .. name));
		end
	end);

	for _, lua in ipairs({ "5.2"; "5.3" }) do
		it("installs the library for Lua " .. lua .. " if it is told to", function ()
			make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/plugins" }, lua);
			assert.is_true(read(built(library(lua))) == read(root .. "/plugins/mod_cloud_notify/" .. library(lua)));
		end);
	end

	it("gives what a server needs", function ()
		make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/plugins" });
		local server = prosody.start({ plugin_paths = { root .. "/plugins" } });
		finally(function () prosody.stop_all(); end);
		assert.equal(root .. "/plugins/mod_cloud_notify",
			server:eval([[return module("home.test", "cloud_notify"):get_directory();]]));
		local push = push_service.connect(server, "push.test", "secret");
		local phone = client.connect(server, devices.new_user(server));
		devices.enable(phone, { jid = "push.test"; node = "n1" });
		phone:close();
		assert.same({ "n1" }, devices.woken(push, client.connect(server, devices.new_user(server)), phone.jid));
		assert.same({}, server:faults());
	end);
end);

describe("make uninstall", function ()
	local root;

	before_each(function ()
		root = new_directory();
		make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/plugins" });
	end);

	after_each(remove_directories);

	local function uninstall()
		make({ "uninstall"; "DESTDIR=" .. root; "PLUGINDIR=/plugins" });
	end

	it("removes the files and their directory, but no other", function ()
		write(root .. "/plugins/mod_other.lua", "");
		uninstall();
		assert.same({ plugins = { ["mod_other.lua"] = "rw-r--r--" } }, files_below(root));
	end);

	it("removes those of other versions, too", function ()
		write(root .. "/plugins/mod_cloud_notify/of_another_version.lib.lua", "");
		uninstall();
		assert.same({ plugins = {} }, files_below(root));
	end);

	it("removes the libraries of all Luas, also from where older versions had them", function ()
		make({ "install"; "DESTDIR=" .. root; "PLUGINDIR=/plugins" }, "5.3");
		write(root .. "/plugins/mod_cloud_notify/cloud_notify.so", "");
		uninstall();
		assert.same({ plugins = {} }, files_below(root));
	end);

	it("leaves alone what somebody else has put there", function ()
		write(root .. "/plugins/mod_cloud_notify/notes.txt", "mine");
		uninstall();
		assert.same({ plugins = { mod_cloud_notify = { ["notes.txt"] = "rw-r--r--" } } }, files_below(root));
	end);

	it("has nothing to do the second time, nor where nothing was installed", function ()
		uninstall();
		uninstall();
		assert.same({ plugins = {} }, files_below(root));
		make({ "uninstall"; "DESTDIR=" .. root; "PLUGINDIR=/nowhere" });
	end);
end);

describe("a server with files that it cannot use", function ()
	after_each(function ()
		prosody.stop_all();
		remove_directories();
	end);

	-- A directory of plugins with the module's Lua part and whatever is to be its library for a Lua.
	local function plugins_with(content, lua)
		local plugins = new_directory();
		local directory = plugins .. "/mod_cloud_notify";
		assert(lfs.mkdir(directory));
		for _, name in ipairs(lua_files) do write(directory .. "/" .. name, read(built(name))); end
		if content then
			assert(lfs.mkdir(directory .. "/lua" .. (lua or "5.4")));
			write(directory .. "/" .. library(lua or "5.4"), content);
		end
		return plugins;
	end

	local function error_lines(server, mark)
		local lines = {};
		for line in server:log_since(mark or 0):gmatch("[^\n]+") do
			if line:find("\terror\t", 1, true) or line:find("cloud_notify", 1, true) and line:find("raceback", 1, true) then
				lines[#lines + 1] = line;
			end
		end
		return lines;
	end

	local function assert_says_what_to_do(server, file, mark)
		local lines = error_lines(server, mark);
		assert.equal(1, #lines, table.concat(lines, "\n"));
		local lua = server.options.lua;
		for _, part in ipairs({ file or library(lua); " -- restart, or install "; "make LUA=" .. lua .. ")" }) do
			assert.truthy(lines[1]:find(part, 1, true), part .. " is not in " .. lines[1]);
		end
		assert.is_nil(server:log_text():find("stack traceback", 1, true));
		assert.equal("", server:console_text());
	end

	local function assert_works_without(server)
		assert.is_true(server:eval([[return module("home.test", "cloud_notify") == nil;]]));
		local anna = client.connect(server, devices.new_user(server), { sm = "resume" });
		local bert = client.connect(server, devices.new_user(server));
		bert:message({ to = anna.jid; body = "Hello" });
		anna:expect({ name = "message"; body = "Hello" });
		anna:cut();
		bert:message({ to = anna.jid; body = "Still there?" });
		bert:ping();
		assert.equal(anna, anna:resume());
		anna:expect({ name = "message"; body = "Still there?" });
		local info = anna:iq(st.iq({ type = "get"; id = "d1"; to = anna.jid })
			:query("http://jabber.org/protocol/disco#info"));
		for feature in info.tags[1]:childtags("feature") do
			assert.not_equal("urn:xmpp:push:0", feature.attr.var);
		end
		assert.equal("error", anna:enable_push({ jid = "push.test"; node = "n1" }).attr.type);
	end

	for _, version in ipairs(prosody.versions) do
		it("says what to do, and goes on without: none at all, with Prosody " .. version, function ()
			local plugins = plugins_with(nil);
			local server = prosody.start({ version = version; plugin_paths = { plugins } });
			assert_says_what_to_do(server);
			assert_works_without(server);

			assert(lfs.mkdir(plugins .. "/mod_cloud_notify/lua5.4"));
			write(plugins .. "/mod_cloud_notify/" .. library("5.4"), read(built(library("5.4"))));
			server:load_module("cloud_notify", "home.test");
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
		end);
	end

	for _, case in ipairs({
		{ "5.4"; "5.3" }; { "5.4"; "5.2" }; { "5.3"; "5.4" }; { "5.3"; "5.2" }; { "5.2"; "5.4" }; { "5.2"; "5.3" };
	}) do
		local lua, other = table.unpack(case);

		it(("says what to do, and goes on without: one for Lua %s on Lua %s"):format(other, lua), function ()
			local server = prosody.start({ lua = lua; plugin_paths = { plugins_with(read(built(library(other))), lua) } });
			assert_says_what_to_do(server);
			assert_works_without(server);
		end);
	end

	for name, content in pairs({
		["an empty file"] = "";
		["a text file"] = "this is not a library\n";
		["another library"] = read("/usr/lib/prosody/util/hashes.so");
	}) do
		it("says what to do, and goes on without: " .. name, function ()
			local server = prosody.start({ plugin_paths = { plugins_with(content) } });
			assert_says_what_to_do(server);
			assert_works_without(server);
		end);
	end

	-- A library that says this of itself, or fails
	local function compile(says)
		local path = new_directory() .. "/library.so";
		local gcc = io.popen("gcc -shared -fPIC -x c -o " .. process.quote(path) .. " -", "w");
		gcc:write(([[
			typedef struct lua_State lua_State;
			void lua_createtable(lua_State *, int, int);
			const char *lua_pushstring(lua_State *, const char *);
			void lua_setfield(lua_State *, int, const char *);
			int lua_error(lua_State *);
			static void set(lua_State *L, const char *key, const char *value) {
				lua_pushstring(L, value); lua_setfield(L, -2, key);
			}
			int luaopen_cloud_notify(lua_State *L) {
				if (*"%s") { lua_pushstring(L, "%s"); return lua_error(L); }
				lua_createtable(L, 0, 2); set(L, "version", "%s"); set(L, "lua", "%s"); return 1;
			}
		]]):format(says.problem or "", says.problem or "", says.version or "", says.lua or ""));
		assert(gcc:close());
		return read(path);
	end

	for name, case in pairs({
		["one of another version"] = { { version = "0.0.9"; lua = "Lua 5.4" }; "it is version 0.0.9 for Lua 5.4 -- " };
		["one that is for another Lua"] = { { version = stamp:match("^%S+"); lua = "Lua 5.3" }; " for Lua 5.3 -- " };
		["one that fails"] = { { problem = [[no\nuse]] }; "no use -- " };
	}) do
		it("says what to do, and goes on without: " .. name, function ()
			local server = prosody.start({ plugin_paths = { plugins_with(compile(case[1])) } });
			assert_says_what_to_do(server);
			assert.truthy(error_lines(server)[1]:find(case[2], 1, true), error_lines(server)[1]);
		end);
	end

	-- What may be in the place of a file after half an update.
	local others = {
		{ "none"; nil };
		{ "one of another version"; 'return { version = "0.0.9" };' };
		{ "one of another build"; ('return { version = %q };'):format(stamp:gsub("%(.*", "(0123456789ab)")) };
		{ "one without a version"; "return {};" };
		{ "one that returns nothing"; "" };
		{ "one that fails"; "error('no use');" };
		{ "one that is not Lua"; "}" };
	};

	for _, version in ipairs(prosody.versions) do
		it("says what to do, and goes on without: all Lua files but one, with Prosody " .. version, function ()
			local plugins = plugins_with(read(built(library("5.4"))));
			local server = prosody.start({ version = version; plugin_paths = { plugins } });
			assert.same({}, error_lines(server));
			server:unload_module("cloud_notify", "home.test");
			local handlers = inspect.handlers(server);
			for _, name in ipairs(lua_files) do
				local path = plugins .. "/mod_cloud_notify/" .. name;
				for _, other in ipairs(name ~= shim and others or {}) do
					local mark = server:log_mark();
					os.remove(path);
					if other[2] then write(path, other[2]); end
					assert.is_false(server:eval([[
						return (require "core.modulemanager".load("home.test", "cloud_notify")) or false;
					]]), other[1]);
					assert_says_what_to_do(server, name, mark);
					assert.same(handlers, inspect.handlers(server));
				end
				write(path, read(built(name)));
			end
			assert_works_without(server);

			server:load_module("cloud_notify", "home.test");
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
		end);

		it("says what to do, and goes on without: a reload after half an update, with Prosody " .. version, function ()
			local plugins = plugins_with(read(built(library("5.4"))));
			local server = prosody.start({ version = version; plugin_paths = { plugins } });
			local name = "registrations.lib.lua";
			local path = plugins .. "/mod_cloud_notify/" .. name;
			write(path, (read(path):gsub('version = "[^"]*"', 'version = "99.0.0"')));
			server:eval([[require "core.modulemanager".reload("home.test", "cloud_notify");]]);
			assert_says_what_to_do(server, name);
			assert.truthy(error_lines(server)[1]:find("it is version 99.0.0", 1, true));
			assert_works_without(server);

			write(path, read(built(name)));
			server:load_module("cloud_notify", "home.test");
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
		end);
	end
end);
