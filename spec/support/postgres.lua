-- A throwaway PostgreSQL server, which ends with this process at the latest.

require "spec.support.init";

local lfs = require "lfs";
local loopback = require "spec.support.loopback";
local process = require "spec.support.process";

local tool = lfs.currentdir() .. "/tools/postgres";

local postgres = {};

local methods = {};
local postgres_mt = { __index = methods };

local function run(...)
	local quoted = {};
	for i, argument in ipairs({ ... }) do
		quoted[i] = process.quote(tostring(argument));
	end
	assert(os.execute(table.concat(quoted, " ")));
end

function postgres.start()
	local output = io.popen("mktemp -d -t postgres-spec.XXXXXXXX");
	local directory = output:read("*l");
	assert(output:close());
	local self = setmetatable({ directory = directory; port = loopback.free_port() }, postgres_mt);
	run(tool, "start", directory, loopback.address, self.port);
	return self;
end

-- What Prosody needs to know of it: its option "sql".
function methods:connection()
	return {
		driver = "PostgreSQL"; host = loopback.address; port = self.port;
		database = "prosody"; username = "prosody"; password = "";
	};
end

function methods:stop()
	run(tool, "stop", self.directory);
	run("rm", "-rf", self.directory);
end

return postgres;
