-- The oldest Lua that Prosody runs on, without what the next ones dropped.
std = "lua52"
not_globals = { "bit32" }
cache = false

-- What Prosody gives to its modules.
local plugin = { globals = { "module" }, read_globals = { "prosody" } }
files["lua"] = plugin
files["spec/support/plugins"] = plugin

files["spec"] = { std = "+busted" }
files["bench"] = { std = "lua54" }
files["fuzz"] = { std = "lua54" }
files["bench/plugins"] = { std = "lua52", globals = { "module", "prosody" } }
