local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local megabyte = 2^20;

local open_options = {
	component_stanza_size_limit = 16 * 2^20;
	push_coalesce_window = 0;
	push_max_devices = 100;
	push_max_errors = 3;
	push_max_per_minute = 0;
};

-- What somebody else's program, or a damaged disk, may leave in a user's table.
local damaged_records = {
	["no record: a number"] = 7;
	["no record: a string"] = "push.test";
	["no record: true"] = true;
	["nothing"] = {};
	["a number for a service"] = { jid = 7; node = "n" };
	["a table for a service"] = { jid = { "push.test" }; node = "n" };
	["an empty service"] = { jid = ""; node = "n" };
	["no service: @"] = { jid = "@"; node = "n" };
	["no service: a space"] = { jid = "push .test"; node = "n" };
	["no service: no host"] = { jid = "push@"; node = "n" };
	["no service: no resource"] = { jid = "push.test/"; node = "n" };
	["no service: no UTF-8"] = { jid = "push.\255"; node = "n" };
	["no service: markup"] = { jid = "push.test'/><x y='"; node = "n" };
	["no service: very long"] = { jid = ("x"):rep(2000) .. ".test"; node = "n" };
	["a host that is nowhere"] = { jid = "nowhere.invalid"; node = "n" };
	["the host itself"] = { jid = "home.test"; node = "n" };
	["nobody at the host"] = { jid = "nobody@home.test"; node = "n" };
	["a number for a node"] = { jid = "push.test"; node = 7 };
	["a table for a node"] = { jid = "push.test"; node = {} };
	["a node that is no UTF-8"] = { jid = "push.test"; node = "\255" };
	["markup for a node"] = { jid = "push.test"; node = "'/><x y='&" };
	["a string for a form"] = { jid = "push.test"; node = "f1"; options = "form" };
	["an empty form"] = { jid = "push.test"; node = "f2"; options = {} };
	["a form without a name"] = { jid = "push.test"; node = "f3"; options = { attr = {} } };
	["a form with a broken name"] = { jid = "push.test"; node = "f4"; options = { name = "<x>"; attr = {} } };
	["a form with a broken child"] = { jid = "push.test"; node = "f5"; options = { name = "x"; attr = {}; { true } } };
	["a form with a number in it"] = { jid = "push.test"; node = "f6"; options = { name = "x"; attr = { type = 7 }; 7 } };
	["strings for numbers"] = { jid = "push.test"; node = "s"; timestamp = "soon"; sequence = "first" };
	["tables for names"] = { jid = "push.test"; node = "t"; client_id = {}; resource = {}; language = {} };
	["a number for the resource"] = { jid = "push.test"; node = "r"; resource = 7; client_id = true };
	["more than anybody knows"] = { jid = "push.test"; node = "m"; extra = { deep = { deeper = {} } }; encryption = 7 };
};

local function phone_of(server, jid, how)
	local options = how or {};
	options.resource = "phone";
	return client.connect(server, jid, options);
end

-- What is wrong with a request that the client can put right, or with the stanza around it.
local malformed_requests = {
	["an enable without anything"] = "<enable xmlns='urn:xmpp:push:0'/>";
	["an enable with an empty address"] = "<enable xmlns='urn:xmpp:push:0' jid=''/>";
	["an enable with half an address"] = "<enable xmlns='urn:xmpp:push:0' jid='@push.test'/>";
	["an enable with control characters"] = "<enable xmlns='urn:xmpp:push:0' jid='push&#9;&#10;.test'/>";
	["an enable with an address that has a namespace"] =
		"<enable xmlns='urn:xmpp:push:0' xmlns:a='urn:a' a:jid='push.test' a:node='n1'/>";
	["an enable with a very long address"] =
		"<enable xmlns='urn:xmpp:push:0' jid='" .. ("x"):rep(100000) .. "'/>";
	["an enable with a very long node"] =
		"<enable xmlns='urn:xmpp:push:0' jid='push.test' node='" .. ("x"):rep(100000) .. "'/>";
	["an enable with a thousand elements"] =
		"<enable xmlns='urn:xmpp:push:0' jid='push.test'>" .. ("<x xmlns='urn:x'/>"):rep(1000) .. "</enable>";
	["a bottomless enable"] =
		"<enable xmlns='urn:xmpp:push:0' jid='push.test'>" .. ("<x>"):rep(300) .. ("</x>"):rep(300) .. "</enable>";
	["a disable without anything"] = "<disable xmlns='urn:xmpp:push:0'/>";
	["a disable with half an address"] = "<disable xmlns='urn:xmpp:push:0' jid='push@'/>";
	["something else in the namespace"] = "<explain xmlns='urn:xmpp:push:0' jid='push.test'/>";
	["two requests in one"] =
		"<enable xmlns='urn:xmpp:push:0' jid='push.test'/><disable xmlns='urn:xmpp:push:0' jid='push.test'/>";
};

