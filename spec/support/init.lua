-- Lets the test process use Prosody's own libraries (util.stanza, util.xmppstream, ...).

local prosody_libs = "/usr/lib/prosody";

if not package.path:find(prosody_libs, 1, true) then
	package.path = prosody_libs .. "/?.lua;" .. package.path;
	package.cpath = prosody_libs .. "/?.so;" .. package.cpath;
end

return prosody_libs;
