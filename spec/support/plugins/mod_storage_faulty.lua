-- A storage driver that is the internal one until it is told to fail: the shared
-- table "failing" has "error" or "raise" per method ("get", "set", "open"), per store and method
-- ("cloud_notify/get"), or per store, method and user ("cloud_notify/get/anna"). What the option spec_failing
-- has is there from the start.

local storagemanager = require "core.storagemanager";

local failing = module:shared("failing");

for name, how in pairs(module:get_option("spec_failing") or {}) do failing[name] = how; end

local real_driver = storagemanager.load_driver(module.host, "internal");

local function fail(how)
	if how == "raise" then error("the disk is on fire", 0); end
	return nil, "the disk is on fire";
end

local function wrap(real_store, store)
	return setmetatable({}, { __index = function (_, name)
		local method = real_store[name];
		if type(method) ~= "function" then return method; end
		return function (_, user, ...)
			local path = store .. "/" .. name;
			local how = failing[name] or failing[path] or failing[path .. "/" .. tostring(user)];
			if how then return fail(how); end
			return method(real_store, user, ...);
		end
	end });
end

local driver = {};

function driver:open(name, kind) -- luacheck: ignore 212/self
	local how = failing.open or failing[name .. "/open"];
	if how then return fail(how); end
	local real_store, err = real_driver:open(name, kind);
	if not real_store then return nil, err; end
	return wrap(real_store, name);
end

function driver:purge(user) -- luacheck: ignore 212/self
	return real_driver:purge(user);
end

module:provides("storage", driver);
