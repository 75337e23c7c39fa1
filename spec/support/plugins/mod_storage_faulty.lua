-- A storage driver that is the internal one until it is told to fail: the shared
-- table "failing" has, per method ("get", "set"), "error" or "raise".

local storagemanager = require "core.storagemanager";

local failing = module:shared("failing");

local real_driver = storagemanager.load_driver(module.host, "internal");

local function fail(how)
	if how == "raise" then error("the disk is on fire", 0); end
	return nil, "the disk is on fire";
end

local function wrap(real_store)
	return setmetatable({}, { __index = function (_, name)
		local method = real_store[name];
		if type(method) ~= "function" then return method; end
		return function (_, ...)
			if failing[name] then return fail(failing[name]); end
			return method(real_store, ...);
		end
	end });
end

local driver = {};

function driver:open(name, kind) -- luacheck: ignore 212/self
	local real_store, err = real_driver:open(name, kind);
	if not real_store then return nil, err; end
	return wrap(real_store);
end

function driver:purge(user) -- luacheck: ignore 212/self
	return real_driver:purge(user);
end

module:provides("storage", driver);
