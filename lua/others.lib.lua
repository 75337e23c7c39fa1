-- The community's modules that do what is done here, too: that is left to them

local native = module.lib "native";
local engine = module.lib "engine".engine;

local ipairs = ipairs;

local hosts = prosody.hosts;

local loaded = {}; -- name -> true

local function look()
	for _, name in ipairs(native.community) do
		loaded[name] = hosts[module.host].modules[name] ~= nil or nil;
	end
	engine:leave_to(loaded);
end

return {
	version = "@VERSION@";
	loaded = loaded;
	look = look;
};
