-- A client of other people's making enables push in the bind, and resumes in the login (SASL2, Bind 2), with the
-- community's modules. Not with Prosody 0.12: there they offer a second bind, which xmpp.js takes.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loopback = require "spec.support.loopback";
local other_clients = require "spec.support.other_clients";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local important = phones.important;

describe("xmpp.js with SASL2", function ()
	local server, push, rosa, phone;

	setup(function ()
		server = prosody.start({
			version = "13.0"; community = true;
			modules = { "sasl2"; "sasl2_bind2"; "sasl2_sm" };
			options = { push_coalesce_window = 0 };
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
		phone = other_clients.start(server, "xmpp.js", ("xmpp://%s:%d"):format(loopback.address, server.ports.c2s));
	end);

	teardown(function ()
		phone:stop();
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push:clear();
		phone:log_in({ service = push });
	end);

	local function assert_woken()
		rosa:message({ to = phone.jid; body = "Tea?" });
		assert.same({ important }, phones.await(phone, 1));
		assert.equal(phone.node, push.received[1].options.secret);
	end

	local function assert_got_once()
		assert.same({ "Tea?" }, phone:await(1));
		rosa:message({ to = phone.jid; body = "Still there?" });
		assert.same({ "Tea?"; "Still there?" }, phone:await(2));
		assert.same({ important }, phones.pushed(phone, rosa));
	end

	it("is gone, woken, and logs in", function ()
		phone:close();
		assert_woken();
		phone:log_in_again();
		assert_got_once();
	end);

	it("is cut, woken, and resumes", function ()
		phones.acknowledge(phone);
		phone:cut();
		assert_woken();
		assert.is_true(phone:come_back());
		assert_got_once();
	end);
end);
