-- Push 2.0: what clients ask for, and what they get for an answer.

local prosody = require "spec.support.prosody";
local apps = require "spec.support.apps";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local encodings = require "util.encodings";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local st = require "util.stanza";
local web_push = require "spec.support.web_push";

local encode, decode = encodings.base64.encode, encodings.base64.decode;

-- As browsers have it.
local function url_safe(text)
	return (text:gsub("[+/=]", { ["+"] = "-"; ["/"] = "_"; ["="] = "" }));
end

local function claims_of(count, length)
	local claims = {};
	for i = 1, count do claims[("c%d"):format(i)] = ("x"):rep(length); end
	return claims;
end

local function describe_all(version)
	local server, push, rosa, keys;

	setup(function ()
		server = prosody.start({
			version = version; modules = { "spec_companion"; "admin_shell" };
			components = { ["gw.test"] = "secret" };
			options = {
				c2s_stanza_size_limit = 16 * 1024 * 1024; push_coalesce_window = 0; push_max_per_minute = 0;
				storage = { push2_registrations = "faulty" };
			};
		});
		push = push2_service.connect(server, "gw.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
		keys = web_push.keys();
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function () push:clear(); end);

	local function count(phone, body)
		local before = #push2.pushed(phone);
		rosa:message({ to = phone.jid; body = body or "Hello" });
		return #push2.pushed(phone, rosa) - before;
	end

	it("is announced, with all profiles", function ()
		local announced = {};
		for _, feature in ipairs(apps.features(rosa)) do announced[feature] = (announced[feature] or 0) + 1; end
		local expected = { push2.xmlns; push2.notify_only; push2.encrypted; "urn:xmpp:push:0" };
		for _, name in ipairs(push2.profiles) do expected[#expected + 1] = push2.profile(name); end
		for _, feature in ipairs(expected) do assert.equal(1, announced[feature], feature); end
	end);

	it("is stored as mod_push2 has it", function ()
		local phone = push2.away(push, { resource = "phone"; matches = { {
			grace = 120; filters = { { jid = "Team@rooms.test"; mention = true; reply = true }; { jid = "noise@rooms.test" } };
		}; { profile = "archived"; keys = false } } });
		local record = push2.stored(server, phone.jid).phone;
		assert.same({ "gw.test"; phone.node; "number" }, { record.service; record.client; type(record.timestamp) });
		assert.same({
			{
				match = push2.profile("important"); grace = 120; send = push2.encrypted;
				chats = { ["team@rooms.test"] = { mention = true; reply = true }; ["noise@rooms.test"] = {} };
				ua_public = phone.keys.ua_public; auth_secret = phone.keys.auth_secret;
				jwt_alg = "ES256"; jwt_key = phone.keys.jwt_key; jwt_claims = { aud = push2.audience };
			};
			{ match = push2.profile("archived"); send = push2.notify_only };
		}, record.matches);
		assert.is_nil(devices.stored(server, phone.jid));
	end);

	it("takes base64 of both alphabets, padded or not, and stores the standard one", function ()
		for _, written in ipairs({
			function (text) return text; end; url_safe;
			function (text) return (text:gsub("=", "")); end;
			function (text) return "\n\t" .. text:gsub("..........", "%0\n") .. "\n"; end;
		}) do
			local own, changed = web_push.keys(), {};
			changed["ua-public"], changed["auth-secret"] = written(own.ua_public), written(own.auth_secret);
			changed["jwt-key"] = written(own.jwt_key);
			local phone = client.connect(server, devices.new_user(server), { resource = "phone" });
			phone.keys = own;
			push2.register(phone, push, { { changed = changed } });
			phone:close();
			local match = push2.stored(server, phone.jid).phone.matches[1];
			assert.same({ own.ua_public; own.auth_secret; own.jwt_key }, { match.ua_public; match.auth_secret; match.jwt_key });
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.equal("Hello", push2.read(push2.await(phone, 1), phone):get_child_text("body"));
		end
	end);

	it("is replaced when the client asks again, and is nobody else's", function ()
		local phone = push2.new(push, { resource = "phone" });
		local watch = push2.away(push, { jid = phone.jid; resource = "watch" });
		local old = { service = push; node = phone.node; keys = phone.keys };
		phone.keys = web_push.keys();
		push2.register(phone, push, { { profile = "archived" } });
		phone:close();
		rosa:message({ to = phone.jid; body = "Hello" });
		assert.equal("Hello", push2.read(push2.await(phone, 1), phone):get_child_text("body"));
		push2.await(watch, 1);
		assert.same({}, push2.pushed(old));
	end);

	it("ends where its client says so, and nowhere else", function ()
		local phone = push2.away(push, { resource = "phone" });
		local watch = push2.new(push, { jid = phone.jid; resource = "watch" });
		push2.disable(watch);
		push2.disable(watch);
		watch:close();
		assert.equal(0, count(watch));
		assert.equal(1, count(phone));
		assert.is_nil(push2.stored(server, phone.jid).watch);
		phone = phones.login(phone, { resource = "phone" });
		push2.disable(phone);
		phone:close();
		assert.is_nil(push2.stored(server, phone.jid));
	end);

	it("belongs to the software rather than to its resource", function ()
		local jid = devices.new_user(server);
		companion.plan(server, jid, { client_id = "app-1" });
		local phone = push2.new(push, { jid = jid });
		assert.equal(phone.node, push2.stored(server, jid)["app-1"].client);
		-- It is online, be it under another name and without asking for push.
		local again = phones.login(phone);
		assert.not_equal(phone.full_jid, again.full_jid);
		phone:close();
		assert.equal(0, count(phone));
		push2.disable(again);
		again:close();
		assert.is_nil(push2.stored(server, jid));
		companion.plan(server, jid, {});
	end);

	it("belongs to the resource of software that does not say who it is, when it comes back", function ()
		local phone = push2.away(push, { resource = "phone" });
		local back = phones.login(phone, { resource = "phone" });
		assert.equal(0, count(phone));
		phones.acknowledge(back);
		back:cut();
		assert.equal(1, count(phone));
		back = phones.login(phone, { resource = "desk" });
		assert.equal(1, count(phone), "another client is none of its");
		back:close();
	end);

	local infinity, off_curve = encode("\0"), encode("\4" .. ("\1"):rep(64));

	local function matches_of(changed, claims)
		return { { keys = true; changed = changed; claims = claims } };
	end

	local filters = {};
	for i = 1, 10000 do filters[i] = { jid = ("room%d@rooms.test"):format(i); mention = true }; end

	local cases = {
		["no service"] = { "bad-request"; service = false };
		["a service that is no JID"] = { "jid-malformed"; service = "gw@@test" };
		["a service that is the client"] = { "bad-request"; service = "own" };
		["no client"] = { "bad-request"; client = false };
		["an endless client"] = { "policy-violation"; client = ("c"):rep(3000) };
		["nothing to push for"] = { "bad-request"; matches = {} };
		["a thousand matches"] = { "policy-violation"; repeated = 1000 };
		["an unknown match"] = { "feature-not-implemented"; matches = { { profile = "nothing" } } };
		["no way of sending"] = {
			"bad-request"; matches = { st.stanza("match", { profile = push2.profile("all") }) };
		};
		["an unknown way of sending"] = { "feature-not-implemented"; matches = {
			st.stanza("match", { profile = push2.profile("all") }):tag("send", { xmlns = "urn:example" }):reset();
		} };
		["a filter without a JID"] = { "jid-malformed"; matches = { { filters = { {} } } } };
		["a filter for what is no JID"] = { "jid-malformed"; matches = { { filters = { { jid = "@" } } } } };
		["ten thousand filters"] = { "policy-violation"; matches = { { filters = filters } } };
		["a grace that is no number"] = { "bad-request"; matches = {
			st.stanza("match", { profile = push2.profile("all") }):text_tag("grace", "-5")
				:tag("send", { xmlns = push2.notify_only }):reset();
		} };
		["no public key"] = { "bad-request"; changed = { ["ua-public"] = false } };
		["an empty public key"] = { "bad-request"; changed = { ["ua-public"] = "" } };
		["a public key that is no base64"] = { "bad-request"; changed = { ["ua-public"] = "****" } };
		["the point at infinity"] = { "bad-request"; changed = { ["ua-public"] = infinity } };
		["the point at infinity, written long"] = { "bad-request"; changed = { ["ua-public"] = encode(("\0"):rep(65)) } };
		["a point that is not on the curve"] = { "bad-request"; changed = { ["ua-public"] = off_curve } };
		["a compressed point"] = { "bad-request"; compressed = true };
		["a public key of a megabyte"] = { "policy-violation"; changed = { ["ua-public"] = ("AAAA"):rep(2^18) } };
		["no secret"] = { "bad-request"; changed = { ["auth-secret"] = false } };
		["a short secret"] = { "bad-request"; changed = { ["auth-secret"] = encode(("x"):rep(15)) } };
		["a long secret"] = { "bad-request"; changed = { ["auth-secret"] = encode(("x"):rep(17)) } };
		["HS256"] = { "feature-not-implemented"; changed = { ["jwt-alg"] = "HS256" } };
		["none"] = { "feature-not-implemented"; changed = { ["jwt-alg"] = "none" } };
		["a signature without a key"] = { "bad-request"; changed = { ["jwt-key"] = false } };
		["a key that is none"] = { "bad-request"; changed = { ["jwt-key"] = encode("none") } };
		["a public key to sign with"] = { "bad-request"; changed = { ["jwt-key"] = encode(("\4"):rep(65)) } };
		["claims without end"] = { "policy-violation"; claims = claims_of(1000, 1) };
		["claims that are too long together"] = { "policy-violation"; claims = claims_of(5, 1000) };
		["an endless claim"] = { "policy-violation"; claims = claims_of(1, 5000) };
		["a claim without a name"] = { "bad-request"; claims = { [""] = "x" } };
	};

	for what, case in pairs(cases) do
		it("is refused with " .. what .. ", and nothing changes", function ()
			local phone = push2.new(push, { resource = "phone" });
			local before = push2.stored(server, phone.jid);
			local matches = case.matches;
			if case.changed or case.claims or case.compressed then
				local changed = case.changed;
				if case.compressed then changed = { ["ua-public"] = encode("\2" .. decode(keys.ua_public):sub(2, 33)) }; end
				matches = matches_of(changed, case.claims);
				matches[1].keys = keys;
			end
			matches = matches or { {} };
			for i = 2, case.repeated or 1 do matches[i] = matches[1]; end
			local service, device = case.service, case.client;
			if service == nil then service = "gw.test"; elseif service == "own" then service = phone.jid; end
			if device == nil then device = "https://gw.test/other"; end
			local mark = server:log_mark();
			local reply = phone:iq(push2.request({ service = service; client = device; matches = matches }));
			assert.equal("error", reply.attr.type);
			local kind, condition, text = reply:get_error();
			assert.same({ "modify"; case[1] }, { kind; condition });
			assert.truthy(text and #text > 10 and #text < 300);
			assert.same(before, push2.stored(server, phone.jid));
			assert.is_nil(server:log_since(mark):find(keys.auth_secret, 1, true));
			phones.acknowledge(phone);
			phone:close();
			assert.equal(1, count(phone));
		end);
	end

	it("is refused where it cannot be stored", function ()
		local phone = client.connect(server, devices.new_user(server));
		local function fail(how)
			server:eval([[module("home.test", "storage_faulty"):shared("failing")["push2_registrations/set"] = ...]], how);
		end
		fail("error");
		local reply = phone:iq(push2.request({ service = "gw.test"; client = "c"; matches = { {} } }));
		fail(nil);
		local kind, condition = reply:get_error();
		assert.same({ "wait"; "internal-server-error" }, { kind; condition });
		assert.is_nil(push2.stored(server, phone.jid));
	end);

	it("has its keys in the store and nowhere else", function ()
		local phone = push2.away(push);
		rosa:message({ to = phone.jid; body = "Tee um 4?" });
		local got = push2.await(phone, 1);
		push2.read(got, phone);
		local secrets = {
			phone.keys.auth_secret; phone.keys.jwt_key; phone.keys.ua_public; got.jwt; got.payload; "Tee um 4";
		};
		local function assert_discreet(text)
			for _, secret in ipairs(secrets) do
				-- A part of it is as bad.
				assert.is_nil(text:find(secret:sub(1, 24), 1, true));
				assert.is_nil(text:find(secret:sub(-20), 1, true));
			end
		end
		for _, command in ipairs({ "list"; "explain"; "history"; "test" }) do
			for _, json in ipairs({ false; "--json" }) do
				assert_discreet((server:shell("push", command, phone.jid, json or nil)));
			end
		end
		loop.wait_for(function () return server:log_text():find(phone.username, 1, true); end, nil, "the log");
		assert_discreet(server:log_text());
		assert_discreet(server:console_text());
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("requests of Push 2.0 with Prosody " .. version, function () describe_all(version); end);
end
