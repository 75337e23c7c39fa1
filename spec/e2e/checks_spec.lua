-- What `make lint` asks is noticed: each thing is broken once, in a copy of the tree.

local process = require "spec.support.process";

local tree;

local function run(command)
	local pipe = io.popen(("cd %s && { %s; } 2>&1"):format(process.quote(tree or "."), command));
	local output = pipe:read("*a");
	return pipe:close() or false, output;
end

-- "" for a file that is not there, either way
local function read(path)
	local file = io.open(tree .. "/" .. path, "rb");
	local text = file and file:read("*a") or "";
	if file then file:close(); end
	return text;
end

local function write(path, text)
	if text == "" then return os.remove(tree .. "/" .. path); end
	local file = assert(io.open(tree .. "/" .. path, "wb"));
	assert(file:write(text));
	assert(file:close());
end

local line_of_code = "\n    const MANY: u8 = 0;";

-- By check, what stands in a file and what is put in its place (at its end, if nothing stands there), and what is said
local checks = {
	["tools/check-docs"] = {
		{ "README.md"; "(docs/admin/log.md)"; "(docs/admin/logs.md)"; "docs/admin/logs.md leads nowhere" };
		{ "docs/admin/install.md"; "(#debian-package)"; "(#debian-packages)"; "has no such heading" };
		{ "docs/admin/troubleshooting.md"; "(extensions.md#filters)"; "(extensions.md#filter)"; "has no such heading" };
		{ "README.md"; "](docs/pictures/push.svg)"; "](docs/pictures/pull.svg)"; "docs/pictures/pull.svg leads nowhere" };
		{ "docs/lonely.md"; nil; "# Lonely\n"; "docs/lonely.md cannot be reached" };
		{ "docs/pictures/lonely.svg"; nil; "<svg/>\n"; "docs/pictures/lonely.svg cannot be reached" };
		{ "README.md"; "\n[Rust]: "; "\n[Rusts]: "; "[Rust] is defined nowhere" };
		{ "README.md"; nil; "\n[Lua]: https://www.lua.org/\n"; "[Lua] is used nowhere" };
		{ "README.md"; "https://prosody.im/"; "http://prosody.im/"; "no https" };
		{ "README.md"; "`make rock`"; "`make rocks`"; "make has no target rocks" };
		{ "README.md"; "`push explain`"; "`push complain`"; "there is no command push complain" };
		{ "docs/development.md"; "`tools/check-floors`"; "`tools/check-roofs`"; "names tools/check-roofs" };
		{ "docs/business-rules.md"; "`on_archived`"; "`on_" .. "archive`"; "which no source has" }; -- This is one
		{ "docs/architecture.md"; "(`encryption.rs`, "; "(`encrypting.rs`, "; "names encrypting.rs, which no source has" };
		{ "README.md"; nil; "\nLike this:\n\n    make\n"; "code stands in a fence" };
	};
	["tools/check-floors"] = {
		{ "src/engine/identity.rs"; "use xmpp_parsers"; "use super::face;\nuse xmpp_parsers"; "which stands above it" };
		{ "src/engine/identity.rs"; "use xmpp_parsers"; "use super::face;\nuse xmpp_parsers"; "circle" };
		{ "docs/architecture.md"; "| `rate.rs`, "; "| "; "has 0 rows with src/engine/rate.rs" };
		{ "docs/architecture.md"; "| `rate.rs`, "; "| `rate.rs`, `ghost.rs`, "; "ghost.rs, which is not there" };
		{ "docs/architecture.md"; "`terminal.lib.lua`, "; "`explain.lib.lua`, "; "are not in the order" };
		{ "src/engine/rate.rs"; nil; line_of_code:rep(400); "more than 400" };
		{ "src/engine/rate.rs"; nil; "\nimpl Rate {" .. line_of_code:rep(250) .. "\n}\n"; "more than 250" };
	};
	["tools/check-supply-chain"] = {
		{ "deny.toml"; '"MIT", '; ""; "has the licence MIT" };
		{ "deny.toml"; '\t{ crate = "syn@2"'; '\t{ crate = "mlua@0"'; "syn is there as" };
		{ "deny.toml"; '\t{ crate = "syn@2"'; '\t{ crate = "mlua@0"'; "mlua@0 is no duplicate any more" };
		{ "docs/development.md"; "| `lru` | MIT |"; "| `lru` | ISC |"; "lru has the licence MIT" };
		{ "docs/development.md"; "| `lru` | MIT |"; "| `lur` | MIT |"; "lru has 0 reasons" };
		{ "docs/development.md"; "| `lru` | MIT |"; "| `lur` | MIT |"; "lur is no dependency" };
		{ "docs/development.md"; " | Tests: `cargo bench` |"; " | `cargo bench` |"; "criterion is for tests" };
		{ "fuzz/Cargo.lock"; "registry+https://github.com/"; "registry+https://crates.test/"; "is not from the registry" };
		{ "fuzz/Cargo.lock"; "\nchecksum = "; "\n# checksum = "; "is not from the registry" };
	};
	["tools/draw-pictures --check"] = {
		{ "docs/pictures/push.dot"; "label"; "label "; "docs/pictures/push.svg is not of what it shows" };
		{ "docs/pictures/push.svg"; "<text"; "<text "; "docs/pictures/push.svg is not of what it shows" };
		{ "docs/pictures/test.txt"; "taken"; "refused"; "docs/pictures/test.svg is not of what it shows" };
		{ "contrib/grafana-dashboard.json"; '"title"'; '"title" '; "docs/pictures/dashboard.svg is not" };
		{ "docs/pictures/old.svg"; nil; "<svg/>\n"; "docs/pictures/old.svg is not of what it shows" };
	};
};

