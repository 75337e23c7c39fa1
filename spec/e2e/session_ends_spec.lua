local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local important, unimportant = phones.important, phones.unimportant;

local function close_on_server(phone, reason)
	phone.server:eval([[
		local full_jid, reason = ...;
		prosody.full_sessions[full_jid]:close(reason);
	]], phone.full_jid, reason);
end

local function expect_gone(phone)
	loop.wait_for(function () return not phone.server:session(phone.full_jid); end, nil, "the session to end");
end

-- The ways in which a session ends without hibernating first.
local ends = {};

ends["without resumption"] = { sm = "noresume"; finish = function (phone)
	phone:cut();
end };

ends["by the client"] = { finish = function (phone)
	phone:close();
	expect_gone(phone);
end };

ends["by the client, without resumption"] = { sm = "noresume"; finish = ends["by the client"].finish };

ends["by the server"] = { finish = function (phone)
	close_on_server(phone, { condition = "policy-violation"; text = "Too much" });
	expect_gone(phone);
end };

ends["by the server, politely"] = { finish = function (phone)
	close_on_server(phone);
	expect_gone(phone);
end };

ends["by the server, politely, and the client does not answer"] = { finish = function (phone)
	phone.stream.finished = true;
	close_on_server(phone);
	phone.stream:cut();
	expect_gone(phone);
end };

ends["by a read timeout"] = { sm = "noresume"; finish = function (phone)
	phone.server:eval([[
		local session = prosody.full_sessions[...];
		assert(hosts[session.host].events.fire_event("c2s-read-timeout", { session = session }) == false);
		session.conn:close();
	]], phone.full_jid);
	expect_gone(phone);
end };

ends["with a changed password"] = { of_all = true; finish = function (phone)
	phone.server:eval([[
		local username, host = ...;
		prosody.events.fire_event("user-password-changed", { username = username; host = host });
	]], phone.username, phone.host);
	expect_gone(phone);
end };

ends["with an acknowledgement of what it never got"] = { finish = function (phone)
	phone:send(st.stanza("a", { xmlns = "urn:xmpp:sm:3"; h = "1000" }));
	expect_gone(phone);
end };

