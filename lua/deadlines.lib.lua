-- What is due: answers that have not come, devices and registrations whose time has come

local util = module.lib "util";
local guarded, none = util.guarded, util.none;
local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local sessions_lib = module.lib "sessions";
local user_sessions, is_suspended, detach = sessions_lib.user_sessions, sessions_lib.is_suspended, sessions_lib.detach;
local get_attached, attach_owners = sessions_lib.get_attached, sessions_lib.attach_owners;
local protocols = module.lib "protocols";
local is_known, protocol_of = protocols.is_known, protocols.of;
local load_records = module.lib "registrations".load;
local reports = module.lib "reports";
local on_report, give_up = reports.on_report, reports.give_up;
local publishing = module.lib "publishing";
local has_listeners, publish_now = publishing.has_listeners, publishing.publish_now;
local wake_before_timeout = module.lib "keepalive".wake_before_timeout;

local pairs = pairs;

-- What has waited for a device, if it still makes sense
local release = guarded(function (user, identifier)
	local records = load_records(user);
	local record = records and records[identifier];
	if not records or not is_known(identifier, record) then
		arm(engine:postpone(user, identifier));
		return;
	end
	-- There is no trial while its client is online
	local owners = record and is_suspended(record) and attach_owners(user, records, identifier);
	local sessions = user_sessions(user);
	for _, session in pairs(sessions or none) do
		record = get_attached(session, identifier) or record;
	end
	if record then
		local delay, stanza, key, important, details = engine:release(user, identifier, record, sessions, has_listeners());
		for _, session in pairs(owners or none) do detach(session, protocol_of(identifier)); end
		publish_now(user, delay, stanza, key, important, details);
	else
		engine:forget(user, identifier);
	end
end);

local serve_deadlines = guarded(function ()
	local delay, due, unanswered, given_up, ending = engine:expire();
	arm(delay);
	for _, report in pairs(unanswered) do
		on_report(report);
	end
	for _, device in pairs(given_up) do
		give_up(device.user, device.identifier);
	end
	for _, device in pairs(due) do
		release(device.user, device.identifier);
	end
	for _, device in pairs(ending) do
		wake_before_timeout(device.user, device.identifier);
	end
end);

return {
	version = "@VERSION@";
	serve = serve_deadlines;
};
