-- A whole Debian in a directory, with a Prosody that runs there as its administrator would have it.
-- tools/test-packages makes it, and namespaces in which nothing else is.

local commands = require "spec.support.commands";
local files = require "spec.support.files";
local loop = require "spec.support.loop";
local pages = require "spec.support.pages";
local process = require "spec.support.process";

local system = {
	root = os.getenv("SPEC_ROOT");
	-- As clients and push services want to know a server
	ports = { c2s = 5222; component = 5347 };
	options = { hosts = { "localhost" } };
};

function system.read(path)
	local file = io.open(system.root .. path, "rb");
	local text = file and file:read("*a");
	if file then file:close(); end
	return text;
end

function system.write(path, text)
	files.write(system.root .. path, text);
end

-- Runs a command as root there, in /root, who answers yes and lets nobody else read what is new; returns what it says
-- and raises an error if it fails.
function system.run(command)
	local pipe = io.popen("yes 2>/dev/null | chroot " .. process.quote(system.root) .. " sh -ec " ..
		process.quote("export DEBIAN_FRONTEND=noninteractive LC_ALL=C HOME=/root; umask 077; cd; exec 2>&1; " .. command));
	local output = pipe:read("*a");
	if not pipe:close() then error(command .. ":\n" .. output, 2); end
	return output;
end

-- What systemd does when it is told to start a service anew. (Debian's init script would look for a
-- process of Lua 5.2.)
local service = [[
#!/bin/sh -e
start-stop-daemon --stop --quiet --oknodo --retry 30 --user prosody --pidfile /run/prosody/prosody.pid
[ "$2" = restart ] || exit 0
install -d -o prosody -g prosody /run/prosody
start-stop-daemon --start --quiet --chuid prosody --pidfile /run/prosody/prosody.pid --startas /usr/bin/prosody -- -D
]];

function system.take_over_services()
	system.write("/usr/local/sbin/service", service);
	system.run("chmod 755 /usr/local/sbin/service");
end

-- The commands of the block in a page that has a certain line. (There is no sudo; the user is root.)
function system.commands(page, line)
	for _, block in ipairs(pages.blocks()) do
		if block.page == page and block.language == "sh" and block.text:find(line, 1, true) then
			local found = {};
			for i, command in ipairs(commands.of(block)) do found[i] = command.text; end
			return found;
		end
	end
	error(page .. " has no commands with " .. line);
end

-- What there is besides records of the system's own and what a server writes: path -> what tells
-- whether it has changed.
function system.files()
	local found = {};
	for line in system.run([[
		find / -xdev \( -path /proc -o -path /root -o -path /run -o -path /tmp -o -path /var/cache -o -path /var/lib/apt \
			-o -path /var/lib/dpkg -o -path /var/lib/prosody -o -path /var/log -o -path /etc/prosody \) -prune \
			-o ! -type d -printf '%p\t%y %m %U %G %s %T@ %l\n' -o -printf '%p\t%y %m %U %G\n'
	]]):gmatch("[^\n]+") do
		local path, state = line:match("^(.-)\t(.*)$");
		found[path] = state;
	end
	return found;
end

-- What `prosodyctl shell` says to a line of Lua.
function system.shell(code)
	return system.run("prosodyctl shell " .. process.quote("> " .. code));
end

-- For clients, which want to know when their end has been noticed.

function system.running() return true; end

function system:session(full_jid)
	local state = self.shell(([[
		local session = prosody.full_sessions[%q];
		return session and (session.hibernating and "hibernating" or "live");
	]]):format(full_jid):gsub("%s+", " ")):match("Result: (%S+)");
	return state ~= "nil" and { hibernating = state == "hibernating" } or nil;
end

-- Waits until clients, push services and administrators can connect.
function system.wait()
	loop.wait_for(function ()
		for _, port in pairs(system.ports) do
			local connection = loop.connect(port, function () end, function () end);
			if not connection then return false; end
			connection:close();
		end
		return (pcall(system.shell, "return true"));
	end, nil, "Prosody to listen");
end

return system;
