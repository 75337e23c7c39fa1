-- What the pages show is true: servers start with each configuration, commands run, and requests are accepted.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local commands = require "spec.support.commands";
local devices = require "spec.support.devices";
local jid_split = require "util.jid".split;
local new_id = require "util.id".short;
local pages = require "spec.support.pages";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";
local xml = require "util.xml";

-- Whoever writes a block of code says by its language what becomes of it here. Only text is not looked at.
local languages = { console = {}; lua = {}; sh = {}; text = {}; xml = {} };

for _, block in ipairs(pages.blocks()) do
	block.title = ("%s:%d"):format(block.page, block.line);
	assert(languages[block.language], ("%s: nothing runs %q"):format(block.title, block.language));
	table.insert(languages[block.language], block);
end

-- What a configuration sets outside of the sections of hosts: an array of names
local function set_by(text)
	local names, in_section = {}, false;
	local function section() in_section = true; end
	local env = setmetatable({ VirtualHost = section; Component = function () section(); return function () end; end }, {
		__newindex = function (_, name) if not in_section then names[#names + 1] = name; end end;
	});
	assert(load(text, "=configuration", "t", env))();
	return names;
end

-- Paths of an installation are those of the server.
local function made_local(text, settings)
	local paths = ("%q"):format(table.concat(settings.plugin_paths, ";"));
	local here = {
		["/usr/local/lib/prosody/modules"] = paths;
		["/path/to/build/plugins"] = paths;
		["/var/log/prosody/debug.log"] = ("%q"):format(settings.log.debug);
	};
	return (text:gsub('"(/[^"]*)"', here));
end

-- What a server is started with, or told, to have this configuration
local function configured(text)
	return { set_by_text = set_by(text); text = function (settings) return made_local(text, settings); end };
end

-- Whether the module knows what it was told
local function assert_understood(server, text)
	local known = server:eval([[return module("home.test", "cloud_notify").lib("options").values]]);
	for _, name in ipairs(set_by(text)) do
		assert.is_true(not name:find("^push_") or known[name] ~= nil, name);
	end
	for _, level in ipairs({ "warn"; "error" }) do
		assert.is_nil(server:log_text():match("[^\n]*cloud_notify\t" .. level .. "\t[^\n]*"));
	end
end

-- The lines of `prosodyctl check config` about a server -> true
local function complaints(server)
	local _, output = pcall(server.prosodyctl, server, "", "check", "config");
	local lines = {};
	for line in tostring(output):gmatch("[^\n]+") do lines[line:gsub("/%S*prosody%-spec%.%w+", "")] = true; end
	return lines;
end

-- What is the same in the first and the last line that a command prints, whatever the devices
local function form(line)
	return (line:gsub("%f[%w][%w-]*%x%x%x%x%x%x%x%x?%f[^%x]", "NAME"):gsub("%f[%a]%u%l%l%f[%A]", "Day")
		:gsub("%d+", "0"):gsub("(registration)s", "%1"):gsub("(service)s", "%1"));
end

-- The children that "…" stands for in a request
local function completed(enable)
	local request = st.clone(enable);
	request:maptags(function (child)
		if child.name == "match" and not child:get_child("send") then
			return st.stanza("match", child.attr):tag("send", { xmlns = push2.notify_only }):reset();
		elseif child.name == "x" and #child.tags == 0 then
			return client.enable({ jid = "push.example"; options = { secret = "s" } }).tags[1];
		end
		return child;
	end);
	return request;
end

-- All elements of this name in an element, itself among them
local function find_all(element, name, found)
	found = found or {};
	if element.name == name then found[#found + 1] = element; end
	for _, child in ipairs(element.tags) do find_all(child, name, found); end
	return found;
end

-- The commands that are run here, by block; whose accounts they name (jid -> whether the page shows devices of
-- Push 2.0), and the hosts of these
local function typed()
	local used, hosts = { blocks = {}; accounts = {}; hosts = {} }, {};
	for _, language in ipairs({ "sh"; "console" }) do
		for _, block in ipairs(languages[language]) do
			local mine = {};
			for _, command in ipairs(commands.of(block)) do
				if commands.is_here(command.text) then mine[#mine + 1] = command; end
				local jid = command.text:match("%S+@%S+");
				if jid then
					used.accounts[jid] = used.accounts[jid] or table.concat(command.output, "\n"):find("push2-", 1, true) ~= nil;
					hosts[select(2, jid_split(jid))] = true;
				end
			end
			if mine[1] then table.insert(used.blocks, { title = block.title; commands = mine }); end
		end
	end
	for _, code in ipairs(pages.inline("^prosodyctl shell %l+ %l")) do
		if not code.text:find("\226\128\166") then -- "…"
			local title = ("%s: %s"):format(code.page, code.text);
			table.insert(used.blocks, { title = title; commands = { { text = code.text; output = {} } } });
		end
	end
	for host in pairs(hosts) do table.insert(used.hosts, host); end
	return used;
end

describe("the pages", function ()
	it("are looked at, all of them", function ()
		local there, found = {}, {};
		for line in io.popen("grep -rc '^ *```[a-z]' --include='*.md' README.md CHANGELOG.md docs"):lines() do
			local page, count = line:match("^(.*):(%d+)$");
			there[page] = count ~= "0" and tonumber(count) or nil;
		end
		for _, block in ipairs(pages.blocks()) do found[block.page] = (found[block.page] or 0) + 1; end
		assert.same(there, found);
	end);

	it("have no command that nothing runs", function ()
		assert.is_nil((commands.runner("make coffee")));
		assert.is_nil((commands.runner("apt install coffee")));
	end);

	for _, block in ipairs(languages.xml) do
		it("have XML that is well-formed: " .. block.title, function ()
			assert(xml.parse(block.text));
		end);
	end

	for _, language in ipairs({ "sh"; "console" }) do
		for _, block in ipairs(languages[language]) do
			it("have commands that something runs: " .. block.title, function ()
				local found = commands.of(block);
				assert.is_truthy(found[1]);
				for _, command in ipairs(found) do
					local runner, problem = commands.runner(command.text);
					assert(runner, problem);
				end
			end);
		end
	end
end);

for _, version in ipairs(prosody.versions) do
	describe("what the pages show, with Prosody " .. version, function ()
		after_each(prosody.stop_all);

		local function start(options)
			options.version, options.community = version, true;
			return prosody.start(options);
		end

		local usual;
		setup(function () usual = complaints(start({})); end);

		for _, block in ipairs(languages.lua) do
			it("a server starts with: " .. block.title, function ()
				local server = start(configured(block.text));
				for complaint in pairs(complaints(server)) do
					assert.is_true(usual[complaint], complaint);
				end
				assert_understood(server, block.text);
				assert.same({}, server:faults());
			end);
		end

		it("a server takes the options that stand in the text", function ()
			local server = start({});
			for _, option in ipairs(pages.inline("^%l[%w_]+ = ")) do
				server:reconfigure(configured(option.text));
				assert_understood(server, option.text);
			end
			assert.same({}, server:faults());
		end);
	end);

	describe("what the pages have typed, with Prosody " .. version, function ()
		local server, used = nil, typed();

		setup(function ()
			server = prosody.start({
				version = version; hosts = used.hosts; modules = { "admin_shell" };
				components = { ["push.test"] = "secret"; ["gw.test"] = "secret" };
			});
			push_service.connect(server, "push.test", "secret");
			push2_service.connect(server, "gw.test", "secret");
			for jid, is_push2 in pairs(used.accounts) do
				local username, host = jid_split(jid);
				server:add_user(username, "secret", host);
				for device = 1, is_push2 and 1 or 3 do
					local phone = client.connect(server, jid, { resource = ("phone%d"):format(device) });
					if is_push2 then
						push2.register(phone, { jid = "gw.test" });
					else
						devices.enable(phone, { jid = "push.test"; node = ("n%d"):format(device) });
					end
					phone:close();
				end
			end
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		-- Devices have names of their own here.
		local function with_names(words)
			local jid, name = words[5], words[6];
			if name and not name:find("^%-%-") and used.accounts[jid] ~= nil then
				words[6] = assert(server:shell("push", "list", jid):match("\n([%w-]+)  "));
			end
			return words;
		end

		for _, block in ipairs(used.blocks) do
			it("runs: " .. block.title, function ()
				for _, command in ipairs(block.commands) do
					local words = with_names(commands.words(command.text));
					local output, status = server:shell(table.unpack(words, 3));
					assert.equal(0, status, output);
					local shown = command.output;
					if shown[1] then
						assert.equal(form(shown[1]), form(output:match("^[^\n]*")));
						assert.equal(form(shown[#shown]), form(output:match("([^\n]*)\n$")));
					end
				end
			end);
		end

		for _, block in ipairs(languages.xml) do
			for _, name in ipairs({ "enable"; "disable" }) do
				for _, request in ipairs(find_all(assert(xml.parse(block.text)), name)) do
					if request.attr.xmlns:find("^urn:xmpp:push2?:0$") then
						it(("takes <%s xmlns='%s'/>: %s"):format(name, request.attr.xmlns, block.title), function ()
							local user = client.connect(server, devices.new_user(server, used.hosts[1]));
							local iq = st.iq({ type = "set"; id = new_id() }):add_child(completed(request));
							local reply = user:iq(iq);
							assert.equal("result", reply.attr.type, tostring(reply));
						end);
					end
				end
			end
		end
	end);
end
