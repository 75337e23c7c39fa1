-- Registrations of Push 2.0: in the store of mod_push2 and in its form, beside those of XEP-0357.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_push2 = "urn:xmpp:push2:0";
local match_all, notify_only = "urn:xmpp:push2:match:all", "urn:xmpp:push2:send:notify-only:0";

-- As mod_push2 has written it.
local function foreign(name, more)
	local matches = { { match = match_all; send = notify_only } };
	local record = { service = "Push2.TEST"; client = name; timestamp = 1000; matches = matches };
	for field, value in pairs(more or {}) do record[field] = value; end
	return record;
end

local function request(name)
	return st.iq({ type = "set"; id = name }):tag(name, { xmlns = xmlns_push2 });
end

local function enable(connection, name, service)
	return connection:iq(request("enable")
		:text_tag("service", service or "push2.test")
		:text_tag("client", name)
		:tag("match", { profile = match_all }):tag("send", { xmlns = notify_only }));
end

local function disable(connection)
	return connection:iq(request("disable"));
end

local function stored(connection)
	return connection.server:store_get("home.test", "push2_registrations", connection.username);
end

local function write_store(connection, data)
	connection.server:eval([[
		local user, data = ...;
		assert(require "core.storagemanager".open("home.test", "push2_registrations"):set(user, data));
	]], connection.username, data);
end

local function attached(connection)
	return connection.server:eval([[
		local session = prosody.full_sessions[...];
		return { push = session.push_identifier; push2 = session.push2_identifier; settings = session.push2_settings };
	]], connection.full_jid);
end

