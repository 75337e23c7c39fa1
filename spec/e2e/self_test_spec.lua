-- What the module says of the server that it finds itself in.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local elsewhere = "push.elsewhere.test";

local function wait_tested(server)
	loop.wait_for(function ()
		return not inspect.eval(server, [[return (upvalue("is_due"));]]);
	end, nil, "the self test");
end

local function warnings(server, mark)
	wait_tested(server);
	return inspect.logged(server, "warn", mark);
end

local function assert_says(server, wanted, mark)
	local lines = warnings(server, mark);
	assert.equal(1, #lines, table.concat(lines, "\n"));
	for _, text in ipairs(type(wanted) == "table" and wanted or { wanted }) do
		assert.truthy(lines[1]:find(text, 1, true), lines[1]);
	end
	assert.truthy(lines[1]:find(" -- ", 1, true), lines[1]); -- what to do
end

local function assert_says_nothing(server, mark)
	assert.same({}, warnings(server, mark));
end

local function found(server, mark)
	wait_tested(server);
	local lines = {};
	for _, line in ipairs(inspect.logged(server, "info", mark)) do
		if line:find("Version ", 1, true) then lines[#lines + 1] = line; end
	end
	return lines;
end

-- What the shell shows of the module.
local function status(server)
	wait_tested(server);
	return server:eval([[
		local self = hosts["home.test"].modules.cloud_notify.module;
		return { self.status_type, self.status_message };
	]]);
end

local function describe_all(version)
	local server;

	local function start(options)
		options.version = version;
		server = prosody.start(options);
		return server;
	end

	after_each(function ()
		prosody.stop_all();
		if not server.has_faults then assert.same({}, server:faults()); end
	end);

	describe("at the start", function ()
		it("one line says what was found, and nothing is wrong", function ()
			start({ modules = { "csi_simple" } });
			assert_says_nothing(server);
			local lines = found(server);
			assert.equal(1, #lines);
			local prosody_version = server:eval([[return prosody.version;]]);
			assert.truthy(lines[1]:find(" with Prosody " .. prosody_version .. " and Lua 5.4; "
				.. "found: mod_smacks, mod_mam, mod_carbons, mod_csi, mod_offline; not loaded: none; "
				.. "registrations in storage 'internal'", 1, true), lines[1]);
			assert.equal("info", status(server)[1]);
			assert.truthy(lines[1]:find(status(server)[2], 1, true));
		end);

		it("the line says what is not there", function ()
			start({ without = { "carbons" }; options = { storage = { cloud_notify = "memory" } } });
			local lines = found(server);
			assert.truthy(lines[1]:find("found: mod_smacks, mod_mam, mod_offline; not loaded: mod_carbons, mod_csi; "
				.. "registrations in storage 'memory'", 1, true), lines[1]);
		end);

		for what, case in pairs({
			["mod_smacks is missing"] = { { without = { "smacks" } }; "mod_smacks is not loaded" };
			["mod_mam is missing"] = { { without = { "mam" } };
				{ "mod_mam is not loaded"; "; clients of Push 2.0 that want what is archived alone get no push at all -- " } };
			["mod_mam is missing, and Push 2.0 is not served"] = {
				{ without = { "mam" }; options = { push_protocols = { "push" } } };
				"cannot fetch what others have got -- ";
			};
			["the time that sessions hibernate is longer than with push"] = {
				{ options = { smacks_hibernation_time = 7200; push_max_hibernation_timeout = 3600 } };
				{ "smacks_hibernation_time (7200)"; "push_max_hibernation_timeout (3600)" };
			};
			["the usual time that sessions hibernate is longer than with push"] = {
				{ options = { push_max_hibernation_timeout = 599 } }; "smacks_hibernation_time (600)";
			};
			["the storage keeps nothing"] = { { options = { storage = "none" } }; "Storage 'none' keeps nothing" };
			["the store keeps nothing"] = { { options = { storage = { cloud_notify = "none" } } };
				"Storage 'none' keeps nothing" };
			["the store is in memory"] = { { options = { storage = { cloud_notify = "memory" } } };
				"Storage 'memory' forgets registrations" };
			["the store is in memory by default"] = { { options = { storage = {}; default_storage = "memory" } };
				"Storage 'memory' forgets registrations" };
			["another module takes registrations"] = { { modules = { "spec_twin" } }; "mod_spec_twin takes registrations" };
		}) do
			it("one line warns where " .. what, function ()
				start(case[1]);
				assert_says(server, case[2]);
				assert.equal(1, #found(server));
				local line = warnings(server)[1];
				local shown = status(server);
				assert.equal("warn", shown[1]);
				assert.truthy(shown[2]:find(line:match("\twarn\t(.*)$"), 1, true), shown[2]);
			end);
		end

		it("one line warns where the driver of the store is missing, so that nothing is kept", function ()
			start({ options = { storage = { cloud_notify = "missing" } } });
			server.has_faults = true; -- Prosody has said so
			assert_says(server, "Storage 'missing' keeps nothing");
		end);

		it("all that is wrong is said", function ()
			start({ without = { "smacks", "mam" }; modules = { "spec_twin" };
				options = { storage = { cloud_notify = "memory" }; push_max_hibernation_timeout = 60 } });
			assert.equal(4, #warnings(server), table.concat(warnings(server), "\n")); -- Without mod_smacks nothing hibernates
		end);

		it("nothing is said of a store that is known to be missing", function ()
			start({ options = { storage = { cloud_notify = "faulty" }; spec_failing = { open = "error" } } });
			assert_says_nothing(server);
		end);

		it("nothing is said of what is right", function ()
			start({ community = true;
				modules = { "cloud_notify_encrypted", "cloud_notify_filters", "cloud_notify_priority_tag", "unified_push" };
				options = { smacks_hibernation_time = 3600; push_max_hibernation_timeout = 3600;
					storage = { archive = "memory" }; unified_push_secret = "secret" } });
			assert_says_nothing(server);
		end);

		if version ~= "0.12" then
			for value, seconds in pairs({ ["2 hours"] = "7200", never = "inf" }) do
				it("the time that sessions hibernate may be a period: " .. value, function ()
					start({ options = { smacks_hibernation_time = value; push_max_hibernation_timeout = 7199 } });
					assert_says(server, ("smacks_hibernation_time (%s)"):format(seconds));
				end);
			end

			it("a period that is shorter is fine", function ()
				start({ options = { smacks_hibernation_time = "2 minutes"; push_max_hibernation_timeout = 120 } });
				assert_says_nothing(server);
			end);
		end
	end);

	describe("while the server runs", function ()
		it("a new configuration is tested, and what was said before is not said again", function ()
			start({ without = { "mam" } });
			assert_says(server, "mod_mam");
			local mark = server:log_mark();
			server:reconfigure();
			assert_says_nothing(server, mark);
			server:reconfigure({ options = { push_max_hibernation_timeout = 60 } });
			assert_says(server, "smacks_hibernation_time (600)", mark);
			mark = server:log_mark();
			server:reconfigure({ options = { push_max_hibernation_timeout = 90 } });
			assert_says(server, "push_max_hibernation_timeout (90)", mark);
			mark = server:log_mark();
			server:reconfigure({ options = {} });
			assert_says_nothing(server, mark);
			assert.same({}, found(server, mark));
			server:reconfigure({ options = { push_max_hibernation_timeout = 90 } });
			assert_says(server, "push_max_hibernation_timeout (90)", mark);
		end);

		it("modules that come and go are noticed, but no reload and no other module", function ()
			start({});
			local mark = server:log_mark();
			server:unload_module("mam", "home.test");
			assert_says(server, "mod_mam is not loaded", mark);
			assert.equal(1, #found(server, mark));
			server:load_module("mam", "home.test");
			wait_tested(server);
			assert.equal(2, #found(server, mark));
			assert.equal("info", status(server)[1]);
			mark = server:log_mark();
			server:reload_module("mam", "home.test");
			server:load_module("time", "home.test");
			assert_says_nothing(server, mark);
			assert.same({}, found(server, mark));
			server:load_module("spec_twin", "home.test");
			assert_says(server, "mod_spec_twin", mark);
		end);

		it("this module may be the last one that is loaded", function ()
			start({ without = { "cloud_notify", "mam" } });
			server:load_module("cloud_notify", "home.test");
			assert_says(server, "mod_mam");
			assert.equal(1, #found(server));
		end);
	end);

	describe("a push service on another server", function ()
		local anna, rosa;

		local function register()
			anna, rosa = client.connect(server, devices.new_user(server)), client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = elsewhere; node = "n1" });
		end

		it("cannot be reached where there are no others, which is said once when an app registers there", function ()
			start({});
			register();
			assert_says(server, { "Push service " .. elsewhere .. " is on another server"; "s2s" });
			devices.enable(rosa, { jid = "another." .. elsewhere; node = "n1" });
			devices.enable(rosa, { jid = elsewhere; node = "n2" });
			anna:close();
			rosa:message({ to = anna.jid; body = "Hello" });
			rosa:ping();
			assert.equal(1, #warnings(server));
		end);

		it("is noticed when it is used", function ()
			start({});
			register();
			anna:close();
			server:restart();
			rosa = client.connect(server, rosa.jid);
			local mark = server:log_mark();
			-- Nobody else's stanzas are pushes
			rosa:message({ to = "someone@" .. elsewhere; body = "Hello" });
			rosa:send(st.iq({ type = "set"; to = elsewhere; id = "p1" })
				:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub" }):tag("publish", { node = "n1" }));
			rosa:ping();
			assert_says_nothing(server, mark);
			for _ = 1, 2 do
				rosa:message({ to = anna.jid; body = "Hello" });
				rosa:ping();
				assert_says(server, "Push service " .. elsewhere .. " is on another server", mark);
			end
		end);

		it("is as good as any where there are connections to others, until they are taken away", function ()
			start({ s2s = true });
			register();
			assert_says_nothing(server);
			server:unload_module("s2s", "home.test");
			assert_says(server, "is on another server");
			local mark = server:log_mark();
			server:load_module("s2s", "home.test");
			assert_says_nothing(server, mark);
		end);

		for _, option in ipairs({ 'modules_disabled = { "s2s" }'; "disallow_s2s = true" }) do
			it("cannot be reached by a host that must not reach others: " .. option, function ()
				start({ s2s = true; config = 'VirtualHost "home.test"\n' .. option });
				register();
				assert_says(server, "is on another server");
			end);
		end

		it("may turn out to be a host that this server has not started yet", function ()
			start({});
			server:eval([[
				hosts["home.test"].modules.cloud_notify.module.lib "self_test".meet_service("late.test");
				require "core.hostmanager".activate("late.test", {});
			]]);
			assert_says_nothing(server);
		end);

		it("that is on this server needs none", function ()
			start({ config = 'VirtualHost "other.test"\nComponent "pubsub.test" "pubsub"' });
			anna = client.connect(server, devices.new_user(server));
			for _, jid in ipairs({ "other.test", "anna@other.test", "pubsub.test" }) do
				devices.enable(anna, { jid = jid; node = "n1" });
			end
			assert_says_nothing(server);
		end);
	end);

	describe("a push service behind a component", function ()
		local anna, rosa;

		-- Makes a minute pass when the test wants it to.
		local function hold_minutes()
			server:eval([[
				local self = hosts["home.test"].modules.cloud_notify.module;
				local add_timer = self.add_timer;
				prosody.spec_minutes = {};
				function self:add_timer(delay, handler, ...)
					if delay == 60 then table.insert(prosody.spec_minutes, handler); return; end
					return add_timer(self, delay, handler, ...);
				end
			]]);
		end

		local function pass_minute()
			wait_tested(server);
			return server:eval([[
				local minutes = prosody.spec_minutes;
				prosody.spec_minutes = {};
				for _, handler in ipairs(minutes) do handler(); end
				return #minutes;
			]]);
		end

		before_each(function ()
			start({ options = { push_cache_age = 3600 } });
			hold_minutes();
			anna, rosa = client.connect(server, devices.new_user(server)), client.connect(server, devices.new_user(server));
		end);

		local function enable()
			devices.enable(anna, { jid = "anna@push.test/app"; node = "n1" });
			wait_tested(server);
		end

		it("that has never connected is said once, a minute after an app has registered there", function ()
			enable();
			assert_says_nothing(server);
			assert.equal(1, pass_minute());
			assert_says(server, "Push service push.test is a component");
			enable();
			devices.enable(rosa, { jid = "push.test"; node = "n1" });
			assert.equal(0, pass_minute());
			server:reconfigure();
			assert.equal(1, #warnings(server));
		end);

		it("that has never connected is said a minute after the first push for it", function ()
			enable();
			anna:close();
			server:restart();
			hold_minutes();
			assert.equal(0, pass_minute());
			rosa = client.connect(server, rosa.jid);
			rosa:message({ to = anna.jid; body = "Hello" });
			rosa:ping();
			local mark = server:log_mark();
			assert.equal(1, pass_minute());
			assert_says(server, "Push service push.test is a component", mark);
		end);

		it("has time to connect", function ()
			enable();
			push_service.connect(server, "push.test", "secret");
			assert.equal(1, pass_minute());
			assert_says_nothing(server);
		end);

		it("that has connected before is one that fails", function ()
			local push = push_service.connect(server, "push.test", "secret");
			local phone = phones.away(push);
			push:disconnect();
			enable();
			rosa:message({ to = phone.jid; body = "Hello" });
			rosa:ping();
			assert.equal(0, pass_minute());
			assert_says_nothing(server);
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe(("the self test with Prosody %s"):format(version), function ()
		describe_all(version);
	end);
end
