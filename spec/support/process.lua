-- Child processes that cannot outlive the test process.

require "spec.support.init";

local loop = require "spec.support.loop";
local signal = require "util.signal";

local process = {};

local methods = {};
local process_mt = { __index = methods };

function process.quote(argument)
	return "'" .. argument:gsub("'", "'\\''") .. "'";
end

-- Runs a command of the shell, with each %s of it replaced by one of the arguments, quoted; returns what it says and
-- raises an error if it fails.
function process.output(command, ...)
	local quoted = {};
	for i, argument in ipairs({ ... }) do quoted[i] = process.quote(argument); end
	local pipe = io.popen(command:format(table.unpack(quoted)) .. " 2>&1");
	local output = pipe:read("*a");
	if not pipe:close() then error(command .. ":\n" .. output, 2); end
	return output;
end

-- Starts a program, with its output appended to a file. It gets none of the open
-- connections of this process (it would keep them open), and the kernel kills it
-- when this process ends, in whatever way.
function process.spawn(arguments, output_path)
	local quoted = {};
	for i, argument in ipairs(arguments) do
		quoted[i] = process.quote(argument);
	end
	local pipe = io.popen([[
		exec bash -c '
			echo $$;
			for fd in /proc/$$/fd/*; do
				fd=${fd##*/};
				if ((fd > 2)); then exec {fd}>&-; fi;
			done;
			exec setpriv --pdeathsig KILL -- "$@" </dev/null >>"$0" 2>&1
		' ]] .. process.quote(output_path) .. " " .. table.concat(quoted, " "));
	local pid = assert(pipe:read("*n"), "could not start a process");
	-- Created after the pipe, so that a finalizer kills before one waits.
	return setmetatable({ pid = pid; pipe = pipe }, process_mt);
end

-- A process that has exited is a zombie until its status is collected.
function methods:running()
	if not self.pipe then return false; end
	local file = io.open("/proc/" .. self.pid .. "/stat");
	local state = file and file:read("*a"):match("%) (%u)[^)]*$");
	if file then file:close(); end
	return state ~= nil and state ~= "Z" and state ~= "X";
end

-- Collects the exit status: "exit" or "signal", and its number.
local function collect(self)
	local _, kind, status = self.pipe:close();
	self.pipe = nil;
	return kind, status;
end

-- Asks the process to end, and waits until it has.
function methods:terminate()
	signal.kill(self.pid, "SIGTERM");
	loop.wait_for(function () return not self:running(); end, nil, "process " .. self.pid .. " to end");
	return collect(self);
end

function methods:kill()
	if not self.pipe then return; end
	signal.kill(self.pid, "SIGKILL");
	return collect(self);
end

process_mt.__gc = methods.kill;

return process;
