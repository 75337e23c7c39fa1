-- Enabling in the bind, with the community's mod_sasl2 and mod_sasl2_bind2: as good as enabling afterwards.
-- Whatever comes of it, the client is bound.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local sasl2 = require "spec.support.sasl2";
local st = require "util.stanza";

local xmlns_push = "urn:xmpp:push:0";
local xmlns_push2 = "urn:xmpp:push2:0";
local xmlns_sm = "urn:xmpp:sm:3";

local function describe_all(version)
	local server, push, rosa, raises;

	-- Below 13.0, mod_smacks has nothing for mod_sasl2_sm to call.
	local has_sm = version ~= "0.12";

	before_each(function ()
		raises = false;
		server = prosody.start({
			version = version; community = true;
			modules = { "sasl2"; "sasl2_bind2"; has_sm and "sasl2_sm" or nil };
			options = { storage = { cloud_notify = "faulty" } };
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	after_each(function ()
		prosody.stop_all();
		if not raises then assert.same({}, server:faults()); end
	end);

	local function enable(node, extra)
		return client.enable({ jid = "push.test"; node = node; extra = extra });
	end

	local function log_in(jid, client_id, ...)
		return sasl2.connect(server, jid or devices.new_user(server), { client_id = client_id; bind = { ... } });
	end

	-- mod_spec_companion, which has a client id of its own for each session.
	local function add_companion()
		server:load_module("spec_companion", "home.test");
	end

	-- "bad-request (modify)", and the text.
	local function read_error(problem)
		assert.equal("jabber:client", problem.attr.xmlns);
		local type, condition, text = st.stanza("error", { xmlns = "jabber:client" }):add_child(problem):get_error();
		return ("%s (%s)"):format(condition, type), text;
	end

	-- What the server says of a protocol in the bind: "enabled", or what is wrong.
	local function answers(anna, protocol)
		local found = {};
		for answer in anna.bound:childtags(nil, protocol) do
			if answer.name == "failed" then
				found[#found + 1] = read_error(answer:get_child("error", "jabber:client"));
			else
				assert.equal(0, #answer);
				found[#found + 1] = answer.name;
			end
		end
		return found;
	end

	-- Bound as any other: nothing else has come, and messages do.
	local function assert_bound(anna)
		assert.same({}, anna.received);
		anna:available();
		rosa:message({ to = anna.full_jid; body = "Welcome" });
		anna:expect({ name = "message"; body = "Welcome" });
		anna:ack();
	end

	local function assert_failed(anna, what)
		assert.same({ what }, answers(anna, xmlns_push));
		assert.same({}, devices.attached(anna));
		assert.same({}, devices.identifiers(server, anna.jid));
		assert_bound(anna);
	end

	local function offered(protocol)
		local count = 0;
		for _, name in ipairs(log_in().offered) do
			if name == protocol then count = count + 1; end
		end
		return count;
	end

	-- Has a module take requests of push2, as if by an IQ.
	local function take_push2(name)
		server:eval([[
			local taker = module("home.test", ...);
			taker:hook("iq-set/self/urn:xmpp:push2:0:enable", function (event)
				local origin, stanza = event.origin, event.stanza;
				assert(stanza.attr.type == "set" and stanza.attr.from == origin.full_jid and not stanza.attr.to);
				origin.push2_client = stanza.tags[1]:get_child_text("client");
				origin.send(st.reply(stanza));
				return true;
			end, 1);
		]], name);
	end

	local function push2_client(anna)
		return server:eval([[return prosody.full_sessions[...].push2_client;]], anna.full_jid);
	end

	local function enable_push2(name)
		return st.stanza("enable", { xmlns = xmlns_push2 }):text_tag("service", "push.test"):text_tag("client", name);
	end

	it("is offered, also after a reload, and no longer once the module is gone", function ()
		assert.equal(1, offered(xmlns_push));
		assert.equal(1, offered("urn:xmpp:carbons:2"));
		server:reload_module("cloud_notify", "home.test");
		assert.equal(1, offered(xmlns_push));
		server:unload_module("cloud_notify", "home.test");
		assert.equal(0, offered(xmlns_push));
		local anna = log_in(nil, nil, enable("n1"));
		assert.same({}, answers(anna, xmlns_push));
		assert_bound(anna);
	end);

	it("enables both protocols, by the client's id", function ()
		local request = enable_push2("token")
			:tag("match", { profile = "urn:xmpp:push2:match:all" })
				:tag("send", { xmlns = "urn:xmpp:push2:send:notify-only:0" }):reset();
		local anna = log_in(nil, "c0ffee", request, enable("n1"));
		assert.same({ "enabled" }, answers(anna, xmlns_push));
		assert.same({ "enabled" }, answers(anna, xmlns_push2));
		local attached = server:eval([[
			local session = prosody.full_sessions[...];
			return { session.push_identifier; session.push2_identifier; session.push2_settings.client };
		]], anna.full_jid);
		assert.same({ "push.test<n1"; "push2 c0ffee"; "token" }, attached);
		assert_bound(anna);
	end);

	it("says what is wrong with a request of Push 2.0, and binds all the same", function ()
		local anna = log_in(nil, nil, enable_push2("token"), enable("n1"));
		assert.same({ "bad-request (modify)" }, answers(anna, xmlns_push2));
		assert.same({ "enabled" }, answers(anna, xmlns_push));
		assert_bound(anna);
	end);

	it("enables push, and the client is woken once it is gone", function ()
		local anna = log_in(nil, nil, enable("n1"));
		assert.same({ "enabled" }, answers(anna, xmlns_push));
		assert.equal("push.test<n1", devices.attached(anna).identifier);
		assert_bound(anna);
		anna:close();
		assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
	end);

	it("leaves the same record as a request after the bind, by the client's id", function ()
		local jid = devices.new_user(server);
		local function record_of(ask)
			ask();
			local record = devices.stored(server, jid)["push.test<n1"];
			record.timestamp, record.sequence = nil, nil;
			return record;
		end
		local function request()
			local extra = { st.stanza("priority", { xmlns = "tigase:push:priority:0" }) };
			local asked = client.enable({ jid = "push.test"; node = "n1"; options = { secret = "s" }; extra = extra });
			asked.attr["xml:lang"] = "en"; -- That of the stream, which is not said of what is within
			return asked;
		end
		local anna;
		local inline = record_of(function () anna = log_in(jid, "phone-1", request()); end);
		local afterwards = record_of(function ()
			assert.equal("result", anna:iq(st.iq({ type = "set"; id = "e" }):add_child(request())).attr.type);
		end);
		assert.same(afterwards, inline);
		assert.equal("phone-1", inline.client_id);
		anna:close();
		assert.same({ "n1" }, devices.woken(push, rosa, jid));
		assert.equal("s", push.received[1].options.secret);
	end);

	it("finds the registration of the client's id again where nothing is asked for", function ()
		local anna = log_in(nil, "phone-1", enable("n1"));
		anna:close();
		assert.equal("push.test<n1", devices.attached(log_in(anna.jid, "phone-1")).identifier);
		assert.same({}, devices.attached(log_in(anna.jid, "phone-2")));
	end);

	it("tells other modules as a request after the bind does", function ()
		add_companion();
		local anna = log_in(nil, nil, enable("n1"));
		local seen = companion.seen(server, anna.jid);
		assert.equal(1, #seen);
		assert.same({ "cloud_notify/registration"; anna.full_jid; "enable"; "n1" },
			{ seen[1].event; seen[1].from; seen[1].enable; seen[1].push_info.node });
	end);

	it("can be refused by another module", function ()
		add_companion();
		local jid = devices.new_user(server);
		companion.plan(server, jid, { refuse = "Not here" });
		local anna = log_in(jid, nil, enable("n1"));
		assert_failed(anna, "not-allowed (cancel)");
		local _, text = read_error(anna.bound:get_child("failed", xmlns_push).tags[1]);
		assert.equal("Not here", text);
	end);

	it("of the client itself is refused, and the client is bound", function ()
		local jid = devices.new_user(server);
		assert_failed(log_in(jid, nil, client.enable({ jid = jid; node = "n1" })), "bad-request (modify)");
	end);

	for what, case in pairs({
		["without a jid"] = { {}; "bad-request (modify)" };
		["with a node that is too long"] = { { jid = "push.test"; node = ("n"):rep(2049) }; "policy-violation (modify)" };
		["of a jid that is none"] = { { jid = "a b@push.test" }; "jid-malformed (modify)" };
	}) do
		it(what .. " is refused, and the client is bound", function ()
			assert_failed(log_in(nil, nil, client.enable(case[1])), case[2]);
		end);
	end

	for _, how in ipairs({ "error"; "raise" }) do
		it(("that cannot be stored (%s) says so, and the client is bound"):format(how), function ()
			raises = how == "raise";
			server:eval([[module("home.test", "storage_faulty"):shared("failing")["cloud_notify/set"] = ...;]], how);
			local anna = log_in(nil, nil, enable("n1"));
			assert.same({ "internal-server-error (wait)" }, answers(anna, xmlns_push));
			assert.same({}, devices.attached(anna));
			assert_bound(anna);
		end);
	end

	for _, event in ipairs({ "cloud_notify/registration"; "iq-set/self/urn:xmpp:push:0:enable" }) do
		it("says that it failed where another module raises at " .. event .. ", and the client is bound", function ()
			raises = true;
			server:eval([[module("home.test", "ping"):hook(..., function () error("oh dear"); end, 1);]], event);
			assert_failed(log_in(nil, nil, enable("n1")), "internal-server-error (wait)");
		end);
	end

	it("is not waited for", function ()
		server:eval([[
			local ping = module("home.test", "ping");
			ping:hook("cloud_notify/registration", function (event)
				ping:add_timer(0, function () event.origin.send(st.reply(event.stanza)); end);
				return false;
			end, 1);
		]]);
		assert_failed(log_in(nil, nil, enable("n1")), "internal-server-error (wait)");
	end);

	it("lets through what else a module sends to the client meanwhile", function ()
		server:eval([[
			module("home.test", "ping"):hook("cloud_notify/registration", function (event)
				event.origin.send(st.message({ id = "by the way" }));
			end, 1);
		]]);
		local anna = log_in(nil, nil, enable("n1"));
		anna:expect({ name = "message"; id = "by the way" });
		assert.same({ "enabled" }, answers(anna, xmlns_push));
	end);

	it("of several requests takes the first, wherever the others are", function ()
		local nested = st.stanza("x", { xmlns = "urn:example:x" }):add_child(enable("nested"));
		local anna = log_in(nil, nil, nested, enable("n1", { enable("inner") }), enable("n2"), client.enable({}));
		assert.same({ "enabled" }, answers(anna, xmlns_push));
		assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
		assert_bound(anna);
	end);

	it("takes nothing but <enable/>", function ()
		local anna = log_in(nil, nil, st.stanza("disable", { xmlns = xmlns_push; jid = "push.test" }),
			st.stanza("enable", { xmlns = "urn:xmpp:push:1"; jid = "push.test" }), st.stanza("enable"));
		assert.equal(0, #anna.bound.tags, tostring(anna.bound));
		assert_bound(anna);
	end);

	it("survives what is deep and what is wide", function ()
		local deep = enable("n1");
		for _ = 1, 200 do deep:tag("e", { xmlns = "urn:example:e" }); end
		deep:reset();
		local wide = enable("n2");
		for i = 1, 150 do wide:tag("e", { xmlns = "urn:example:e" .. i }):up(); end
		for _, hostile in ipairs({ deep; wide }) do
			local anna = log_in(nil, nil, hostile);
			assert.equal(1, #answers(anna, xmlns_push));
			assert_bound(anna);
		end
	end);

	it("makes no more registrations than there may be", function ()
		local jid = devices.new_user(server);
		for i = 1, 6 do log_in(jid, "phone-" .. i, enable("n" .. i)):close(); end
		assert.same({ "push.test<n2"; "push.test<n3"; "push.test<n4"; "push.test<n5"; "push.test<n6" },
			devices.identifiers(server, jid));
	end);

	it("leaves a protocol alone that another module serves", function ()
		take_push2("cloud_notify");
		assert.equal(1, offered(xmlns_push2));
		server:eval([[
			local ours, event = module("home.test", "cloud_notify"), "iq-set/self/urn:xmpp:push2:0:enable";
			local events = hosts["home.test"].events;
			local handlers = {};
			for handler in pairs(ours.event_handlers:get(events, event) or {}) do handlers[#handlers + 1] = handler; end
			for _, handler in ipairs(handlers) do ours:unhook_object_event(events, event, handler); end
		]]);
		take_push2("ping");
		assert.equal(0, offered(xmlns_push2));
		local anna = log_in(nil, nil, enable_push2("token"), enable("n1"));
		assert.same({}, answers(anna, xmlns_push2));
		assert.is_nil(push2_client(anna));
		assert.same({ "enabled" }, answers(anna, xmlns_push));
	end);

	if has_sm then
		local function resumable(...)
			local anna = log_in(nil, "phone-1", sasl2.enable_sm(), ...);
			assert(anna.sm_id, tostring(anna.bound));
			return anna;
		end

		it("works with stream management in the same bind: a hibernated device is woken", function ()
			local anna = resumable(enable("n1"));
			assert.same({ "enabled" }, answers(anna, xmlns_push));
			anna:available();
			anna:cut();
			assert.same({ "n1" }, devices.woken(push, rosa, anna.full_jid));
			assert.equal(phones.important, push.received[1].form["last-message-body"]);
			assert.is_truthy(server:session(anna.full_jid).first_hibernated_push);
		end);

		it("is not asked for by a session that is resumed: that is attached as before", function ()
			add_companion();
			local anna = resumable(enable("n1"));
			anna:available();
			anna:cut();
			companion.seen(server, anna.jid);
			sasl2.reconnect(anna, { client_id = "phone-1"; resume = true; bind = { enable("n2") } });
			assert.is_truthy(anna.success:get_child("resumed", xmlns_sm));
			assert.is_nil(anna.bound);
			assert.same({}, companion.seen(server, anna.jid));
			assert.equal("push.test<n1", devices.attached(anna).identifier);
			assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
			assert.same({}, devices.woken(push, rosa, anna.full_jid));
		end);

		it("is done where the session cannot be resumed, and the client binds instead", function ()
			local anna = resumable(enable("n1"));
			anna:close();
			sasl2.reconnect(anna, { client_id = "phone-1"; resume = true; bind = { sasl2.enable_sm(); enable("n2") } });
			assert.is_truthy(anna.success:get_child("failed", xmlns_sm));
			assert.same({ "enabled" }, answers(anna, xmlns_push));
			assert.equal("push.test<n2", devices.attached(anna).identifier);
		end);

		it("that is refused leaves stream management enabled", function ()
			local anna = resumable(client.enable({}));
			assert.same({ "bad-request (modify)" }, answers(anna, xmlns_push));
			anna:available();
			anna:cut();
			assert.is_true(server:session(anna.full_jid).hibernating);
		end);
	end
end

for _, version in ipairs(prosody.all_versions) do
	describe("enabling in the bind on Prosody " .. version, function () describe_all(version); end);
end
