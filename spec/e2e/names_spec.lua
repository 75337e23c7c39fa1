-- What the pages name is there: options, modules, fields, protocols, tests, and files of this version.

require "spec.support.init";

local pages = require "spec.support.pages";
local read = require "spec.support.files".read;

local sources = "lua src contrib Makefile";
local tests = "spec tests bench fuzz/fuzz_targets";
local others = "/usr/lib/prosody build/debian/*/usr/lib/prosody";

-- Of programs that are not here, and examples
local foreign = {
	example_org = true;
	isolate_except_domains = true;
	mod_isolate_host = true;
	mod_s2s_whitelist = true;
	muc_offline_delivery = true;
	push_app_servers = true;
};

-- Line -> true
local function lines_of(command, ...)
	local pipe = io.popen(command:format(...));
	local lines = {};
	for line in pipe:lines() do lines[line] = true; end
	assert(pipe:close());
	return lines;
end

-- What fits a pattern in the code that stands in texts, and in what configurations set: an array
local function named(pattern)
	local names, seen = {}, {};
	local function add(text)
		for name in text:gmatch(pattern) do
			if not seen[name] then seen[name], names[#names + 1] = true, name; end
		end
	end
	for _, code in ipairs(pages.inline("")) do add(code.text); end
	for _, block in ipairs(pages.blocks()) do
		for option in block.language == "lua" and ("\n" .. block.text):gmatch("\n%s*([%w_]+) =") or function () end do
			add(option);
		end
	end
	return names;
end

local function without(known, names)
	local missing = {};
	for _, name in ipairs(names) do
		if not known[name] then missing[#missing + 1] = name; end
	end
	return missing;
end

-- Titles are those of groups and of the test itself, in a row.
local function has_title(texts, title)
	for _, text in ipairs(texts) do
		if #text > 8 and title:sub(-#text) == text then return true; end
	end
	return false;
end

describe("the pages", function ()
	it("name options, modules, fields and functions that are there", function ()
		local known = lines_of([[{
			grep -rIohE '\w+' %s spec/support
			grep -rIohE '\w+_\w+' %s
			find %s %s %s -printf '%%f\n' | sed 's/\..*//'
		} | sort -u]], sources, others, sources, tests, others);
		local names = named("%f[%w_]%l[%l%d]*_[%l%d_]*[%l%d]%f[^%w_]");
		assert.is_true(#names > 150, #names .. " names were found");
		for name in pairs(foreign) do known[name] = true; end
		for _, row in ipairs(pages.rows("docs/admin/metrics.md", "Metrics")) do known[pages.names(row[1])[1]] = true; end
		assert.same({}, without(known, names));
	end);

	it("name variables of the environment that something reads", function ()
		local names = named("%f[%w_]%u+_[%u_]*%u%f[^%w_]");
		for _, block in ipairs(pages.blocks()) do
			for name in (block.language == "sh" and block.text or ""):gmatch("%f[%w_](%u[%u_]+)=") do
				names[#names + 1] = name;
			end
		end
		assert.is_true(#names > 5, #names .. " names were found");
		local known = lines_of([[grep -rIohE '\w+' Makefile .ci/run tools bench fuzz/src spec/support src tests | sort -u]]);
		assert.same({}, without(known, names));
	end);

	it("name commands and flags that somebody knows", function ()
		local shell, known = read("lua/shell_commands.lib.lua"), {};
		for _, command in ipairs(named("%f[%w]push:(%l+)%(")) do
			assert.truthy(shell:find(("\ncommands.%s = {"):format(command), 1, true), command);
		end
		local names = named("%f[%-]%-%-%l[%l-]*");
		assert.is_true(#names > 3, #names .. " names were found");
		for _, name in ipairs(names) do
			known[name] = next(lines_of("grep -rlF -e '%s' lua Makefile .ci tools spec/e2e/rock_spec.lua || true", name));
		end
		assert.same({}, without(known, names));
	end);

	it("name protocols that are spoken", function ()
		local known = {};
		local names = named("%f[%w]%l+:[%l%d]+:[%w:/.+-]*%d%f[^%w]");
		for _, ending in ipairs(named("\226\128\166(:[%l%d:+-]+)")) do names[#names + 1] = ending; end -- "…:match:all"
		for _, block in ipairs(pages.blocks()) do
			for name in (block.language == "xml" and block.text or ""):gmatch("['\"](%l+:[%l%d]+:[%w:.+-]+)['\"]") do
				names[#names + 1] = name;
			end
		end
		assert.is_true(#names > 30, #names .. " names were found");
		for _, name in ipairs(names) do
			known[name] = known[name] or next(lines_of("grep -rlF '%s' lua src spec/support %s || true", name, others));
		end
		assert.same({}, without(known, names));
	end);

	it("name packages, archives and rocks of this version, and the Rust that it takes", function ()
		local cargo = read("Cargo.toml");
		local version, rust = cargo:match('\nversion = "([^"]+)"'), cargo:match('\nrust%-version = "([^"]+)"');
		local files = 0;
		for _, page in ipairs(pages.all()) do
			local text = read(page);
			for name, of in text:gmatch("(%f[%w]p?[%l-_]*cloud[_-]notify[%l-]*[_-])(%d+%.%d+%.%d+)") do
				assert.equal(version, of, page .. ": " .. name);
				files = files + 1;
			end
			for folder in text:gmatch("/usr/local/lib/prosody/?%w*") do
				assert.equal("/usr/local/lib/prosody/modules", folder, page);
			end
			for named_rust in text:gmatch("Rust%]? (%d+%.%d+)") do assert.equal(rust, named_rust, page); end
		end
		assert.is_true(files > 6, files .. " files were found");
		assert.equal(rust, read("debian/control"):match("cargo:native %(>= ([%d.]+)%)"));
	end);

	it("name tests that are there, with their titles", function ()
		local page, count, missing, path, texts = "docs/business-rules.md", 0, {}, nil, nil;
		for _, found in ipairs(pages.tables(page)) do
			for _, row in ipairs(found.rows) do
				for spec, title in row[#row]:gsub("`([%w_/]+_spec)`", '"@%1"'):gmatch('"(@?)([^"]+)"') do
					if spec == "@" then
						path = title:find("/") and title .. ".lua" or ("spec/e2e/%s.lua"):format(title);
						texts = {};
						for text in read(path):gmatch('[^\\]"([^"\n]+)"') do texts[#texts + 1] = text:gsub(" on Prosody $", ""); end
					elseif not has_title(texts, title) then
						missing[#missing + 1] = path .. ": " .. title;
					end
					count = count + 1;
				end
			end
		end
		assert.is_true(count > 30, count .. " were found");
		assert.same({}, missing);
	end);
end);
