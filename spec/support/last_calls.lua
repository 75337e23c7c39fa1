-- Calls everything in the native library while Lua ends: from finalisers older and younger than it, which
-- are called after and before those of the library itself. Run by spec/native/finalisers_spec.lua.

local calls, errors, everything;

local function last_call()
	local more = everything.call(calls);
	for _, list in ipairs({ errors; more }) do
		for _, err in ipairs(list) do tostring(err); end
	end
	errors = more;
end

local older = setmetatable({}, { __gc = last_call });

everything = require "spec.support.everything";
local native = require "spec.support.native";
local st = require "util.stanza";

local engine = native.library.open("home.test", st.stanza_mt, st.deserialize);
calls = everything.of(native.library, engine);
errors = everything.call(calls);

-- One that is used again after it was finalised, and one in which something hangs that is no more.
local resurrected, younger;
do
	setmetatable({}, { __gc = function (self) resurrected = self; last_call(); end });
	local lost = setmetatable({ native.library.open("lost.test", st.stanza_mt, st.deserialize) }, { __gc = last_call });
	lost[2] = everything.of(native.library, lost[1]);
end
collectgarbage();
collectgarbage();
if resurrected then setmetatable(resurrected, { __gc = last_call }); end
younger = setmetatable({}, { __gc = last_call });

os.exit(older ~= younger, true);
