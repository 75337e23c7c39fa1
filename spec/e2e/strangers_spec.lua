-- What is kept in memory of users and addresses, and what strangers can do about it.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local more_than_cached = 10500;

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({ version = version; options = {
			storage = { cloud_notify = "faulty" }; push_cache_age = 3600; push_max_per_minute = 0;
		} });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function set_failing(how)
		server:eval([[module("home.test", "storage_faulty"):shared("failing").get = ...;]], how);
	end

	-- The nodes of those that a message wakes though the store cannot be read.
	local function woken_from_memory(jid)
		set_failing("error");
		local nodes = devices.woken(push, rosa, jid);
		set_failing(nil);
		return nodes;
	end

	-- Has messages come from somewhere for many users, each with the name that the pattern makes of a number.
	local function flood(event, pattern, count)
		server:eval([[
			local event, pattern, count = ...;
			local origin = { type = "s2sin"; send = function () end };
			for i = 1, count do
				local account = pattern:format(i) .. "@home.test";
				local stanza = st.message({ from = "push.test", to = account, type = event:match("groupchat") })
					:tag("pubsub", { xmlns = "http://jabber.org/protocol/pubsub", node = "n1" })
						:tag("affiliation", { jid = account, affiliation = "none" }):up():up();
				hosts["home.test"].events.fire_event(event, { origin = origin, stanza = stanza });
			end
		]], event, pattern, count);
	end

	local function size(name)
		return inspect.eval(server, [[
			local count = 0;
			for _ in pairs((upvalue(...))) do count = count + 1; end
			return count;
		]], name);
	end

	local function cached()
		return inspect.eval(server, [[return upvalue("accounts"):count();]]);
	end

	for _, event in ipairs({ "message/bare", "message/bare/groupchat" }) do
		it("nobody's name is kept, so nobody's registrations are let go of for it: " .. event, function ()
			local phone = phones.away(push);
			local before = { size("without"); size("fresh"); cached() };
			flood(event, "nobody%d", more_than_cached);
			assert.same(before, { size("without"); size("fresh"); cached() });
			assert.same({ phone.node }, woken_from_memory(phone.jid));
		end);
	end

	it("users without registrations take no room of those who have some", function ()
		local phone = phones.away(push);
		inspect.eval(server, [[
			local remember = upvalue("remember");
			for i = 1, ... do remember("user without " .. i, {}); end
		]], more_than_cached);
		assert.is_true(size("without") <= 10000);
		assert.same({ phone.node }, woken_from_memory(phone.jid));
	end);

	it("users without registrations are known to have none", function ()
		local jid = devices.new_user(server);
		assert.same({}, devices.woken(push, rosa, jid));
		local mark = server:log_mark();
		assert.same({}, woken_from_memory(jid));
		assert.same({}, inspect.logged(server, "error", mark));
	end);

	it("long addresses are not kept", function ()
		local function archive(first, count)
			server:eval([[
				local user, first, count = ...;
				for i = first, first + count - 1 do
					local to = ("%d@%s.test/%s"):format(i, ("d"):rep(60), ("r"):rep(1000));
					hosts["home.test"].events.fire_event("archive-message-added", {
						origin = hosts["home.test"]; for_user = user; id = "a" .. i;
						stanza = st.message({ from = user .. "@home.test", to = to, type = "chat" }, "Hello");
					});
				end
			]], rosa.username, first, count);
		end
		archive(1, 10);
		local heap = server:heap();
		archive(11, 9000);
		assert.is_true(server:heap() - heap < 512);
	end);

	describe("registrations that take much room", function ()
		local big = { secret = ("s"):rep(10000) };

		local function limit(name, bytes)
			return inspect.eval(server, [[
				local name, bytes = ...;
				local before, set = upvalue(name);
				set(bytes);
				return before;
			]], name, bytes);
		end

		local function new_phone(options)
			local phone = client.connect(server, devices.new_user(server));
			phone.node = "node of " .. phone.username;
			devices.enable(phone, { jid = "push.test"; node = phone.node; options = options });
			phone:close();
			return phone;
		end

		it("are let go of, the oldest first", function ()
			local before = limit("max_cached_bytes", 100000);
			local all = {};
			for i = 1, 20 do all[i] = new_phone(big); end
			assert.is_true(inspect.eval(server, [[return (upvalue("total_size"));]]) <= 100000);
			assert.is_true(cached() > 5 and cached() < 10);
			assert.same({}, woken_from_memory(all[1].jid));
			assert.same({ all[20].node }, woken_from_memory(all[20].jid));
			for _, phone in ipairs(all) do
				assert.same({ phone.node }, devices.woken(push, rosa, phone.jid));
			end
			assert.is_true(inspect.eval(server, [[return (upvalue("total_size"));]]) <= 100000);
			for _, phone in ipairs(all) do server:delete_user(phone.username, "home.test"); end
			limit("max_cached_bytes", before);
		end);

		it("of one user are not kept at all, if they take the room of many", function ()
			local small, large = new_phone(), new_phone(big);
			local before = limit("max_user_bytes", 5000);
			for _, phone in ipairs({ small; large }) do -- Their registrations are read again
				client.connect(server, phone.jid):close();
			end
			assert.same({ large.node }, devices.woken(push, rosa, large.jid));
			assert.same({}, woken_from_memory(large.jid));
			assert.same({ small.node }, woken_from_memory(small.jid));
			limit("max_user_bytes", before);
		end);

		it("are counted as often as they are kept", function ()
			for _, phone in ipairs({ new_phone(), new_phone(big) }) do
				server:delete_user(phone.username, "home.test");
			end
			assert.is_true(inspect.eval(server, [[
				local accounts, size_of, total = upvalue("accounts"), upvalue("size_of"), 0;
				for user, records in accounts:items() do total = total + size_of(user) + size_of(records, 16); end
				return total == upvalue("total_size");
			]]));
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe(("strangers and memory with Prosody %s:"):format(version), function ()
		describe_all(version);
	end);
end
