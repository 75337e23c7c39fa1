-- The commands in the pages, and what runs them.

local commands = {};

-- Commands for a running server are run by spec/e2e/pages_spec.lua itself.
local here = "^prosodyctl shell ";

-- What runs blocks of the README as they are there.
local of_readme = 'system.commands("README.md"';

-- All others: which file runs the like, and what stands there.
local elsewhere = {
	{ "^apt install "; "spec/packages/packages_spec.lua"; of_readme };
	{ "^apt purge "; "spec/packages/packages_spec.lua"; of_readme };
	{ "^sed %-i .* /etc/prosody/prosody%.cfg%.lua$"; "spec/packages/packages_spec.lua"; of_readme };
	{ "^service prosody restart$"; "spec/packages/packages_spec.lua"; of_readme };
	{ "^install %-d /usr/local/lib/prosody/modules$"; "spec/packages/packages_spec.lua"; of_readme };
	{ "^tar %-xf prosody%-mod%-cloud%-notify%-rs%-"; "spec/packages/packages_spec.lua"; of_readme };
	{ "^prosodyctl install "; "spec/e2e/rock_spec.lua"; '"install", rock' };
	{ "^prosodyctl remove "; "spec/e2e/rock_spec.lua"; '"remove"' };
	{ "^luarocks %-%-lua%-version=5%.4 "; "spec/e2e/rock_spec.lua"; "luarocks --lua-version=5.4" };
	{ "^make rock$"; "tools/test-packages"; "make dist rock" };
	{ "^tools/install%-packages build$"; ".ci/run"; "tools/install-packages build" };
	{ "^make$"; "tools/run-tests"; "make --no-print-directory" };
	{ "^make install$"; "spec/e2e/install_spec.lua"; "install" };
	{ "^make deb$"; "tools/test-packages"; "make deb" };
	{ "^make dist$"; "tools/test-packages"; "make dist" };
	{ "^make lint$"; ".ci/run"; "make lint" };
	{ "^make test$"; ".ci/run"; "make test" };
	{ "^make demo$"; ".ci/run"; "make demo" };
	{ "^make memcheck$"; ".ci/run"; "make memcheck" };
	{ "^make fuzz$"; ".ci/run"; "make fuzz" };
	{ "^make bench$"; ".ci/run"; "make bench QUICK=1" }; -- Half an hour otherwise
	{ "^make bench QUICK=1$"; ".ci/run"; "make bench QUICK=1" };
	{ "^make pictures$"; "Makefile"; "tools/draw-pictures" }; -- `make lint` compares them with their sources
	{ "^make recordings$"; "Makefile"; "spec/pictures/record.lua" }; -- Seven minutes
	{ "^make mutants$"; "Makefile"; "tools/run-mutants" }; -- More than an hour
	{ "^cargo test$"; "tools/run-tests"; "cargo test --locked" };
	{ "^cargo test %-%-release %-%-test model$"; "tools/run-tests"; "cargo test --locked" };
	{ "^cargo bench$"; "Makefile"; "clippy --locked --all-targets" }; -- Built, that is
	{ "^cargo bench %-%-bench web_push$"; "Makefile"; "clippy --locked --all-targets" };
	{ "^lua5%.4 /usr/bin/busted spec/"; "tools/run-tests"; "/usr/bin/busted --output=gtest" };
};

-- Which in turn are run there
local run_by = {
	["spec/packages/packages_spec.lua"] = { "tools/test-packages"; "busted --output=gtest spec/packages" };
	["tools/test-packages"] = { ".ci/run"; "\ntools/test-packages " };
	["tools/run-tests"] = { "Makefile"; "\ttools/run-tests\n" };
};

local function contains(path, text)
	local file = io.open(path);
	local found = file and file:read("*a"):find(text, 1, true);
	if file then file:close(); end
	return found;
end

-- Those of a block, in an array: { text, output }, the latter an array of the lines that the page shows
function commands.of(block)
	local found = {};
	for line in (block.text .. "\n"):gmatch("([^\n]*)\n") do
		local typed = block.language == "sh" and line or line:match("^%$ (.*)");
		for text in typed and (typed:gsub("%s+#.*$", "") .. " && "):gmatch("%s*(.-)%s* && ") or function () end do
			text = text:gsub("^sudo ", ""):gsub("^[%u_]+=%S+ ", "");
			if text ~= "" and not text:find("^#") then found[#found + 1] = { text = text; output = {} }; end
		end
		if not typed then table.insert(assert(found[#found], block.title .. " has output of no command").output, line); end
	end
	return found;
end

function commands.is_here(text)
	return text:find(here) ~= nil;
end

-- What runs a command, or nil and what is wrong
function commands.runner(text)
	if commands.is_here(text) then return "spec/e2e/pages_spec.lua"; end
	for _, one in ipairs(elsewhere) do
		local pattern, path, proof = one[1], one[2], one[3];
		if text:find(pattern) then
			if not contains(path, proof) then return nil, ("%s does not run %q"):format(path, text); end
			local caller = run_by[path];
			if caller and not contains(caller[1], caller[2]) then return nil, ("%s does not run %s"):format(caller[1], path); end
			if proof ~= of_readme or contains("README.md", text) then return path; end
			return nil, ("%s runs what the README has, which is not %q"):format(path, text);
		end
	end
	return nil, ("nothing runs %q: see spec/support/commands.lua"):format(text);
end

-- The words of a command as a shell reads them
function commands.words(text)
	local pipe = io.popen("printf '%s\\n' " .. text);
	local words = {};
	for word in pipe:lines() do words[#words + 1] = word; end
	assert(pipe:close(), text);
	return words;
end

return commands;
