-- What a newer version has stored: it is read as far as this one knows it, and written back with all that it does not.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

-- A new one each time: stores take no table twice.
local function later()
	return { ["a/b"] = { true; { 1.5 } }; text = "\195\164" };
end

local function describe_all(version)
	local server, push;

	local function store_set(store, user, data)
		server:eval([[
			local store, user, data = ...;
			assert(require "core.storagemanager".open("home.test", store):set(user, data));
		]], store, user, data);
	end

	local function store_get(store, user)
		return server:store_get("home.test", store, user);
	end

	before_each(function ()
		server = prosody.start({ version = version; modules = { "admin_shell" }; options = {
			push_max_devices = 2; push_max_errors = 1; push_retry_min = 600; push_retry_max = 1200;
		} });
		push = push_service.connect(server, "push.test", "secret");
	end);

	after_each(function ()
		assert.same({}, server:faults());
		prosody.stop_all();
	end);

	local function new_user()
		local jid = devices.new_user(server);
		return jid, jid:match("^[^@]+");
	end

	describe("registrations", function ()
		-- The oldest ones, those of the client that enables another
		local function newer(more)
			local record = { protocol = "push9"; timestamp = 1; resource = "phone"; client_id = "id"; later = later() };
			for field, value in pairs(more or {}) do record[field] = value; end
			return record;
		end

		it("keep their fields when others are written, when they are suspended, and in force again", function ()
			local jid, user = new_user();
			local record = { jid = "push.test"; node = "n1"; timestamp = 1000; resource = "pc"; later = later(); version = 2 };
			record.suspended = { since = os.time() - 100; trials = 1; ["until"] = 1001; condition = "gone"; later = later() };
			store_set("cloud_notify", user, { ["push.test<n1"] = record });
			local phone = client.connect(server, jid, { resource = "phone" });
			devices.enable(phone, { jid = "push.test"; node = "n2" });
			assert.same(record, store_get("cloud_notify", user)["push.test<n1"]);

			phone:close();
			local sender = client.connect(server, (new_user()));
			push.answer = function (publish)
				local answer = publish.node == "n1" and push_service.error("cancel", "forbidden") or push_service.result;
				return answer(publish, push);
			end
			local function after_trial(condition)
				sender:message({ to = jid; body = "Hello" });
				return loop.wait_for(function ()
					local now = store_get("cloud_notify", user)["push.test<n1"];
					return (now.suspended or {}).condition == condition and now;
				end, nil, "the end of the trial");
			end
			local suspended = after_trial("forbidden").suspended;
			assert.equal(2, suspended.trials);
			assert.same(later(), suspended.later);

			record.suspended = suspended;
			suspended["until"] = 1001;
			store_set("cloud_notify", user, { ["push.test<n1"] = record });
			inspect.begin_again(server);
			push.answer = push_service.result;
			record.suspended = nil;
			assert.same(record, after_trial(nil));
		end);

		it("of protocols that are not known here make no room, are not pruned, and are nobody's", function ()
			local jid, user = new_user();
			local records = {
				["push9 one"] = newer(); ["push9 two"] = newer({ jid = "push.test"; node = "n9" });
				["push10 one"] = newer({ protocol = "push10" });
				["push.test<n1"] = { jid = "push.test"; node = "n1"; timestamp = 1000; resource = "pc" };
				["push.test<n2"] = { jid = "push.test"; node = "n2"; timestamp = 1001; resource = "pc" };
			};
			store_set("cloud_notify", user, records);
			local phone = client.connect(server, jid, { resource = "phone" });
			assert.is_nil(devices.attached(phone).identifier);
			devices.enable(phone, { jid = "push.test"; node = "n3" });
			assert.same({ "push.test<n2"; "push.test<n3"; "push10 one"; "push9 one"; "push9 two" },
				devices.identifiers(server, jid));
			phone:close();
			local sender = client.connect(server, (new_user()));
			assert.same({ "n2"; "n3" }, devices.woken(push, sender, jid));
			local explained = server:shell("push", "explain", jid):gsub("%s+", " ");
			local _, unknown = explained:gsub("now: nothing, only a newer version of this module knows its protocol", "");
			assert.equal(3, unknown, explained);

			local pruned = inspect.eval(server, [[
				return #assert(upvalue("administration").prune(1, true));
			]]);
			assert.equal(1, pruned);
			local stored = store_get("cloud_notify", user);
			assert.is_nil(stored["push.test<n2"]);
			for _, identifier in ipairs({ "push9 one"; "push9 two"; "push10 one" }) do
				assert.same(records[identifier], stored[identifier]);
			end
		end);

		it("of Push 2.0 keep what they have, too", function ()
			local jid, user = new_user();
			local function matches()
				return { { match = "urn:example:later"; send = "urn:example:later"; later = later() } };
			end
			local records = {
				one = { service = "push.test"; client = "c1"; timestamp = 2; matches = matches(); later = later() };
				two = newer({ service = "push.test"; client = "c2"; timestamp = 1; matches = matches() });
				three = {
					service = "push.test"; client = "c3"; resource = "pc"; timestamp = 3; matches = matches(); jid = 1; node = later();
				};
			};
			store_set("push2_registrations", user, records);
			local phone = client.connect(server, jid, { resource = "phone" });
			local reply = phone:iq(st.iq({ type = "set"; id = "e1" }):tag("enable", { xmlns = "urn:xmpp:push2:0" })
				:text_tag("service", "push.test"):text_tag("client", "c4")
				:tag("match", { profile = "urn:xmpp:push2:match:all" })
				:tag("send", { xmlns = "urn:xmpp:push2:send:notify-only:0" }));
			assert.equal("result", reply.attr.type);
			local stored = store_get("push2_registrations", user);
			assert.equal("c4", stored.phone.client);
			assert.is_nil(stored.one); -- the oldest that is known
			assert.same(records.two, stored.two);
			assert.same(records.three, stored.three);
		end);
	end);

	it("the history keeps what it has, with what happens from then on", function ()
		local jid, user = new_user();
		local entries = { "1000\tenabled\tclient\tn1\tpush.test\tpc\t\tlater\tmore"; { at = 1001; later = later() } };
		local last_seen = { n1 = 1000; n2 = { at = 1000; later = later() } };
		store_set("cloud_notify_history", user, { entries = entries; last_seen = last_seen; later = later(); version = 2 });
		local phone = client.connect(server, jid, { resource = "phone" });
		devices.enable(phone, { jid = "push.test"; node = "n3" });
		phone:close();
		client.connect(server, jid, { resource = "phone" }):close(); -- is seen
		local stored = store_get("cloud_notify_history", user);
		assert.equal(entries[1], stored.entries[1]);
		assert.same(entries[2], stored.entries[2]);
		assert.truthy(stored.entries[3]:find("enabled", 1, true));
		assert.equal(1000, stored.last_seen.n1);
		assert.same(last_seen.n2, stored.last_seen.n2);
		assert.same(later(), stored.later);
		assert.equal(2, stored.version);
		local shown = inspect.eval(server, [[return #upvalue("history").read(...);]], user);
		assert.equal(2, shown);
	end);

	it("what is owed is owed with all there is of it, also for what is not known here", function ()
		local _, user = new_user();
		local _, other = new_user();
		store_set("cloud_notify", user, {
			["away.test<n1"] = { jid = "away.test"; node = "n1"; timestamp = 1000 };
			["push.test<n2"] = { jid = "push.test"; node = "n2"; timestamp = 1000 };
			["push.test<n9"] = { jid = "push.test"; node = "n9"; timestamp = 1000; protocol = "push9" };
		});
		local function owed(of, identifier, service, due_in)
			return {
				user = of; identifier = identifier; service = service; important = true; age = 5;
				due_in = due_in or 0; failures = 1;
				failing_for = 10; suspended = false; later = later();
			};
		end
		server:unload_module("cloud_notify", "home.test");
		store_set("cloud_notify_owed", nil, {
			saved = os.time(); later = later(); version = 2;
			devices = {
				owed(user, "away.test<n1", "away.test", 600); owed(user, "push.test<n2", "push.test"); owed(user, "push.test<n9");
				owed(other, "push9 one", "push.test");
				owed(other, "push.test/a b<n1", "push.test/a b"); -- of a registration that is gone
			};
			services = { { jid = "away.test"; failures = 7; age = 10; later = later() } };
		});
		server:load_module("cloud_notify", "home.test");
		push:wait(1);
		inspect.wait_all_answered(server);
		assert.equal("n2", push.received[1].node);
		-- Each has had its turn
		loop.wait_for(function ()
			local due = {};
			for _, device in ipairs(inspect.engine(server, "owed").devices) do due[device.identifier] = device.due_in; end
			return (due["push.test<n9"] or 0) > 0 and (due["push9 one"] or 0) > 0 and not due["push.test/a b<n1"];
		end, nil, "the turns of all");

		server:reload_module("cloud_notify", "home.test");
		server:unload_module("cloud_notify", "home.test");
		local stored = store_get("cloud_notify_owed");
		assert.same(later(), stored.later);
		assert.equal(2, stored.version);
		assert.same(later(), stored.services[1].later);
		local found = {};
		for _, device in ipairs(stored.devices) do
			assert.same(later(), device.later);
			found[#found + 1] = device.user .. " " .. device.identifier;
		end
		table.sort(found);
		local expected = { user .. " away.test<n1"; user .. " push.test<n9"; other .. " push9 one" };
		table.sort(expected);
		assert.same(expected, found);
		assert.equal(1, #push.received);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("what a newer version has stored, with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
