-- Text for people at a terminal, and for machines

local native = module.lib "native";
local util = module.lib "util";
local human_io = util.prosody_require "util.human.io";
local json = util.prosody_require "util.json";

local math_floor, os_date, os_time = math.floor, os.date, os.time;
local ipairs, pairs, tonumber, tostring, type = ipairs, pairs, tonumber, tostring, type;

local width = 78; -- An interactive shell puts two characters before each line
local max_echoed = 100; -- of an argument

-- Nothing that is stored, nor an argument, controls a terminal or breaks the stream to it
local function printable(value)
	value = tostring(value);
	local is_text = native.is_xml_text(value);
	local function escape(char)
		return (char:gsub(".", function (byte) return ("\\%d"):format(byte:byte()); end));
	end
	value = value:gsub(is_text and "[%c\127]" or "[^\32-\126]", escape);
	if not is_text then return value; end
	-- C1 control characters, and those that turn the direction of what follows
	return (value:gsub("\194[\128-\159]", escape):gsub("\226\128[\142\143\168-\174]", escape)
		:gsub("\226\129[\166-\169]", escape));
end

-- What somebody has typed
local function echo(argument)
	if #argument <= max_echoed then return printable(argument); end
	return printable((argument:sub(1, max_echoed):gsub("[\192-\255][\128-\191]*$", ""))) .. "...";
end

-- Values in columns; the widths are those of the columns
local function row(columns, values)
	local cells = {};
	for i, column in ipairs(columns) do
		local cell = human_io.ellipsis(printable(values[i] or "-"), column);
		cells[i] = i == #columns and cell or human_io.padright(cell, column);
	end
	return (table.concat(cells, "  "):gsub(" +$", ""));
end

local function shorten(text, columns)
	return human_io.ellipsis(printable(text), columns or width);
end

-- A text in lines, none of them wider than that; all but the first are as far to the right as that says
local function wrapped(text, columns, indent)
	local lines, line = {}, nil;
	for word in printable(text):gmatch("%S+") do
		word = human_io.ellipsis(word, columns - #indent);
		local longer = line and line .. " " .. word or word;
		if line and human_io.ellipsis(longer, columns) ~= longer then
			lines[#lines + 1] = line;
			longer = indent .. word;
		end
		line = longer;
	end
	lines[#lines + 1] = line;
	return lines;
end

-- The same, with all lines there
local function indented(print, text, indent)
	for _, line in ipairs(wrapped(text, width - #indent, "")) do print(indent .. line); end
end

-- A text beside its label, in lines that are all as far to the right
local function labelled(print, label, text)
	local indent = (" "):rep(#label);
	for i, line in ipairs(wrapped(text, width - #label, "")) do print((i == 1 and label or indent) .. line); end
end

-- What a command has to say in the end: the shell begins the first line
local function message(text)
	return table.concat(wrapped(text, width - #"Error: ", "    "), "\n");
end

local function duration(seconds)
	if seconds < 0 then seconds = 0; end
	if seconds < 0.9995 then return ("%.0f ms"):format(seconds * 1000); end
	if seconds < 99.5 then return ("%.3g s"):format(seconds); end
	if seconds < 99.5 * 60 then return ("%.0f min"):format(seconds / 60); end
	if seconds < 48 * 3600 then return ("%.0f h"):format(seconds / 3600); end
	return ("%d d"):format(math_floor(seconds / 86400));
end

local function age(time)
	if not time or time ~= time or time < 0 or time > 1e12 then return; end
	local seconds = math_floor(os_time() - time);
	return seconds < 1 and "0 s" or duration(seconds);
end

-- In UTC
local function date(time, format)
	if time ~= time or time < 0 or time > 1e11 then return; end
	return os_date("!" .. (format or "%Y-%m-%d %H:%M"), math_floor(time));
end

local function count(number, one, many)
	return ("%d %s"):format(number, number == 1 and one or many or one .. "s");
end

-- One JSON document: an element in each line, for there is a limit to what the shell takes at once
local function clean(value)
	if type(value) == "string" then return printable(value); end
	if type(value) == "number" then
		if value ~= value or value >= 1e15 or value <= -1e15 then return; end
		return math_floor(value) == value and value or tonumber(("%.3f"):format(value));
	end
	if type(value) ~= "table" then return value; end
	local cleaned = {};
	for key, field in pairs(value) do cleaned[key] = clean(field); end
	return cleaned;
end

local function print_json(print, elements)
	print("[");
	for i, element in ipairs(elements) do print(json.encode(clean(element)) .. (elements[i + 1] and "," or "")); end
	print("]");
end

return {
	version = "@VERSION@";
	printable = printable;
	echo = echo;
	row = row;
	shorten = shorten;
	indented = indented;
	labelled = labelled;
	message = message;
	duration = duration;
	age = age;
	date = date;
	count = count;
	print_json = print_json;
};