describe("a check of the sources", function ()
	setup(function ()
		local _, path = run("mktemp -d -t checks-spec.XXXXXXXX");
		path = path:match("^[^\n]+");
		local copy = "git -c safe.directory='*' ls-files -z | tar -c --null --files-from=- | tar -x -C ";
		assert(run(copy .. process.quote(path)));
		tree = path;
	end);

	teardown(function ()
		os.execute("rm -rf " .. process.quote(tree));
	end);

	it("is that of npm: what others have made is pinned by its bytes, wherever it comes from", function ()
		local lock = read("spec/support/clients/package-lock.json");
		local _, packages = lock:gsub('\n    "node_modules/', "");
		local _, pinned = lock:gsub('\n      "integrity": "sha512%-', "");
		assert.is_true(packages > 10);
		assert.equal(packages, pinned);
		assert.is_nil(lock:find('"resolved"', 1, true));
	end);

	it("is a part of make lint", function ()
		local _, recipe = run("make -n lint");
		for check in pairs(checks) do assert.truthy(recipe:find("\n" .. check .. "\n", 1, true), check); end
		for _, check in ipairs({ "fmt --check\n"; "clippy --locked --all-targets"; "cargo doc"; "luacheck --quiet" }) do
			assert.truthy(recipe:find(check, 1, true), check);
		end
	end);

	for check, cases in pairs(checks) do
		describe(check, function ()
			it("is content", function ()
				local ok, output = run(check);
				assert.is_true(ok, output);
			end);

			for _, case in ipairs(cases) do
				local path, old, new, said = table.unpack(case, 1, 4);

				it("says: " .. said, function ()
					local before = read(path);
					local from, to = #before + 1, #before;
					if old then from, to = before:find(old, 1, true); end
					write(path, before:sub(1, assert(from, old) - 1) .. new .. before:sub(to + 1));
					local ok, output = run(check);
					write(path, before);
					assert.is_false(ok, output);
					assert.truthy(output:find(said, 1, true), output);
				end);
			end
		end);
	end
end);
