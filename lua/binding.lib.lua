-- Sessions that bind are attached to what their clients have enabled: not every client enables push on every connection

local util = module.lib "util";
local datetime = util.prosody_require "util.datetime".datetime;
local guarded = util.guarded;
local engine = module.lib "engine".engine;
local hibernation = module.lib "hibernation";
local extend_hibernation, plan_wake = hibernation.extend, hibernation.plan_wake;
local protocols = module.lib "protocols";
local sessions = module.lib "sessions";
local get_registration, is_attached = sessions.get_registration, sessions.is_attached;
local attach_owner = sessions.attach_owner;
local registrations = module.lib "registrations";
local read_records, load_records, end_trust = registrations.read, registrations.load, registrations.end_trust;

local os_time = os.time;
local ipairs = ipairs;

local function on_resource_bind(event)
	local session = event.session;
	local user = session.username;
	session.push_bound = datetime();
	local records = read_records(user) or load_records(user);
	for _, protocol in ipairs(protocols.all) do
		local identifier = get_registration(session, protocol) or records and attach_owner(session, protocol, records);
		if identifier then engine:back(user, identifier); end
	end
end

-- Sessions that were there before this module was loaded
local function attach_all()
	local bind = guarded(on_resource_bind);
	sessions.for_all(function (session)
		bind({ session = session });
		if not is_attached(session) or not session.hibernating then return; end
		local called = session.first_hibernated_push;
		if called then plan_wake(session, os_time() - called); else extend_hibernation(session); end
	end);
end

-- What is served has changed: whoever has no registration any more is detached when they are read
local function attach_anew()
	end_trust();
	sessions.for_all(guarded(function (session)
		local records = read_records(session.username);
		for _, protocol in ipairs(records and protocols.all or {}) do
			local identifier = not get_registration(session, protocol) and attach_owner(session, protocol, records);
			if identifier and not session.hibernating then engine:back(session.username, identifier); end
		end
	end));
end

return {
	version = "@VERSION@";
	on_resource_bind = on_resource_bind;
	attach_all = attach_all;
	attach_anew = attach_anew;
};
