local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important = phones.important;

local hosts = [[
	VirtualHost "messages.test"
		push_notify_on = "messages"

	VirtualHost "important.test"
		push_notify_on = "important"
]];

for _, version in ipairs(prosody.versions) do
	describe("subscription requests with Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({
				version = version; modules = { "blocklist" }; options = { push_coalesce_window = 0 }; config = hosts;
			});
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		before_each(function ()
			push:clear();
		end);

		local function ask(phone, from, type)
			from = from or rosa;
			from:send(st.presence({ to = phone.jid; type = type or "subscribe" }));
			return phones.pushed(phone, from);
		end

		local function counts()
			local found = {};
			for i, publish in ipairs(push.received) do found[i] = publish.form["pending-subscription-count"] or false; end
			return found;
		end

		it("wake the devices of a user who is offline, and say how many are pending", function ()
			local phone = phones.away(push);
			local watch = phones.away(push, { jid = phone.jid });
			assert.same({ important }, ask(phone));
			assert.same({ important }, phones.pushed(watch));
			local bert = client.connect(server, devices.new_user(server));
			assert.same({ important; important }, ask(phone, bert));
			assert.same({ "1"; "1"; "2"; "2" }, counts());
		end);

		it("wake them once as long as they are pending", function ()
			local phone = phones.away(push);
			ask(phone);
			assert.same({ important }, ask(phone));

			-- It is sent again when the user comes online.
			phone = phones.login(phone);
			phone:expect({ name = "presence"; type = "subscribe"; from = rosa.jid });
			phone:cut();
			assert.same({ important }, phones.pushed(phone));
		end);

		it("wake them again after the user has refused one", function ()
			local phone = phones.away(push);
			ask(phone);
			local laptop = client.connect(server, phone.jid);
			laptop:send(st.presence({ to = rosa.jid; type = "unsubscribed" }));
			laptop:ping();
			laptop:close();
			assert.same({ important; important }, ask(phone));
		end);

		it("come by the queue to a device that hibernates, once", function ()
			local watch = phones.away(push);
			local phone = phones.hibernated(push, { jid = watch.jid });
			assert.same({ important }, ask(phone));
			assert.same({ important }, phones.pushed(watch));
			assert.truthy(phone:resume());
			phone:expect({ name = "presence"; type = "subscribe" });
		end);

		it("wake nobody while a session receives them", function ()
			local phone = phones.away(push);
			local laptop = client.connect(server, phone.jid);
			assert.same({}, ask(phone));
			laptop:expect({ name = "presence"; type = "subscribe" });
		end);

		it("wake nobody if the contact is subscribed, or has been approved before", function ()
			local phone = phones.away(push);
			local laptop = client.connect(server, phone.jid);
			laptop:send(st.presence({ to = rosa.jid; type = "subscribed" }));
			laptop:ping();
			laptop:close();
			assert.same({}, ask(phone));
			assert.same({}, ask(phone));
		end);

		it("wake nobody if the contact is blocked", function ()
			local phone = phones.away(push);
			local laptop = client.connect(server, phone.jid);
			laptop:iq(st.iq({ type = "set"; id = "block" }):tag("block", { xmlns = "urn:xmpp:blocking" })
				:tag("item", { jid = rosa.jid }));
			laptop:close();
			assert.same({}, ask(phone));
		end);

		it("wake nobody if they cannot be stored", function ()
			local phone = phones.away(push);
			server:eval([[
				local host, jid = ...;
				local events = prosody.hosts[host].events;
				local function swallow(event)
					events.remove_handler("presence/bare", swallow);
					return true;
				end
				events.add_handler("presence/bare", swallow, 10);
			]], "home.test");
			assert.same({}, ask(phone));
			assert.same({ important }, ask(phone));
		end);

		it("are no other presence", function ()
			local phone = phones.away(push);
			for _, type in ipairs({ "subscribed"; "unsubscribe"; "unsubscribed"; "probe" }) do
				assert.same({}, ask(phone, rosa, type));
			end
		end);

		it("are important, but no messages", function ()
			assert.same({}, ask(phones.away(push, { host = "messages.test" })));
			assert.same({ important }, ask(phones.away(push, { host = "important.test" })));
		end);

		it("come from other servers as well, with a resource or not", function ()
			local phone = phones.away(push);
			for _, from in ipairs({ "bert@push.test/pc"; "bert@push.test" }) do
				push:send(st.presence({ from = from; to = phone.jid; type = "subscribe" }));
				push:ping();
				assert.same({ important }, phones.pushed(phone));
			end
		end);
	end);
end
