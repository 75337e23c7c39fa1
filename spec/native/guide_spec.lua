-- The administrator's guide says what the code says: no option, command or line of the log is missing.

local native = require "spec.support.native";
local files = require "spec.support.files";
local lfs = require "lfs";
local pages = require "spec.support.pages";

local read = files.read;

-- What each row of the tables of a page begins with -> its second cell
local function rows(page)
	local found = {};
	for _, one in ipairs(pages.tables("docs/admin/" .. page)) do
		for _, row in ipairs(one.rows) do
			local name = row[1]:match("^`([^`]+)`");
			if name then
				assert.is_nil(found[name], name);
				found[name] = row[2];
			end
		end
	end
	return found;
end

local function sorted_keys(map)
	local keys = {};
	for key in pairs(map) do keys[#keys + 1] = key; end
	table.sort(keys);
	return keys;
end

-- The options as the module reads them where none is set
local function default_options()
	local module = {
		host = native.host;
		lib = function () return native.library; end;
		get_option = function () end;
		log = error;
	};
	local env = setmetatable({ module = module }, { __index = _G });
	local options = assert(loadfile("lua/options.lib.lua", "t", env))();
	options.read();
	return options.values;
end

local function as_code(value)
	if type(value) == "string" then return ("%q"):format(value); end
	if type(value) ~= "table" then return tostring(value); end
	local names = sorted_keys(value);
	return ('{ "%s" }'):format(table.concat(names, '", "'));
end

-- What is another one each time that a line is said
local examples = {
	"push_\226\128\166"; "Lua \226\128\166"; "\226\128\166"; "/?mod_cloud_notify[/_]"; "push%.example"; "anna";
	"item%-not%-found"; "%([%l-]+%)$"; "after %d+ ms"; "after %d+ min"; "%d+ failures"; "%d+"; "[:,] ";
};

-- Texts as one, however they are written
local sources = {};
for name in lfs.dir("lua") do
	if name:find("%.lua$") then sources[name] = read("lua/" .. name):gsub('"%s*%.%.%s*"', ""); end
end

-- What is logged above level debug, and what the self-test says
local function log_lines()
	local lines = {};
	for name, source in pairs(sources) do
		for arguments in source:gmatch("log(%b())") do
			local text = arguments:match('", .-"(.-)"') or arguments:match(', "(.-)"');
			if text and text ~= "%s" and not arguments:find('^%("debug",') then lines[#lines + 1] = text; end
		end
		if name == "self_test.lib.lua" then
			for text in source:gmatch('problem%("(.-)"') do lines[#lines + 1] = text; end
			for text in source:gmatch('%("([^"]+)"%):format') do lines[#lines + 1] = text; end
		end
	end
	return lines;
end

-- The longest part of a line that is the same each time, before it says why and what to do
local function fixed_words(line)
	local head = line:match("^(.-)[:;] ") or line:match("^(.-) %-%- ") or line;
	local longest = "";
	for part in (head:gsub("%%[sd]", "\n") .. "\n"):gmatch("%s*(.-)%s*\n") do
		for _, preposition in ipairs({ "at"; "for"; "of"; "with" }) do part = part:gsub(" " .. preposition .. "$", ""); end
		if #part > #longest then longest = part; end
	end
	return longest;
end

-- All of a line that is no example stands in one of the texts.
local function assert_said(line, texts)
	local fixed = line;
	for _, example in ipairs(examples) do fixed = fixed:gsub(example, "\n"); end
	for words in fixed:gmatch("[^\n]+") do
		words = words:match("^[%p%s]*(.-)[%p%s]*$");
		local found = false;
		for _, text in pairs(texts) do found = found or text:find(words, 1, true) ~= nil; end
		assert.is_true(found, ("%q of %q"):format(words, line));
	end
end

describe("The administrator's guide", function ()
	it("has each option, with its default, and no other", function ()
		local documented, options = rows("options.md"), default_options();
		assert.same(sorted_keys(options), sorted_keys(documented));
		for name, default in pairs(options) do
			if name ~= "contact_uri" then -- "and the host"
				assert.equal(as_code(default), documented[name]:match("`([^`]*)`"), name);
			end
		end
		assert.equal(options.contact_uri, documented.contact_uri:match('"([^"]*)"') .. native.host);
	end);

	it("has each command of the shell with its arguments, and no other", function ()
		local documented, commands = {}, {};
		for usage in pairs(rows("commands.md")) do
			local name, arguments = usage:match("^push (%S+) ?(.*)$");
			documented[name] = arguments:gsub(" or ", "|");
		end
		local source = read("lua/shell_commands.lib.lua");
		for name, arguments in source:gmatch('\ncommands%.(%w+) = {\n\targuments = "([^"]*)"') do
			commands[name] = arguments:gsub(" or ", "|");
		end
		assert.same(commands, documented);
	end);

	it("has each line of the log, and no other", function ()
		local page, lines = read("docs/admin/log.md"), log_lines();
		assert.is_true(#lines > 30, #lines .. " lines were found");
		local missing = {};
		for _, line in ipairs(lines) do
			local words = fixed_words(line);
			if not page:find(words, 1, true) then missing[#missing + 1] = ("%q of %q"):format(words, line); end
		end
		assert.same({}, missing);

		for row in page:gmatch("\n| (`[^\n]*)") do
			for shown in row:gsub("`push %l+`", ""):gmatch("`([^`]*)`") do assert_said(shown, sources); end
		end
	end);

	it("explains what push explain says, and nothing else", function ()
		local page = read("docs/admin/troubleshooting.md"):match("\n### No push, .*");
		local texts = { sources["explain.lib.lua"]; read("src/engine/reason.rs") };
		local count = 0;
		for shown in page:gmatch("\n| `([^`]*)` | ") do
			assert_said(shown, texts);
			count = count + 1;
		end
		assert.is_true(count > 40, count .. " rows were found");
	end);

	it("has the values of the labels of metrics, and no other", function ()
		local page, missing, unknown = read("docs/admin/metrics.md"), {}, {};
		local texts = sources["metrics.lib.lua"] .. sources["protocols.lib.lua"] .. sources["registrations.lib.lua"];
		for _, name in ipairs({ "engine/answer"; "engine/counts"; "engine/reason"; "stanza/importance" }) do
			texts = texts .. read(("src/%s.rs"):format(name)):gsub("\n#%[cfg%(test%)%]\nmod .*", "");
		end
		for value in texts:gmatch(' => "([%l-]+)"') do
			if value ~= "pushed" and not page:find("`" .. value .. "`", 1, true) then missing[#missing + 1] = value; end
		end
		for labels, text in page:gmatch("\n| `%l[%l_]+` | ([^|]*) | ([^\n]*) |") do
			for value in (labels .. text):gmatch("`([%l%d-]+)`") do
				if not texts:find(('"%s"'):format(value), 1, true) then unknown[#unknown + 1] = value; end
			end
		end
		assert.same({ {}; {} }, { missing; unknown });
	end);

	it("has the ad-hoc commands for users", function ()
		local documented, commands = {}, {};
		for title in read("docs/admin/commands.md"):match("\n## From a client\n(.*)"):gmatch("\n| (%u[^|]*) |") do
			documented[title] = title ~= "Command" or nil;
		end
		for title in read("lua/adhoc_commands.lib.lua"):gmatch('of_user%("([^"]+)"') do commands[title] = true; end
		assert.same(commands, documented);
	end);
end);
