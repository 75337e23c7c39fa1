-- Push services that come and go, as components or as other servers

local guarded = module.lib "util".guarded;
local engine = module.lib "engine".engine;
local arm = module.lib "timer".arm;
local on_service = module.lib "services".on_service;
local on_report = module.lib "reports".on_report;

local pairs = pairs;

local hosts = prosody.hosts;

local connected_components = {}; -- Domain -> true, since this module was loaded

local function on_connected(connected_host)
	local delay, services = engine:connected(connected_host);
	arm(delay);
	for _, service in pairs(services) do on_service(service); end
end

-- External components (XEP-0114)

local function on_component_authenticated(event)
	connected_components[event.session.host] = true;
	on_connected(event.session.host);
end

local function on_component_disconnected(event)
	local session = event.session;
	if session.type ~= "component" then return; end -- It has never been the component
	if prosody.shutdown_reason then return; end -- What is under way is owed after the restart
	local delay, reports = engine:disconnected(session.host);
	arm(delay);
	for _, report in pairs(reports) do
		on_report(report, session.host, "remote-server-timeout");
	end
end

on_component_authenticated = guarded(on_component_authenticated);
on_component_disconnected = guarded(on_component_disconnected);

local function on_host_activated(activated)
	local activated_host = hosts[activated];
	if activated_host.type == "component" then
		module:hook_object_event(activated_host.events, "component-authenticated", on_component_authenticated);
		module:hook_object_event(activated_host.events, "component-disconnected", on_component_disconnected);
	end
	local component = activated_host.modules and activated_host.modules.component;
	if not component or component.connected then on_connected(activated); end
end

-- Of an external component
local function has_never_connected(name)
	local component = hosts[name] and hosts[name].modules and hosts[name].modules.component;
	return component and not component.connected and not connected_components[name];
end

-- Those that are there already
local function meet_hosts()
	local meet = guarded(on_host_activated);
	for name in pairs(hosts) do meet(name); end
end

local function on_s2s_established(event)
	local session = event.session;
	local peer = session.direction == "incoming" and session.from_host or session.to_host;
	if peer then on_connected(peer); end
end

return {
	version = "@VERSION@";
	has_never_connected = has_never_connected;
	on_host_activated = on_host_activated;
	meet_hosts = meet_hosts;
	on_s2s_established = on_s2s_established;
};
