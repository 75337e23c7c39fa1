local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

local hosts = [[
	VirtualHost "other.test"

	VirtualHost "body.test"
		push_notification_with_body = true

	VirtualHost "messages.test"
		push_notify_on = "messages"

	VirtualHost "important.test"
		push_notify_on = "important"

	VirtualHost "few.test"
		push_max_per_minute = 3

	VirtualHost "unlimited.test"
		push_max_per_minute = 0
]];

local function times(count, body)
	local list = {};
	for i = 1, count do list[i] = body; end
	return list;
end

for _, version in ipairs(prosody.all_versions) do
	describe("rule (b), the archive, with Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({
				version = version;
				-- Nothing that comes a second time would go unnoticed.
				options = { push_coalesce_window = 0 };
				config = hosts;
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

		-- A device that is away, and a live session of the same user that gets all
		-- messages, so that none goes to offline storage.
		local function new_pair(host)
			local phone = phones.away(push, { host = host });
			return phone, client.connect(server, phone.jid, { resource = "tablet" });
		end

		local function pushed(phone)
			return phones.pushed(phone, rosa);
		end

		it("pushes to a device that is away, even while another one is live", function ()
			local phone, tablet = new_pair();
			rosa:message({ to = phone.jid; body = "Hello" });
			tablet:expect({ body = "Hello" });
			assert.same({ important }, pushed(phone));
		end);

		it("pushes to each device that is away", function ()
			local phone = new_pair();
			local watch = phones.away(push, { jid = phone.jid });
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
			assert.same({ important }, pushed(watch));
		end);

		it("pushes to a device that is away for what goes to the address of another", function ()
			local phone, tablet = new_pair();
			rosa:message({ to = tablet.full_jid; body = "Hello" });
			tablet:expect({ body = "Hello" });
			assert.same({ important }, pushed(phone));
		end);

		it("pushes for each message", function ()
			local phone = new_pair("body.test");
			rosa:message({ to = phone.jid; body = "one" });
			rosa:message({ to = phone.jid; body = "two" });
			assert.same({ "one"; "two" }, pushed(phone));
		end);

		it("pushes for what is archived without being important", function ()
			local phone = new_pair();
			rosa:message({ to = phone.jid; payloads.displayed() });
			assert.same({ unimportant }, pushed(phone));
		end);

		it("pushes to a device that has closed its session and ended its stream management", function ()
			local phone = phones.new(push);
			client.connect(server, phone.jid, { resource = "tablet" });
			phone:close();
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
		end);

		it("does not push to a live device", function ()
			local phone = phones.new(push);
			local silent = phones.new(push, { jid = phone.jid; presence = false; sm = false });
			rosa:message({ to = phone.jid; body = "Hello" });
			phone:expect({ body = "Hello" });
			assert.same({}, pushed(phone));
			assert.same({}, pushed(silent));
		end);

		it("leaves a hibernated device to stream management", function ()
			-- With this priority the phone gets no message to the bare JID.
			local tablet = client.connect(server, devices.new_user(server), { resource = "tablet" });
			local phone = phones.hibernated(push, { jid = tablet.jid; presence = -1 });
			rosa:message({ to = phone.jid; body = "Hello" });
			tablet:expect({ body = "Hello" });
			assert.same({}, pushed(phone));
		end);

		it("does not push for what is not archived", function ()
			local phone, tablet = new_pair();
			rosa:message({ to = phone.jid; payloads.composing() });
			rosa:message({ to = phone.jid; body = "Hello"; payloads.hint("no-store") });
			tablet:expect({ body = "Hello" });
			assert.same({}, pushed(phone));
		end);

		it("does not push for what the user does not want to have archived", function ()
			local phone, tablet = new_pair();
			local reply = tablet:iq(st.iq({ type = "set"; id = "prefs" })
				:tag("prefs", { xmlns = "urn:xmpp:mam:2"; default = "never" }):tag("always"):up():tag("never"):up());
			assert.equal("result", reply.attr.type);
			rosa:message({ to = phone.jid; body = "Hello" });
			tablet:expect({ body = "Hello" });
			assert.same({}, pushed(phone));
		end);

		describe("with the sender's own copy", function ()
			it("does not wake the sender's devices", function ()
				local phone, tablet = new_pair();
				tablet:message({ to = rosa.jid; body = "Hello" });
				tablet:message({ to = rosa.full_jid; payloads.propose() });
				rosa:expect({ body = "Hello"; from = tablet.full_jid });
				assert.same({}, phones.pushed(phone, tablet));
			end);

			it("does not wake the sender if the recipient has the same name at another host", function ()
				local phone, tablet = new_pair();
				local namesake = phone.username .. "@other.test";
				server:add_user(phone.username, "secret", "other.test");
				local other = phones.away(push, { jid = namesake });
				tablet:message({ to = namesake; body = "Hello" });
				tablet:message({ to = namesake; payloads.propose() });
				assert.same({}, phones.pushed(phone, tablet));
				assert.same({ important; important }, pushed(other));
			end);

			it("wakes the devices that are away for a note to self, once", function ()
				local phone, tablet = new_pair();
				tablet:message({ to = phone.jid; body = "Milk" });
				assert.same({ important }, phones.pushed(phone, tablet));
				tablet:message({ body = "Bread" });
				assert.same({ important; important }, phones.pushed(phone, tablet));
			end);
		end);

		describe("when it is a call", function ()
			for name, call in pairs({ propose = payloads.propose; invite = payloads.call_invite }) do
				it("pushes to all devices, be they live, hibernated or away: " .. name, function ()
					local live = phones.new(push);
					local jid = live.jid;
					local silent = phones.new(push, { jid = jid; presence = false; sm = false });
					local away = phones.away(push, { jid = jid });
					local hibernated = phones.hibernated(push, { jid = jid });
					rosa:message({ to = jid; call(); payloads.hint("store") });
					assert.same({ important }, pushed(live));
					assert.same({ important }, pushed(silent));
					assert.same({ important }, pushed(hibernated));
					assert.same({ important }, pushed(away));
				end);
			end

			it("does not push to live devices when it is over", function ()
				local phone = phones.new(push);
				rosa:message({ to = phone.jid; st.stanza("retract", { xmlns = "urn:xmpp:jingle-message:0"; id = "c" }) });
				rosa:message({ to = phone.jid; st.stanza("left", { xmlns = "urn:xmpp:call-invites:0" }); payloads.hint("store") });
				assert.same({}, pushed(phone));
			end);
		end);

		describe("push_notify_on", function ()
			it("= messages leaves nothing out", function ()
				local phone = new_pair("messages.test");
				rosa:message({ to = phone.jid; payloads.displayed() });
				rosa:message({ to = phone.jid; body = "Hello" });
				assert.same({ unimportant; important }, pushed(phone));
			end);

			it("= important leaves out what is not", function ()
				local phone = new_pair("important.test");
				rosa:message({ to = phone.jid; payloads.displayed() });
				rosa:message({ to = phone.jid; body = "Hello" });
				assert.same({ important }, pushed(phone));
			end);
		end);

		describe("in a flood", function ()
			local function flood(phone, count)
				for i = 1, count do
					rosa:message({ to = phone.jid; body = ("Spam %d"):format(i) });
				end
				return pushed(phone);
			end

			it("lets thirty messages through", function ()
				assert.same(times(30, important), flood(new_pair(), 30));
			end);

			-- What becomes of the rest is in rate_spec.lua.
			it("pushes push_max_per_minute times at once", function ()
				assert.same(times(60, important), flood(new_pair(), 80));
				assert.same(times(3, important), flood(new_pair("few.test"), 10));
			end);

			it("pushes for calls all the same", function ()
				local phone = new_pair("few.test");
				flood(phone, 10);
				rosa:message({ to = phone.jid; payloads.propose() });
				assert.same(times(4, important), pushed(phone));
			end);

			it("is as generous to each other device", function ()
				local phone = new_pair("few.test");
				flood(phone, 4);
				local watch = phones.away(push, { jid = phone.jid });
				assert.same(times(3, important), flood(watch, 4));
				assert.same(times(3, important), pushed(phone));
				assert.same(times(3, important), flood(new_pair("few.test"), 4));
			end);

			it("has no limit if push_max_per_minute is 0", function ()
				assert.same(times(100, important), flood(new_pair("unlimited.test"), 100));
			end);
		end);

		it("goes on after a reload of the module", function ()
			local phone = new_pair();
			server:reload_module("cloud_notify", "home.test");
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
		end);
	end);
end
