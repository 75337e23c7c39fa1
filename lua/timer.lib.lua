-- One timer serves the next of all deadlines of this host, which the engine keeps

local serve_deadlines;
local deadline_timer;

local function on_timer()
	deadline_timer = nil;
	serve_deadlines();
end

local function arm(delay)
	if not delay then return; end
	if deadline_timer then deadline_timer:stop(); end
	deadline_timer = module:add_timer(delay, on_timer);
end

local function serve_with(handler)
	serve_deadlines = handler;
end

return {
	version = "@VERSION@";
	arm = arm;
	serve_with = serve_with;
};
