-- The pictures of terminals show what an administrator sees.

local prosody = require "spec.support.prosody";
local sessions = require "spec.pictures.sessions";

local function recorded(name)
	local file = assert(io.open("docs/pictures/" .. name .. ".txt"));
	local text = file:read("*a");
	file:close();
	return text;
end

for _, version in ipairs(prosody.versions) do
	describe("the pictures of the shell of Prosody " .. version, function ()
		local shown;

		setup(function () shown = sessions.play(version, 0); end);

		teardown(prosody.stop_all);

		for _, name in ipairs({ "explain"; "test" }) do
			it("show what push " .. name .. " says", function ()
				assert.equal(sessions.essence(recorded(name)), sessions.essence(shown[name]));
			end);
		end
	end);
end
