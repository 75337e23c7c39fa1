-- Clocks that can be set, for programs that ask for the time of day. Time that only grows, which is what
-- timeouts are measured in, is as it is.

require "spec.support.init";

local lfs = require "lfs";

local clock = {};

-- Where Debian puts libfaketime, by architecture.
local function find_library()
	for directory in lfs.dir("/usr/lib") do
		local path = "/usr/lib/" .. directory .. "/faketime/libfaketime.so.1";
		if lfs.attributes(path) then return path; end
	end
	error("there is no libfaketime");
end

-- Has the clock in a file go wrong by so many seconds.
function clock.set(path, seconds)
	-- It may be read at any moment.
	local file = assert(io.open(path .. ".new", "w"));
	assert(file:write(("%+d\n"):format(seconds)));
	assert(file:close());
	assert(os.rename(path .. ".new", path));
end

-- The command with the clock in a file, which is right to begin with.
function clock.command(path, command)
	if not lfs.attributes(path) then clock.set(path, 0); end
	return {
		"env"; "LD_PRELOAD=" .. find_library(); "FAKETIME_TIMESTAMP_FILE=" .. path; "FAKETIME_NO_CACHE=1";
		"FAKETIME_DONT_FAKE_MONOTONIC=1"; "DONT_FAKE_MONOTONIC=1"; table.unpack(command);
	};
end

return clock;
