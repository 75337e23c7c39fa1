-- The administrator's commands, as prosodyctl shows them.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local is_utf8 = require "util.encodings".utf8.valid;
local json = require "util.json";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local push_service = require "spec.support.push_service";

local day = 24 * 3600;
local node = "token-0123456789abcdef"; -- No command shows it
local forbidden = push_service.error("cancel", "forbidden", "Not with " .. node);
local busy = push_service.error("wait", "resource-constraint");

local function columns(line)
	return select(2, line:gsub("[^\128-\191]", ""));
end

local function describe_all(version)
	local server, push;

	setup(function ()
		server = prosody.start({
			version = version; own_clock = true;
			hosts = { "home.test"; "other.test" };
			modules = { "admin_shell" };
			options = {
				push_answer_timeout = 1;
				push_coalesce_window = 0;
				push_max_errors = 2;
				push_max_failures = 2;
				push_max_per_minute = 3;
				push_retry_max = 3600;
				push_retry_min = 3600;
			};
			config = [[Component "local.test" "spec_push_service"]];
			components = { ["push.test"] = "secret"; ["away.test"] = "secret" };
		});
		push = push_service.connect(server, "push.test", "secret");
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		push.answer = push_service.result;
		push:clear();
	end);

	after_each(function () server:set_clock(0); end);

	-- What a command prints and its exit status, of `prosodyctl shell push ...`. No line is too long for a terminal,
	-- and none controls it.
	local function run(...)
		local output, status = server:shell("push", ...);
		local is_json = select(select("#", ...), ...) == "--json";
		for line in output:gmatch("[^\n]+") do
			assert.is_true(is_json or columns(line) <= 80, line);
			assert.is_nil(line:find("%c"), line);
			assert.is_nil(line:find(" $"), line);
		end
		assert.is_true(is_utf8(output), output);
		assert.is_nil(output:find("\194[\128-\159]") or output:find("\226\128[\142\143\168-\174]"), output);
		assert.is_nil(output:find(node, 1, true), output);
		return output, status;
	end

	local function succeed(...)
		local output, status = run(...);
		assert.equal(0, status, output);
		return output;
	end

	local function fail(...)
		local output, status = run(...);
		assert.equal(1, status, output);
		return output;
	end

	-- The document that a command prints with --json; the last line is the shell's.
	local function decoded(...)
		local output = run(...);
		local document, shell = output:match("^(%[\n.*%]\n)(%a+: .*\n)$");
		assert.truthy(shell, output);
		return assert(json.decode(document)), shell;
	end

	local function name_of(identifier)
		return inspect.eval(server, [[return upvalue("name_of")(...);]], identifier);
	end

	local function phone_of(options)
		local phone = phones.login({ server = server; jid = options.jid or devices.new_user(server, options.host) },
			{ resource = "phone"; sm = options.sm });
		local service = options.service or "push.test";
		devices.enable(phone, { jid = service; node = options.node or node });
		phone.identifier = service .. "<" .. (options.node or node);
		phone.name = name_of(phone.identifier);
		return phone;
	end

	local function away(options)
		local phone = phone_of(options or {});
		phone:close();
		loop.wait_for(function () return not server:session(phone.full_jid); end, nil, "the session to end");
		return phone;
	end

	local function is_registered(phone)
		return (devices.stored(server, phone.jid) or {})[phone.identifier] ~= nil;
	end

	local function message(phone, count)
		local rosa = client.connect(server, devices.new_user(server));
		for _ = 1, count or 1 do rosa:message({ to = phone.jid; body = "Wake up" }); end
		rosa:ping();
		for _ = 1, 2 do push:ping("somebody@push.test"); end -- That is no sign of life
		rosa:close();
	end

	local titles = "Name           Push service          Client       Enabled  Seen     State\n";

	local function line(phone, pattern)
		return phone.name:gsub("%-", "%%-") .. "  push%.test             phone        " .. pattern .. "\n";
	end

	describe("push list", function ()
		it("lists those of an account", function ()
			local phone = away();
			local live = phone_of({ jid = phone.jid; node = "tablet-0123456789" });
			local output = succeed("list", phone.jid);
			assert.equal(titles .. phone.jid .. "\n", output:sub(1, #titles + #phone.jid + 1));
			assert.truthy(output:find(line(phone, "%d s      now      live"))
				or output:find(line(phone, "%d s      %d s      away")), output);
			assert.truthy(output:find(line(live, "%d s      now      live")), output);
			assert.truthy(output:find("OK: 2 registrations\n$"));
			assert.equal(output:gsub("%d s ", ""), (succeed("list", live.full_jid):gsub("%d s ", "")));
		end);

		it("says who hibernates, who is owed a push and who is suspended", function ()
			local hibernated = phone_of({ sm = "resume" });
			hibernated:cut();
			assert.truthy(succeed("list", hibernated.jid):find(line(hibernated, "%d s      now      hibernated")));
			local owed = away();
			push.answer = busy;
			message(owed);
			assert.truthy(succeed("list", owed.jid):find("    owed a push for %d s: push service could not take the last one, "
				.. "waits for\n    the next attempt\n"));
			local refused = away();
			push.answer = forbidden;
			message(refused);
			assert.truthy(succeed("list", refused.jid):find("    1 error in a row\n", 1, true));
			message(refused);
			assert.truthy(succeed("list", refused.jid):find(
				"    suspended for %d s: forbidden %(Not with toke%-%x+%); the next trial is\n"
				.. "    after %d+%-%d+%-%d+ %d+:%d+ UTC\nOK"));
		end);

		it("lists those of a host, of all hosts, and for machines", function ()
			local here, there = away(), away({ host = "other.test" });
			local all, of_host = succeed("list"), succeed("list", "other.test");
			assert.truthy(all:find("\n" .. here.jid .. "\n", 1, true));
			assert.truthy(all:find("\n" .. there.jid .. "\n", 1, true));
			assert.is_true(all:find("@home.test\n", 1, true) < all:find("\n\n" .. there.jid, 1, true));
			assert.truthy(of_host:find(there.jid .. "\n", 1, true));
			assert.is_nil(of_host:find("@home.test", 1, true));
			local listed, shell = decoded("list", there.jid, "--json");
			assert.equal("OK: 1 registration\n", shell);
			assert.same({ there.jid; there.name; "push.test"; "phone"; "away"; 0 }, {
				listed[1].account; listed[1].name; listed[1].service; listed[1].client; listed[1].state; listed[1].errors;
			});
			assert.is_true(math.abs(listed[1].enabled - os.time()) <= 30);
			assert.is_nil(listed[1].identifier);
			assert.equal(0, #decoded("list", devices.new_user(server), "--json"));
			assert.is_true(#decoded("list", "--json") > #decoded("list", "other.test", "--json"));
		end);

		it("reads many accounts without a break for others", function ()
			server:eval([[
				local store = require "core.storagemanager".open("other.test", "cloud_notify");
				for i = 1, 250 do
					local user = ("many%03d"):format(i);
					assert(require "core.usermanager".create_user(user, "secret", "other.test"));
					assert(store:set(user, { ["push.test<n"] = { jid = "push.test"; node = "n"; timestamp = i } }));
				end
			]]);
			local output = succeed("list", "other.test");
			assert.truthy(output:find("\nmany250@other.test\n", 1, true));
			assert.equal(250, select(2, output:gsub("\nmany%d+@other.test\n", "")));
			server:eval([[
				for i = 1, 250 do
					assert(require "core.usermanager".delete_user(("many%03d"):format(i), "other.test"));
				end
			]]);
		end);

		it("says how many cannot be read, as does push prune", function ()
			local phone = away();
			local path = ("%s/home%%2etest/cloud_notify/%s.dat"):format(server.data, phone.username);
			local file = assert(io.open(path, "w"));
			file:write("damaged");
			file:close();
			server:reload_module("cloud_notify", "home.test");
			local listed, pruned = fail("list", "home.test"), fail("prune", "5", "home.test");
			assert(os.remove(path));
			assert.truthy(listed:find("; those of 1 account cannot be\n? *read\n"), listed);
			assert.truthy(pruned:find("; those of 1 account\n? *cannot be\n? *read or written\n"), pruned);
		end);

		it("says so where the storage cannot", function ()
			local function set_listing(listing)
				inspect.eval(server, [[
					for _, store in pairs((upvalue("stores"))) do rawset(store, "users", ...); end
				]], listing);
			end
			set_listing(false);
			for _, command in ipairs({ { "list"; "home.test" }; { "prune"; "5" } }) do
				assert.equal("Error: home.test: The storage of this host cannot list users\n",
					(fail(table.unpack(command))));
			end
			set_listing(nil);
		end);
	end);

	describe("push test", function ()
		it("sends one and tells of the answer", function ()
			local phone = away();
			local output = succeed("test", phone.jid, phone.name);
			local id = push:wait(1).id;
			assert.equal(1, #push.received);
			assert.is_nil(push.received[1].form["last-message-body"]);
			assert.equal(("%s: a push without a message\n    to push.test, a component of this server, as\n    %s\n"
				.. "    after 5 ms: taken\nOK: 1 of 1 push taken\n"):format(phone.name, id), (output:gsub("%d+ ms", "5 ms")));
			push:clear();
			local results = decoded("test", phone.jid, "--json");
			assert.same({ phone.jid; phone.name; "push.test"; "component"; push:wait(1).id; "delivered" }, {
				results[1].account; results[1].name; results[1].service; results[1].way; results[1].id; results[1].outcome;
			});
			assert.is_true(results[1].seconds < 10);
		end);

		it("tells of errors, and what they mean", function ()
			local phone = away();
			push.answer = forbidden;
			local output = fail("test", phone.jid);
			assert.truthy(output:find("    after %d+ ms: refused, that counts towards push_max_errors %(forbidden: Not\n"
				.. "    with toke%-%x+%)\nError: 0 of 1 push taken\n"), output);
			output = fail("test", phone.jid);
			assert.truthy(output:find(("ms: not taken, the registration is suspended (forbidden: Not with\n    %s)\n")
				:format(phone.name), 1, true), output);
			assert.truthy(fail("test", phone.jid):find(phone.name .. " is suspended: nothing is sent but trials\n", 1, true));
			phone = away();
			push.answer = busy;
			assert.truthy(fail("test", phone.jid):find("ms: not taken, it is tried again (resource-constraint)\n", 1, true));
			phone = away();
			push.answer = push_service.error("cancel", "item-not-found");
			fail("test", phone.jid);
			assert.truthy(fail("test", phone.jid):find("ms: refused for good, the registration is removed", 1, true));
		end);

		it("tells of silence, after the time limit", function ()
			local phone = away();
			push.answer = push_service.never;
			local output = fail("test", phone.jid, phone.name);
			assert.truthy(output:find("    after %d[%d.]* m?s: not taken, it is tried again %(no answer%)\n"), output);
			assert.is_nil(inspect.eval(server, [[return (next((upvalue("awaited"))));]]));
		end);

		it("says where it goes to", function ()
			local output = succeed("test", away({ service = "local.test" }).jid);
			assert.truthy(output:find("    to local.test, a host of this server, as\n", 1, true));
			output = fail("test", away({ service = "away.test" }).jid);
			assert.truthy(output:find("a component of this server that is not connected", 1, true));
			output = fail("test", away({ service = "elsewhere.example" }).jid);
			assert.truthy(output:find("    to elsewhere.example, another server, as\n", 1, true));
		end);

		it("says what holds it back", function ()
			local phone = away({ node = "tablet-0123456789" });
			for _ = 1, 3 do succeed("test", phone.jid); end
			assert.equal(("Error: %s is not sent one now: more than push_max_per_minute, waits\n"
				.. "    for its turn\n"):format(phone.name), (fail("test", phone.jid, phone.name)));
			local count = 0;
			for _, publish in ipairs(push.received) do
				if publish.node == "tablet-0123456789" then count = count + 1; end
			end
			assert.equal(3, count);
			phone = away();
			inspect.eval(server, [[
				prosody.spec_veto = function () return true; end
				hosts["home.test"].events.add_handler("cloud_notify/push", prosody.spec_veto);
			]]);
			local output = fail("test", phone.jid, phone.name);
			server:eval([[hosts["home.test"].events.remove_handler("cloud_notify/push", prosody.spec_veto);]]);
			assert.truthy(output:find("another module does not want it", 1, true));
			assert.is_nil(inspect.eval(server, [[return (next((upvalue("awaited"))));]]));
		end);

		it("ends when the module does", function ()
			local phone = away();
			push.answer = function ()
				loop.after(0, function () server:reload_module("cloud_notify", "home.test"); end);
			end;
			assert.truthy(fail("test", phone.jid):find("the module is unloaded", 1, true));
		end);
	end);

	describe("push remove", function ()
		it("removes the one that is named", function ()
			local phone = away();
			local other = away({ jid = phone.jid; node = "tablet-0123456789" });
			local output = succeed("remove", phone.jid, phone.name);
			assert.truthy(output:find(("OK: %s of %s is removed\n"):format(phone.name, phone.jid), 1, true));
			assert.is_false(is_registered(phone));
			assert.is_true(is_registered(other));
			succeed("remove", phone.jid, other.identifier);
			assert.is_false(is_registered(other));
			assert.equal(("Error: %s has no registrations\n"):format(phone.jid), (fail("remove", phone.jid, phone.name)));
		end);

		it("removes none else", function ()
			local phone, other = away(), away({ node = "tablet-0123456789" });
			assert.equal(("Error: %s has no registration of this name\n"):format(phone.jid),
				(fail("remove", phone.jid, other.name)));
			assert.is_true(is_registered(phone) and is_registered(other));
		end);
	end);

	describe("push prune", function ()
		it("shows those that were not in use for so long, and removes them when it is told to", function ()
			local host = "other.test";
			local old = away({ host = host });
			local hibernated = phone_of({ host = host; sm = "resume" });
			hibernated:cut();
			server:set_clock(6 * day);
			local seen, young = away({ host = host }), away({ host = host });
			server:eval([[
				local store = require "core.storagemanager".open("other.test", "cloud_notify");
				local user, identifier = ...;
				local records = store:get(user);
				records[identifier].timestamp = 1;
				assert(store:set(user, records));
				local enabled_only = select(3, ...);
				assert(require "core.storagemanager".open("other.test", "cloud_notify_history"):set(enabled_only, nil));
			]], seen.username, seen.identifier, young.username);
			server:reload_module("cloud_notify", "other.test"); -- It has read what is in the store
			server:set_clock(10 * day);
			local output = succeed("prune", "7", host);
			assert.truthy(output:find(old.jid, 1, true));
			for _, other in ipairs({ hibernated; seen; young }) do assert.is_nil(output:find(other.jid, 1, true), output); end
			assert.truthy(output:find("to be removed with --yes\n", 1, true));
			assert.is_true(is_registered(old));
			succeed("prune", "7", host, "--yes");
			assert.is_false(is_registered(old));
			for _, other in ipairs({ hibernated; seen; young }) do assert.is_true(is_registered(other)); end
			assert.truthy(succeed("history", old.jid):find("pruned     admin\n    unused for 7 days\n", 1, true));
			assert.equal("OK: 0 registrations removed\n", (succeed("prune", "7", host, "--yes")));
		end);

		it("wants a number of days", function ()
			for _, days in ipairs({ "0"; "-1"; "1.5"; "x"; "nan"; "1e99"; "0x7fffffffffffffff" }) do
				assert.equal(("Error: %s is no number of days, at least 1\n"):format(days), (fail("prune", days)));
			end
		end);
	end);

	describe("push services", function ()
		it("tells how they do", function ()
			inspect.begin_again(server);
			local phone = away();
			message(phone);
			local output = succeed("services", "home.test");
			assert.truthy(output:find("\npush%.test +closed +%d+ +0 +%d+ +%d+ m?s +[%d.]+ m?s\n"), output);
			push.answer = push_service.error("cancel", "item-not-found");
			message(phone);
			local services = decoded("services", "--json");
			local found;
			for _, one in ipairs(services) do
				if one.service == "push.test" and one.host == "home.test" then found = one; end
			end
			assert.same({ "closed"; "item-not-found"; 0 }, { found.circuit; found.condition; found.in_flight });
			assert.is_nil(found.jid);
			assert.is_true(found.condition_age < 30 and found.median <= found.worst);
			push.answer = push_service.error("wait", "remote-server-timeout");
			message(away());
			message(away());
			output = succeed("services");
			assert.truthy(output:find("\nhome%.test\npush%.test +open +2 +0 +[2-9] "), output);
			assert.truthy(succeed("services"):find("    last not taken [%d.]+ m?s ago: remote%-server%-timeout\n"));
			push:disconnect();
			push:reconnect();
		end);
	end);

	describe("push history", function ()
		it("tells what has happened", function ()
			local phone = phone_of({});
			devices.disable(phone, { jid = "push.test" });
			local output = succeed("history", phone.jid);
			assert.truthy(output:find("^When %(UTC%)        Name           Push service          What       By\n"
				.. "%d+%-%d+%-%d+ %d+:%d+  toke%-%x+  push%.test             enabled    client\n"
				.. "%d+%-%d+%-%d+ %d+:%d+  toke%-%x+  push%.test             disabled   client\nOK: 2 entries\n$"), output);
			local entries = decoded("history", phone.jid, "--json");
			assert.same({ "enabled"; "disabled" }, { entries[1].what; entries[2].what });
			assert.same({ phone.jid; "push.test" }, { entries[1].account; entries[1].service });
			assert.is_nil(entries[1].jid);
		end);
	end);

	describe("push explain", function ()
		it("tells it by day, and errors", function ()
			local phone = away();
			push.answer = forbidden;
			message(phone);
			local output = succeed("explain", phone.jid);
			local name = phone.name:gsub("%-", "%%-");
			assert.truthy(output:find("^%a%a%a %d%d %a%a%a %d%d%d%d, UTC\n%d%d:%d%d:%d%d  " .. name), output);
			assert.is_true(select(2, output:gsub("%a%a%a %d%d %a%a%a %d%d%d%d, UTC\n", "")) < 3, output);
			local outlook = phone.name .. "  phone at push.test, away, 1 error in a row\n";
			assert.truthy(output:find("\n\n" .. outlook, 1, true), output);
		end);

		it("tells machines the same, and no node", function ()
			local phone = away();
			push.answer = forbidden;
			message(phone);
			local told, shell = decoded("explain", phone.jid, "--json");
			assert.equal("OK: 1 registration\n", shell);
			for _, one in ipairs(told) do assert.equal(phone.name, one.name); end
			assert.same({ "enabled"; "client" }, { told[1].event; told[1].by });
			assert.same({ "met"; "archived"; "important"; "pushed"; "message" },
				{ told[2].event; told[2].rule; told[2].importance; told[2].result; told[2].kind });
			local last = told[#told];
			assert.same({ phone.jid; "away"; 1; "pushed" },
				{ last.account; last.state; last.errors; last.outlook:match("^pushed") }); -- It may have failed before
		end);
	end);

	describe("push trace", function ()
		local follows = version ~= "0.12"; -- The shell of that does not say when it is left

		local function followed(jid)
			local following = server:eval([[
				return module("home.test", "cloud_notify"):shared("/*/cloud_notify/shell").followed[...];
			]], jid);
			return following and following.count;
		end

		local function start(jid)
			local before = followed(jid) or 0;
			local shell = server:start_shell("push", "trace", jid);
			loop.wait_for(function () return followed(jid) == before + 1; end, nil, "the shell to follow");
			return shell;
		end

		local function send(jid, id)
			local rosa = client.connect(server, devices.new_user(server));
			rosa:message({ to = jid; body = "Wake up"; id = id });
			rosa:ping();
			rosa:close();
		end

		local function wait_output(shell, text)
			loop.wait_for(function () return shell.output():find(text, 1, true); end, nil, text);
		end

		it("follows what is decided until somebody ends that", function ()
			local phone = away();
			if not follows then
				assert.truthy(fail("trace", phone.jid):find("cannot follow: use push explain", 1, true));
				return;
			end
			send(phone.jid, "before");
			local shell, other = start(phone.jid), start(phone.jid);
			send(phone.jid, "m1");
			for _, one in ipairs({ shell; other }) do
				wait_output(one, phone.name .. "  message m1 from home.test, archived: pushed");
				wait_output(one, "taken");
			end
			assert.equal(("Following %s, times are in UTC"):format(phone.jid), shell.output():match("^[^\n]*"));
			assert.is_nil(shell.output():find("before", 1, true));
			assert.truthy(succeed("trace", phone.jid, "off"):find(phone.jid .. " was followed in 2 shells", 1, true));
			loop.wait_for(function () return not shell:running() and not other:running(); end, nil, "the shells to end");
			assert.is_nil(followed(phone.jid));
		end);

		it("ends with the shell", function ()
			if not follows then return; end
			local phone = away();
			start(phone.jid):kill();
			loop.wait_for(function () return not followed(phone.jid); end, nil, "the server to notice");
		end);

		it("goes on through a reload of the module, and ends with the module", function ()
			if not follows then return; end
			local phone = away();
			local shell = start(phone.jid);
			server:reload_module("cloud_notify", "home.test");
			send(phone.jid, "m2");
			wait_output(shell, "message m2 from home.test");
			server:unload_module("cloud_notify", "home.test");
			loop.wait_for(function () return not shell:running(); end, nil, "the shell to end");
			server:load_module("cloud_notify", "home.test");
			assert.is_nil(followed(phone.jid));
		end);

		it("knows on and off, and can end what nobody has begun", function ()
			local phone = away();
			assert.truthy(fail("trace", phone.jid, "of"):find("of is neither on nor off", 1, true));
			assert.truthy(succeed("trace", phone.jid, "off"):find("was followed in 0 shells", 1, true));
			assert.truthy(fail("trace", phone.jid, "--json"):find("There is no option --json", 1, true));
			assert.is_nil(followed(phone.jid));
		end);
	end);

	describe("whatever", function ()
		local commands = {
			list = { "@" }; test = { "@"; "name" }; remove = { "@"; "name" }; prune = { "7"; "@" }; services = { "@" };
			history = { "@" }; explain = { "@" }; trace = { "@" };
		};

		it("is asked for, there is a sentence, and nothing changes", function ()
			local phone = away();
			local before = devices.stored(server, phone.jid);
			for name, arguments in pairs(commands) do
				for argument, sentence in pairs({
					["no.test"] = "There is no host no.test here";
					["anna@no.test"] = "There is no host no.test here";
					["push.test"] = "mod_cloud_notify is not loaded on push.test";
					["a@b@c"] = "is neither a JID nor a host";
					["@"] = "is neither a JID nor a host";
					["\27[2Janna"] = "\\27[2";
					["nobody@home.test"] = (name == "prune" or name == "services") and "nobody@home.test is no host"
						or "There is no account nobody@home.test";
				}) do
					local all = {};
					for i, value in ipairs(arguments) do all[i] = value == "@" and argument or value; end
					local output = fail(name, table.unpack(all));
					assert.truthy(output:find(sentence, 1, true), name .. ": " .. output);
				end
				assert.truthy(fail(name, "home.test", "a", "b", "c"):find("Usage: push " .. name, 1, true));
				assert.truthy(fail(name, "--all"):find("There is no option --all. Usage: push " .. name, 1, true));
			end
			assert.truthy(fail("test", "home.test"):find("home.test is no JID of an account", 1, true));
			assert.truthy(fail("remove", phone.jid):find("Usage: push remove JID NAME [--json]", 1, true));
			assert.same(before, devices.stored(server, phone.jid));
		end);

		it("is large, or of another type, breaks nothing", function ()
			local large = ("x"):rep(5000);
			for name, arguments in pairs(commands) do
				local all = {};
				for i in ipairs(arguments) do all[i] = large; end
				assert.is_true(#fail(name, table.unpack(all)) < 300);
				local _, status = server:shell(("push:%s({}, print)"):format(name));
				assert.equal(1, status);
			end
			assert.truthy(succeed("list"):find("OK: ", 1, true));
		end);

		it("is stored, is shown harmlessly", function ()
			local jid = devices.new_user(server);
			server:eval([[
				local evil = "\27[2J\r\n\0\127\194\155\226\128\174" .. ("x"):rep(200);
				assert(require "core.storagemanager".open("home.test", "cloud_notify"):set(..., {
					["push.test<a"] = { jid = "push.test"; node = "a"; client_id = evil; timestamp = 0/0 };
					["push.test<b"] = { jid = evil; node = "b"; timestamp = 1e300; suspended = { since = "x"; text = evil } };
					["push.test<c"] = { jid = ("\195\164"):rep(300); node = {}; timestamp = -5; resource = {} };
					["d\27"] = { jid = "push.test"; timestamp = {}; suspended = { since = -1e300; condition = ("y"):rep(500) } };
					e = { client_id = "\194\155\226\128\174x" };
				}));
			]], jid:match("^[^@]+"));
			assert.truthy(succeed("list", jid):find("OK: 5 registrations\n", 1, true));
			local listed = decoded("list", jid, "--json");
			assert.equal(5, #listed);
			for _, one in ipairs(listed) do assert.is_true(math.abs(one.enabled or 0) < 1e15); end
			succeed("history", jid);
			succeed("explain", jid);
			decoded("explain", jid, "--json");
			run("test", jid);
			for _, one in ipairs(decoded("list", jid, "--json")) do succeed("remove", jid, one.name); end
			assert.equal("OK: 0 registrations\n", (succeed("list", jid)));
		end);
	end);

	describe("all commands", function ()
		local function load_and_unload(action, host, name)
			server[action .. "_module"](server, name or "cloud_notify", host);
		end

		it("are told of by push help", function ()
			local output = succeed("help");
			for _, name in ipairs({ "explain"; "help"; "history"; "list"; "prune"; "remove"; "services"; "test"; "trace" }) do
				assert.truthy(output:find("push " .. name .. "[^\n]*\n    %u"));
			end
		end);

		it("can be typed in the shell, too", function ()
			local jid = devices.new_user(server);
			local output, status = server:shell(("push:list(%q)"):format(jid));
			assert.same({ "OK: 0 registrations\n"; 0 }, { output; status });
			output = server:shell(("push:list(%q, '--json')"):format(jid));
			assert.equal("[\n]\nOK: 0 registrations\n", output);
			assert.truthy(server:shell("push:prune(30000)"):find("OK: 0 registrations to be removed with --yes\n", 1, true));
		end);

		it("work as long as a host has the module", function ()
			local here, there = away(), away({ host = "other.test" });
			for _, host in ipairs({ "home.test"; "other.test" }) do
				load_and_unload("unload", host);
				local gone, left = here, there;
				if host == "other.test" then gone, left = there, here; end
				assert.truthy(fail("list", gone.jid):find("mod_cloud_notify is not loaded on " .. host, 1, true));
				succeed("list", left.jid);
				load_and_unload("load", host);
				load_and_unload("reload", host);
				succeed("list", gone.jid);
			end
			load_and_unload("unload", "home.test");
			load_and_unload("unload", "other.test");
			fail("list");
			assert.is_nil(server:eval([[return module("*", "admin_shell"):shared("env").push;]]));
			load_and_unload("load", "home.test");
			load_and_unload("load", "other.test");
			succeed("list", here.jid);
		end);

		it("are there whenever the shell is loaded", function ()
			local phone = away();
			load_and_unload("reload", "*", "admin_shell");
			succeed("list", phone.jid);
			load_and_unload("unload", "*", "admin_shell");
			load_and_unload("reload", "home.test");
			load_and_unload("load", "*", "admin_shell");
			succeed("list", phone.jid);
			assert.is_nil(server:log_text():find("Ignoring command", 1, true));
		end);
	end);
end

for _, version in ipairs(prosody.all_versions) do
	describe("the administrator's commands on Prosody " .. version, function () describe_all(version); end);
end