local function features(connection)
	local reply = connection:iq(st.iq({ type = "get"; to = connection.jid; id = "disco" })
		:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
	local found = {};
	for feature in reply.tags[1]:childtags("feature") do
		found[feature.attr.var] = (found[feature.attr.var] or 0) + 1;
	end
	return found;
end

local function keys(map)
	local found = {};
	for key in pairs(map or {}) do found[#found + 1] = key; end
	table.sort(found);
	return found;
end

local function assert_result(reply)
	assert.equal("result", reply.attr.type, tostring(reply));
end

local function assert_error(reply, ...)
	assert.equal("error", reply.attr.type);
	local error_type, condition, text = reply:get_error();
	assert.same({ ... }, { error_type, condition });
	return text;
end

local xep0357 = { jid = "push.test"; node = "n1" };

local function describe_all(version)
	local server;

	local function start(options)
		options.push_max_devices = options.push_max_devices or 2;
		server = prosody.start({ version = version; modules = { "spec_companion" }; options = options;
			plugin_paths = { "spec/support/plugins/stand_ins" } });
	end

	after_each(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- Of a user who is not there yet
	local function new_client(options)
		return client.connect(server, devices.new_user(server), options or { resource = "phone" });
	end

	local function another(connection, resource)
		return client.connect(server, connection.jid, { resource = resource });
	end

	local function message(connection, body)
		local sender = new_client({});
		sender:message({ to = connection.jid; body = body });
		sender:ping();
	end

	local function hibernation_time(connection)
		return server:eval([[return prosody.full_sessions[...].hibernating_watchdog.timeout;]], connection.full_jid);
	end

	local function restart(options)
		server:restart({ options = options });
	end

	describe("of push2 on Prosody " .. version, function ()
		before_each(function () start({}); end);

		it("are stored as mod_push2 does it, and known by what all have", function ()
			local phone = new_client();
			assert_result(enable(phone, "c1", "Push2.TEST"));
			local all = stored(phone);
			assert.same({ "phone" }, keys(all));
			local one = all.phone;
			assert.equal("c1", one.client);
			assert.equal("push2.test", one.service:lower());
			assert.equal("number", type(one.timestamp));
			assert.equal("phone", one.resource);
			assert.equal(match_all, one.matches[1].match);
			assert.equal(notify_only, one.matches[1].send);
			assert.is_nil(one.jid or one.node or one.protocol);
			assert.is_nil(devices.stored(server, phone.jid));

			local found = attached(phone);
			assert.equal("push2 phone", found.push2);
			assert.is_nil(found.push);
			assert.same({ "push2"; "push2.test"; "c1" }, { found.settings.protocol, found.settings.jid, found.settings.node });
		end);

		it("are beside those of XEP-0357, and each ends by itself", function ()
			local phone = new_client();
			devices.enable(phone, xep0357);
			assert_result(enable(phone, "c1"));
			assert.same({ "push.test<n1" }, devices.identifiers(server, phone.jid));
			assert.same({ "push.test<n1"; "push2 phone" }, { attached(phone).push, attached(phone).push2 });
			assert_result(disable(phone));
			assert.is_nil(stored(phone));
			assert.same({ "push.test<n1" }, devices.identifiers(server, phone.jid));
			assert.same({ push = "push.test<n1" }, attached(phone));

			assert_result(enable(phone, "c1"));
			devices.disable(phone, { jid = "push.test" });
			assert.same({ "phone" }, keys(stored(phone)));
			assert.same({}, devices.identifiers(server, phone.jid));
			assert.same({ nil; "push2 phone" }, { attached(phone).push, attached(phone).push2 });
		end);

		it("are one of a client: another enabling takes its place, and disabling ends that of who asks", function ()
			local phone = new_client();
			local tablet = another(phone, "tablet");
			assert_result(enable(phone, "c1"));
			assert_result(enable(tablet, "c2"));
			assert_result(enable(phone, "c3"));
			assert.same({ "phone"; "tablet" }, keys(stored(phone)));
			assert.equal("c3", stored(phone).phone.client);
			assert_result(disable(phone));
			assert_result(disable(phone));
			assert.same({ "tablet" }, keys(stored(phone)));
			assert.same({}, attached(phone));
			assert.equal("push2 tablet", attached(tablet).push2);
		end);

		it("are of a client id, where there is one", function ()
			local phone = new_client();
			companion.plan(server, phone.jid, { client_id = "app" });
			local app = another(phone, "app1");
			assert_result(enable(app, "c1"));
			assert.same({ "app" }, keys(stored(phone)));
			assert.same({ "app" }, { stored(phone).app.client_id, stored(phone).app.resource });
			app:close();
			assert.equal("push2 app", attached(another(phone, "app2")).push2);
			companion.plan(server, phone.jid, {});
			assert.is_nil(attached(another(phone, "app1")).push2);
		end);

		it("of the same device are one, whatever its client is called", function ()
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			local renamed = another(phone, "phone2");
			assert_result(enable(renamed, "c1"));
			assert.same({ "phone2" }, keys(stored(phone)));
			assert.same({}, attached(phone));
		end);

		it("are limited for themselves", function ()
			local phone = new_client();
			for i = 1, 3 do devices.enable(phone, { jid = "push.test"; node = "n" .. i }); end
			for i = 1, 3 do assert_result(enable(another(phone, "r" .. i), "c" .. i)); end
			assert.same({ "push.test<n2"; "push.test<n3" }, devices.identifiers(server, phone.jid));
			assert.same({ "r2"; "r3" }, keys(stored(phone)));
		end);

		it("that mod_push2 has made are taken over", function ()
			local phone = new_client();
			write_store(phone, { tablet = foreign("c1", { timestamp = 2000 }); gone = foreign("c2") });
			local tablet = another(phone, "tablet");
			local found = attached(tablet);
			assert.equal("push2 tablet", found.push2);
			assert.is_nil(found.push);
			assert.same({ "push2"; "push2.test"; "c1" }, { found.settings.protocol, found.settings.jid, found.settings.node });
			assert.same({ tablet = foreign("c1", { timestamp = 2000 }); gone = foreign("c2") }, stored(phone));

			assert_result(enable(phone, "c3"));
			local all = stored(phone);
			assert.same({ "phone"; "tablet" }, keys(all)); -- push_max_devices
			assert.same(foreign("c1", { timestamp = 2000; resource = "tablet" }), all.tablet);
		end);

		it("that others write or remove are followed", function ()
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			write_store(phone, { phone = foreign("c2"); tablet = foreign("c3") });
			assert.equal("push2 tablet", attached(another(phone, "tablet")).push2);
			assert.equal("c2", attached(phone).settings.node);
			write_store(phone, nil);
			another(phone, "pc");
			assert.same({}, attached(phone));
		end);

		it("are announced", function ()
			local found = features(new_client());
			assert.equal(1, found[xmlns_push2]);
			assert.equal(1, found["urn:xmpp:push:0"]);
		end);

		it("are among those of all users", function ()
			local a, b, c = new_client(), new_client(), new_client();
			devices.enable(a, xep0357);
			assert_result(enable(a, "c1"));
			devices.enable(b, xep0357);
			assert_result(enable(c, "c1"));
			local all = inspect.eval(server, [[return (upvalue("store")).users();]]);
			assert.same({ a.username; b.username; c.username }, all);
		end);

		it("go with the account", function ()
			local phone = new_client();
			devices.enable(phone, xep0357);
			assert_result(enable(phone, "c1"));
			server:delete_user(phone.username, "home.test");
			assert.is_nil(stored(phone));
			assert.is_nil(devices.stored(server, phone.jid));
			server:add_user(phone.username, "secret", "home.test");
			assert.same({}, attached(another(phone, "phone")));
		end);

		it("alone let a session hibernate longer", function ()
			local phone = new_client({ resource = "phone"; sm = "resume" });
			assert_result(enable(phone, "c1"));
			phones.acknowledge(phone);
			phone:cut();
			assert.equal(72 * 3600, hibernation_time(phone));
		end);

		it("let a session hibernate longer, until none of both is left", function ()
			local phone = new_client({ resource = "phone"; sm = "resume" });
			devices.enable(phone, xep0357);
			assert_result(enable(phone, "c1"));
			phones.acknowledge(phone);
			phone:cut();
			assert.equal(72 * 3600, hibernation_time(phone));
			local pc = another(phone, "pc");
			devices.disable(pc, { jid = "push.test" });
			assert.same({ nil; "push2 phone" }, { attached(phone).push, attached(phone).push2 });
			assert.equal(72 * 3600, hibernation_time(phone));
			write_store(phone, nil);
			another(phone, "other");
			assert.same({}, attached(phone));
			assert.equal(600, hibernation_time(phone));
		end);

		it("are attached again to a session when the module is loaded", function ()
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			server:unload_module("cloud_notify", "home.test");
			server:eval([[prosody.full_sessions[...].push2_identifier = nil;]], phone.full_jid);
			server:load_module("cloud_notify", "home.test");
			assert.equal("push2 phone", attached(phone).push2);
		end);

		it("of garbage stop nothing", function ()
			local garbage = {
				"7"; "true"; [["text"]]; "{}"; "{ 1, 2, 3 }"; "{ phone = 5 }"; "{ phone = {} }"; "{ phone = true, [1] = {} }";
				"{ phone = { service = 5, client = {}, matches = 'all', timestamp = {}, client_id = {}, resource = 7 } }";
				"{ phone = { service = {}, client = 1, matches = { 5, {}, { match = {}, chats = 1, send = {} } } } }";
				"{ phone = { service = 'push2.test', client = '\\255', matches = { { chats = { [1] = 1 } } } } }";
				"{ phone = { service = '@@', client = 'c1', matches = { matches = {} }, suspended = 'yes' } }";
				"{ ['\\255'] = { service = '\\255\\0', client = '\\0' } }";
				"{ ['push2 phone'] = { service = 'push2.test', jid = {}, node = {}, protocol = 'push3' } }";
			};
			local push = push_service.connect(server, "push.test", "secret");
			for _, source in ipairs(garbage) do
				local phone = new_client();
				devices.enable(phone, xep0357);
				phone:close();
				server:eval([[
					local user, source = ...;
					local path = require "util.datamanager".getpath(user, "home.test", "push2_registrations", "dat", true);
					local file = assert(io.open(path, "w"));
					assert(file:write("return " .. source));
					assert(file:close());
				]], phone.username, source);
				push:clear();
				phone = another(phone, "phone");
				message(phone, "Hello");
				phone:available();
				phone:expect({ name = "message"; body = "Hello" });
				assert_result(enable(phone, "c1"));
				assert.equal("c1", stored(phone).phone.client);
				assert.equal("push2 phone", attached(phone).push2);
				assert_result(disable(phone));
				phone:close();
				message(phone, "Hello again");
				push:wait(1);
			end
		end);

		it("are no matter of what XEP-0357 has in its store under such a name", function ()
			local pc = new_client({ resource = "pc" });
			server:eval([[
				assert(require "core.storagemanager".open("home.test", "cloud_notify"):set(..., {
					["push2 phone"] = { jid = "push.test"; node = "n1"; resource = "phone" };
				}));
			]], pc.username);
			local phone = another(pc, "phone");
			assert.same({}, attached(phone));
			assert_result(disable(phone));
			assert.same({ "push2 phone" }, devices.identifiers(server, phone.jid));
		end);
	end);

	describe("of push2 in stores that fail on Prosody " .. version, function ()
		local phone;

		before_each(function ()
			start({ storage = { push2_registrations = "faulty"; cloud_notify = "faulty" } });
			phone = new_client();
			devices.enable(phone, xep0357);
			assert_result(enable(phone, "c1"));
		end);

		local function fail(what, how)
			server:eval([[
				local what, how = ...;
				module("home.test", "storage_faulty"):shared("failing")[what] = how;
			]], what, how);
		end

		it("are written alone when they alone change", function ()
			fail("cloud_notify/set", "raise");
			assert_result(enable(phone, "c2"));
			assert_result(disable(phone));
			fail("cloud_notify/set", nil);
			fail("push2_registrations/set", "raise");
			devices.enable(phone, { jid = "push.test"; node = "n2" });
			devices.disable(phone, { jid = "push.test" });
		end);

		for _, how in ipairs({ "error"; "raise" }) do
			it("are what they were when they cannot be written, by " .. how, function ()
				local before = { stored(phone), attached(phone) };
				fail("push2_registrations/set", how);
				assert_error(enable(phone, "c2"), "wait", "internal-server-error");
				assert_error(disable(phone), "wait", "internal-server-error");
				assert.same(before, { stored(phone), attached(phone) });
				assert.equal(1, #inspect.logged(server, "error"));
				fail("push2_registrations/set", nil);
				assert_result(disable(phone));
				assert.is_nil(stored(phone));
			end);

			it("cannot be changed while they cannot be read, by " .. how, function ()
				fail("push2_registrations/get", how);
				assert_error(enable(phone, "c2"), "wait", "internal-server-error");
				assert_error(phone:enable_push({ jid = "push.test"; node = "n2" }), "wait", "internal-server-error");
				message(phone, "Hello");
				phone:available();
				phone:expect({ name = "message"; body = "Hello" });
				fail("push2_registrations/get", nil);
				assert.equal("c1", stored(phone).phone.client);
				assert.same({ "push.test<n1" }, devices.identifiers(server, phone.jid));
				assert.same({ "push.test<n1"; "push2 phone" }, { attached(phone).push, attached(phone).push2 });
			end);
		end

		it("are in memory as they are in the stores, when one of both was written and the other could not be", function ()
			fail("push2_registrations/set", "error");
			assert.is_false(inspect.eval(server, [[return upvalue("save_records")(..., {});]], phone.username));
			assert.is_nil(devices.stored(server, phone.jid));
			assert.same({ "phone" }, keys(stored(phone)));
			assert.same({ "push2 phone" }, inspect.eval(server, [[
				local identifiers = {};
				for identifier in pairs(upvalue("load_records")(...)) do identifiers[#identifiers + 1] = identifier; end
				return identifiers;
			]], phone.username));
			assert.same({ nil; "push2 phone" }, { attached(phone).push, attached(phone).push2 });
		end);
	end);

	describe("on Prosody " .. version, function ()
		it("without push2 what it has stays in the store, and nothing is announced or answered", function ()
			start({});
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			devices.enable(phone, xep0357);
			local before = stored(phone);
			phone:close();
			restart({ push_protocols = { "push" } });
			phone = another(phone, "phone");
			assert.is_nil(features(phone)[xmlns_push2]);
			assert_error(enable(phone, "c2"), "cancel", "service-unavailable");
			assert_error(disable(phone), "cancel", "service-unavailable");
			assert.same({ push = "push.test<n1" }, attached(phone));
			devices.disable(phone, { jid = "push.test" });
			assert.same(before, stored(phone));
			phone:close();
			restart({ push_protocols = { "push"; "push2" } });
			assert.equal("push2 phone", attached(another(phone, "phone")).push2);
		end);

		it("without XEP-0357 what it has stays in the store, and nothing is announced or answered", function ()
			start({});
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			devices.enable(phone, xep0357);
			phone:close();
			restart({ push_protocols = "push2" });
			phone = another(phone, "phone");
			assert.is_nil(features(phone)["urn:xmpp:push:0"]);
			assert.equal(1, features(phone)[xmlns_push2]);
			assert_error(phone:enable_push(xep0357), "cancel", "service-unavailable");
			assert_error(phone:disable_push(xep0357), "cancel", "service-unavailable");
			assert.same({ nil; "push2 phone" }, { attached(phone).push, attached(phone).push2 });
			assert_result(disable(phone));
			local push = push_service.connect(server, "push.test", "secret");
			phone:close();
			assert.same({}, devices.woken(push, new_client({}), phone.jid));
			phone = client.connect(server, phone.jid, { resource = "phone"; sm = "resume" });
			server:eval([[
				local session = prosody.full_sessions[...];
				session.push_identifier, session.push_settings = "push.test<n1", { jid = "push.test"; node = "n1" };
			]], phone.full_jid);
			phone:cut();
			assert.same({}, devices.woken(push, new_client({}), phone.jid));
			assert.equal(600, hibernation_time(phone));
			assert.same({ "push.test<n1" }, devices.identifiers(server, phone.jid));
		end);

		it("what mod_push2 does is left to it while it is loaded, and said once", function ()
			start({});
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			devices.enable(phone, xep0357);
			local mark = server:log_mark();
			server:load_module("push2", "home.test");
			assert.same({ push = "push.test<n1" }, attached(phone));
			assert.equal(1, features(phone)[xmlns_push2]);
			assert_result(enable(phone, "c2"));
			assert.equal("c2", stored(phone).phone.client);
			assert.is_nil(stored(phone).phone.resource);
			assert.is_nil(attached(phone).push2);
			devices.disable(phone, { jid = "push.test" });
			assert.equal("c2", stored(phone).phone.client);
			server:load_module("version", "home.test");
			local _, count = server:log_since(mark):gsub("left to mod_push2", "");
			assert.equal(1, count);

			server:unload_module("push2", "home.test");
			assert.equal("push2 phone", attached(phone).push2);
			assert.equal("c2", attached(phone).settings.node);
			assert.equal(1, features(phone)[xmlns_push2]);
			assert_result(disable(phone));
			assert.is_nil(stored(phone));
		end);

		it("what mod_push2 does is left to it from the start", function ()
			server = prosody.start({ version = version; modules = { "push2" };
				plugin_paths = { "spec/support/plugins/stand_ins" } });
			local phone = new_client();
			assert_result(enable(phone, "c1"));
			assert.same({}, attached(phone));
			assert.equal(1, features(phone)[xmlns_push2]);
			assert.truthy(server:log_text():find("left to mod_push2", 1, true));
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe_all(version);
end
