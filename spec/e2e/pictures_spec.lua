-- The pictures of terminals show what an administrator sees.

local prosody = require "spec.support.prosody";
local files = require "spec.support.files";
local sessions = require "spec.pictures.sessions";

for _, version in ipairs(prosody.versions) do
	describe("the pictures of the shell of Prosody " .. version, function ()
		local shown;

		setup(function () shown = sessions.play(version, 0); end);

		teardown(prosody.stop_all);

		for _, name in ipairs({ "explain"; "test" }) do
			it("show what push " .. name .. " says", function ()
				assert.equal(sessions.essence(files.read("docs/pictures/" .. name .. ".txt")), sessions.essence(shown[name]));
			end);
		end
	end);
end
