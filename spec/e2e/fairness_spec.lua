-- One device must not stop a push service for the others: whatever it says of some devices, or to some
-- users, a push to any other one leaves at once. At once is: it has left when the server has handled the
-- message that it is for, so that nothing else can have let it out.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local push_service = require "spec.support.push_service";

local others = 10;
local rounds = 2;

-- What the push service does with the pushes to bad devices. Of itself it speaks where it says so to several users.
local kinds = {
	["says of them: bad-request, wait"] = { answer = push_service.error("wait", "bad-request") };
	["says of them: recipient-unavailable"] = { answer = push_service.error("wait", "recipient-unavailable") };
	["says of them: resource-constraint"] = { answer = push_service.error("wait", "resource-constraint") };
	["says of itself: internal-server-error"] = {
		answer = push_service.error("wait", "internal-server-error"); is_out = function (users) return users >= 5; end;
	};
	["does not answer"] = {
		answer = push_service.never; is_out = function (_, count) return count >= 5; end; answer_timeout = 1;
	};
};

local crowds = { { 1, 1 }; { 1, 5 }; { 5, 1 }; { 1, 100 }; { 100, 1 } }; -- users, devices of each

-- Delivery and pace have their defaults: what others can do with them is what matters.
local function options_for(kind)
	return { push_answer_timeout = kind and kind.answer_timeout; push_max_devices = 200 };
end

