-- The version stands in Cargo.toml, the build is that of the tree: what is built says both.

local prosody = require "spec.support.prosody";
local files = require "spec.support.files";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local process = require "spec.support.process";

local read, output_of = files.read, process.output;

local version = read("Cargo.toml"):match('\nversion = "([^"]+)"');
local stamp = read("build/stamp"):match("^[^\n]+");

describe("the version", function ()
	it("is that of the newest release in the changelog", function ()
		local release, date = read("CHANGELOG.md"):match("\n## (%S+) %((%d%d%d%d%-%d%d%-%d%d)%)\n");
		assert.equal(version, release);
		assert.truthy(date);
	end);

	it("is in no other source", function ()
		assert.equal("", output_of("grep -rnF %s src lua Makefile .ci tools || true", version));
	end);
end);

describe("the build", function ()
	local tree;

	before_each(function ()
		tree = output_of("mktemp -d -t version-spec.XXXXXXXX"):match("^[^\n]+");
		output_of("mkdir %s/tools && cp tools/build-id %s/tools", tree, tree);
	end);

	after_each(function ()
		output_of("rm -rf %s", tree);
	end);

	local function run(command)
		return output_of("cd %s && sh -ec %s", tree, command):match("^[^\n]*");
	end

	local function commit()
		run("git init -q && git add . && git -c user.name=anna -c user.email=anna@home.test commit -qm built");
		return run("git rev-parse HEAD");
	end

	it("is not known of a tree that says nothing", function ()
		assert.equal("unknown", run("tools/build-id"));
	end);

	it("is the commit, or near it", function ()
		local id = commit():sub(1, 12);
		assert.equal(id, run("tools/build-id"));
		run("[ $(id -u) -ne 0 ] || chown -R nobody ."); -- Who installs it is another user
		assert.equal(id, run("tools/build-id"));
		run("echo '# changed' >>tools/build-id");
		assert.equal(id .. "+", run("tools/build-id"));
	end);

	it("is stamped into each Lua file when it changes, and only then", function ()
		output_of(("cp -R Makefile Cargo.toml Cargo.lock lua %s && mkdir %s/src"):format(tree, tree));
		local make = "make --no-print-directory LUA=5.4 CARGO=false -o build/plugins/mod_cloud_notify/lua5.4/cloud_notify.so";
		local stamped = "grep -LF '%s (%s)' build/plugins/mod_cloud_notify/*.lua || true";
		for _, id in ipairs({ "0123456789ab"; "ba9876543210" }) do
			run(("echo %s >.build-id && %s"):format(id, make));
			assert.equal("", run(stamped:format(version, id)));
		end
		assert.equal("", run(make));
	end);

	it("is that of the archive, whatever repository it is unpacked in", function ()
		commit();
		run("echo 0123456789ab >.build-id");
		assert.equal("0123456789ab", run("tools/build-id"));
	end);
end);

for _, prosody_version in ipairs(prosody.versions) do
	describe("the module with Prosody " .. prosody_version, function ()
		after_each(function () prosody.stop_all(); end);

		it("says its version and build", function ()
			assert.equal(version, stamp:match("^(%S+) %([%w+]+%)$"));
			local server = prosody.start({ version = prosody_version; modules = { "admin_shell" } });
			local self_test = "Version " .. stamp .. " with Prosody ";
			local function is_said()
				for _, line in ipairs(inspect.logged(server, "info")) do
					if line:find(self_test, 1, true) then return true; end
				end
			end
			loop.wait_for(is_said, nil, "the line at load");
			local status = server:eval([[return hosts["home.test"].modules.cloud_notify.module.status_message;]]);
			assert.equal(self_test, status:sub(1, #self_test));
			local help = server:shell("push", "help");
			assert.truthy(help:find("mod_cloud_notify " .. stamp, 1, true), help);
			assert.same({}, server:faults());
		end);
	end);
end
