-- docs/reference.md says what there is in the code, no less and no more.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local encrypted = require "spec.support.encrypted";
local files = require "spec.support.files";
local jid_split = require "util.jid".split;
local lfs = require "lfs";
local new_id = require "util.id".short;
local pages = require "spec.support.pages";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local read = files.read;

local page = "docs/reference.md";

local priorities = { [""] = "0"; ["the highest"] = "inf" };

local forbidden = push_service.error("auth", "forbidden", "Not you");

local function sources(directory, pattern)
	local texts = {};
	for name in lfs.dir(directory) do
		if name:find(pattern) then texts[name] = read(directory .. "/" .. name); end
	end
	return texts;
end

local function sorted(set)
	local list = {};
	for name in pairs(set) do list[#list + 1] = name; end
	table.sort(list);
	return list;
end

-- What the first cells of the rows below a heading name, sorted
local function documented(heading)
	local names = {};
	for _, row in ipairs(pages.rows(page, heading)) do
		for _, name in ipairs(pages.names(row[1])) do
			assert.is_nil(names[name], name .. " has two rows");
			names[name] = true;
		end
	end
	return sorted(names);
end

describe("the reference", function ()
	local shim = sources("lua", "%.lua$");

	it("has the fields of sessions that are written", function ()
		local written = {};
		for _, text in pairs(shim) do
			for targets in text:gmatch("%f[%w_](session%.[%w_., ]*) = [^=]") do
				for name in targets:gmatch("session%.([%w_]+)") do written[name] = true; end
			end
		end
		for name in shim["protocols.lib.lua"]:gmatch('\n\t[is]%w+ = "(%w+_[is]%w+)"') do written[name] = true; end
		assert.same(sorted(written), documented("Fields that it writes"));
	end);

	it("has the events that are fired, the marks of stanzas, and what is shared", function ()
		local fired, shared, marks = {}, {}, {};
		for _, text in pairs(shim) do
			for name in text:gmatch('fire_event[^\n"]+"([^"]+)"') do fired["`" .. name .. "`"] = true; end
			for name in text:gmatch('module:shared%("([^"]+)"%)') do
				if not name:find("admin_shell", 1, true) then shared[name] = true; end
			end
			for name in text:gmatch("stanza%.(_[%w_]+)") do marks[name] = true; end
		end
		for name in read("src/lua/reader/keys.rs"):gmatch('"(_[%w_]+)"') do marks[name] = true; end
		for heading in read(page):match("\n## Events that it fires\n(.-)\n## "):gmatch("\n### ([^\n]+)") do
			assert.is_true(fired[heading], heading);
			fired[heading] = nil;
		end
		assert.same({}, sorted(fired));
		assert.same(sorted(marks), documented("Marks of stanzas"));
		assert.same(sorted(shared), documented("Shared tables"));
	end);

	it("has what the history tells, and how much of it", function ()
		local text = pages.rows(page, "Store `cloud_notify_history`")[1][3];
		assert.equal(shim["history.lib.lua"]:match("\nlocal max_entries = (%d+);"), text:match("The last (%d+) events"));
		local all = table.concat({ shim["enabling.lib.lua"]; shim["reports.lib.lua"]; shim["administration.lib.lua"];
			shim["registering.lib.lua"]; shim["registrations.lib.lua"] });
		for _, name in ipairs(pages.names(text)) do assert.truthy(all:find(('"%s"'):format(name), 1, true), name); end
	end);

	it("has the fields of other modules that are read of sessions", function ()
		local found, native = {}, sources("src/lua", "%.rs$");
		for name, text in pairs(shim) do
			local of_others = name:find("^shell") or name == "connections.lib.lua"; -- Not of users
			for _, session in ipairs(of_others and {} or { "session"; "origin"; name:match("^undelivered") and "other" }) do
				for field in text:gmatch("%f[%w_]" .. session .. "%.([%w_]+)") do found[field] = true; end
			end
		end
		local keys = {};
		for key, name in read("src/lua/reader/keys.rs"):gmatch('\n    (%u%w+) = "([^"]+)"') do keys[key] = name; end
		for _, text in pairs(native) do
			for key in text:gmatch("%f[%w_]session%s*%.[%w_]+%(Key::(%w+)") do found[assert(keys[key])] = true; end
			for name in text:gmatch('%f[%w_]session%.raw_get%("([%w_]+)"') do found[name] = true; end
		end
		for _, name in ipairs(documented("Fields that it writes")) do found[name] = nil; end
		assert.same(sorted(found), documented("Fields that it reads"));
	end);
end);

-- What a client may ask for by XEP-0357, all of it
local function request(node)
	local enable = client.enable({ jid = "push.test"; node = node; away = "true"; options = { secret = "s" } });
	enable.attr.include_payload = "true";
	local filter = "tigase:push:filter:%s:0";
	enable:tag("muted", { xmlns = filter:format("muted") }):tag("item", { jid = "bert@away.test" }):up():up()
		:tag("ignore-unknown", { xmlns = filter:format("ignore-unknown") }):up()
		:tag("groupchat", { xmlns = filter:format("groupchat") })
		:tag("room", { jid = "team@rooms.test"; allow = "mentioned"; nick = "Anna" }):up():up()
		:tag("priority", { xmlns = "tigase:push:priority:0" }):up()
		:tag("jingle", { xmlns = "tigase:push:jingle:0" }):up()
		:add_child(encrypted.ask(nil, "3000"));
	return st.iq({ type = "set"; id = new_id(); ["xml:lang"] = "de" }):add_child(enable);
end

-- By Push 2.0
local matches = { { grace = 60; filters = { { jid = "team@rooms.test"; mention = true; reply = true } } } };

local function enable_all(session, node)
	local reply = session:iq(request(node));
	assert.equal("result", reply.attr.type, tostring(reply));
	push2.register(session, { jid = "gw.test" }, matches);
end

-- Path -> type, of what is no table
local function leaves(found, value, path)
	if type(value) ~= "table" then
		found[path] = type(value);
		return;
	end
	for key, child in pairs(value) do
		local step = type(key) == "number" and "[]" or (path == "" and "" or ".") .. key;
		leaves(found, child, path .. step);
	end
end

-- The rows of a store: pattern -> type; a name in capitals stands for any
local function patterns(heading)
	local found = {};
	for _, row in ipairs(pages.rows(page, heading)) do
		for _, path in ipairs(pages.names(row[1])) do
			local pattern = path:gsub("%p", "%%%0"):gsub("%u%u+", ".*"):gsub("%%%.\226\128\166$", "[%%[.].*");
			found["^" .. pattern .. "$"] = row[2];
		end
	end
	return found;
end

local function compare(heading, records)
	local found, seen, known = {}, {}, patterns(heading);
	for _, record in pairs(records) do leaves(found, record, ""); end
	for path, kind in pairs(found) do
		local fits;
		for pattern, said in pairs(known) do
			if path:find(pattern) and (said == kind or said == "") then fits, seen[pattern] = true, true; end
		end
		assert.is_true(fits, ("%s says nothing of %s (%s)"):format(heading, path, kind));
	end
	for pattern in pairs(known) do
		assert.is_true(seen[pattern], ("no record has %s of %s"):format(pattern, heading));
	end
end

for _, version in ipairs(prosody.versions) do
	describe("the reference, with Prosody " .. version, function ()
		local server, push, gateway;

		local function stored(session, store)
			return server:store_get("home.test", store, (jid_split(session.jid)));
		end

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "pep" };
				components = { ["push.test"] = "secret"; ["gw.test"] = "secret" };
				options = { push_max_errors = 1; push_retry_min = 1000; push_retry_max = 1000 };
			});
			push = push_service.connect(server, "push.test", "secret");
			gateway = push2_service.connect(server, "gw.test", "secret");
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		-- A push to all of a user's devices, whatever they have asked for
		local function ping(session)
			server:eval([[
				local user, host = jid.split(...);
				prosody.hosts[host].events.fire_event("cloud-notify-ping", { user = user });
			]], session.jid);
		end

		it("has the fields of records, and of what happens to them", function ()
			local anna = client.connect(server, devices.new_user(server), { resource = "phone" });
			enable_all(anna, "n1");
			anna:close();
			anna = client.connect(server, anna.jid, { resource = "phone" });
			server:eval([[prosody.full_sessions[...].client_id = "some client"]], anna.full_jid);
			enable_all(anna, "n2");
			push.answer, gateway.answer = forbidden, forbidden;
			ping(anna);
			server:wait_log(("Suspended a push registration of .*"):rep(4));
			compare("Store `cloud_notify`", stored(anna, "cloud_notify"));
			compare("Store `push2_registrations`", stored(anna, "push2_registrations"));
			compare("Store `cloud_notify_history`", { stored(anna, "cloud_notify_history") });
		end);

		it("has the fields of what listeners get", function ()
			local anna = client.connect(server, devices.new_user(server));
			local rosa = client.connect(server, devices.new_user(server));
			server:eval([[
				local pushing = module("home.test", "cloud_notify");
				pushing.seen = {};
				for _, event in ipairs({ "cloud_notify/registration"; "cloud_notify/push" }) do
					pushing:hook(event, function (fields)
						pushing.seen[event] = {};
						for field, value in pairs(fields) do pushing.seen[event][field] = type(value); end
					end);
				end
			]]);
			devices.enable(anna, { jid = "push.test"; node = "n5" });
			anna:close();
			rosa:message({ to = anna.jid, body = "Hi" });
			rosa:ping();
			local seen = server:eval([[return module("home.test", "cloud_notify").seen]]);
			for event, fields in pairs(seen) do
				local said = {};
				for _, row in ipairs(pages.rows(page, ("`%s`"):format(event))) do said[pages.names(row[1])[1]] = row[2]; end
				assert.same(fields, said, event);
			end
			assert.same({ "cloud_notify/push"; "cloud_notify/registration" }, sorted(seen));
		end);

		it("has the events that the module handles, where and when", function ()
			server:eval([[
				local api = require "core.moduleapi";
				local hook = api.hook_object_event;
				api.hooked = {};
				function api:hook_object_event(object, event, handler, priority)
					if self.name == "cloud_notify" then
						local where = object == prosody.events and "the server" or object == prosody.hosts[self.host].events and "";
						for host, its in pairs(prosody.hosts) do
							if its.type == "component" and its.events == object then where = "the component"; end
						end
						table.insert(api.hooked, ("%s|%s|%s"):format(event, where or "mod_pep's service", priority or 0));
					end
					return hook(self, object, event, handler, priority);
				end
			]]);
			server:reload_module("cloud_notify", "home.test");
			-- Signs of life are waited for while a push service fails.
			push.answer = push_service.error("wait", "internal-server-error");
			for _ = 1, 2 do
				local anna = client.connect(server, devices.new_user(server));
				server:eval([[hosts["home.test"].modules.pep.get_pep_service(...)]], (jid_split(anna.jid)));
				devices.enable(anna, { jid = "push.test"; node = "n4" });
				ping(anna);
				push:ping();
			end
			local found, said = {}, {};
			for _, one in ipairs(server:eval([[return require "core.moduleapi".hooked]])) do found[one] = true; end
			for _, row in ipairs(pages.rows(page, "Events that it handles")) do
				for _, name in ipairs(pages.names(row[1])) do
					said[("%s|%s|%s"):format(name, row[2], priorities[row[3]] or row[3])] = true;
				end
			end
			assert.same(sorted(found), sorted(said));
		end);

		it("has the fields of what is owed over a restart", function ()
			server:stop({ keep = true });
			server:restart({ without = { "cloud_notify" } });
			compare("Store `cloud_notify_owed`", { server:store_get("home.test", "cloud_notify_owed", nil) });
		end);
	end);
end
