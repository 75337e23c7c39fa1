-- Push 2.0: registrations from one module to the other, and from one run of the server to the next, are told of
-- messages as before.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local web_push = require "spec.support.web_push";

-- All that mod_push2 reads of a record, and the types that it needs.
local function assert_readable(record)
	assert.same({ "string"; "string"; "number"; "table" },
		{ type(record.service); type(record.client); type(record.timestamp); type(record.matches) });
	for _, match in ipairs(record.matches) do
		assert.equal("string", type(match.match));
		for jid, chat in pairs(match.chats or {}) do
			assert.equal("string", type(jid));
			for name, value in pairs(chat) do assert.is_true((name == "mention" or name == "reply") and value == true); end
		end
		assert.is_true(match.grace == nil or type(match.grace) == "number");
		if match.send == push2.encrypted then
			for _, name in ipairs({ "ua_public"; "auth_secret"; "jwt_key" }) do
				assert.is_nil(match[name]:find("[^%w+/=]"), name);
				assert.equal(0, #match[name] % 4, name);
			end
			assert.equal("ES256", match.jwt_alg);
			assert.equal("table", type(match.jwt_claims));
		else
			assert.equal(push2.notify_only, match.send);
		end
	end
end

local function describe_all(version)
	local server, push, rosa;

	local function connect()
		push = push2_service.connect(server, "gw.test", "secret");
		rosa = client.connect(server, "rosa@home.test");
	end

	setup(function ()
		server = prosody.start({
			version = version; modules = { "spec_companion" }; components = { ["gw.test"] = "secret" };
			options = { push_coalesce_window = 0; push_max_per_minute = 0; push_cache_age = 3600 };
		});
		server:add_user("rosa", "secret", "home.test");
		connect();
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function () push:clear(); end);

	local function write(jid, records)
		server:eval([[
			local user, records = ...;
			assert(require "core.storagemanager".open("home.test", "push2_registrations"):set(user, records));
		]], jid:match("^[^@]+"), records);
	end

	-- As mod_push2 writes it: the service as the client wrote it, chats too, base64 without padding.
	local function record_of_mod_push2(device)
		device.service, device.keys = push, web_push.keys();
		local function unpadded(text) return (text:gsub("=", "")); end
		return {
			service = "GW.test"; client = device.node; timestamp = os.time() - 1000;
			matches = {
				{ match = push2.profile("all"); chats = { [rosa.full_jid] = {} }; send = push2.notify_only };
				{
					match = push2.profile("archived"); grace = 60; chats = {}; send = push2.encrypted;
					ua_public = unpadded(device.keys.ua_public); auth_secret = unpadded(device.keys.auth_secret);
					jwt_alg = "ES256"; jwt_key = device.keys.jwt_key; jwt_claims = { aud = push2.audience };
				};
			};
		};
	end

	local function assert_told(phone, n)
		rosa:message({ to = phone.jid; body = "Hello" });
		assert.equal("Hello", push2.read(push2.await(phone, n or 1), phone):get_child_text("body"));
		assert.equal(n or 1, #push2.pushed(phone, rosa));
	end

	it("registrations outlive a restart", function ()
		local phone = push2.away(push, { matches = { { profile = "archived"; grace = 5 }; { keys = false } } });
		local before = push2.stored(server, phone.jid);
		server:restart();
		connect();
		phone.service = push;
		assert_told(phone);
		assert.same(before, push2.stored(server, phone.jid));
		server:reload_module("cloud_notify", "home.test");
		assert_told(phone, 2);
	end);

	it("those of mod_push2 are taken over, and its client need not ask again", function ()
		local phone = { jid = devices.new_user(server); node = "https://gw.test/taken-over" };
		write(phone.jid, { phone = record_of_mod_push2(phone) });
		assert_told(phone);
		local session = client.connect(server, phone.jid, { resource = "phone"; sm = "resume" });
		session.service = push;
		rosa:message({ to = phone.jid; body = "You are here" });
		session:expect({ name = "message"; body = "You are here" });
		assert.equal(1, #push2.pushed(phone, rosa));
		phones.acknowledge(session);
		session:cut();
		assert_told(phone, 2);
	end);

	it("so are those of a client id", function ()
		local phone = { jid = devices.new_user(server); node = "https://gw.test/taken-over-by-id" };
		write(phone.jid, { ["app-7"] = record_of_mod_push2(phone) });
		companion.plan(server, phone.jid, { client_id = "app-7" });
		local session = client.connect(server, phone.jid);
		rosa:message({ to = phone.jid; body = "You are here" });
		session:expect({ name = "message"; body = "You are here" });
		assert.equal(0, #push2.pushed(phone, rosa));
		push2.disable(session);
		session:close();
		assert.is_nil(push2.stored(server, phone.jid));
		companion.plan(server, phone.jid, {});
	end);

	it("a record of mod_push2 stays as it is beside ours", function ()
		local phone = { jid = devices.new_user(server); node = "https://gw.test/beside" };
		local old = record_of_mod_push2(phone);
		old.of_others = { deep = true };
		write(phone.jid, { tablet = old });
		local watch = push2.away(push, { jid = phone.jid; resource = "watch" });
		local stored = push2.stored(server, phone.jid);
		for name, value in pairs(old) do assert.same(value, stored.tablet[name]); end
		assert_told(phone);
		assert.equal("Hello", push2.read(push2.await(watch, 1), watch):get_child_text("body"));
	end);

	it("ours can be read by mod_push2", function ()
		local filters = {
			{ jid = "team@rooms.test"; mention = true }; { jid = "home.test"; reply = true }; { jid = "x.test" };
		};
		local phone = push2.away(push, { resource = "phone"; matches = {
			{ profile = "all"; filters = filters }; { grace = 0; keys = false }; { claims = { aud = "x"; sub = "mailto:y@z" } };
		} });
		assert_readable(push2.stored(server, phone.jid).phone);
	end);

	local good = web_push.keys();

	-- A record that would be all right but for a field of its match.
	local function changed(name, value)
		local match = {
			match = push2.profile("all"); chats = {}; send = push2.encrypted; ua_public = good.ua_public;
			auth_secret = good.auth_secret; jwt_alg = "ES256"; jwt_key = good.jwt_key; jwt_claims = {};
		};
		match[name] = value;
		return { service = "gw.test"; client = "damaged"; timestamp = 1; matches = { match } };
	end

	it("damaged records do no harm to others", function ()
		local phone = push2.away(push, { resource = "phone" });
		local stored = push2.stored(server, phone.jid);
		local damaged = {
			true; 7; "x"; {}; { service = 7; client = {} }; { service = "@"; client = "x"; matches = {} };
			{ service = "gw.test"; client = "x" }; { service = "gw.test"; client = "x"; matches = "all" };
			{ service = "gw.test"; client = "x"; matches = { true; 7; "x"; {}; { match = {} }; { match = "urn:x" } } };
			changed("chats", 7); changed("chats", { [rosa.jid] = 7; [7] = {} }); changed("grace", "soon");
			changed("send", {}); changed("ua_public", "****"); changed("ua_public", {}); changed("auth_secret", "");
			changed("jwt_alg", "HS256"); changed("jwt_key", "none"); changed("jwt_claims", 7);
			changed("jwt_claims", { [7] = {}; aud = { "x" } }); changed("match", nil); changed("client", 7);
		};
		for i, record in ipairs(damaged) do stored[("damaged%d"):format(i)] = record; end
		write(phone.jid, stored);
		server:reload_module("cloud_notify", "home.test");
		assert_told(phone);
		phone = phones.login(phone, { resource = "phone" });
		push2.disable(phone);
		phone:close();
		assert.is_nil(push2.stored(server, phone.jid).phone);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("registrations of Push 2.0 that stay, with Prosody " .. version, function () describe_all(version); end);
end
