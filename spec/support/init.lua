-- Lets the test process use Prosody's own libraries (util.stanza, util.xmppstream, ...),
-- those built for the Lua that it runs on.

local lua = _VERSION:match("%d.%d");
local prosody_libs = lua == "5.4" and "/usr/lib/prosody" or "build/prosody-0.12-lua" .. lua;

if not package.path:find(prosody_libs, 1, true) then
	package.path = prosody_libs .. "/?.lua;" .. package.path;
	package.cpath = prosody_libs .. "/?.so;" .. package.cpath;
end

return prosody_libs;
