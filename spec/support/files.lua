-- Files, as a whole.

local files = {};

function files.read(path)
	local file = assert(io.open(path, "rb"));
	local content = file:read("*a");
	file:close();
	return content;
end

function files.write(path, content)
	local file = assert(io.open(path, "wb"));
	assert(file:write(content));
	assert(file:close());
end

return files;
