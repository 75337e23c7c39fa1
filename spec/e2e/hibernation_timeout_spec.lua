local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

-- What mod_smacks gives (it adds a second or two), and what a registration does.
local normal_time = 0.2;
local extended_time = 3600;

local hosts = [[
	VirtualHost "noarchive.test"
		modules_disabled = { "mam"; "s2s"; "s2s_auth_certs" }

	VirtualHost "few.test"
		push_max_devices = 1

	VirtualHost "strict.test"
		push_max_errors = 1

	VirtualHost "unload.test"

	VirtualHost "shorter.test"
		push_max_hibernation_timeout = 1
		smacks_hibernation_time = 600

	VirtualHost "patient.test"
		smacks_hibernation_time = 600
]];

for _, version in ipairs(prosody.all_versions) do
	describe("hibernation with Prosody " .. version, function ()
		local server, push, rosa;
		local expected_faults = {};

		setup(function ()
			server = prosody.start({
				version = version;
				options = {
					push_coalesce_window = 0;
					push_max_hibernation_timeout = extended_time;
					smacks_hibernation_time = normal_time;
				};
				config = hosts;
			});
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same(expected_faults, server:faults());
		end);

		before_each(function ()
			push:clear();
			push.answer = push_service.result;
		end);

		local function write(phone)
			rosa:message({ to = phone.jid; body = "Hello" });
			return phones.pushed(phone, rosa);
		end

		-- For how long the server lets the session hibernate.
		local function time_of(phone)
			return server:eval([[return prosody.full_sessions[...].hibernating_watchdog.timeout]], phone.full_jid);
		end

		local function is_gone(phone)
			return not server:session(phone.full_jid);
		end

		local function await_end(phone)
			loop.wait_for(function () return is_gone(phone); end, nil, "the session to end");
		end

		local function first_push(phone)
			return server:session(phone.full_jid).first_hibernated_push;
		end

		it("of a session with a registration goes on until the first important push", function ()
			local phone = phones.hibernated(push);
			local laptop = client.connect(server, devices.new_user(server), { sm = "resume" });
			laptop:cut();
			assert.equal(extended_time, time_of(phone));
			assert.equal(normal_time, time_of(laptop));

			-- A session that is not ours to extend shows how long the normal time takes.
			await_end(laptop);
			assert.is_false(is_gone(phone));

			write(phone);
			await_end(phone);
		end);

		it("of a session without a registration is left alone", function ()
			local phone = phones.new(push);
			local laptop = client.connect(server, phone.jid, { sm = "resume"; resource = "laptop" });
			phones.acknowledge(laptop);
			laptop:cut();
			local function watchdog()
				return server:eval([[
					local session = prosody.full_sessions[...];
					return {
						timeout = session.hibernating_watchdog.timeout; is_of_prosody = session.hibernating_watchdog.reset
							== require "util.watchdog".new(1, function () end).reset;
						first_hibernated_push = session.first_hibernated_push;
					};
				]], laptop.full_jid);
			end
			assert.same({ timeout = normal_time; is_of_prosody = true }, watchdog());
			write(phone);
			assert.same({ timeout = normal_time; is_of_prosody = true }, watchdog());
			await_end(laptop);
		end);

		for host, place in pairs({ ["home.test"] = "with an archive"; ["noarchive.test"] = "without an archive" }) do
			it("ends with the clean-up of mod_smacks " .. place, function ()
				local phone = phones.hibernated(push, { host = host });
				assert.same({ important }, write(phone));
				await_end(phone);
				assert.same({ "Hello" }, phones.stored_messages(phone));
				local resumed, failed = phone:resume();
				assert.is_false(resumed);
				assert.truthy(failed:get_child("item-not-found", "urn:ietf:params:xml:ns:xmpp-stanzas"));
				assert.truthy(failed.attr.h);

				phone:bind();
				phone:available();
				phone:expect({ body = "Hello" });
			end);
		end

		it("ends that way if the important stanza was there at its start", function ()
			local phone = phones.new(push);
			phone.withhold_acks = true;
			assert.same({}, write(phone));
			phone:cut();
			assert.same({ important }, phones.pushed(phone));
			await_end(phone);
			assert.same({ "Hello" }, phones.stored_messages(phone));
		end);

		it("ends that way after a call that the archive has announced", function ()
			local phone = phones.hibernated(push);
			rosa:message({ to = phone.jid; payloads.propose() });
			assert.same({ important }, phones.pushed(phone, rosa));
			await_end(phone);
		end);

		it("ends that way after push_max_hibernation_timeout without an important push", function ()
			local phone = phones.hibernated(push, { host = "shorter.test" });
			assert.equal(1, time_of(phone));
			await_end(phone);
		end);

		it("does not begin anew with each important push", function ()
			local phone = phones.hibernated(push, { host = "patient.test" });
			write(phone);
			assert.equal(600, time_of(phone));
			server:eval([[prosody.full_sessions[...].hibernating_watchdog:reset(1000)]], phone.full_jid);
			local before = time_of(phone);
			write(phone);
			assert.equal(before, time_of(phone));
		end);

		it("goes on after an unimportant push", function ()
			local phone = phones.hibernated(push);
			rosa:message({ to = phone.jid; payloads.composing() });
			assert.same({ unimportant }, phones.pushed(phone, rosa));
			assert.equal(extended_time, time_of(phone));
			assert.is_nil(first_push(phone));
		end);

		it("goes on after a push for another device of the user", function ()
			local phone = phones.hibernated(push);
			local tablet = phones.hibernated(push, { jid = phone.jid });
			rosa:message({ to = tablet.full_jid; body = "Hello"; payloads.hint("no-store") });
			assert.same({ important }, phones.pushed(tablet, rosa));
			assert.equal(extended_time, time_of(phone));
			assert.equal(normal_time, time_of(tablet));
		end);

		it("tells of the first important push in first_hibernated_push, until the session is resumed", function ()
			local phone = phones.hibernated(push, { host = "patient.test" });
			assert.is_nil(first_push(phone));
			write(phone);
			local at = first_push(phone);
			assert.is_true(math.abs(os.time() - at) <= 2);
			write(phone);
			assert.equal(at, first_push(phone));

			assert.truthy(phone:resume());
			assert.is_nil(first_push(phone));
			phones.acknowledge(phone);
			assert.is_nil(first_push(phone));
		end);

		it("of a resumed session has all the time again", function ()
			local phone = phones.hibernated(push, { host = "patient.test" });
			write(phone);
			assert.truthy(phone:resume());
			phones.acknowledge(phone);
			phone:cut();
			assert.equal(extended_time, time_of(phone));
			assert.is_nil(first_push(phone));
			write(phone);
			assert.equal(600, time_of(phone));
			assert.truthy(first_push(phone));
		end);

		it("leaves no timer behind in a resumed session", function ()
			local phone = phones.hibernated(push);
			write(phone);
			assert.truthy(phone:resume());
			phones.acknowledge(phone);
			-- A session that is not ours to extend shows how long the normal time takes.
			local laptop = client.connect(server, devices.new_user(server), { sm = "resume" });
			laptop:cut();
			await_end(laptop);
			phone:ping();
			assert.is_false(is_gone(phone));
		end);

		describe("has its normal time back", function ()
			-- A phone that hibernates, and a laptop of the same user.
			local function new_pair(host)
				local phone = phones.hibernated(push, { host = host });
				local laptop = client.connect(server, phone.jid, { resource = "laptop"; presence = false });
				assert.equal(extended_time, time_of(phone));
				return phone, laptop;
			end

			local function assert_ends(phone)
				if not is_gone(phone) then
					assert.is_nil(server:session(phone.full_jid).push_identifier);
					assert.equal(normal_time, time_of(phone));
				end
				await_end(phone);
			end

			it("when another session disables push", function ()
				local phone, laptop = new_pair();
				devices.disable(laptop, { jid = "push.test"; node = phone.node });
				assert_ends(phone);
			end);

			it("when the registration makes room for a newer one", function ()
				local phone, laptop = new_pair("few.test");
				devices.enable(laptop, { jid = "push.test"; node = "newer" });
				assert_ends(phone);
			end);

			it("when the registration is removed after push_max_errors", function ()
				local phone = new_pair("strict.test");
				push.answer = push_service.error("cancel", "item-not-found");
				rosa:message({ to = phone.jid; payloads.composing() });
				rosa:ping();
				push:ping();
				assert_ends(phone);
			end);

			it("when the push service ends the registration", function ()
				local phone = new_pair();
				push:send(st.message({ from = "push.test"; to = phone.jid })
					:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub"; node = phone.node })
						:tag("affiliation", { jid = phone.jid; affiliation = "none" }));
				push:ping();
				assert_ends(phone);
			end);

			it("when the module is unloaded", function ()
				local phone = new_pair("unload.test");
				server:unload_module("cloud_notify", "unload.test");
				if not is_gone(phone) then
					assert.equal(normal_time, time_of(phone));
				end
				await_end(phone);
				server:load_module("cloud_notify", "unload.test");
			end);
		end);

		it("of a session that loses its registration at the start is left alone", function ()
			local phone = phones.new(push, { host = "patient.test" });
			phone.withhold_acks = true;
			write(phone);
			server:eval([[
				local jid = ...;
				local events = prosody.hosts["patient.test"].events;
				local function detach()
					events.remove_handler("cloud_notify/push", detach);
					prosody.full_sessions[jid].push_identifier = nil;
					return true;
				end
				events.add_handler("cloud_notify/push", detach);
			]], phone.full_jid);
			phone:cut();
			assert.equal(600, time_of(phone));
			assert.same({}, phones.pushed(phone));
		end);

		it("is extended even if nobody can be pushed to", function ()
			local phone = phones.new(push, { host = "patient.test" });
			phone.withhold_acks = true;
			write(phone);
			server:eval([[
				local events = prosody.hosts["patient.test"].events;
				events.get_handlers_before, events.get_handlers = events.get_handlers, nil;
			]]);
			phone:cut();
			assert.equal(extended_time, time_of(phone));
			server:eval([[
				local events = prosody.hosts["patient.test"].events;
				events.get_handlers, events.get_handlers_before = events.get_handlers_before, nil;
			]]);
			expected_faults = server:faults();
			assert.matches("This is a bug", expected_faults[1], 1, true);
		end);

		it("is extended when the module is loaded, for sessions that are attached", function ()
			local phone = phones.hibernated(push, { host = "patient.test" });
			server:unload_module("cloud_notify", "patient.test");
			assert.equal(600, time_of(phone));
			server:load_module("cloud_notify", "patient.test");
			assert.equal(extended_time, time_of(phone));
			write(phone);
			assert.equal(600, time_of(phone));
		end);

		it("keeps its extended time through a reload of the module, until the first important push", function ()
			local phone = phones.hibernated(push);
			server:reload_module("cloud_notify", "home.test");
			assert.equal(extended_time, time_of(phone));
			server:reload_module("cloud_notify", "home.test");
			assert.same({ important }, write(phone));
			await_end(phone);
			assert.same({ "Hello" }, phones.stored_messages(phone));
		end);

		it("keeps its normal time through a reload of the module after the first important push", function ()
			local phone = phones.hibernated(push, { host = "patient.test" });
			write(phone);
			assert.equal(600, time_of(phone));
			server:reload_module("cloud_notify", "patient.test");
			assert.equal(600, time_of(phone));
			assert.truthy(first_push(phone));
		end);
	end);
end
