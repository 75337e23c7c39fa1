-- Records what docs/pictures show of real servers: `make recordings`. The pictures are drawn of it.

require "spec.support.init";

local dashboard = require "spec.pictures.dashboard";
local files = require "spec.support.files";
local json = require "util.json";
local prosody = require "spec.support.prosody";
local sessions = require "spec.pictures.sessions";

local function write(name, text)
	files.write("docs/pictures/" .. name, text);
end

local function record()
	write("dashboard.json", json.encode_ordered(dashboard.play()) .. "\n");
	for name, text in pairs(sessions.play("0.12", 1)) do write(name .. ".txt", text); end
end

local ok, err = xpcall(record, debug.traceback);
prosody.stop_all();
if not ok then
	io.stderr:write(err, "\n");
	os.exit(1, true);
end
