-- Push 2.0: what administrators and users see of such registrations, and do with them.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local json = require "util.json";
local loop = require "spec.support.loop";
local new_id = require "util.id".short;
local phones = require "spec.support.phones";
local push2 = require "spec.support.push2";
local push2_service = require "spec.support.push2_service";
local st = require "util.stanza";

local xmlns_commands = "http://jabber.org/protocol/commands";
local day = 24 * 3600;

local function describe_all(version)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({
			version = version; own_clock = true;
			modules = { "admin_shell"; "adhoc" };
			config = [[
				VirtualHost "noarchive.test"
					modules_disabled = { "mam"; "s2s"; "s2s_auth_certs" }
			]];
			options = {
				push_coalesce_window = 0; push_max_errors = 3; push_max_failures = 0; push_retry_max = 3600; push_retry_min = 3600;
			};
			components = { ["gw.test"] = "secret" };
		});
		push = push2_service.connect(server, "gw.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	-- Each test begins with an engine that knows nothing.
	before_each(function ()
		inspect.begin_again(server);
		push.answer = push2_service.taken;
		push:clear();
	end);

	after_each(function () server:set_clock(0); end);

	-- As clients register at gateways: the text is a token.
	local function away(options)
		local complete = { resource = "phone" };
		for name, value in pairs(options or {}) do complete[name] = value; end
		local phone = push2.away(push, complete);
		phone.identifier = "push2 " .. complete.resource;
		phone.name = inspect.eval(server, [[return upvalue("name_of")(...);]], phone.identifier);
		loop.wait_for(function () return not server:session(phone.full_jid); end, nil, "the session to end");
		return phone;
	end

	-- What a command prints, of which nothing is a token.
	local function run(phone, status, ...)
		local output, exit_status = server:shell("push", ...);
		assert.equal(status, exit_status, output);
		assert.is_nil(output:find(phone.node, 1, true), output);
		assert.is_nil(output:find("apns", 1, true), output);
		return output;
	end

	local function decoded(phone, status, ...)
		return assert(json.decode((run(phone, status, ...):match("^(%[\n.*%]\n)%a+: .*\n$"))));
	end

	local function say(phone)
		rosa:message({ to = phone.jid; body = "Hello" });
		rosa:ping();
		push:ping();
		push:ping();
	end

	local function stored(phone)
		return push2.stored(server, phone.jid);
	end

	describe("its name", function ()
		it("says that it is one, and tells it from others", function ()
			local phone = away();
			local watch = away({ jid = phone.jid; resource = "watch" });
			local iq_phone = phones.login({ server = server; jid = phone.jid }, { resource = "phone" });
			devices.enable(iq_phone, { jid = "gw.test"; node = "token-0123456789" });
			iq_phone:close();
			assert.truthy(phone.name:find("^push2%-%x%x%x%x%x%x%x$"));
			assert.not_equal(phone.name, watch.name);
			local listed = decoded(phone, 0, "list", phone.jid, "--json");
			local protocols = {};
			for _, one in ipairs(listed) do protocols[one.name:gsub("^toke%-%x%x%x%x%x%x%x%x$", "other")] = one.protocol; end
			assert.same({ [phone.name] = "push2"; [watch.name] = "push2"; other = "push" }, protocols);
			assert.truthy(run(phone, 0, "list", phone.jid):find("\n" .. phone.name:gsub("%p", "%%%0")
				.. "  gw%.test               phone        %d+ s +%d+ s +away\n"));
		end);

		it("stays when its client registers at another service", function ()
			local phone = away();
			assert.equal(phone.name, away({ jid = phone.jid }).name);
			assert.equal(1, #decoded(phone, 0, "list", phone.jid, "--json"));
		end);
	end);

	describe("push history", function ()
		it("names it, and not what an error says of its client", function ()
			local phone = away();
			push.answer = function (got, service)
				service:send(st.error_reply(got.stanza, "cancel", "forbidden", "Not at " .. phone.node));
			end;
			for _ = 1, 3 do say(phone); end
			assert.truthy(stored(phone).phone.suspended);
			for _, command in ipairs({ "list"; "explain"; "history" }) do
				local output = run(phone, 0, command, phone.jid):gsub("%s+", " ");
				assert.truthy(output:find(phone.name, 1, true), output);
				assert.truthy(output:find("Not at " .. phone.name, 1, true), output);
			end
			local entries = decoded(phone, 0, "history", phone.jid, "--json");
			assert.same({ "enabled"; "suspended" }, { entries[1].what; entries[2].what });
		end);
	end);

	describe("push remove and push prune", function ()
		it("remove it", function ()
			local phone = away();
			local watch = away({ jid = phone.jid; resource = "watch" });
			assert.truthy(run(phone, 0, "remove", phone.jid, phone.name):find("OK: " .. phone.name, 1, true));
			assert.is_nil(stored(phone).phone);
			assert.truthy(stored(phone).watch);
			say(phone);
			assert.equal(0, #push2.pushed(phone));
			assert.equal(1, #push2.pushed(watch));
		end);

		it("remove it once it has not been in use for so long", function ()
			local phone = away();
			server:set_clock(8 * day);
			local tablet = away({ jid = phone.jid; resource = "tablet" });
			local pruned = run(phone, 0, "prune", "7", "home.test", "--yes");
			assert.truthy(pruned:find(phone.name, 1, true));
			assert.is_nil(pruned:find(tablet.name, 1, true));
			assert.is_nil(stored(phone).phone);
			assert.truthy(stored(phone).tablet);
		end);
	end);

	describe("push test", function ()
		it("says that it has been sent, and waits for no answer", function ()
			local phone = away();
			local output = run(phone, 0, "test", phone.jid, phone.name):gsub("after [%d.]+ s", "after T s"):gsub("%s+", " ");
			local got = push2.await(phone, 1);
			assert.equal(("%s: a push without a message to gw.test, a component of this server, as %s after T s: sent, no "
				.. "error came; services of Push 2.0 answer errors alone OK: 1 of 1 push sent without an error ")
				:format(phone.name, got.id), output);
			assert.same({ nil, nil, false }, { got.payload, got.jwt, got.voip });
			assert.is_nil(inspect.eval(server, [[return (next((upvalue("awaited"))));]]));
			assert.equal(1, inspect.in_flight(server)); -- It may still be wrong
		end);

		for how, error_of in pairs({
			["with an id"] = push2_service.error; ["without an id"] = push2_service.error_with_payload;
		}) do
			it("tells of an error " .. how, function ()
				local phone = away();
				push.answer = error_of("cancel", "forbidden");
				local results = decoded(phone, 1, "test", phone.jid, "--json");
				assert.same({ "push2"; "refused"; "forbidden" }, {
					results[1].protocol; results[1].outcome; results[1].condition;
				});
				push.answer = error_of("wait", "resource-constraint");
				assert.truthy(run(phone, 1, "test", phone.jid):find(
					"s: not taken, it is tried again (resource-constraint)\nError: 0 of 1 push taken\n", 1, true));
			end);
		end

		it("says what the registrations of both protocols have led to", function ()
			local phone = away();
			local iq_phone = client.connect(server, phone.jid);
			devices.enable(iq_phone, { jid = "elsewhere.example"; node = "token" });
			iq_phone:close();
			local output = run(phone, 1, "test", phone.jid);
			assert.truthy(output:find("\nError: 1 of 2 pushes sent without an error\n", 1, true), output);
		end);

		it("says so where the time limit for answers is shorter", function ()
			server:reconfigure({ options = { push_answer_timeout = 1 } });
			local phone = away();
			local results = decoded(phone, 0, "test", phone.jid, "--json");
			assert.same({ "sent" }, { results[1].outcome, results[1].condition });
			server:reconfigure({ options = { push_answer_timeout = 120 } });
		end);
	end);

	describe("an ad-hoc command", function ()
		local function command(connection, node, fields)
			local form = st.stanza("x", { xmlns = "jabber:x:data"; type = "submit" });
			for name, value in pairs(fields or {}) do form:tag("field", { var = name }):text_tag("value", value):up(); end
			local iq = st.iq({ type = "set"; to = "home.test"; id = new_id() })
				:tag("command", { xmlns = xmlns_commands; node = "cloud_notify#" .. node });
			local reply = connection:iq(iq:add_child(form):reset()):get_child("command", xmlns_commands);
			local texts, values = {}, {};
			for note in reply:childtags("note") do texts[#texts + 1] = note.attr.type .. ": " .. note:get_text(); end
			for field in (reply:get_child("x", "jabber:x:data") or st.stanza("x")):childtags("field") do
				if field.attr.var then values[field.attr.var] = field:get_child_text("value"); end
				for value in field:childtags("value") do texts[#texts + 1] = value:get_text(); end
			end
			return table.concat(texts, "\n"), values, tostring(reply);
		end

		-- Until what has come of a test is known
		local function test(connection, name)
			local text, values, reply = command(connection, "test", { device = name });
			local first = reply;
			loop.wait_for(function ()
				if not values.test then return true; end
				text, values = command(connection, "test", { test = values.test });
			end, nil, "the end of a test");
			return text, first;
		end

		it("has its protocol, and no token", function ()
			local phone = away();
			local laptop = client.connect(server, phone.jid);
			local text, _, reply = command(laptop, "list");
			assert.truthy(text:find("Push service: gw.test\nProtocol: Push 2.0\nState: not connected\n", 1, true), text);
			assert.truthy(reply:find(phone.name, 1, true));
			assert.is_nil(reply:find("apns", 1, true));
		end);

		it("says that a test has been sent, and tells of errors", function ()
			local phone = away();
			local laptop = client.connect(server, phone.jid);
			local text, first = test(laptop, phone.name);
			assert.truthy(first:find("It answers errors alone", 1, true), first);
			assert.truthy(text:find("^info: " .. phone.name:gsub("%p", "%%%0") .. " at gw%.test%. It has been sent, and no "
				.. "error has come: services of Push 2%.0 answer errors alone, after [%d.]+ s%.$"), text);
			push.answer = push2_service.error_with_payload("cancel", "not-acceptable");
			text = test(laptop, phone.name);
			assert.truthy(text:find("The push service has refused it: not-acceptable", 1, true), text);
		end);

		it("removes it", function ()
			local phone = away();
			local laptop = client.connect(server, phone.jid);
			assert.truthy(command(laptop, "remove", { device = phone.name }):find("gets no more pushes", 1, true));
			assert.is_nil(stored(phone));
		end);
	end);

	describe("what a message would do now", function ()
		local unmatched = "no push, its client wants what is archived alone, and mod_mam is not loaded";

		local function outlook(phone)
			local explained = decoded(phone, 0, "explain", phone.jid, "--json");
			return explained[#explained].outlook;
		end

		local function matching(profile, host)
			return away({ host = host; matches = { { profile = profile } } });
		end

		it("is to push it, by any profile", function ()
			for _, profile in ipairs(push2.profiles) do assert.equal("pushed", outlook(matching(profile))); end
		end);

		it("is nothing where only archived ones are wanted, and there is no archive", function ()
			for profile, expected in pairs({
				all = "pushed"; important = "pushed"; archived = unmatched; ["archived-with-body"] = unmatched;
			}) do
				local phone = matching(profile, "noarchive.test");
				assert.equal(expected, outlook(phone));
				say(phone);
				assert.equal(expected == "pushed" and 1 or 0, #push2.pushed(phone), profile);
			end
			assert.equal("pushed", outlook(away({
				host = "noarchive.test"; matches = { { profile = "archived" }; { profile = "important" } };
			})));
		end);

		it("is nothing as long as the user is active on another device, and the client wants grace", function ()
			local phone = away({ matches = { { grace = 3600 } } });
			assert.equal("pushed", outlook(phone));
			local desk = client.connect(server, phone.jid);
			desk:message({ to = rosa.jid; body = "I am here" });
			desk:ping();
			assert.equal("no push, user is active on another device, the client waits for that", outlook(phone));
			say(phone);
			assert.equal(0, #push2.pushed(phone));
		end);

		it("leaves filters aside, which are for some chats", function ()
			assert.equal("pushed", outlook(away({ matches = { { filters = { { jid = rosa.jid } } } } })));
		end);
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("administration of Push 2.0 with Prosody " .. version, function () describe_all(version); end);
end
