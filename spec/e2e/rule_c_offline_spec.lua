local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

-- No host has an archive, unless it is for comparison.
local hosts = [[
	VirtualHost "body.test"
		push_notification_with_body = true

	VirtualHost "important.test"
		push_notify_on = "important"

	VirtualHost "few.test"
		push_max_per_minute = 3

	VirtualHost "archive.test"
		modules_enabled = { "mam" }

	VirtualHost "nothing.test"
		modules_disabled = { "offline"; "s2s"; "s2s_auth_certs" }

	VirtualHost "only-archive.test"
		modules_enabled = { "mam" }
		modules_disabled = { "offline"; "s2s"; "s2s_auth_certs" }

	VirtualHost "faulty.test"
		storage = { offline = "faulty" }

	VirtualHost "without.test"
		modules_disabled = { "cloud_notify"; "s2s"; "s2s_auth_certs" }
]];

for _, version in ipairs(prosody.all_versions) do
	describe("rule (c), offline storage, with Prosody " .. version, function ()
		local server, push, room, rosa;

		setup(function ()
			server = prosody.start({
				version = version;
				without = { "mam" };
				components = { ["push.test"] = "secret"; ["rooms.test"] = "secret" };
				-- Nothing that comes a second time would go unnoticed.
				options = { push_coalesce_window = 0 };
				config = hosts;
			});
			push = push_service.connect(server, "push.test", "secret");
			room = push_service.connect(server, "rooms.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		before_each(function ()
			push:clear();
		end);

		local function pushed(phone)
			return phones.pushed(phone, rosa);
		end

		it("pushes to the devices of a user who has no session", function ()
			local phone = phones.away(push);
			local watch = phones.away(push, { jid = phone.jid });
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
			assert.same({ important }, pushed(watch));
			assert.same({ "Hello" }, phones.stored_messages(phone));
		end);

		it("pushes for each message", function ()
			local phone = phones.away(push, { host = "body.test" });
			rosa:message({ to = phone.jid; body = "one" });
			rosa:message({ to = phone.jid; body = "two" });
			rosa:message({ to = phone.jid .. "/gone"; body = "three" });
			assert.same({ "one"; "two"; "three" }, pushed(phone));
		end);

		it("pushes for what is stored without being important, unless push_notify_on leaves it out", function ()
			local phone = phones.away(push);
			local quiet_phone = phones.away(push, { host = "important.test" });
			rosa:message({ to = phone.jid; payloads.displayed() });
			rosa:message({ to = quiet_phone.jid; payloads.displayed() });
			assert.same({ unimportant }, pushed(phone));
			assert.same({}, pushed(quiet_phone));
		end);

		for what, presence in pairs({ ["without presence"] = false; ["with a negative priority"] = -1 }) do
			it("pushes to a device that is away if there is only a session " .. what, function ()
				local phone = phones.away(push);
				client.connect(server, phone.jid, { presence = presence });
				rosa:message({ to = phone.jid; body = "Hello" });
				assert.same({ important }, pushed(phone));
				assert.same({ "Hello" }, phones.stored_messages(phone));
			end);

			it("pushes to a live device " .. what, function ()
				for _, host in ipairs({ "home.test"; "archive.test"; "only-archive.test" }) do
					local phone = phones.new(push, { presence = presence; host = host });
					rosa:message({ to = phone.jid; body = "Hello" });
					assert.same({ important }, pushed(phone));
					phone:cut();
					assert.same({ important }, pushed(phone));
				end
			end);

			it("pushes for a call to a live device " .. what, function ()
				local phone = phones.new(push, { presence = presence });
				rosa:message({ to = phone.jid; payloads.propose() });
				assert.same({ important }, pushed(phone));
			end);

			it("pushes to a hibernated device " .. what .. ", for which nothing is queued", function ()
				for _, host in ipairs({ "home.test"; "archive.test" }) do
					local phone = phones.hibernated(push, { presence = presence; host = host });
					rosa:message({ to = phone.jid; body = "Hello" });
					assert.same({ important }, pushed(phone));
				end
			end);
		end

		it("pushes to a live device that is unavailable again", function ()
			local phone = phones.new(push);
			phone:send(st.presence({ type = "unavailable" }));
			phone:ping();
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
			phone:available();
			phone:expect({ body = "Hello" });
			assert.same({ important }, pushed(phone));
		end);

		it("does not push for what reaches a session", function ()
			local phone = phones.away(push);
			local tablet = client.connect(server, phone.jid);
			rosa:message({ to = phone.jid; body = "Hello" });
			tablet:expect({ body = "Hello" });
			assert.same({}, pushed(phone));
		end);

		it("does not push to a device that has acknowledged what another one's session leaves", function ()
			local phone = phones.new(push);
			local tablet = phones.new(push, { jid = phone.jid });
			tablet.withhold_acks = true;
			rosa:message({ to = phone.jid; body = "Hello" });
			phone:expect({ body = "Hello" });
			tablet:expect({ body = "Hello" });
			phones.acknowledge(phone);
			phone:close();
			tablet:cut();
			phones.expire(tablet);
			assert.same({ "Hello" }, phones.stored_messages(phone));
			assert.same({}, pushed(phone));
			assert.equal(important, pushed(tablet)[1]);
		end);

		it("does not push for what offline storage gives back", function ()
			local phone = phones.away(push);
			local watch = phones.away(push, { jid = phone.jid });
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(watch));
			client.connect(server, phone.jid):expect({ body = "Hello" });
			assert.same({ important }, pushed(watch));
		end);

		it("pushes push_max_per_minute times at once in a flood", function ()
			local phone = phones.away(push, { host = "few.test" });
			for _ = 1, 10 do
				rosa:message({ to = phone.jid; body = "Spam" });
			end
			assert.same({ important; important; important }, pushed(phone));
			rosa:message({ to = phone.jid; payloads.propose() });
			assert.same({ important; important; important; important }, pushed(phone));
		end);

		it("lets thirty messages through by default", function ()
			local phone = phones.away(push);
			for _ = 1, 30 do
				rosa:message({ to = phone.jid; body = "Hello" });
			end
			assert.equal(30, #pushed(phone));
		end);

		describe("with a room's message to the bare JID", function ()
			local ids = 0;

			local function groupchat(jid)
				ids = ids + 1;
				return st.message({ type = "groupchat"; from = "team@rooms.test/Rosa"; to = jid; id = ("room%d"):format(ids) });
			end

			-- Sends it, and returns what the server answers to the room.
			local function send_from_room(stanza)
				room:send(stanza);
				return loop.wait_for(function ()
					for _, answer in ipairs(room.others) do
						if answer.attr.id == stanza.attr.id then return answer; end
					end
				end, nil, "an answer to the room");
			end

			local function hello(jid)
				return groupchat(jid):text_tag("body", "Hello");
			end

			it("pushes to a device that is away", function ()
				local phone = phones.away(push);
				send_from_room(hello(phone.jid));
				assert.same({ important }, pushed(phone));
			end);

			it("pushes to a device that is away while another is live", function ()
				local phone = phones.away(push);
				client.connect(server, phone.jid);
				send_from_room(hello(phone.jid));
				assert.same({ important }, pushed(phone));
			end);

			it("pushes to a hibernated device, for which nothing is queued", function ()
				local phone = phones.hibernated(push);
				send_from_room(hello(phone.jid));
				assert.same({ important }, pushed(phone));
			end);

			it("pushes to a live device, which does not receive it", function ()
				local phone = phones.new(push);
				send_from_room(hello(phone.jid));
				assert.same({ important }, pushed(phone));
			end);

			it("pushes where there is an archive, too", function ()
				local phone = phones.away(push, { host = "archive.test" });
				send_from_room(hello(phone.jid));
				assert.same({ important }, pushed(phone));
			end);

			it("counts a change of the subject as unimportant", function ()
				local phone = phones.away(push);
				send_from_room(groupchat(phone.jid):text_tag("subject", "News"));
				assert.same({ unimportant }, pushed(phone));
			end);

			it("answers as a server without the module", function ()
				local phone = phones.away(push);
				local elsewhere = devices.new_user(server, "without.test");
				local function answer_without_ids(jid)
					local answer = send_from_room(hello(jid));
					local error_type, condition, text = answer:get_error();
					return {
						name = answer.name; type = answer.attr.type; to = answer.attr.to; from_user = answer.attr.from == jid;
						error_type = error_type; condition = condition; text = text;
					};
				end
				local expected = answer_without_ids(elsewhere);
				assert.equal("service-unavailable", expected.condition);
				assert.same(expected, answer_without_ids(phone.jid));
				assert.same({ important }, pushed(phone));
			end);

			it("does nothing for a user who does not exist", function ()
				local answer = send_from_room(hello("nobody@home.test"));
				assert.equal("service-unavailable", select(2, answer:get_error()));
				push:expect_none();
			end);
		end);

		describe("with a message that offline storage does not take", function ()
			local function expect_bounced(id)
				local bounced = rosa:expect({ name = "message"; type = "error"; id = id });
				assert.equal("service-unavailable", select(2, bounced:get_error()));
			end

			-- Another module's handler, until the test is over.
			local function hook(code, priority, host)
				host = host or "home.test";
				server:eval([[
					local code, priority, host = ...;
					local handler = assert(load("return function (event) " .. code .. " end"))();
					hosts[host].events.add_handler("message/offline/handle", handler, priority);
					prosody.spec_handler = handler;
				]], code, priority, host);
				finally(function ()
					server:eval([[hosts[...].events.remove_handler("message/offline/handle", prosody.spec_handler);]], host);
				end);
			end

			it("does not push where there is none", function ()
				local phone = phones.away(push, { host = "nothing.test" });
				expect_bounced(rosa:message({ to = phone.jid; body = "Hello" }).attr.id);
				assert.same({}, pushed(phone));
			end);

			it("does not push where its store fails", function ()
				local phone = phones.away(push, { host = "faulty.test" });
				local function fail(how)
					server:eval([[
						module("faulty.test", "storage_faulty"):shared("failing")["offline/append"] = ...;
					]], how);
				end
				fail("error");
				expect_bounced(rosa:message({ to = phone.jid; body = "Hello" }).attr.id);
				assert.same({}, pushed(phone));
				fail(nil);
				rosa:message({ to = phone.jid; body = "Hello again" });
				assert.same({ important }, pushed(phone));
			end);

			it("does not push where a module declines", function ()
				hook([[if event.stanza:get_child("no-store", "urn:xmpp:hints") then return false; end]], 0);
				local phone = phones.away(push);
				expect_bounced(rosa:message({ to = phone.jid; body = "Hello"; payloads.hint("no-store") }).attr.id);
				assert.same({}, pushed(phone));
				rosa:message({ to = phone.jid; body = "Hello" });
				assert.same({ important }, pushed(phone));
			end);

			it("pushes where another module takes it", function ()
				hook([[return true;]], 100);
				local phone = phones.away(push);
				rosa:message({ to = phone.jid; body = "Hello" });
				assert.same({ important }, pushed(phone));
				assert.same({}, phones.stored_messages(phone));
			end);

			it("asks other modules once, whatever they say", function ()
				hook([[prosody.spec_asked = (prosody.spec_asked or 0) + 1;]], 100, "nothing.test");
				local phone = phones.away(push, { host = "nothing.test" });
				expect_bounced(rosa:message({ to = phone.jid; body = "Hello" }).attr.id);
				assert.equal(1, server:eval([[return prosody.spec_asked;]]));
			end);

			it("leaves errors to whom they belong", function ()
				hook([[error("of its own", 0);]], 100);
				local phone = phones.away(push);
				local results = { server:eval([[
					local username = ...;
					return pcall(hosts["home.test"].events.fire_event, "message/offline/handle", {
						username = username;
						stanza = st.message({ to = username .. "@home.test"; type = "chat" }, "Hello");
					});
				]], phone.username) };
				assert.same({ false; "of its own" }, results);
				assert.same({}, pushed(phone));
			end);
		end);

		it("stops when the module is unloaded", function ()
			local phone = phones.away(push);
			server:unload_module("cloud_notify", "home.test");
			finally(function () server:load_module("cloud_notify", "home.test"); end);
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({}, pushed(phone));
			assert.same({ "Hello" }, phones.stored_messages(phone));
		end);

		it("goes on after a reload of the module", function ()
			local phone = phones.away(push);
			server:reload_module("cloud_notify", "home.test");
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
		end);
	end);
end
