-- The rock: what `prosodyctl install` makes of it is a module that works.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local files = require "spec.support.files";
local lfs = require "lfs";
local process = require "spec.support.process";
local push_service = require "spec.support.push_service";

local output_of = process.output;

local library = lfs.currentdir() .. "/build/plugins/mod_cloud_notify/lua5.4/cloud_notify.so";

local version = files.read("Cargo.toml"):match('\nversion = "([^"]+)"');
local name = "prosody-mod-cloud-notify-rs-" .. version;
local rockspec = ("mod_cloud_notify-%s-1.rockspec"):format(version);

describe("the rockspec", function ()
	it("is the only one, and of this version", function ()
		local found = {};
		for file in lfs.dir(".") do
			if file:find("%.rockspec$") then found[#found + 1] = file; end
		end
		assert.same({ rockspec }, found);
		local spec = {};
		assert(loadfile(rockspec, "t", spec))();
		assert.equal(version .. "-1", spec.version);
		assert.equal("file://" .. name .. ".tar.gz", spec.source.url);
		assert.equal(name, spec.source.dir);
	end);

	it("is as LuaRocks wants it", function ()
		assert.equal("", (output_of("luarocks lint %s", rockspec)));
	end);
end);

describe("the rock", function ()
	local work, rock;

	-- The sources as they are, with a library that is there already: what cargo does with them, all else tries.
	setup(function ()
		work = output_of("mktemp -d -t rock-spec.XXXXXXXX"):match("^[^\n]+");
		output_of([[
			mkdir -p %s && cd %s && git -C "$OLDPWD" ls-files -z | tar -c -C "$OLDPWD" --null --files-from=- | tar -x
			echo 0123456789ab >.build-id
			printf 'CARGO = ./cargo\ninclude Makefile\n' >GNUmakefile
			printf '#!/bin/sh\nmkdir -p target/release && cp %%s target/release/libcloud_notify.so\n' %s >cargo
			chmod 755 cargo
		]], work .. "/" .. name, work .. "/" .. name, library);
		output_of("XZ_OPT=-0 tar -cJf %s -C %s %s", ("%s/%s.tar.xz"):format(work, name), work, name);
		rock = output_of("tools/make-rock %s", ("%s/%s.tar.xz"):format(work, name)):match("^[^\n]+");
	end);

	teardown(function ()
		output_of("rm -rf %s", work);
	end);

	after_each(function () prosody.stop_all(); end);

	for _, prosody_version in ipairs(prosody.versions) do
		it("is installed, pushes, and is removed without a trace, with Prosody " .. prosody_version, function ()
			local plugins = ("%s/plugins-%s"):format(work, prosody_version);
			local options = { installer_plugin_path = plugins };
			local server = prosody.start({
				version = prosody_version; upstream = true; without = { "cloud_notify" }; options = options;
			});
			server:prosodyctl("", "install", rock);
			server:load_module("cloud_notify", "home.test");
			assert.equal(plugins .. "/share/lua/5.4/mod_cloud_notify",
				server:eval([[return module("home.test", "cloud_notify"):get_directory();]]));
			server:wait_log(("Version %s (0123456789ab) "):format(version));
			local push = push_service.connect(server, "push.test", "secret");
			local phone = client.connect(server, devices.new_user(server));
			devices.enable(phone, { jid = "push.test"; node = "n1" });
			phone:close();
			assert.same({ "n1" }, devices.woken(push, client.connect(server, devices.new_user(server)), phone.jid));
			assert.same({}, server:faults());

			server:prosodyctl("", "remove", "mod_cloud_notify");
			assert.equal("", output_of("find %s -path '*cloud_notify*'", plugins));
		end);
	end

	it("is built by LuaRocks alone, for plugin_paths", function ()
		local tree = work .. "/rocks";
		local said = output_of("luarocks --lua-version=5.4 --tree=%s install %s", tree, rock);
		assert.is_nil(said:find("plugin_paths", 1, true)); -- LuaRocks has the files elsewhere in the end
		local server = prosody.start({ plugin_paths = { tree .. "/share/lua/5.4" } });
		assert.equal(tree .. "/share/lua/5.4/mod_cloud_notify",
			server:eval([[return module("home.test", "cloud_notify"):get_directory();]]));
		assert.same({}, server:faults());
		output_of("luarocks --lua-version=5.4 --tree=%s remove mod_cloud_notify", tree);
		assert.equal("", output_of("find %s -path '*cloud_notify*'", tree));
	end);

	it("has the same bytes, whoever makes it", function ()
		local sum = output_of("sha256sum %s", rock);
		output_of("umask 077; TZ=Asia/Tokyo tools/make-rock %s", ("%s/%s.tar.xz"):format(work, name));
		assert.equal(sum, output_of("sha256sum %s", rock));
	end);
end);
