-- A suspended registration has no sessions, also where another module attaches one, as
-- mod_snikket_ios_preserve_push does.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local refuses = push_service.error("cancel", "forbidden");
local own_timeout = 600; -- mod_smacks's

local function describe_all(version, when)
	local server, push, rosa;

	before_each(function ()
		server = prosody.start({
			version = version;
			modules = { "spec_companion" };
			options = { push_max_errors = 1 };
		});
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	after_each(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function text(phone)
		rosa:message({ to = phone.jid; body = "Hello" });
		rosa:ping();
	end

	local function suspension(phone)
		return devices.stored(server, phone.jid)[phone.identifier].suspended;
	end

	local function suspended()
		local phone = phones.away(push, { resource = "phone" });
		push.answer = refuses;
		assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
		push.answer = push_service.result;
		push:clear();
		assert.truthy(suspension(phone));
		return phone;
	end

	-- Another session of it, which the other module attaches.
	local function attached(phone)
		companion.plan(server, phone.jid, { attach = when; identifier = phone.identifier });
		local session = phones.login(phone);
		assert.equal(phone.identifier, devices.attached(session).identifier);
		phones.acknowledge(session);
		return session;
	end

	local function timeout(session)
		return server:eval([[return prosody.full_sessions[...].hibernating_watchdog.timeout;]], session.full_jid);
	end

	local function waiting()
		return inspect.waiting(server);
	end

	local function has_trial_now(phone)
		server:eval([[
			local user, identifier = ...;
			local store = module("home.test", "cloud_notify"):open_store();
			local records = store:get(user);
			records[identifier].suspended["until"] = os.time() - 1;
			assert(store:set(user, records));
		]], phone.username, phone.identifier);
		inspect.eval(server, [[
			local user, identifier = ...;
			upvalue("read_records")(user);
			upvalue("arm")(upvalue("engine"):suspend(user, identifier, 0));
		]], phone.username, phone.identifier);
	end

	it("it hibernates as long as any other", function ()
		local session = attached(suspended());
		session:cut();
		assert.equal(own_timeout, timeout(session));
	end);

	it("it does not end what waits for the trial", function ()
		local phone = suspended();
		text(phone);
		assert.equal(1, waiting());
		local session = attached(phone);
		assert.equal(1, waiting());
		session:cut();
		assert.equal(session, session:resume());
		assert.equal(1, waiting());
		assert.same({}, push.received);
	end);

	it("what comes while it hibernates has a trial when that is due, and then the session is attached", function ()
		local phone = suspended();
		local session = attached(phone);
		session:cut();
		has_trial_now(phone);
		push:wait(1);
		push:ping();
		assert.is_nil(suspension(phone));
		assert.equal(phone.identifier, devices.attached(session).identifier);
		assert.is_nil(devices.attached(session).settings.suspended);
		push:clear();
		text(phone);
		assert.same({ phones.important }, phones.await(phone, 1));
	end);

	it("a message that comes while it hibernates waits for the trial", function ()
		local phone = suspended();
		-- As after a crash
		inspect.eval(server, [[upvalue("engine"):forget(...);]], phone.username, phone.identifier);
		local session = attached(phone);
		session:cut();
		assert.equal(0, waiting());
		text(phone);
		assert.equal(1, waiting());
		has_trial_now(phone);
		assert.same({ phones.important }, phones.await(phone, 1));
	end);

	it("there is no trial while it is online, and none of it remains attached by that", function ()
		local phone = suspended();
		local session = phones.login(phone, { resource = "phone" });
		assert.same({}, devices.attached(session));
		has_trial_now(phone);
		loop.wait_for(function () return waiting() == 0; end, nil, "the trial to be put off");
		assert.same({}, push.received);
		assert.same({}, devices.attached(session));
		session:cut();
		assert.equal(own_timeout, timeout(session));
		text(phone);
		assert.same({ phones.important }, phones.await(phone, 1));
		push:ping();
		assert.is_nil(suspension(phone));
		assert.equal(phone.identifier, devices.attached(session).identifier);
	end);
end

for _, version in ipairs(prosody.all_versions) do
	for _, when in ipairs({ "before"; "after" }) do
		describe(("a session that is attached to a suspended registration %s this module with Prosody %s:")
			:format(when, version), function ()
			describe_all(version, when);
		end);
	end
end
