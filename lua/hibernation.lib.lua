-- How long a session may hibernate

local timer = module.lib "util".prosody_require "util.timer";
local options = module.lib "options".values;
local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local protocols = module.lib "protocols".all;

local pairs, setmetatable, type = pairs, setmetatable, type;

-- COMPAT 0.12: its watchdogs cannot be given another timeout, and a cancelled one stays in memory
-- until that is over.
local watchdog = {};
watchdog.__index = watchdog;

function watchdog:reset(timeout)
	self:cancel();
	self.timeout = timeout;
	self.timer_id = timer.add_task(timeout, function () self:callback(); end);
end

function watchdog:cancel()
	if self.timer_id then timer.stop(self.timer_id); end
	self.timer_id = nil;
end

-- Before its time is over its device is woken, once, so that it may come back and keep it
local function plan_wake(session, elapsed)
	local dog = session.hibernating_watchdog;
	if not dog or session.push_woken then return; end
	for _, protocol in pairs(protocols) do
		local identifier = session[protocol.identifier];
		if type(identifier) == "string" then
			arm(engine:plan_wake(session.username, identifier, dog.timeout - (elapsed or 0)));
		end
	end
end

local function set_hibernation_timeout(session, timeout)
	local dog = session.hibernating_watchdog;
	if not dog then return; end
	dog:reset(timeout);
	if dog.timeout ~= timeout then
		dog:cancel();
		session.hibernating_watchdog = setmetatable({ callback = dog.callback }, watchdog);
		session.hibernating_watchdog:reset(timeout);
	end
	plan_wake(session);
end

local function extend_hibernation(session)
	local dog = session.hibernating_watchdog;
	if not dog then return; end
	session.original_smacks_timeout = dog.timeout;
	set_hibernation_timeout(session, options.push_max_hibernation_timeout);
end

local function end_extension(session)
	if session.hibernating and session.original_smacks_timeout then
		set_hibernation_timeout(session, session.original_smacks_timeout);
	end
	session.original_smacks_timeout = nil;
end

return {
	version = "@VERSION@";
	plan_wake = plan_wake;
	extend = extend_hibernation;
	end_extension = end_extension;
};
