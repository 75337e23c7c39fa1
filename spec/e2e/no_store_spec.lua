-- A store that is not there: one that cannot be opened, and one that keeps nothing on purpose.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local function describe_all(version)
	local server, push, rosa;

	after_each(function ()
		prosody.stop_all();
	end);

	local function start(options)
		server = prosody.start({ version = version; options = options });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end

	local function assert_no_push_and_no_harm()
		local anna = client.connect(server, devices.new_user(server), { sm = "resume" });
		for _ = 1, 2 do
			for _, reply in ipairs({
				anna:enable_push({ jid = "push.test"; node = "n1" });
				not server.keeps_nothing and anna:disable_push({ jid = "push.test"; node = "n1" }) or nil;
			}) do
				assert.equal("error", reply.attr.type);
				local error_type, condition, text = reply:get_error();
				assert.same({ "wait"; "internal-server-error" }, { error_type; condition });
				assert.truthy(text);
			end
		end
		assert.same({}, devices.attached(anna));
		for _, end_session in ipairs({ "cut"; "close" }) do
			rosa:message({ to = anna.jid; body = "Hello" });
			anna:expect({ name = "message"; body = "Hello" });
			anna[end_session](anna);
			rosa:message({ to = anna.jid; body = "Are you there?" });
			rosa:ping();
			anna = client.connect(server, anna.jid);
		end
		rosa:message({ to = anna.jid; body = "Hello" });
		anna:expect({ name = "message"; body = "Hello" });
		server:delete_user(anna.username, "home.test");
		push:ping();
		assert.same({}, push.received);
	end

	for _, how in ipairs({ "error"; "raise" }) do
		local function faulty(failing)
			for key in pairs(failing) do failing[key] = how; end
			return { storage = { cloud_notify = "faulty"; cloud_notify_owed = "faulty" }; spec_failing = failing };
		end

		it(("that cannot be opened (%s) cannot be read, and the log says once what to do"):format(how), function ()
			start(faulty({ open = true }));
			local errors = inspect.logged(server, "error");
			assert.equal(1, #errors, table.concat(errors, "\n"));
			assert.truthy(errors[1]:find("storage", 1, true));
			assert.truthy(errors[1]:find("restart", 1, true));
			assert_no_push_and_no_harm();
			prosody.stop_all();
			assert.equal(1, #inspect.logged(server, "error"));
			if how == "error" then assert.same({}, server:faults()); end
		end);

		it(("that cannot be opened (%s) for what is owed takes no registration and no push"):format(how), function ()
			start(faulty({ ["cloud_notify_owed/open"] = true }));
			local errors = inspect.logged(server, "error");
			assert.equal(1, #errors, table.concat(errors, "\n"));
			assert.truthy(errors[1]:find("storage", 1, true));
			local phone = phones.away(push);
			assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
			prosody.stop_all();
			assert.equal(1, #inspect.logged(server, "error"));
		end);
	end

	it("whose driver is missing is one that cannot be read", function ()
		start({ storage = { cloud_notify = "missing"; cloud_notify_owed = "missing" } });
		assert_no_push_and_no_harm();
		for _, line in ipairs(inspect.logged(server, "error")) do
			assert.truthy(line:find("check the storage of this host", 1, true), line);
		end
	end);

	it("that keeps nothing on purpose is no error when the server starts and stops", function ()
		for _, storage in ipairs({ "none"; { cloud_notify = "none"; cloud_notify_owed = "none" } }) do
			server = prosody.start({ version = version; options = { storage = storage } });
			server:stop({ keep = true });
			assert.same({}, inspect.logged(server, "error"));
			local warnings = inspect.logged(server, "warn");
			assert.equal(1, #warnings, table.concat(warnings, "\n"));
			assert.truthy(warnings[1]:find("keeps nothing", 1, true));
		end
	end);

	it("that keeps nothing on purpose keeps no registration, and says so", function ()
		start({ storage = { cloud_notify = "none"; cloud_notify_owed = "none" } });
		server.keeps_nothing = true;
		assert_no_push_and_no_harm();
		local errors = inspect.logged(server, "error");
		assert.equal(1, #errors, table.concat(errors, "\n"));
		assert.truthy(errors[1]:find("cannot be written", 1, true));
		prosody.stop_all();
		assert.same({}, server:faults());
	end);
end

for _, version in ipairs(prosody.versions) do
	describe(("a store with Prosody %s"):format(version), function ()
		describe_all(version);
	end);
end
