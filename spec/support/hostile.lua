-- What a careless or malicious caller may hand over.

local hostile = {};

local function raise()
	error("a metamethod was called");
end

local raising = {
	__index = raise; __newindex = raise; __len = raise; __pairs = raise; __ipairs = raise; __eq = raise;
	__tostring = raise; __call = raise; __concat = raise; __lt = raise; __le = raise; __unm = raise;
};

function hostile.raising(content)
	return setmetatable(content or {}, raising);
end

local function cyclic(table)
	table.attr, table.tags, table[1], table.self = table, { table }, table, table;
	table.tags[2] = table.tags;
	return table;
end

-- Values that no argument, field or child is meant to have.
hostile.values = {
	["true"] = true;
	["false"] = false;
	["zero"] = 0;
	["a negative number"] = -1;
	["a fraction"] = 1.5;
	["a huge number"] = 1e300;
	["infinity"] = 1/0;
	["not a number"] = 0/0;
	["an empty string"] = "";
	["NUL"] = "a\0b";
	["no UTF-8"] = "\255\254\192\128";
	["half a character"] = "\226\130";
	["a string of a number"] = "1e5";
	["a function"] = function () error("called"); end;
	["a thread"] = coroutine.create(raise);
	["a file"] = io.stdout;
	["an empty table"] = {};
	["a table with holes"] = { nil, nil, "x", nil, {}, [100] = {}, [-1] = {}, [0.5] = {}, [true] = {} };
	["a table of tables"] = { {}, { {} }, { name = {}, attr = {}, tags = {} } };
	["a table with itself in it"] = cyclic({ name = "message" });
	["a table that raises"] = hostile.raising();
	["a string metatable"] = setmetatable({}, { __index = string; __metatable = "locked" });
};

return hostile;
