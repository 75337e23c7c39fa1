-- Ad-hoc commands (XEP-0050): of users for their own devices, and of administrators for anybody's.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_commands = "http://jabber.org/protocol/commands";
local xmlns_data = "jabber:x:data";
local xmlns_items = "http://jabber.org/protocol/disco#items";

local own = { list = "cloud_notify#list"; test = "cloud_notify#test"; remove = "cloud_notify#remove" };
local admins = {
	list = "cloud_notify#admin-list"; test = "cloud_notify#admin-test"; remove = "cloud_notify#admin-remove";
};

local max_per_minute = 3;

local function submit(fields, form_type)
	local form = st.stanza("x", { xmlns = xmlns_data; type = form_type or "submit" });
	for name, value in pairs(fields) do
		form:tag("field", { var = name }):text_tag("value", value):up();
	end
	return form;
end

local function new_request(node, step)
	local request = st.iq({ type = "set"; to = step.to or "home.test"; from = step.from; id = new_id() })
		:tag("command", { xmlns = xmlns_commands; node = node; action = step.action; sessionid = step.sessionid });
	if step.fields then request:add_child(submit(step.fields, step.form_type)); end
	if step.child then request:add_child(step.child); end
	return request:reset();
end

-- What a reply says: status, sessionid, info, error, next (the action), form (var -> value), labels, options
local function read(reply)
	local command = reply:get_child("command", xmlns_commands);
	local error_type, condition = reply:get_error();
	if reply.attr.type == "error" then return { refused = condition; error_type = error_type; reply = reply }; end
	local said = {
		status = command.attr.status; sessionid = command.attr.sessionid; form = {}; labels = {}; options = {};
		reply = reply;
	};
	for note in command:childtags("note") do said[note.attr.type] = note:get_text(); end
	local offered = command:get_child("actions");
	said.next = offered and offered.attr.execute;
	local form = command:get_child("x", xmlns_data);
	said.form_type = form and form.attr.type;
	said.title = form and form:get_child_text("title");
	for field in (form or st.stanza("x")):childtags("field") do
		local values = {};
		for value in field:childtags("value") do values[#values + 1] = value:get_text(); end
		local name = field.attr.var or "fixed";
		said.form[name] = table.concat(values, "\n");
		said.labels[name] = field.attr.label;
		for option in field:childtags("option") do
			said.options[#said.options + 1] = { label = option.attr.label; value = option:get_child_text("value") };
		end
	end
	return said;
end

local function command(connection, node, step)
	return read(connection:iq(new_request(node, step or {})));
end

-- As a client does it: what the form had, with what the user has filled in, in the same session
local function go_on(connection, node, said, fields)
	local filled = {};
	for name, value in pairs(said.form) do
		if name ~= "fixed" then filled[name] = value; end
	end
	for name, value in pairs(fields or {}) do filled[name] = value; end
	return command(connection, node, { fields = filled; sessionid = said.sessionid; action = said.next });
end

-- Until the answer to a test has come
local function wait_for_answer(connection, node, said)
	return loop.wait_for(function ()
		if said.status ~= "executing" then return said; end
		said = go_on(connection, node, said);
	end, nil, "the answer to a test");
end

local function offered(connection, host)
	local reply = connection:iq(st.iq({ type = "get"; to = host or "home.test"; id = new_id() })
		:tag("query", { xmlns = xmlns_items; node = xmlns_commands }));
	local nodes = {};
	for item in (reply:get_child("query", xmlns_items) or st.stanza("query")):childtags("item") do
		if item.attr.node:find("^cloud_notify#") then nodes[#nodes + 1] = item.attr.node; end
	end
	table.sort(nodes);
	return nodes;
end

local function nodes_of(...)
	local nodes = {};
	for _, commands in ipairs({ ... }) do
		for _, node in pairs(commands) do nodes[#nodes + 1] = node; end
	end
	table.sort(nodes);
	return nodes;
end

-- How many command sessions mod_adhoc remembers.
local function remembered(server)
	return server:eval([[
		local handlers = hosts["home.test"].events.get_handlers("iq-set/host/http://jabber.org/protocol/commands:command");
		local seen = {};
		local function find(f)
			if type(f) ~= "function" or seen[f] then return; end
			seen[f] = true;
			for i = 1, debug.getinfo(f, "u").nups do
				local name, value = debug.getupvalue(f, i);
				if name == "states" then return value; end
				local found = find(value);
				if found then return found; end
			end
		end
		local count = 0;
		for _ in pairs(assert(find(handlers[1]))) do count = count + 1; end
		return count;
	]]);
end

local function describe_all(version)
	local server, push, boss, plain;
	local defaults = {
		admins = { "boss@home.test"; "chief@push.test" };
		push_max_errors = 2; push_max_failures = 0;
		push_max_per_minute = max_per_minute; push_retry_min = 3600; push_retry_max = 3600;
	};

	setup(function ()
		server = prosody.start({
			version = version;
			hosts = { "home.test"; "other.test"; "bare.test" };
			config = [[
				VirtualHost "home.test" modules_enabled = { "adhoc" }
				VirtualHost "other.test" modules_enabled = { "adhoc" }
				VirtualHost "anonymous.test" modules_enabled = { "adhoc" } authentication = "anonymous"
			]];
			options = defaults;
		});
		server:add_user("boss", "secret", "home.test");
		push = push_service.connect(server, "push.test", "secret");
		boss = client.connect(server, "boss@home.test");
		plain = client.connect(server, devices.new_user(server));
	end);

	before_each(function ()
		push.answer = push_service.result;
		push:clear();
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- A user's device, which is online; also its node.
	local function new_phone(resource, jid)
		local phone = client.connect(server, jid or devices.new_user(server), { resource = resource; sm = "resume" });
		local node = "token-" .. new_id() .. new_id();
		devices.enable(phone, { jid = "push.test"; node = node });
		return phone, node;
	end

	local function names_of(connection)
		local names = {};
		for i, option in ipairs(command(connection, own.remove).options) do names[i] = option.value; end
		return names;
	end

	local function count_of(jid)
		return #devices.identifiers(server, jid);
	end

	local function last_of_history(phone)
		return inspect.eval(server, [[
			local entries = upvalue("history").read(...);
			return entries[#entries];
		]], phone.username);
	end

	-- Pushes to a device, once all are here that have left.
	local function pushes_to(node)
		push:ping();
		local pushes = 0;
		for _, publish in ipairs(push.received) do pushes = pushes + (publish.node == node and 1 or 0); end
		return pushes;
	end

	-- From an address of the component, which is nobody of this server.
	local function command_from_afar(from, node, step)
		step.from = from;
		local request = new_request(node, step);
		push:send(request);
		return read(loop.wait_for(function ()
			for i, element in ipairs(push.others) do
				if element.attr.id == request.attr.id then return table.remove(push.others, i); end
			end
		end, nil, "a reply to a command"));
	end

	describe("service discovery", function ()
		it("offers users their own commands, and administrators all", function ()
			assert.same(nodes_of(own), offered(plain));
			assert.same(nodes_of(own, admins), offered(boss));
		end);

		it("offers nothing of a host where mod_adhoc is not loaded, or of another one", function ()
			assert.same({}, offered(plain, "bare.test"));
			assert.same({}, offered(plain, "other.test"));
			assert.equal("forbidden", command(plain, own.list, { to = "other.test" }).refused);
			assert.equal("service-unavailable", command(plain, own.list, { to = "bare.test" }).refused);
		end);

		it("offers nothing any more when the module is gone, and all of it when it is back", function ()
			server:unload_module("cloud_notify", "home.test");
			assert.same({}, offered(boss));
			assert.is_truthy(command(boss, own.list).refused);
			server:load_module("cloud_notify", "home.test");
			assert.same(nodes_of(own, admins), offered(boss));
			server:reload_module("cloud_notify", "home.test");
			assert.same(nodes_of(own, admins), offered(boss));
		end);
	end);

	describe("a list", function ()
		it("is empty where there are no devices", function ()
			local said = command(plain, own.list);
			assert.same({ "completed"; plain.jid .. " has no push devices" }, { said.status; said.info });
		end);

		it("has clients, ages and states, and no tokens", function ()
			local phone, node = new_phone("phone");
			local tablet, tablet_node = new_phone("tablet", phone.jid);
			local laptop = client.connect(server, phone.jid);
			tablet:cut();
			local said = command(laptop, own.list);
			assert.same({ "completed"; "result" }, { said.status; said.form_type });
			local seen = {};
			for name, label in pairs(said.labels) do
				local resource = label:match("^(%a+) %(");
				assert.equal(("%s (%s)"):format(resource, name), label);
				seen[resource] = said.form[name];
			end
			assert.matches("Push service: push.test\nState: connected\nEnabled: %d+%-%d%d%-%d%d %d%d:%d%d UTC, %d+ m?s ago\n"
				.. "Not suspended", seen.phone);
			assert.matches("State: connection lost, but it may come back", seen.tablet);
			phone:close();
			loop.wait_for(function () return not server:session(phone.full_jid); end);
			local again = command(laptop, own.list);
			local text = tostring(again.reply);
			assert.matches("State: not connected", text);
			for _, one in ipairs({ node; tablet_node; "<" .. node; "&lt;" .. node }) do
				assert.is_nil(text:find(one, 1, true));
				assert.is_nil(tostring(said.reply):find(one, 1, true));
			end
		end);

		it("has errors, and what is suspended since when and why", function ()
			local phone, node = new_phone("phone");
			push.answer = push_service.error("cancel", "not-acceptable", "No such token: " .. node .. "\226\128\174");
			local name = names_of(phone)[1];
			local said = wait_for_answer(phone, own.test, command(phone, own.test, { fields = { device = name } }));
			assert.matches("refused it: not%-acceptable", said.error);
			assert.matches("Not suspended, 1 error in a row", command(phone, own.list).form[name]);
			said = wait_for_answer(phone, own.test, command(phone, own.test, { fields = { device = name } }));
			assert.matches("too often: the device is suspended: not%-acceptable %(No such token: " .. name:gsub("%p", "%%%0"),
				said.error);
			assert.is_nil(tostring(said.reply):find(node, 1, true));
			assert.is_nil(said.error:find("\226\128\174", 1, true));
			local listed = command(phone, own.list);
			assert.is_nil(listed.form[name]:find("\226\128\174", 1, true));
			assert.matches("Suspended: .* UTC, .* ago\nReason: not%-acceptable %(No such token: ", listed.form[name]);
			assert.is_nil(tostring(listed.reply):find(node, 1, true));
			assert.matches(", suspended$", command(phone, own.test).options[1].label);
			assert.equal(name .. " is suspended: nothing is sent but trials",
				command(phone, own.test, { fields = { device = name } }).error);
		end);

		it("has also what is old, and what another program has written", function ()
			local jid = devices.new_user(server);
			local username = jid:match("^[^@]*");
			server:eval([[
				local user, now = ..., os.time();
				assert(require "core.storagemanager".open("home.test", "cloud_notify"):set(user, {
					old = { jid = "push.test"; node = "a"; client_id = "old"; timestamp = now - 100 * 24*3600 };
					odd = { jid = 5; client_id = "odd\0"; timestamp = "yesterday"; suspended = { since = {}; condition = 5 } };
					future = { jid = "push.test"; node = "b"; client_id = "future"; timestamp = 1e300 };
				}));
			]], username);
			local said = command(boss, admins.list, { fields = { accountjid = jid } });
			local all = {};
			for _, details in pairs(said.form) do all[#all + 1] = details; end
			table.sort(all);
			assert.equal(3, #all);
			assert.equal("Push service: an unknown push service\nState: not connected\nEnabled: unknown\nSuspended: unknown\n"
				.. "Reason: no reason given", all[1]);
			assert.equal("Push service: push.test\nState: not connected\nEnabled: unknown\nNot suspended", all[3]);
			assert.matches("Enabled: .* UTC, 100 d ago\n", all[2]);
			said = command(boss, admins.remove, { fields = { accountjid = jid } });
			assert.equal(3, #said.options);
		end);

		it("shows what clients call themselves without what could not be shown", function ()
			local jid = devices.new_user(server);
			server:eval([[
				assert(require "core.storagemanager".open("home.test", "cloud_notify"):set(..., {
					long = { jid = "push.test"; node = "a"; client_id = ("x"):rep(1000); timestamp = 1 };
					odd = { jid = "push.test"; node = "b"; client_id = "a\226\128\174\nb"; timestamp = 2 };
				}));
			]], jid:match("^[^@]*"));
			local options = command(boss, admins.remove, { fields = { accountjid = jid } }).options;
			assert.matches("^" .. ("x"):rep(100) .. "%.%.%. %(", options[1].label);
			assert.matches("^a\\226\\128\\174\\10b %(", options[2].label);
		end);
	end);

	describe("a test", function ()
		it("is chosen from the user's devices, and says what has come back", function ()
			local phone, node = new_phone("phone");
			new_phone("tablet", phone.jid);
			local said = command(phone, own.test);
			assert.same({ "executing"; "next"; "form" }, { said.status; said.next; said.form_type });
			assert.equal(2, #said.options);
			local name = said.options[1].value;
			assert.matches("^phone %(" .. name:gsub("%p", "%%%0") .. "%): push.test, enabled %d+ m?s ago, connected$",
				said.options[1].label);
			said = wait_for_answer(phone, own.test, go_on(phone, own.test, said, { device = name }));
			assert.equal("completed", said.status);
			assert.matches("^" .. name:gsub("%p", "%%%0") .. " at push.test%. The push service has taken it, after .*s%.$",
				said.info);
			assert.equal(1, pushes_to(node));
			assert.is_nil(tostring(said.reply):find(node, 1, true));
		end);

		it("says that there is no answer yet", function ()
			local phone = new_phone("phone");
			push.answer = push_service.never;
			local said = command(phone, own.test, { fields = { device = names_of(phone)[1] } });
			assert.same({ "executing"; "next" }, { said.status; said.next });
			assert.equal("Device: " .. names_of(phone)[1], said.form.fixed);
			local again = go_on(phone, own.test, said);
			assert.same({ "executing"; said.form }, { again.status; again.form });
		end);

		it("says at the end that there was no answer", function ()
			local phone, node = new_phone("phone");
			push.answer = push_service.never;
			local impatient = { push_answer_timeout = 1 };
			for name, value in pairs(defaults) do impatient[name] = value; end
			server:reconfigure({ options = impatient });
			finally(function () server:reconfigure({ options = defaults }); end);
			local said = command(phone, own.test, { fields = { device = names_of(phone)[1] } });
			said = wait_for_answer(phone, own.test, said);
			assert.matches("did not get through, and is tried again: no answer, after %d", said.error);
			assert.equal(1, pushes_to(node));
		end);

		it("does not hold up its client", function ()
			local phone = new_phone("phone");
			push.answer = push_service.never;
			local said = command(phone, own.test, { fields = { device = names_of(phone)[1] } });
			phone:ping();
			assert.equal("executing", go_on(phone, own.test, said).status);
		end);

		it("causes no more pushes than a device may get, and says so", function ()
			local phone, node = new_phone("phone");
			local name = names_of(phone)[1];
			local function test()
				return wait_for_answer(phone, own.test, command(phone, own.test, { fields = { device = name } }));
			end
			for _ = 1, max_per_minute do assert.matches("has taken it", test().info); end
			for _ = 1, 10 do
				assert.matches("^" .. name:gsub("%p", "%%%0") .. " is not sent one now: .+", test().error);
			end
			assert.equal(max_per_minute, pushes_to(node));
			assert.matches("Owed a push for %d+ m?s: ", command(phone, own.list).form[name]);
		end);

		it("is not known any more after a reload, nor once there is a newer one", function ()
			local phone = new_phone("phone");
			new_phone("tablet", phone.jid);
			push.answer = push_service.never;
			local names = names_of(phone);
			local first = command(phone, own.test, { fields = { device = names[1] } });
			local second = command(phone, own.test, { fields = { device = names[2] } });
			assert.equal("What has come of that test is not known any more", go_on(phone, own.test, first).error);
			assert.equal("executing", go_on(phone, own.test, second).status);
			server:reload_module("cloud_notify", "home.test");
			assert.equal("What has come of that test is not known any more", go_on(phone, own.test, second).error);
		end);
	end);

	describe("a removal", function ()
		it("takes the device that was chosen, and no other", function ()
			local phone, node = new_phone("phone");
			local _, tablet_node = new_phone("tablet", phone.jid);
			local said = command(phone, own.remove);
			assert.same({ "executing"; "complete"; 2 }, { said.status; said.next; #said.options });
			assert.equal(2, count_of(phone.jid));
			said = go_on(phone, own.remove, said, { device = said.options[1].value });
			assert.equal("completed", said.status);
			assert.matches("^phone %(.*%) gets no more pushes, until its app registers again$", said.info);
			assert.is_nil(tostring(said.reply):find(node, 1, true));
			assert.same({ "push.test<" .. tablet_node }, devices.identifiers(server, phone.jid));
			assert.is_nil(devices.attached(phone).identifier);
			assert.equal("client", last_of_history(phone).by);
			devices.enable(phone, { jid = "push.test"; node = node });
			assert.equal(2, count_of(phone.jid));
		end);

		it("has nothing to do where there are no devices", function ()
			assert.equal(plain.jid .. " has no push devices", command(plain, own.remove).info);
			assert.equal(plain.jid .. " has no push devices", command(plain, own.test).info);
		end);
	end);

	describe("users", function ()
		local victim, victim_node, victim_name, attacker, attacker_node;

		before_each(function ()
			victim, victim_node = new_phone("phone");
			victim_name = names_of(victim)[1];
			attacker, attacker_node = new_phone("phone");
		end);

		local function assert_unharmed()
			assert.equal(1, count_of(victim.jid));
			assert.equal(0, pushes_to(victim_node));
		end

		local function assert_tells_nothing(said)
			assert.is_nil(tostring(said.reply):find(victim_name, 1, true));
			assert.is_nil(tostring(said.reply):find(victim_node, 1, true));
		end

		it("get at their own devices only, whatever a form says", function ()
			for _, account in ipairs({ victim.jid; victim.full_jid; "boss@home.test"; "" }) do
				for _, device in ipairs({ victim_name; "push.test<" .. victim_node; victim_node; "" }) do
					local fields = { accountjid = account; device = device; jid = account; user = victim.username };
					for _, action in ipairs({ "execute"; "next"; "complete"; "prev" }) do
						for _, node in pairs(own) do
							local said = command(attacker, node, { fields = fields; action = action });
							if device ~= "" and action ~= "prev" and node ~= own.list then
								assert.equal(attacker.jid .. " has no registration of this name", said.error);
							end
							assert_tells_nothing(said);
						end
					end
				end
			end
			assert_unharmed();
			assert.equal(1, count_of(attacker.jid));
		end);

		it("get at nothing through the sessions of others", function ()
			push.answer = push_service.never;
			local theirs = command(victim, own.test, { fields = { device = victim_name }; sessionid = "the-same" });
			assert.equal("the-same", theirs.sessionid);
			assert.equal(1, pushes_to(victim_node));
			push:clear();
			for _, node in pairs(own) do
				local test = theirs.form.test;
				for _, fields in ipairs({ { test = test }; { test = test; accountjid = victim.jid }; {} }) do
					for _, action in ipairs({ "next"; "complete"; "cancel" }) do
						local said = command(attacker, node, { fields = fields; sessionid = "the-same"; action = action });
						if node == own.test and fields.test and action ~= "cancel" then
							assert.equal("What has come of that test is not known any more", said.error);
						end
						assert_tells_nothing(said);
					end
				end
			end
			local started = command(boss, admins.remove, { fields = { accountjid = victim.jid }; sessionid = "another" });
			assert.equal("executing", started.status);
			for _, node in pairs(own) do
				assert_tells_nothing(command(attacker, node, { sessionid = "another"; fields = { device = victim_name } }));
			end
			assert_unharmed();
			assert.equal("executing", go_on(victim, own.test, theirs).status);
		end);

		it("are refused what is for administrators, at each step", function ()
			for _, node in pairs(admins) do
				local account = victim.jid;
				for _, fields in ipairs({ {}; { accountjid = account }; { accountjid = account; device = victim_name } }) do
					for _, action in ipairs({ "execute"; "next"; "complete"; "prev"; "cancel" }) do
						local said = command(attacker, node, { fields = fields; action = action; sessionid = "another" });
						assert.equal("forbidden", said.refused);
						assert_tells_nothing(said);
					end
				end
				assert.equal("forbidden", command(attacker, node).refused);
			end
			assert_unharmed();
		end);

		it("may take steps in any order, or leave any out", function ()
			local name = names_of(attacker)[1];
			for _, node in ipairs({ own.test; own.remove }) do
				for _, step in ipairs({
					{ action = "complete" }; { action = "next" }; { action = "prev" }; { action = "complete"; sessionid = "unknown" };
					{ fields = {} }; { fields = {}; action = "complete" }; { fields = { device = "" } };
					{ fields = { device = name }; action = "prev" }; { fields = { other = name } };
					{ child = st.stanza("x", { xmlns = xmlns_data }) };
					{ child = st.stanza("x", { xmlns = xmlns_data }):tag("field") };
					{ child = st.stanza("x", { xmlns = xmlns_data }):tag("field", { var = "device" }) };
					{ child = st.stanza("x", { xmlns = xmlns_data }):tag("field", { var = "device" }):tag("value") };
					{ child = st.stanza("x", { xmlns = "urn:example" }):tag("field", { var = "device" }):text_tag("value", name) };
				}) do
					local said = command(attacker, node, step);
					assert.same({ "executing"; 1 }, { said.status; #said.options });
				end
			end
			assert.equal(1, count_of(attacker.jid));
			assert.equal(0, pushes_to(attacker_node));
		end);

		it("may cancel at any step, and nothing is done", function ()
			local name = names_of(attacker)[1];
			for _, node in pairs(own) do
				for _, fields in ipairs({ {}; { device = name }; { device = name; test = "x" } }) do
					assert.equal("canceled", command(attacker, node, { fields = fields; action = "cancel" }).status);
					assert.equal("canceled", command(attacker, node, { fields = fields; form_type = "cancel" }).status);
				end
				assert.equal("canceled", command(attacker, node, { action = "cancel" }).status);
			end
			assert.equal(1, count_of(attacker.jid));
			assert.equal(0, pushes_to(attacker_node));
		end);

		it("are told that there is no such action", function ()
			local name = names_of(attacker)[1];
			for _, node in pairs(own) do
				for _, action in ipairs({ "remove"; ""; "EXECUTE"; ("x"):rep(10000) }) do
					local said = command(attacker, node, { action = action; fields = { device = name } });
					assert.same({ "bad-request"; "modify" }, { said.refused; said.error_type });
					assert.is_truthy(said.reply:get_child("error"):get_child("malformed-action", xmlns_commands));
				end
			end
			assert.equal(1, count_of(attacker.jid));
		end);

		it("get no further with fields of any size or number", function ()
			local huge, long_host = ("x"):rep(100000), ("xx."):rep(300) .. "test";
			local many = st.stanza("x", { xmlns = xmlns_data; type = "submit" });
			for i = 1, 2000 do many:tag("field", { var = "f" .. i }):text_tag("value", "v"):up(); end
			for _, node in ipairs({ own.test; own.remove }) do
				local said = command(attacker, node, { fields = { device = huge } });
				assert.equal(attacker.jid .. " has no registration of this name", said.error);
				assert.equal("executing", command(attacker, node, { child = many }).status);
			end
			local said = command(attacker, own.test, { fields = { test = huge } });
			assert.equal("What has come of that test is not known any more", said.error);
			for _, jid in ipairs({ huge; huge .. "@home.test"; "a@" .. huge; "a@b/" .. huge; "a@" .. long_host }) do
				said = command(boss, admins.remove, { fields = { accountjid = jid } });
				assert.is_true(#said.error < 300);
			end
			assert.equal(1, count_of(attacker.jid));
		end);

		it("leave nothing behind in mod_adhoc, however many commands they begin", function ()
			local before = remembered(server);
			for i = 1, 100 do
				for _, node in pairs(own) do command(attacker, node, { sessionid = "mine-" .. i }); end
			end
			command(boss, admins.remove, { fields = { accountjid = attacker.jid } });
			assert.equal(before, remembered(server));
		end);
	end);

	describe("strangers", function ()
		local victim, name;

		before_each(function ()
			victim = new_phone("phone");
			name = names_of(victim)[1];
		end);

		it("from other hosts of the server are refused, also where they have the same name", function ()
			server:add_user(victim.username, "secret", "other.test");
			local namesake = client.connect(server, victim.username .. "@other.test");
			for _, node in ipairs(nodes_of(own, admins)) do
				local fields = { accountjid = victim.jid; device = name };
				assert.equal("forbidden", command(namesake, node, { fields = fields }).refused);
			end
			assert.equal(namesake.jid .. " has no push devices", command(namesake, own.remove, { to = "other.test" }).info);
			assert.equal(namesake.jid .. " has no registrations",
				command(namesake, own.remove, { to = "other.test"; fields = { device = name } }).error);
			assert.equal(1, count_of(victim.jid));
		end);

		it("from other servers are refused", function ()
			for _, from in ipairs({ "push.test"; victim.username .. "@push.test/x"; "boss@push.test" }) do
				for _, node in ipairs(nodes_of(own, admins)) do
					local fields = { accountjid = victim.jid; device = name };
					assert.equal("forbidden", command_from_afar(from, node, { fields = fields }).refused);
				end
			end
			assert.equal(1, count_of(victim.jid));
		end);

		it("without an account have no devices", function ()
			local anonymous = client.connect(server, "anonymous.test");
			local user_jid = anonymous.full_jid:match("^[^/]*");
			local fields = { accountjid = victim.jid; device = name };
			for _, node in pairs(own) do
				assert.equal("forbidden", command(anonymous, node, { fields = fields }).refused);
				assert.equal(user_jid .. " has no push devices", command(anonymous, node, { to = "anonymous.test" }).info);
			end
			assert.equal(user_jid .. " has no registrations",
				command(anonymous, own.remove, { to = "anonymous.test"; fields = fields }).error);
			assert.equal(1, count_of(victim.jid));
		end);

		it("that are the host itself are refused, too", function ()
			local reply = server:eval([[
				local node = ...;
				local reply;
				local origin = { type = "local"; host = "home.test"; send = function (stanza) reply = stanza; end };
				local request = st.iq({ type = "set"; from = "home.test"; to = "home.test"; id = "1" })
					:tag("command", { xmlns = "http://jabber.org/protocol/commands"; node = node }):reset();
				hosts["home.test"].events.fire_event("iq-set/host/http://jabber.org/protocol/commands:command",
					{ origin = origin; stanza = request });
				return select(2, reply:get_error());
			]], own.list);
			assert.equal("forbidden", reply);
		end);
	end);

	describe("administrators", function ()
		it("see, test and remove the devices of any account", function ()
			local phone, node = new_phone("phone");
			local said = command(boss, admins.list);
			assert.same({ "executing"; "next"; "Push devices of a user" }, { said.status; said.next; said.title });
			said = go_on(boss, admins.list, said, { accountjid = phone.full_jid });
			assert.equal("Push devices of " .. phone.jid, said.title);
			local name, details = next(said.form);
			assert.matches("State: connected", details);

			said = go_on(boss, admins.test, command(boss, admins.test), { accountjid = phone.jid });
			assert.same({ name; phone.jid }, { said.options[1].value; said.form.accountjid });
			said = wait_for_answer(boss, admins.test, go_on(boss, admins.test, said, { device = name }));
			assert.matches("The push service has taken it", said.info);
			assert.equal(1, pushes_to(node));

			said = go_on(boss, admins.remove, command(boss, admins.remove), { accountjid = phone.jid });
			said = go_on(boss, admins.remove, said, { device = name });
			assert.matches("gets no more pushes", said.info);
			assert.equal(0, count_of(phone.jid));
			assert.is_nil(tostring(said.reply):find(node, 1, true));
			assert.equal("admin", last_of_history(phone).by);
		end);

		it("may be on other servers", function ()
			local phone = new_phone("phone");
			local said = command_from_afar("chief@push.test/pc", admins.list, { fields = { accountjid = phone.jid } });
			assert.equal("Push devices of " .. phone.jid, said.title);
			assert.equal("forbidden", command_from_afar("chief@push.test/pc", own.list, {}).refused);
		end);

		it("are told what is wrong with an account, and nothing is changed", function ()
			for _, node in pairs(admins) do
				for jid, problem in pairs({
					["nobody@home.test"] = "There is no account nobody@home.test";
					["anna@other.test"] = "anna@other.test is no account of home.test: look for this command at its own host";
					["anna@nowhere.test"] = "anna@nowhere.test is no account of home.test: look for this command at its own host";
					["home.test"] = "That is no JID of an account";
					["@home.test"] = "That is no JID of an account";
					["a@b@c"] = "That is no JID of an account";
					[""] = "That is no JID of an account";
					[plain.jid] = plain.jid .. " has no push devices";
				}) do
					local said = command(boss, node, { fields = { accountjid = jid } });
					assert.same({ "completed"; problem }, { said.status; said.error or said.info });
				end
			end
		end);

		it("are told of devices that are not there", function ()
			local phone = new_phone("phone");
			for _, node in ipairs({ admins.test; admins.remove }) do
				assert.equal(phone.jid .. " has no registration of this name",
					command(boss, node, { fields = { accountjid = phone.jid; device = "nothing" } }).error);
				assert.equal(plain.jid .. " has no registrations",
					command(boss, node, { fields = { accountjid = plain.jid; device = "nothing" } }).error);
				assert.equal("executing", command(boss, node, { fields = { device = "nothing" } }).status);
			end
			assert.equal(1, count_of(phone.jid));
		end);

		it("see a test of their own only for the account that it is of", function ()
			local phone = new_phone("phone");
			push.answer = push_service.never;
			local said = command(boss, admins.test, { fields = { accountjid = phone.jid; device = names_of(phone)[1] } });
			assert.equal("executing", said.status);
			assert.equal("What has come of that test is not known any more",
				go_on(boss, admins.test, said, { accountjid = plain.jid }).error);
			assert.equal("What has come of that test is not known any more",
				command(phone, own.test, { fields = { test = said.form.test } }).error);
			assert.equal("executing", go_on(boss, admins.test, said).status);
		end);

		it("have their own devices, too", function ()
			assert.equal("boss@home.test has no push devices", command(boss, own.list).info);
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("ad-hoc commands with Prosody " .. version, function ()
		describe_all(version);
	end);

	it("a fault in an ad-hoc command is an error for who asks, with Prosody " .. version, function ()
		local server = prosody.start({ version = version; modules = { "adhoc" } });
		local anna = client.connect(server, devices.new_user(server));
		inspect.eval(server, [[
			local is_account, set = upvalue("is_account");
			set(function (...)
				set(is_account);
				error("the test has broken it", 0);
			end);
		]]);
		assert.same({ "internal-server-error"; "wait" }, (function (said)
			return { said.refused; said.error_type };
		end)(command(anna, own.list)));
		assert.matches("This is a bug, please report it: the test has broken it", server:log_text());
		assert.equal(anna.jid .. " has no push devices", command(anna, own.list).info);
		server:stop();
	end);
end
