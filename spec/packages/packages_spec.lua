-- The Debian package and the binary archive, as the README says to install them, each on a whole
-- Debian with one of its Prosodies. They are in /root, and other packages in /var/cache/apt/archives.

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local push_service = require "spec.support.push_service";
local system = require "spec.support.system";

local version = os.getenv("SPEC_PROSODY");
local other_suite = version == "0.12" and "bookworm-backports" or "bookworm";
local modules = "/usr/lib/prosody/modules";
local own_folder = modules .. "/mod_cloud_notify/cloud_notify";
local package = "prosody-mod-cloud-notify-rs";

local install = system.commands("README.md", "apt install ./" .. package .. "_");
local remove = system.commands("README.md", "apt purge " .. package);
local unpack = system.commands("README.md", "tar -xf " .. package .. "-");

-- What a server has that is made for push. (Without TLS, and on all of the loopback interface.)
local config = [[
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
component_interfaces = { "*" }
VirtualHost "unarchived.test"
modules_disabled = { "mam" }
Component "push.test"
component_secret = "secret"
]];

local users = 0;

local function new_client(host, options)
	users = users + 1;
	local name = ("user%d"):format(users);
	system.run(("prosodyctl register %s %s secret"):format(name, host));
	return client.connect(system, name .. "@" .. host, options);
end

local function do_all(commands)
	for _, command in ipairs(commands) do system.run(command); end
	system.wait();
end

local function folder()
	return system.shell([[return hosts.localhost.modules.cloud_notify.module:get_directory()]]):match("Result: (%S+)");
end

-- What was there before and is not any more, or the other way round, or has changed.
local function differences(before, after)
	local found = {};
	for path, state in pairs(before) do
		if after[path] ~= state then found[path] = after[path] or "gone"; end
	end
	for path in pairs(after) do
		if not before[path] then found[path] = "new"; end
	end
	return found;
end

-- A device on a host is woken by a message: one that was cut off, or has gone.
local function assert_woken(push, host, how)
	local phone = new_client(host, { sm = how == "cut" and "resume" });
	devices.enable(phone, { jid = "push.test"; node = phone.username });
	phone[how](phone);
	push:clear();
	new_client(host):message({ to = phone.jid; body = "Wake up" });
	assert.equal(phone.username, push:wait(1).node);
end

-- By each rule
local function assert_push_works()
	local push = push_service.connect(system, "push.test", "secret");
	assert_woken(push, "localhost", "cut");
	assert_woken(push, "localhost", "close");
	assert_woken(push, "unarchived.test", "close");
end

local function assert_log_is_clean()
	for line in system.read("/var/log/prosody/prosody.log"):gmatch("[^\n]+") do
		assert.is_nil(line:find("traceback", 1, true), line);
		assert.falsy(line:find("\terror\t", 1, true) and line:find("cloud_notify", 1, true), line);
	end
end

-- What another module of this name needs to be seen at work: Prosody's own knows no rule (c).
local function assert_other_module_works()
	assert.not_equal(own_folder, folder());
	assert_woken(push_service.connect(system, "push.test", "secret"), "localhost", "close");
end

describe("with Debian's Prosody " .. version, function ()
	local before;

	setup(function ()
		system.take_over_services();
		system.write("/etc/prosody/conf.d/push.cfg.lua", config);
		before = system.files();
	end);

	it("three commands install the package, and push works", function ()
		assert.equal(3, #install);
		do_all(install);
		assert.equal(own_folder, folder());
		assert_push_works();
		assert_log_is_clean();
	end);

	it("the package has the guide that its README leads to", function ()
		local pages, linked = "/usr/share/doc/" .. package .. "/", 0;
		for path in system.read(pages .. "README.md"):gmatch("%]%((docs/[^)#]+)%)") do
			assert.truthy(system.read(pages .. path), path);
			linked = linked + 1;
		end
		assert.is_true(linked > 10);
	end);

	it("the package has libraries for all Luas, and no file of another package", function ()
		for _, lua in ipairs({ "5.2"; "5.3"; "5.4" }) do
			assert.truthy(system.read(("%s/lua%s/cloud_notify.so"):format(own_folder, lua)));
		end
		for path in system.run("dpkg -L " .. package):gmatch("[^\n]+") do
			assert.truthy(not before[path] or before[path]:match("^d"), path .. " was there before");
		end
	end);

	it("the package has the licences of all that its bill of materials names, with their texts", function ()
		local bill = system.run("zcat /usr/share/doc/" .. package .. "/*.cdx.json.gz");
		local licences = system.run("zcat /usr/share/doc/" .. package .. "/*.licences.txt.gz");
		local known = 0;
		for name, crate_version in bill:gmatch('"pkg:cargo/([^"@]+)@([^"]+)",\n') do
			if name ~= "mod_cloud_notify" then
				known = known + 1;
				assert.truthy(licences:find(("\n%s %s: "):format(name, crate_version), 1, true), name);
			end
		end
		assert.truthy(known > 0);
		for _, text in ipairs({ "Apache License\n"; "Mozilla Public License Version 2.0\n"; "OpenSSL"; "Unicode" }) do
			assert.truthy(licences:find(text, 1, true), text);
		end
	end);

	it("the package says what it needs, and what is in it", function ()
		local depends = system.run("dpkg-query --show --showformat='${Depends}' " .. package);
		assert.truthy(depends:find("prosody (>= 0.12)", 1, true), depends);
		assert.truthy(depends:find("libc6 (>=", 1, true), depends);
		local found = {};
		for name in system.run("ls /usr/share/doc/" .. package):gmatch("%S+") do found[#found + 1] = name; end
		table.sort(found);
		local revision = system.run("dpkg-query --show --showformat='${Version}' " .. package);
		local with_version = package .. "-" .. revision:match("^(.*)%-");
		assert.same({
			"README.md"; "changelog.Debian.gz"; "changelog.gz"; "contrib"; "copyright"; "docs";
			with_version .. ".cdx.json.gz"; with_version .. ".licences.txt.gz";
		}, found);
	end);

	it("two commands take it away without a trace, and the other module of this name works", function ()
		assert.equal(2, #remove);
		do_all(remove);
		assert.same({}, differences(before, system.files()));
		assert_other_module_works();
	end);

	it("goes before the other module, whichever comes and goes", function ()
		do_all(install);
		assert.equal(own_folder, folder());
		do_all({ "apt-get -y remove prosody-modules"; "service prosody restart" });
		assert.equal(own_folder, folder());
		do_all({ "apt-get -y --no-download install prosody-modules"; "service prosody restart" });
		assert.equal(own_folder, folder());
	end);

	it("stays when Prosody becomes another, and can be taken away from that one", function ()
		do_all({
			"apt-get -y --no-download --allow-downgrades -o Dpkg::Options::=--force-confold install " ..
				("prosody/%s prosody-modules/%s"):format(other_suite, other_suite);
			"service prosody restart";
		});
		assert.equal(own_folder, folder());
		assert_push_works();
		do_all(remove);
		assert_other_module_works();
	end);

	it("three commands install the archive, and push works", function ()
		assert.equal(3, #unpack);
		do_all(unpack);
		assert.equal("/usr/local/lib/prosody/modules/mod_cloud_notify", folder());
		-- What is unpacked over it has files of the same names
		assert.equal("", system.run("find /usr/local/lib/prosody/modules -name '*[0-9].[0-9]*.[0-9]*'"));
		assert_push_works();
		assert_log_is_clean();
	end);
end);
