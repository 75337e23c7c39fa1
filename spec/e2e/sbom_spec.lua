-- The bill of materials has all that cargo links into the library, and nothing else.

require "spec.support.init";

local json = require "util.json";
local read = require "spec.support.files".read;

local function lines_of(command)
	local pipe = io.popen(command);
	local lines = {};
	for line in pipe:lines() do lines[#lines + 1] = line; end
	assert(pipe:close(), command);
	return lines;
end

describe("the bill of materials", function ()
	local sbom;

	setup(function ()
		sbom = json.decode(table.concat(lines_of("tools/make-sbom"), "\n"));
	end);

	it("has the crates of all platforms, as cargo sees them, with their checksums", function ()
		local checksums, listed, found = {}, {}, {};
		for name, version, checksum in read("Cargo.lock")
			:gmatch('\nname = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "(%x+)"') do
			checksums[name .. " v" .. version] = checksum;
		end
		for target in read("deny.toml"):match("\ntargets = (%b[])"):gmatch('"([^"]+)"') do
			for _, line in ipairs(lines_of("cargo tree --locked --edges normal,build --features lua54 --prefix none --no-dedupe "
				.. "--format '{p}|{l}' --target " .. target)) do
				local name, license = line:match("^(%S+ v[^%s|]+).*|(.*)$");
				if not name:find("^mod_cloud_notify ") then
					found[name] = { license = license:gsub("%s*/%s*", " OR "); checksum = assert(checksums[name], name) };
				end
			end
		end
		for _, one in ipairs(sbom.components) do
			assert.equal("SHA-256", one.hashes[1].alg);
			listed[one.name .. " v" .. one.version] = {
				license = one.licenses[1].expression; checksum = one.hashes[1].content;
			};
		end
		assert.same(found, listed);
	end);

	it("is of this module, and says what needs what", function ()
		local module = sbom.metadata.component;
		assert.equal("mod_cloud_notify", module.name);
		assert.equal(read("Cargo.toml"):match('\nversion = "([^"]+)"'), module.version);
		local known, reached, ahead, needs = { [module["bom-ref"]] = true }, {}, { module["bom-ref"] }, {};
		for _, one in ipairs(sbom.components) do known[one["bom-ref"]] = true; end
		for _, one in ipairs(sbom.dependencies) do needs[one.ref] = one.dependsOn; end
		while ahead[1] do
			local ref = table.remove(ahead);
			if not reached[ref] then
				reached[ref] = true;
				for _, other in ipairs(needs[ref]) do ahead[#ahead + 1] = other; end
			end
		end
		assert.same(known, reached);
	end);
end);
