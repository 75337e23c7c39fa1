-- What an administrator sees at a terminal, in a real server: docs/pictures show it, and a spec keeps them true.

require "spec.support.init";

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local loop = require "spec.support.loop";
local phones = require "spec.support.phones";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";

local host = "example.org";

local options = {
	push_coalesce_window = 0;
	push_max_errors = 1;
	push_retry_max = 600;
	push_retry_min = 600; -- Nothing is tried again while somebody looks
};

local busy = push_service.error("wait", "resource-constraint");
local forbidden = push_service.error("cancel", "forbidden", "Wrong secret");

local sessions = {};

-- Plays what comes before, and returns what is on the screen then, by the name of its picture. Between the events
-- there is as much time as an administrator would find plausible, if the pace is 1.
function sessions.play(version, pace)
	local server = prosody.start({
		version = version; hosts = { host }; modules = { "admin_shell" }; options = options;
		components = { ["push.example.org"] = "secret"; ["push.example.net"] = "secret" };
	});
	local org = push_service.connect(server, "push.example.org", "secret");
	local net = push_service.connect(server, "push.example.net", "secret");

	local function log_in(user, resource)
		return client.connect(server, user .. "@" .. host, { resource = resource; sm = "resume" });
	end
	local function register(user, resource, service, node)
		local device = log_in(user, resource);
		devices.enable(device, { jid = service.jid; node = node });
		phones.acknowledge(device);
		return device;
	end
	local function pass(seconds)
		if pace > 0 then loop.settle(seconds * pace); end
	end
	local function leave(device)
		phones.acknowledge(device);
		device:close();
		loop.wait_for(function () return not server:session(device.full_jid); end, nil, "the session to end");
	end
	-- All that is decided of it is answered when this returns. (No ping is a sign of life here.)
	local function write(from, to, id)
		from:message({ to = to.jid; id = id; body = "Are you there?" });
		from:ping();
		for _ = 1, 2 do
			for _, service in ipairs({ org; net }) do service:ping("else@" .. service.jid); end
		end
	end
	local function run(...)
		local output = server:shell("push", ...);
		return ("$ prosodyctl shell push %s\n%s"):format(table.concat({ ... }, " "), output);
	end

	for _, user in ipairs({ "anna"; "bert"; "carol" }) do server:add_user(user, "secret", host); end
	local bert = log_in("bert", "laptop");
	local phone = register("anna", "phone", org, "c3J5YWx4ODhmNDIxMGQ");
	pass(4);
	local tablet = register("anna", "tablet", net, "7bd4-e1a0-44f1-9c02");
	leave(phone);
	pass(21);
	write(bert, phone, "m1");
	pass(9);
	leave(tablet);
	pass(17);
	org.answer, net.answer = busy, forbidden;
	write(bert, phone, "m2");
	pass(6);
	local shown = { explain = run("explain", phone.jid) };

	org.answer, net.answer = push_service.late(0.12), busy;
	local carols = register("carol", "phone", org, "tZ81qkLm02bQeV7c");
	register("carol", "watch", net, "9fe2-07c1-8d3a-5b6e");
	leave(carols);
	shown.test = run("list", carols.jid) .. run("test", carols.jid);

	server:stop();
	assert(not server:faults()[1], server:faults()[1]);
	return shown;
end

-- What is in a text, line by line, but for what is another one each time: times, names, ids. Two things that happen
-- at once may come in either order.
function sessions.essence(text)
	local lines = {};
	for line in text:gmatch("[^\n]+") do
		if not line:find("^%a%a%a %d%d %a%a%a %d%d%d%d, UTC$") then
			if not line:find("^%s") or line:find("^%s+a message now") then
				lines[#lines + 1] = line;
			else
				lines[#lines] = lines[#lines] .. line;
			end
		end
	end
	for i, line in ipairs(lines) do
		lines[i] = line:gsub("%-%x%x%x%x%x%x+", "-ID"):gsub("%a%a%a %d%d %a%a%a ", "")
			:gsub("%d%d%d%d%-%d%d%-%d%d ?", ""):gsub("%d%d:%d%d:%d%d", "TIME"):gsub("%d%d:%d%d", "TIME")
			:gsub("%f[%d][%d.]+ m?s%f[%A]", "SECONDS"):gsub("%s+", " ");
	end
	table.sort(lines);
	return table.concat(lines, "\n");
end

return sessions;