local function describe_all(version)
	local server, push, sender;

	local function start(options)
		options.version = version;
		options.options = options.options or {};
		for name, value in pairs(open_options) do
			if options.options[name] == nil then options.options[name] = value; end
		end
		server = prosody.start(options);
		push = push_service.connect(server, "push.test", "secret");
		sender = client.connect(server, devices.new_user(server));
	end

	local function stop_in_good_order()
		prosody.stop_all();
		assert.same({}, server:faults());
	end

	local function absent_user(push_jid, node)
		local jid = devices.new_user(server);
		local phone = phone_of(server, jid);
		devices.enable(phone, { jid = push_jid or "push.test"; node = node or "n1" });
		phone:close();
		return jid;
	end

	-- Sends a message, and returns when all that came of it is over.
	local function message(jid, body)
		sender:message({ to = jid; body = body or "Wake up" });
		sender:ping();
		push:ping();
		push:ping();
	end

	local function assert_delivered(jid, body)
		local phone = phone_of(server, jid);
		phone:expect({ name = "message"; body = body });
		phone:close();
	end

	describe("what comes over the wire", function ()
		setup(function () start({ modules = { "pep" } }); end);
		teardown(stop_in_good_order);
		before_each(function ()
			push:clear();
			push.answer = push_service.result;
		end);

		for name, payload in pairs(malformed_requests) do
			it("is refused, with the connection as it was: " .. name, function ()
				local phone = phone_of(server, devices.new_user(server));
				phone:send("<iq type='set' id='r1'>" .. payload .. "</iq>");
				local reply = phone:expect({ name = "iq"; id = "r1" });
				assert.equal("error", reply.attr.type);
				assert.same({}, devices.attached(phone));
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				assert.same({ "push.test<n1" }, devices.identifiers(server, phone.jid));
				phone:close();
			end);
		end

		it("does nothing when it only asks, or asks for somebody else", function ()
			local phone = phone_of(server, devices.new_user(server));
			local payload = "<enable xmlns='urn:xmpp:push:0' jid='push.test'/></iq>";
			for id, top in ipairs({
				"<iq type='get' id='%d'>";
				"<iq type='set' id='%d' to='" .. sender.jid .. "'>";
				"<iq type='set' id='%d' to='home.test'>";
			}) do
				phone:send(top:format(id) .. payload);
				assert.equal("error", phone:expect({ name = "iq"; id = tostring(id) }).attr.type);
			end
			phone:send("<iq type='result' id='4'>" .. payload);
			phone:send("<iq type='error' id='5'>" .. payload);
			phone:send("<message><enable xmlns='urn:xmpp:push:0' jid='push.test'/></message>");
			phone:ping();
			assert.same({}, devices.identifiers(server, phone.jid));
			assert.same({}, devices.identifiers(server, sender.jid));
			phone:close();
		end);

		it("may be an answer without sense", function ()
			local jid = absent_user();
			local identifier = "push.test<n1";
			for _, content in ipairs({
				""; "<error/>"; "<error type='nonsense'/>"; "<error type='cancel'/>"; "<error><gone/></error>";
				"<error type='wait'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><gone/></error>";
				"<error type='cancel'><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
				"<error xmlns='urn:x' type='cancel'/>"; "text";
			}) do
				push.answer = function (publish, service)
					service:send(("<iq type='error' from='push.test' to='home.test' id='%s'>%s</iq>"):format(publish.id, content));
				end;
				message(jid);
				push.answer = push_service.result;
				message(jid);
				assert.equal(0, devices.push_errors(server, jid, identifier));
			end
			assert.equal(0, inspect.in_flight(server));
		end);

		it("may be an iq of another module that lacks everything", function ()
			server:eval([[
				local events = hosts["home.test"].events;
				for _, type in ipairs({ "result", "error" }) do
					for _, attr in ipairs({ { id = "push-0000000000000000" }, { id = "x" }, { id = "", from = "" } }) do
						attr.type = type;
						events.fire_event("iq/host", { origin = hosts["home.test"], stanza = st.stanza("iq", attr) });
					end
				end
			]]);
			assert.same({}, server:faults());
		end);

		it("may be a farewell of a push service without sense", function ()
			local jid = absent_user();
			for _, content in ipairs({
				"<pubsub xmlns='http://jabber.org/protocol/pubsub'/>";
				"<pubsub xmlns='http://jabber.org/protocol/pubsub' node='n1'/>";
				"<pubsub xmlns='http://jabber.org/protocol/pubsub' node='n1'><affiliation/></pubsub>";
				"<pubsub xmlns='http://jabber.org/protocol/pubsub' node='n1'>"
					.. ("<x>"):rep(20) .. ("</x>"):rep(20) .. "</pubsub>";
				("<pubsub xmlns='http://jabber.org/protocol/pubsub' node='%s'><affiliation jid='%s' affiliation='none'/></pubsub>")
					:format(("n"):rep(100000), jid);
			}) do
				push:send(("<message from='push.test' to='%s'>%s</message>"):format(jid, content));
				push:send(("<message from='push.test' to='%s' type='error'>%s</message>"):format(jid, content));
			end
			push:ping();
			assert.same({ "push.test<n1" }, devices.identifiers(server, jid));
			message(jid);
			assert.truthy(push.received[1]);
		end);

		it("may be a flood of text, which does not flood the log", function ()
			local jid = absent_user();
			push.answer = push_service.error("cancel", "item-not-found", ("long text\n"):rep(100000));
			local mark = server:log_mark();
			for _ = 1, 3 do message(jid); end
			assert.same({}, devices.identifiers(server, jid));
			assert.is_true(#inspect.log_above_debug(server, mark) < 3 * 1024);
		end);

		it("may be a condition that nobody defined, which does not flood the log either", function ()
			local jid = absent_user();
			local name = ("x"):rep(megabyte);
			push.answer = function (publish, service)
				service:send(("<iq type='error' from='push.test' to='home.test' id='%s'><error type='cancel'>"
					.. "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"):format(publish.id, name));
			end;
			local mark = server:log_mark();
			for _ = 1, 3 do message(jid); end
			assert.is_true(#inspect.log_above_debug(server, mark) < 3 * 1024);
		end);

		it("may put lines of its own into no log", function ()
			local jid = absent_user();
			push.answer = push_service.error("cancel", "item-not-found",
				"x\nJan 01 00:00:00 home.test:cloud_notify\terror\tforged");
			local mark = server:log_mark();
			message(jid);
			local text = server:log_since(mark);
			assert.truthy(text:find("forged", 1, true));
			assert.is_nil(text:find("\nJan 01 00:00:00", 1, true));
		end);
	end);

	describe("a damaged store", function ()
		setup(function () start({ modules = { "pep" } }); end);
		teardown(stop_in_good_order);
		before_each(function () push:clear(); end);

		-- A user who has these records without the module having seen them.
		local function user_with(records)
			local jid = devices.new_user(server);
			server:eval([[
				local user, records = ...;
				local datamanager = require "util.datamanager";
				local file = assert(io.open(datamanager.getpath(user, "home.test", "cloud_notify", "dat", true), "w"));
				assert(file:write("return " .. require "util.serialization".serialize(records)));
				assert(file:close());
			]], jid:match("^[^@]+"), records);
			return jid;
		end

		local function good_record()
			return { jid = "push.test"; node = "good"; timestamp = 2000000000; resource = "tablet" };
		end

		local function is_woken(node)
			for _, publish in ipairs(push.received) do
				if publish.node == node then return true; end
			end
			return false;
		end

		for name, record in pairs(damaged_records) do
			it("stops neither messages nor pushes to good registrations: " .. name, function ()
				local jid = user_with({ ["push.test<bad"] = record; ["push.test<good"] = good_record() });
				message(jid, "Hello");
				assert.is_true(is_woken("good"));
				assert_delivered(jid, "Hello");
				push:clear();

				local phone = phone_of(server, jid, { sm = "resume" });
				server:eval([[
					local full_jid, record = ...;
					local session = prosody.full_sessions[full_jid];
					session.push_identifier, session.push_settings = "push.test<bad", record;
				]], phone.full_jid, record);
				phone:cut();
				message(jid, "Hello again");
				assert.is_true(phone:resume() == phone);
				phone:expect({ name = "message"; body = "Hello again" });
				devices.enable(phone, { jid = "push.test"; node = "bad" });
				devices.disable(phone, { jid = "push.test"; node = "bad" });
				phone:close();
				push:clear();
				message(jid, "Hello once more");
				assert.is_true(is_woken("good"));
				assert.same({}, server:faults());
			end);
		end

		it("stops neither messages nor pushes, whatever there is in one user's table", function ()
			local records = { ["push.test<good"] = good_record(); [1] = good_record(); [true] = {}; [""] = {} };
			for name, record in pairs(damaged_records) do records[name] = record; end
			local jid = user_with(records);
			message(jid, "Hello");
			assert.is_true(is_woken("good"));
			assert_delivered(jid, "Hello");
			server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], jid:match("^[^@]+"));
			push:ping();
			assert.same({}, server:faults());
		end);

		for name, table in pairs({ ["a string"] = "records"; ["a number"] = 7; ["true"] = true; ["a list"] = { 1, 2, 3 } }) do
			it("is as good as empty if it has no table for the user but " .. name, function ()
				local jid = user_with(table);
				message(jid, "Hello");
				assert.same({}, push.received);
				assert_delivered(jid, "Hello");
				local phone = phone_of(server, jid);
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				phone:close();
				message(jid);
				assert.equal("n1", push.received[1].node);
			end);
		end
	end);

	describe("somebody else's error", function ()
		setup(function ()
			start({ config = [[Component "local.test" "spec_push_service"]] });
		end);
		teardown(function () prosody.stop_all(); end);
		before_each(function ()
			push:clear();
			push.answer = push_service.result;
		end);

		-- Has all listeners to an event raise what the code says.
		local function hook(event, code)
			server:eval(([[
				rawset(_G, "spec_handler", function (event) %s end);
				hosts["home.test"].events.add_handler(%q, spec_handler, 1000);
			]]):format(code, event));
			finally(function ()
				server:eval([[hosts["home.test"].events.remove_handler(..., spec_handler);]], event);
			end);
		end

		for name, code in pairs({
			["a string"] = [[error("oh no");]];
			["a table"] = [[error({});]];
			["nothing"] = [[error();]];
			["a mistake"] = [[return event.nothing.at.all;]];
		}) do
			it("in a listener of cloud_notify/push stops neither message nor push, and is logged: " .. name, function ()
				local jid = absent_user();
				server:reload_module("cloud_notify", "home.test"); -- which starts to count anew
				hook("cloud_notify/push", code);
				local mark = server:log_mark();
				message(jid, "Hello");
				message(jid, "Hello");
				assert.equal("n1", push.received[2].node);
				assert.equal(1, #inspect.logged(server, "error", mark));
				assert_delivered(jid, "Hello");
			end);
		end

		it("in a listener that needs a stanza does not stop a ping, and is no error", function ()
			local jid = absent_user();
			hook("cloud_notify/push", [[return event.original_stanza.attr.from == nil;]]);
			local mark = server:log_mark();
			server:eval([[hosts["home.test"].events.fire_event("cloud-notify-ping", { user = ... });]], jid:match("^[^@]+"));
			push:ping();
			assert.equal(1, #push.received);
			assert.same({}, inspect.logged(server, "error", mark));
		end);

		it("in a push service of this server stops neither the message nor other pushes", function ()
			local jid = devices.new_user(server);
			for i = 1, 10 do
				local phone = client.connect(server, jid, { resource = ("phone%d"):format(i) });
				devices.enable(phone, { jid = i % 2 == 0 and "push.test" or "local.test"; node = ("n%d"):format(i) });
				phone:close();
			end
			server:eval([[module("local.test", "spec_push_service"):shared("answer").raise = "oh no";]]);
			message(jid, "Hello");
			server:eval([[module("local.test", "spec_push_service"):shared("answer").raise = nil;]]);
			assert_delivered(jid, "Hello");
			assert.equal(5, #push.received);
		end);

		it("in the fields of a session stops no message, and is not taken for one of this module", function ()
			local jid = absent_user();
			local mark = server:log_mark();
			for _, fields in ipairs({
				{ identifier = true }; { identifier = 7 }; { identifier = {} }; { identifier = "push.test<n1" };
				{ identifier = "push.test<n1"; settings = 7 }; { identifier = {}; settings = {} }; { settings = {} };
			}) do
				local phone = phone_of(server, jid, { sm = "resume" });
				server:eval([[
					local full_jid, fields = ...;
					local session = prosody.full_sessions[full_jid];
					session.push_identifier, session.push_settings = fields.identifier, fields.settings;
				]], phone.full_jid, fields);
				phone.withhold_acks = true;
				message(jid, "Hello");
				phone:cut();
				message(jid, "Hello");
				assert.equal(phone, phone:resume());
				phone:expect({ name = "message"; body = "Hello" });
				phone:expect({ name = "message"; body = "Hello" });
				phone:close();
			end
			assert.same({}, inspect.logged(server, "error", mark));
		end);
	end);

	describe("an error of the module itself", function ()
		setup(function () start({}); end);
		teardown(function () prosody.stop_all(); end);
		before_each(function () push:clear(); end);

		local function break_engine()
			inspect.eval(server, [[
				local engine, set = upvalue("engine");
				rawset(_G, "spec_engine", engine);
				set(setmetatable({}, { __index = function () error("the engine is broken"); end }));
			]]);
		end

		local function mend_engine()
			inspect.eval(server, [[
				local _, set = upvalue("engine");
				set(spec_engine);
			]]);
		end

		it("is logged, and messages go on by every rule", function ()
			local jid = absent_user();
			local phone = phone_of(server, devices.new_user(server), { sm = "resume" });
			devices.enable(phone, { jid = "push.test"; node = "n1" });
			local mark = server:log_mark();
			break_engine();
			message(jid, "Hello");
			assert.truthy(#inspect.logged(server, "error", mark) > 0);
			assert.truthy(inspect.logged(server, "error", mark)[1]:find("the engine is broken", 1, true));

			phone.withhold_acks = true;
			message(phone.jid, "first");
			phone:cut();
			message(phone.jid, "second");
			assert.equal(phone, phone:resume());
			phone:expect({ name = "message"; body = "first" });
			phone:expect({ name = "message"; body = "second" });
			phone:close();

			assert_delivered(jid, "Hello");
			mend_engine();
			message(jid);
			assert.equal("n1", push.received[1].node);
		end);

		it("is logged once, and at level debug from then on", function ()
			local jid = absent_user();
			break_engine();
			message(jid, "Hello");
			local mark = server:log_mark();
			message(jid, "Are you there?");
			message(jid, "Are you there, really?");
			mend_engine();
			assert.same({}, inspect.logged(server, "error", mark));
			assert.truthy(table.concat(inspect.logged(server, "debug", mark)):find("This is a bug", 1, true));
		end);

		it("is an answer to a request, and not silence", function ()
			local phone = phone_of(server, devices.new_user(server));
			break_engine();
			local ok, reply = pcall(phone.enable_push, phone, { jid = "push.test"; node = "n1" });
			mend_engine();
			assert.is_true(ok, "no answer");
			assert.same({ "wait"; "internal-server-error" }, { reply:get_error() }, nil, true);
			devices.enable(phone, { jid = "push.test"; node = "n1" });
			phone:close();
		end);

		it("in an answer to a push is logged, and stops no other", function ()
			local jid = absent_user();
			local before = inspect.in_flight(server);
			push.answer = push_service.never;
			message(jid);
			local mark = server:log_mark();
			break_engine();
			push:send(st.reply(push.received[1].stanza));
			push:ping();
			mend_engine();
			assert.equal(1, #inspect.logged(server, "error", mark));
			push:send(st.reply(push.received[1].stanza));
			push:ping();
			assert.equal(before, inspect.in_flight(server));
			push.answer = push_service.result;
		end);
	end);

	for _, how in ipairs({ "error"; "raise" }) do
		describe(("a store that cannot be read (%s)"):format(how), function ()
			setup(function ()
				start({ options = { storage = { cloud_notify = "faulty" } } });
			end);
			teardown(function () prosody.stop_all(); end);

			local function set_failing(value)
				server:eval([[module("home.test", "storage_faulty"):shared("failing").get = ...;]], value);
			end

			it("stops no message, and is said once, with what to do", function ()
				local jids = {};
				for i = 1, 5 do jids[i] = absent_user(); end
				server:reload_module("cloud_notify", "home.test");
				push:clear();
				local mark = server:log_mark();
				set_failing(how);
				for _, jid in ipairs(jids) do message(jid, "Hello"); end
				set_failing(nil);
				local errors = inspect.logged(server, "error", mark);
				assert.equal(1, #errors);
				assert.truthy(errors[1]:find("storage", 1, true));
				for _, jid in ipairs(jids) do assert_delivered(jid, "Hello"); end
				message(jids[1]);
				assert.equal(1, #push.received);
			end);
		end);
	end

	describe("what is private", function ()
		setup(function () start({ config = [[Component "local.test" "spec_push_service"]] }); end);
		teardown(stop_in_good_order);
		before_each(function () push:clear(); end);

		local secrets = { node = "SECRETNODE"; option = "SECRETOPTION"; body = "SECRETBODY" };

		local function assert_not_logged(mark)
			local text = inspect.log_above_debug(server, mark);
			assert.truthy(#text > 0);
			for name, secret in pairs(secrets) do
				assert.is_nil(text:find(secret, 1, true), name);
			end
		end

		local function enable(jid, node)
			local phone = phone_of(server, jid, { sm = "resume" });
			devices.enable(phone, { jid = "push.test"; node = node or secrets.node; options = { secret = secrets.option } });
			return phone;
		end

		it("is in no line above debug, from the first request to the removal", function ()
			local mark = server:log_mark();
			local jid = devices.new_user(server);
			enable(jid):close();
			for _, answer in ipairs({
				push_service.result; push_service.error("wait", "resource-constraint");
				push_service.error("cancel", "item-not-found"); push_service.error("cancel", "item-not-found");
				push_service.error("cancel", "item-not-found");
			}) do
				push.answer = answer;
				message(jid, secrets.body);
				phone_of(server, jid):close(); -- Now it is owed nothing
			end
			assert.same({}, devices.identifiers(server, jid));
			push.answer = push_service.result;

			local phone = enable(jid);
			phone:cut();
			message(jid, secrets.body);
			phone:resume();
			devices.disable(phone, { jid = "push.test"; node = secrets.node });
			phone:enable_push({ jid = "push.test"; node = secrets.node:rep(1000) });
			phone:enable_push({ jid = "@"; node = secrets.node });
			phone:disable_push({ jid = "@"; node = secrets.node });
			phone:close();
			assert_not_logged(mark);
		end);

		it("is in no line above debug when the oldest device makes room or its service ends it", function ()
			local mark = server:log_mark();
			local jid = devices.new_user(server);
			local phone = enable(jid);
			for i = 1, 101 do
				devices.enable(phone, { jid = "push.test"; node = secrets.node .. i });
			end
			push:send(st.message({ from = "push.test"; to = jid })
				:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub"; node = secrets.node .. "101" })
					:tag("affiliation", { jid = jid; affiliation = "none" }));
			push:ping();
			assert.equal(99, #devices.identifiers(server, jid));
			phone:close();
			assert_not_logged(mark);
		end);

		it("is in no line above debug when the push service says it", function ()
			local mark = server:log_mark();
			local jid = devices.new_user(server);
			enable(jid):close();
			push.answer = push_service.error("cancel", "item-not-found", "There is no node " .. secrets.node);
			for _ = 1, 3 do message(jid, secrets.body); end
			push.answer = push_service.result;
			assert_not_logged(mark);
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
