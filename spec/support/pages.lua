-- The pages of this repository: their tables and blocks of code.

local lfs = require "lfs";

local pages = {};

local function read_lines(path)
	local lines = {};
	for line in io.lines(path) do lines[#lines + 1] = line; end
	return lines;
end

local function add_below(found, directory)
	local names = {};
	for name in lfs.dir(directory) do names[#names + 1] = name; end
	table.sort(names);
	for _, name in ipairs(names) do
		local path = directory .. "/" .. name;
		if name:find("^%.") then -- luacheck: ignore 542
		elseif lfs.attributes(path, "mode") == "directory" then
			add_below(found, path);
		elseif name:find("%.md$") then
			found[#found + 1] = path;
		end
	end
end

function pages.all()
	local found = { "README.md"; "CHANGELOG.md" };
	add_below(found, "docs");
	return found;
end

-- Blocks of code: { page, line, language, text }
function pages.blocks()
	local blocks = {};
	for _, page in ipairs(pages.all()) do
		local block, indent, fence;
		for number, line in ipairs(read_lines(page)) do
			if not block then
				local found_indent, found_fence, language = line:match("^( *)(```+)%s*(%S*)");
				if found_fence then
					indent, fence = found_indent, found_fence;
					block = { page = page; line = number; language = language; lines = {} };
				end
			elseif line:match("^%s*(```+)%s*$") == fence then
				block.text = table.concat(block.lines, "\n");
				blocks[#blocks + 1], block = block, nil;
			else
				block.lines[#block.lines + 1] = line:sub(1, #indent):find("^ *$") and line:sub(#indent + 1) or line;
			end
		end
		assert(not block, page .. " ends in a block of code");
	end
	return blocks;
end

-- Code that stands in the text and fits a pattern, each once: { page, text }
function pages.inline(pattern)
	local found, seen = {}, {};
	for _, page in ipairs(pages.all()) do
		local in_block = false;
		for _, line in ipairs(read_lines(page)) do
			if line:find("^%s*```") then in_block = not in_block; end
			for code in (in_block and "" or line):gmatch("`([^`]+)`") do
				if code:find(pattern) and not seen[code] then
					seen[code] = true;
					found[#found + 1] = { page = page; text = code };
				end
			end
		end
	end
	return found;
end

local function cells(line)
	local found = {};
	for cell in line:gsub("\\|", "\0"):match("^|(.*)|%s*$"):gmatch("([^|]*)|?") do
		found[#found + 1] = cell:gsub("%z", "|"):match("^%s*(.-)%s*$");
	end
	return found;
end

-- Tables: { page, heading, header, rows }, the latter two as arrays of cells
function pages.tables(page)
	local tables, heading, open = {}, nil, nil;
	for _, line in ipairs(read_lines(page)) do
		heading = line:match("^#+ (.*)") or heading;
		if not line:find("^|") then
			open = nil;
		elseif not open then
			open = { page = page; heading = heading; header = cells(line); rows = {} };
			tables[#tables + 1] = open;
		elseif not line:find("^|[%-:| ]+|%s*$") then
			table.insert(open.rows, cells(line));
		end
	end
	return tables;
end

-- The rows of the tables below a heading
function pages.rows(page, heading)
	local rows = {};
	for _, found in ipairs(pages.tables(page)) do
		for _, row in ipairs(found.heading == heading and found.rows or {}) do rows[#rows + 1] = row; end
	end
	assert(rows[1], ("%s has no table below %q"):format(page, heading));
	return rows;
end

-- What stands in backquotes
function pages.names(cell)
	local names = {};
	for name in cell:gmatch("`([^`]+)`") do names[#names + 1] = name; end
	return names;
end

return pages;
