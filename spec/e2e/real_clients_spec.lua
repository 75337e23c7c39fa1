-- Clients of other people's making, over TCP and WebSocket: that no client of our own making hides a fault. Each is
-- woken by a push, comes back, and gets what it was woken for once.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local encrypted = require "spec.support.encrypted";
local loopback = require "spec.support.loopback";
local other_clients = require "spec.support.other_clients";
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local tcp, websocket = "xmpp://%s:%d", "ws://%s:%d/xmpp-websocket";
local important, unimportant = phones.important, phones.unimportant;

local function describe_all(version)
	local server, push, push2_push, rosa, http_port;

	setup(function ()
		http_port = loopback.free_port();
		server = prosody.start({
			version = version;
			modules = { "websocket" };
			components = { ["push.test"] = "secret"; ["gw.test"] = "secret" };
			options = {
				http_ports = { http_port }; http_interfaces = { loopback.address }; http_default_host = "home.test";
				push_coalesce_window = 0; push_max_per_minute = 0;
			};
			config = [[
				VirtualHost "overdue.test"
					smacks_max_ack_delay = 0.5
			]];
		});
		push = push_service.connect(server, "push.test", "secret");
		push2_push = push2_service.connect(server, "gw.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	for _, case in ipairs({
		{ "slixmpp"; tcp }; { "xmpp.js"; tcp }; { "xmpp.js"; websocket }; { "stanza.js"; websocket };
	}) do
		local name, transport = table.unpack(case);

		describe(name .. " by " .. transport:match("^%w+"), function ()
			local phone;

			setup(function ()
				local port = transport == tcp and server.ports.c2s or http_port;
				phone = other_clients.start(server, name, transport:format(loopback.address, port));
			end);

			teardown(function ()
				phone:stop();
			end);

			before_each(function ()
				push:clear();
			end);

			after_each(function ()
				phone:thaw();
			end);

			local function say(text)
				rosa:message({ to = phone.jid; body = text });
			end

			it("is cut, woken, and resumes, again and again", function ()
				phone:log_in();
				phone:register(push);
				phone:cut();
				say("Tea?");
				assert.same({ important }, phones.await(phone, 1));
				assert.equal(phone.node, push.received[1].options.secret);
				assert.is_true(phone:come_back());
				assert.same({ "Tea?" }, phone:await(1));
				say("Still there?");
				assert.same({ "Tea?"; "Still there?" }, phone:await(2));
				phones.acknowledge(phone);
				phone:cut();
				assert.same({ important }, phones.pushed(phone));
				say("Or coffee?");
				assert.same({ important; important }, phones.await(phone, 2));
				assert.is_true(phone:come_back());
				assert.same({ "Tea?"; "Still there?"; "Or coffee?" }, phone:await(3));
			end);

			it("is frozen, woken, and goes on", function ()
				phone:log_in({ host = "overdue.test" });
				phone:register(push);
				push:clear();
				phone:freeze();
				say("Tea?");
				assert.same({ important }, phones.await(phone, 1));
				phone:thaw();
				assert.same({ "Tea?" }, phone:await(1));
				say("Still there?");
				assert.same({ "Tea?"; "Still there?" }, phone:await(2));
			end);

			it("is gone, woken, and logs in", function ()
				phone:log_in();
				phone:register(push);
				phone:close();
				say("Tea?");
				assert.same({ important }, phones.await(phone, 1));
				phone:log_in_again();
				assert.same({ "Tea?" }, phone:await(1));
				say("Still there?");
				assert.same({ "Tea?"; "Still there?" }, phone:await(2));
				assert.same({ important }, phones.pushed(phone, rosa));
			end);

			it("is not woken once it has disabled push", function ()
				phone:log_in();
				phone:register(push);
				phone:disable();
				phone:cut();
				say("Tea?");
				assert.same({}, phones.pushed(phone, rosa));
				assert.is_true(phone:come_back());
				assert.same({ "Tea?" }, phone:await(1));
			end);

			if name == "xmpp.js" then
				it("is woken, and resumes, whatever it forgets to count", function ()
					phone:log_in();
					phone:register_miscounting(push);
					phone:cut(); -- As far as the server knows, the answer has not come
					assert.same({ unimportant }, phones.await(phone, 1));
					say("Tea?");
					assert.same({ unimportant; important }, phones.await(phone, 2));
					assert.is_true(phone:come_back());
					assert.same({ "Tea?" }, phone:await(1));
					say("Still there?");
					assert.same({ "Tea?"; "Still there?" }, phone:await(2));
				end);
			end

			if name ~= "stanza.js" then -- which sends nothing that it does not know
				it("is woken by an encrypted push, and reads what that is about", function ()
					phone:log_in();
					phone.service = push;
					local enable = client.enable({ jid = push.jid; node = phone.node; extra = { encrypted.ask() } });
					phone:iq(st.iq({ type = "set"; id = "e1" }):add_child(enable));
					phone:cut();
					say("Tea?");
					assert.equal("Tea?", encrypted.read(push:wait(1)).message);
					assert.is_true(phone:come_back());
					assert.same({ "Tea?" }, phone:await(1));
				end);

				it("is woken by Push 2.0, and reads what that is about", function ()
					phone:log_in();
					push2.register(phone, push2_push);
					phone:cut();
					say("Tea?");
					local stanza = push2.read(push2.await(phone, 1), phone);
					assert.equal("Tea?", stanza:get_child_text("body"));
					assert.is_true(phone:come_back());
					assert.same({ "Tea?" }, phone:await(1));
				end);
			end
		end);
	end
end

for _, version in ipairs(prosody.versions) do
	describe("with Prosody " .. version, function () describe_all(version); end);
end
