-- Usage: launch.lua SCRIPT SOURCEDIR PLUGINDIR DATADIR [prosody arguments]
--
-- Runs the `prosody` script of any installation. A script has the paths of its
-- installation written into its CFG_* lines when it is built; this does the same
-- for an installation that has been unpacked elsewhere or was never installed.

local script = table.remove(arg, 1);
local paths = {
	SOURCEDIR = table.remove(arg, 1);
	PLUGINDIR = table.remove(arg, 1);
	DATADIR = table.remove(arg, 1);
};

local file = assert(io.open(script));
local code = file:read("*a");
file:close();

code = code:gsub("^#!", "--"):gsub("\nCFG_(%u+)=[^\n]*", function (name)
	return paths[name] and ("\nCFG_%s = %q;"):format(name, paths[name]);
end);

assert(load(code, "@" .. script))();
