-- Calls that a device is owed (XEP-0353): they ring, unless they are over by then.

local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_jmi = "urn:xmpp:jingle-message:0";

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({ version = version; modules = { "spec_companion" } });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		if push.stream.closed then push:reconnect(); end
		push:clear();
	end);

	local function say(from, to, name, id)
		from:message({ to = to; st.stanza(name, { xmlns = xmlns_jmi; id = id }); payloads.hint("store") });
		from:ping();
	end

	-- A phone that was called while its push service was away.
	local function called(id, options)
		local phone = (options and options.hibernated and phones.hibernated or phones.away)(push);
		companion.plan(server, phone.jid, {});
		push:disconnect();
		say(rosa, phone.jid, "propose", id);
		loop.wait_for(function ()
			return inspect.waiting(server) > 0;
		end, nil, "the call to be owed");
		companion.seen(server, phone.jid);
		return phone;
	end

	-- What other modules are told of the push that follows when the push service is back: whether it is
	-- for the call.
	local function rings(phone)
		push:reconnect();
		phones.await(phone, 1);
		local told = companion.seen(server, phone.jid);
		assert.equal(1, #told);
		assert.is_true(told[1].important);
		return told[1].original_stanza ~= nil;
	end

	it("rings when the push service is back", function ()
		assert.is_true(rings(called("call-1")));
	end);

	it("is a missed one when its caller has given up", function ()
		local phone = called("call-2");
		say(rosa, phone.jid, "retract", "call-2");
		assert.is_false(rings(phone));
	end);

	it("is a missed one also for a phone that hibernates", function ()
		local phone = called("call-3", { hibernated = true });
		say(rosa, phone.jid, "retract", "call-3");
		assert.is_false(rings(phone));
	end);

	for _, name in ipairs({ "proceed"; "accept"; "reject"; "finish" }) do
		it(("is a missed one when another device says %s"):format(name), function ()
			local phone = called("call-" .. name);
			local desk = client.connect(server, phone.jid);
			say(desk, rosa.jid, name, "call-" .. name);
			desk:close();
			assert.is_false(rings(phone));
		end);
	end

	it("rings through a reload of the module, unless another device takes it then", function ()
		local phone = called("call-6");
		server:reload_module("cloud_notify", "home.test");
		assert.is_true(rings(phone));
		phone = called("call-7");
		local desk = client.connect(server, phone.jid);
		server:reload_module("cloud_notify", "home.test");
		say(desk, rosa.jid, "accept", "call-7");
		desk:close();
		assert.is_false(rings(phone));
	end);

	it("rings whatever is said of other calls", function ()
		local phone = called("call-4");
		local eve = client.connect(server, devices.new_user(server));
		say(eve, phone.jid, "retract", "call-4");
		say(rosa, phone.jid, "retract", "call-5");
		eve:close();
		assert.is_true(rings(phone));
	end);
end

for _, version in ipairs(prosody.all_versions) do
	describe("a call that is owed, with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