local function describe_all(version)
	local server, push, rosa, good;
	local names = 0;

	setup(function ()
		server = prosody.start({ version = version; options = options_for(nil) });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- Users who are not there, with their devices' records in the store. Each is { jid, nodes }.
	local function new_users(count, devices_each, prefix)
		names = names + 1;
		return server:eval([[
			local count, devices, prefix = ...;
			local create_user = require "core.usermanager".create_user;
			local store = require "core.storagemanager".open("home.test", "cloud_notify");
			local users = {};
			for i = 1, count do
				local name, records, nodes = ("%s-%d"):format(prefix, i), {}, {};
				for j = 1, devices do
					local node = ("%s-%d"):format(name, j);
					nodes[j] = node;
					records["push.test<" .. node] = {
						jid = "push.test"; node = node; timestamp = os.time(); sequence = j; resource = node;
					};
				end
				assert(create_user(name, "secret", "home.test"));
				assert(store:set(name, records));
				users[i] = { jid = name .. "@home.test"; nodes = nodes };
			end
			return users;
		]], count, devices_each, prefix .. names);
	end

	-- Something for each user. When this returns, whatever left at once has arrived. Nothing of this is a sign of
	-- life of the push service.
	local function send_all(users, what)
		for _, user in ipairs(users) do
			rosa:message({ to = user.jid; body = what == "text" and "Wake up" or nil;
				what == "call" and payloads.propose() or nil });
		end
		rosa:ping();
		push:ping("somebody@push.test");
	end

	local function pushes_by_node()
		local pushes = {};
		for _, publish in ipairs(push.received) do pushes[publish.node] = (pushes[publish.node] or 0) + 1; end
		return pushes;
	end

	local function assert_all_pushed(users, count)
		local pushes = pushes_by_node();
		for _, user in ipairs(users) do
			for _, node in ipairs(user.nodes) do assert.equal(count, pushes[node], node); end
		end
	end

	-- They may have been tried again since.
	local function assert_all_tried(users)
		local pushes = pushes_by_node();
		for _, user in ipairs(users) do
			for _, node in ipairs(user.nodes) do assert.truthy(pushes[node], node); end
		end
	end

	-- What they are owed may have come besides.
	local function assert_all_rung(users)
		local rung = {};
		for _, publish in ipairs(push.received) do
			if publish.form["last-message-body"] then rung[publish.node] = true; end
		end
		for _, user in ipairs(users) do
			for _, node in ipairs(user.nodes) do assert.is_true(rung[node], node); end
		end
	end

	local function engine(method)
		return inspect.engine(server, method);
	end

	-- Nothing is known of anybody.
	local function forget_all()
		inspect.begin_again(server);
		push:clear();
		push.answer = push_service.result;
	end

	before_each(function ()
		forget_all();
		good = new_users(others, 1, "good");
	end);

	for name, kind in pairs(kinds) do
		for _, crowd in ipairs(crowds) do
			local users, devices_each = crowd[1], crowd[2];

			it(("where a push service %s, %d of each of %d users"):format(name, devices_each, users), function ()
				server:reconfigure({ options = options_for(kind) });
				local bad = new_users(users, devices_each, "bad");
				local is_bad = {};
				for _, user in ipairs(bad) do
					for _, node in ipairs(user.nodes) do is_bad[node] = true; end
				end
				push.answer = function (publish, service)
					(is_bad[publish.node] and kind.answer or push_service.result)(publish, service);
				end;
				send_all(bad, "text");
				assert_all_tried(bad);
				-- What they are owed is all that the module waits for.
				loop.wait_for(function ()
					return engine("in_flight") == 0 and engine("waiting") == users * devices_each;
				end, nil, "all bad devices to be owed a push");
				local is_out = kind.is_out and kind.is_out(users, users * devices_each);
				assert.same(is_out and { "push.test" } or {}, engine("out"));
				for round = 1, rounds do
					push:clear();
					send_all(good, "text");
					assert_all_pushed(good, 1);
					send_all(bad, "text");
					push:clear();
					send_all(good, "text");
					send_all(good, "call");
					assert_all_pushed(good, 2);
					-- A call leaves at once even for those who have failed.
					push:clear();
					send_all(bad, "call");
					assert_all_rung(bad);
					if round == 1 then
						-- Somebody whom nothing is known of, and one more device of those who have bad ones.
						local newcomer = new_users(1, 1, "newcomer");
						push:clear();
						send_all(newcomer, "text");
						assert_all_pushed(newcomer, 1);
					end
				end
			end);
		end
	end

	it("nor do the bad devices of a user stop that user's good one", function ()
		local mixed = new_users(10, 6, "mixed");
		local goods = {};
		for i, user in ipairs(mixed) do goods[i] = { jid = user.jid; nodes = { user.nodes[6] } }; end
		local is_good = {};
		for _, user in ipairs(goods) do is_good[user.nodes[1]] = true; end
		for name, kind in pairs(kinds) do
			server:reconfigure({ options = options_for(kind) });
			push.answer = function (publish, service)
				(is_good[publish.node] and push_service.result or kind.answer)(publish, service);
			end;
			for _, what in ipairs({ "text"; "text"; "call"; "text" }) do
				push:clear();
				send_all(mixed, what);
				assert.equal(1, pushes_by_node()[goods[1].nodes[1]], name);
				assert_all_pushed(goods, 1);
			end
			inspect.wait_all_answered(server);
			forget_all();
		end
	end);

	it("nor does a device that failed before and works again wait for those that fail", function ()
		local bad, first = new_users(20, 5, "bad"), good[1];
		push.answer = push_service.error("wait", "internal-server-error");
		send_all(bad, "text");
		send_all({ first }, "text");
		assert.same({ "push.test" }, engine("out"));
		push.answer = function (publish, service)
			local answer = publish.node:find("^bad") and push_service.error("wait", "internal-server-error");
			(answer or push_service.result)(publish, service);
		end;
		push:clear();
		-- It has failed, so it waits as they do; but it is the first to have a turn after a call.
		send_all({ first }, "call");
		assert_all_pushed({ first }, 1);
		inspect.wait_all_answered(server);
		push:clear();
		for i = 1, rounds do
			send_all({ first }, "text");
			assert_all_pushed({ first }, i);
		end
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("no device waits for others, with Prosody " .. version .. ",", function ()
		describe_all(version);
	end);
end
