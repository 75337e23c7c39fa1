-- Where servers listen. All of 127.0.0.0/8 is the loopback interface, and each process has an
-- address of its own there, so that specs that run side by side do not take each other's ports.

require "spec.support.init";

local socket = require "socket";
local pid = require "util.pposix".getpid();

local loopback = {};

loopback.address = ("127.%d.%d.%d"):format(math.floor(pid / 65536), math.floor(pid / 256) % 256, pid % 256);

local taken = {};

-- A port that nobody has had. Below the range the kernel takes ports of outgoing connections
-- from, so that it stays free while its server restarts.
function loopback.free_port()
	while true do
		local port = math.random(10240, 32767);
		local listener = not taken[port] and socket.bind(loopback.address, port);
		if listener then
			listener:close();
			taken[port] = true;
			return port;
		end
	end
end

return loopback;
