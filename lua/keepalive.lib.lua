-- Pushes that bring devices back: shortly before their sessions end, and after the server has started

local util = module.lib "util";
local guarded, none = util.guarded, util.none;
local options = module.lib "options".values;
local engine = module.lib "engine".engine;
local store = module.lib "store";
local sessions_lib = module.lib "sessions";
local user_sessions, get_attached = sessions_lib.user_sessions, sessions_lib.get_attached;
local is_suspended = sessions_lib.is_suspended;
local peek_records = module.lib "registrations".peek;
local publishing = module.lib "publishing";
local has_listeners, publish_now = publishing.has_listeners, publishing.publish_now;

local pairs, remove = pairs, table.remove;

-- A hibernated session of the device is about to end
local wake_before_timeout = guarded(function (user, identifier)
	local sessions = user_sessions(user);
	for _, session in pairs(sessions or none) do
		local record = get_attached(session, identifier);
		if record and session.hibernating and not session.push_woken then
			session.push_woken = true;
			publish_now(user, engine:ping(user, identifier, record, has_listeners(), "before-timeout", sessions));
			return;
		end
	end
end);

-- Users who have not been looked at since the start, and the devices in force of the one who is
local users, devices = {}, {};

local function next_device()
	local user = #devices == 0 and remove(users);
	for identifier, record in pairs(user and peek_records(user) or none) do
		if not is_suspended(record) then
			devices[#devices + 1] = { user = user; identifier = identifier; record = record };
		end
	end
	return remove(devices);
end

-- Nobody has to wait for long, whoever reads the store besides: no more users are looked at than may be pushed to
local wake_some = guarded(function ()
	for _ = 1, options.push_recovery_rate do
		local device = next_device();
		if device then
			local user = device.user;
			publish_now(user, engine:ping(user, device.identifier, device.record, has_listeners(), "on-start",
				user_sessions(user)));
		end
	end
end);

local function wake_all()
	if #users == 0 and #devices == 0 then return; end
	wake_some();
	module:add_timer(1, wake_all);
end

local function on_server_started()
	if not options.push_wake_on_start then return; end
	local all, problem = store.users();
	if not all then module:log("error", "Cannot wake devices after the start: %s", problem); end
	users = all or {};
	wake_all();
end

return {
	version = "@VERSION@";
	wake_before_timeout = wake_before_timeout;
	on_server_started = guarded(on_server_started);
};