for _, version in ipairs(prosody.all_versions) do
	describe("a session that ends without hibernating, with Prosody " .. version, function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "spec_companion" };
				-- Nothing that comes a second time would go unnoticed.
				options = { push_coalesce_window = 0 };
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

		local function ask_archive(phone)
			phone:iq(st.iq({ type = "set"; id = new_id() }):tag("query", { xmlns = "urn:xmpp:mam:2" }));
		end

		-- As real ones do
		local function new_phone(options)
			local phone = phones.new(push, options);
			ask_archive(phone);
			phones.acknowledge(phone);
			phone.withhold_acks = true;
			return phone;
		end

		local function leave_unacknowledged(phone, message)
			message = message or { body = "Hello" };
			message.to = phone.jid;
			local id = rosa:message(message).attr.id;
			phone:expect({ name = "message"; id = id });
			assert.same({}, phones.pushed(phone, rosa));
			return id;
		end

		-- All that a message led to, once nothing is left to be done.
		local function pushed(phone)
			server:eval(""); -- A turn of the server's loop
			return phones.pushed(phone, rosa);
		end

		for how, session in pairs(ends) do
			describe(how, function ()
				it("leaves a push for what is not acknowledged", function ()
					local phone = new_phone({ sm = session.sm });
					leave_unacknowledged(phone);
					session.finish(phone);
					assert.same({ important }, phones.await(phone, 1));
					assert.same({ important }, pushed(phone));
				end);

				if session.of_all then return; end

				it("leaves one to each device that is away, while others are live", function ()
					local phone = new_phone({ sm = session.sm });
					local watch = phones.away(push, { jid = phone.jid });
					local tablet = phones.new(push, { jid = phone.jid });
					rosa:message({ to = phone.jid; body = "Hello" });
					phone:expect({ body = "Hello" });
					tablet:expect({ body = "Hello" });
					assert.same({ important }, pushed(watch));
					session.finish(phone);
					phones.await(phone, 1);
					assert.same({ important }, pushed(phone));
					assert.same({ important }, pushed(watch));
					assert.same({}, pushed(tablet));
				end);
			end);
		end

		it("is one push also where offline storage gets the message", function ()
			local phone = phones.new(push, { sm = "noresume" });
			phone.withhold_acks = true;
			leave_unacknowledged(phone);
			phone:cut();
			assert.same({ "Hello" }, phones.stored_messages(phone));
			assert.same({ important }, pushed(phone));
		end);

		it("leaves a push for each message", function ()
			local phone = new_phone({ sm = "noresume" });
			leave_unacknowledged(phone);
			leave_unacknowledged(phone, { body = "Are you there?" });
			phone:cut();
			assert.same({ important; important }, pushed(phone));
		end);

		it("leaves one to each of two devices, in whatever order their sessions end", function ()
			local phone = new_phone({ sm = "noresume" });
			local tablet = phones.new(push, { jid = phone.jid; sm = "noresume" });
			tablet.withhold_acks = true;
			leave_unacknowledged(phone);
			tablet:cut();
			assert.same({ important }, pushed(tablet));
			assert.same({}, pushed(phone));
			phone:cut();
			assert.same({ important }, pushed(phone));
			assert.same({ important }, pushed(tablet));
		end);

		it("leaves none for what is acknowledged", function ()
			local phone = new_phone({ sm = "noresume" });
			leave_unacknowledged(phone);
			phones.acknowledge(phone);
			phone:cut();
			assert.same({}, pushed(phone));
		end);

		it("leaves none to another device that has acknowledged it", function ()
			local phone = new_phone({ sm = "noresume" });
			local tablet = phones.new(push, { jid = phone.jid });
			leave_unacknowledged(phone);
			phones.acknowledge(tablet);
			tablet:close();
			phone:cut();
			assert.same({ important }, pushed(phone));
			assert.same({}, pushed(tablet));
		end);

		it("leaves one to another device that has not been available", function ()
			local phone = new_phone({ sm = "noresume" });
			local tablet = phones.new(push, { jid = phone.jid; presence = false });
			leave_unacknowledged(phone);
			tablet:close();
			phone:cut();
			assert.same({ important }, pushed(phone));
			assert.same({ important }, pushed(tablet));
		end);

		it("leaves one to another device that has come only after it", function ()
			local phone = new_phone({ sm = "noresume" });
			leave_unacknowledged(phone);
			loop.settle(1.1); -- Stamps are in seconds
			local tablet = phones.new(push, { jid = phone.jid });
			phones.acknowledge(tablet);
			tablet:close();
			phone:cut();
			assert.same({ important }, pushed(phone));
			assert.same({ important }, pushed(tablet));
		end);

		it("leaves none for what is not important", function ()
			local phone = new_phone({ sm = "noresume" });
			leave_unacknowledged(phone, { payloads.displayed() });
			phone:cut();
			assert.same({}, pushed(phone));
		end);

		it("leaves none for what the user has sent", function ()
			local phone = new_phone({ sm = "noresume" });
			phone:iq(st.iq({ type = "set"; id = new_id() }):tag("enable", { xmlns = "urn:xmpp:carbons:2" }));
			local tablet = client.connect(server, phone.jid);
			tablet:message({ to = rosa.jid; body = "Hello" });
			rosa:expect({ body = "Hello" });
			phone:expect({ name = "message" });
			phone:cut();
			assert.same({}, pushed(phone));
		end);

		it("leaves one for a carbon copy of what was received", function ()
			local phone = new_phone({ sm = "noresume" });
			phone:iq(st.iq({ type = "set"; id = new_id() }):tag("enable", { xmlns = "urn:xmpp:carbons:2" }));
			local tablet = client.connect(server, phone.jid);
			rosa:message({ to = tablet.full_jid; body = "Hello" });
			phone:expect({ name = "message" });
			phone:cut();
			assert.same({ important }, pushed(phone));
		end);

		it("leaves none for what is neither archived nor stored", function ()
			local phone = new_phone({ sm = "noresume" });
			client.connect(server, phone.jid);
			local id = leave_unacknowledged(phone, { body = "Hello"; payloads.hint("no-store") });
			phone:cut();
			local bounced = rosa:expect({ name = "message"; type = "error"; id = id });
			assert.equal("recipient-unavailable", select(2, bounced:get_error()));
			assert.same({}, pushed(phone));
		end);

		it("leaves one for what only offline storage takes", function ()
			local phone = new_phone({ sm = "noresume" });
			leave_unacknowledged(phone, { body = "Hello"; payloads.hint("no-permanent-store"); payloads.hint("no-store") });
			phone:cut();
			assert.same({ "Hello" }, phones.stored_messages(phone));
			assert.same({ important }, pushed(phone));
		end);

		it("leaves none for a call that has rung", function ()
			local phone = new_phone({ sm = "noresume" });
			rosa:message({ to = phone.jid; payloads.propose(); payloads.hint("store") });
			phone:expect({ name = "message" });
			assert.same({ important }, pushed(phone));
			phone:cut();
			assert.same({ important }, pushed(phone));
		end);

		for _, sm in ipairs({ "resume"; "noresume" }) do
			it("leaves none where the account has been deleted, with sm = " .. sm, function ()
				local phone = new_phone({ sm = sm });
				leave_unacknowledged(phone);
				server:delete_user(phone.username, phone.host);
				phone.stream:cut();
				expect_gone(phone);
				assert.same({}, pushed(phone));
			end);
		end

		it("leaves none to a device that another session is there for", function ()
			local phone = new_phone({ sm = "noresume" });
			leave_unacknowledged(phone);
			local again = phones.login(phone, { presence = false });
			devices.enable(again, { jid = push.jid; node = phone.node });
			phone:cut();
			assert.same({}, pushed(phone));
		end);

		for _, sm in ipairs({ "resume"; "noresume" }) do
			it("leaves none to a device whose client takes its place, with sm = " .. sm, function ()
				local phone = new_phone({ sm = sm; resource = "phone" });
				leave_unacknowledged(phone);
				phones.login(phone, { resource = "phone" });
				phone.stream:cut();
				assert.same({}, pushed(phone));
			end);
		end

		it("leaves one to a device whose place another client takes", function ()
			local username = devices.new_user(server);
			companion.plan(server, username, { client_id = "phone" });
			local phone = new_phone({ jid = username; resource = "x" });
			leave_unacknowledged(phone);
			companion.plan(server, username, { client_id = "other" });
			client.connect(server, username, { resource = "x" });
			phone.stream:cut();
			assert.same({ important }, pushed(phone));
		end);

		it("is one push if it has hibernated before", function ()
			local phone = new_phone();
			leave_unacknowledged(phone);
			phone:cut();
			assert.same({ important }, pushed(phone));
			phones.expire(phone);
			assert.same({ important }, pushed(phone));
		end);

		it("pushes nobody else when it has hibernated before", function ()
			local phone = new_phone();
			local tablet = phones.new(push, { jid = phone.jid });
			leave_unacknowledged(phone);
			phones.acknowledge(tablet);
			tablet:send(st.presence({ type = "unavailable" }));
			tablet:close();
			phone:cut();
			phones.expire(phone);
			assert.same({}, pushed(tablet));
			assert.equal(important, pushed(phone)[1]);
		end);

		it("is one push if a resume ends it", function ()
			local phone = new_phone();
			leave_unacknowledged(phone);
			phone:cut();
			assert.same({ important }, pushed(phone));
			phone.handled = 1000;
			pcall(phone.resume, phone);
			phone.stream:cut();
			if server:session(phone.full_jid) then close_on_server(phone, "reset"); end
			assert.same({ important }, pushed(phone));
		end);

		it("counts as gone while it is being closed", function ()
			local phone = new_phone();
			phone.stream.finished = true;
			close_on_server(phone);
			rosa:message({ to = phone.jid; body = "Hello" });
			assert.same({ important }, pushed(phone));
			assert.truthy(server:session(phone.full_jid));
			phone.stream:cut();
			expect_gone(phone);
			assert.same({ important }, pushed(phone));
		end);

		it("changes nothing in what becomes of the message", function ()
			local phone = new_phone({ sm = "noresume" });
			local id = leave_unacknowledged(phone);
			phone:cut();
			assert.same({ important }, pushed(phone));
			assert.same({}, phones.stored_messages(phone));
			for _, stanza in ipairs(rosa.received) do
				assert.not_equal(id, stanza.attr.id);
			end
		end);

		it("leaves unimportant pushes to rule (c)", function ()
			local phone = phones.new(push, { sm = "noresume" });
			phone.withhold_acks = true;
			leave_unacknowledged(phone, { payloads.displayed() });
			phone:cut();
			assert.same({ unimportant }, pushed(phone));
		end);
	end);

	describe("a server that stops, with Prosody " .. version, function ()
		local server, push, rosa;

		before_each(function ()
			server = prosody.start({ version = version; options = { push_retry_min = 0.1; push_retry_max = 1 } });
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		for _, sm in ipairs({ "resume"; "noresume" }) do
			it("owes a push for what is not acknowledged, with sm = " .. sm, function ()
				local phone = phones.new(push, { sm = sm });
				phone:iq(st.iq({ type = "set"; id = new_id() }):tag("query", { xmlns = "urn:xmpp:mam:2" }));
				phones.acknowledge(phone);
				phone.withhold_acks = true;
				rosa:message({ to = phone.jid; body = "Hello" });
				phone:expect({ body = "Hello" });
				assert.same({}, phones.pushed(phone, rosa));
				push:disconnect();
				server:restart();
				push:reconnect();
				assert.same({ important }, phones.await(phone, 1));
			end);

			it("pushes once for what is not acknowledged, with sm = " .. sm, function ()
				local phone = phones.new(push, { sm = sm });
				phone.withhold_acks = true;
				rosa:message({ to = phone.jid; body = "Hello" });
				phone:expect({ body = "Hello" });
				assert.same({}, phones.pushed(phone, rosa));
				server:stop({ keep = true });
				loop.settle(0.1);
				assert.same({}, phones.pushed(phone));
				server:restart();
				push:reconnect();
				assert.same({ important }, phones.await(phone, 1));
				assert.same({ important }, phones.pushed_within(phone, 0.5));
			end);
		end
	end);
end
