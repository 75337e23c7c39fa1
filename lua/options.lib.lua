-- The options of this host, valid ones only

local native = module.lib "native";

local next, pairs, pcall, tonumber, tostring, type = next, pairs, pcall, tonumber, tostring, type;

local max_logged_value = 100; -- of an option
local max_text = 4096;

-- What Prosody's own get_option_boolean takes
local function boolean(value)
	if value == true or value == "true" or value == 1 then return true; end
	if value == false or value == "false" or value == 0 then return false; end
end

local function text(value)
	if type(value) == "number" then value = tostring(value); end
	if native.is_xml_text(value) and #value <= max_text then return value; end
end

local function number(min, integer)
	return function (value)
		value = tonumber(value);
		if value and value >= min and value <= 1e9 and not (integer and value % 1 ~= 0) then return value; end
	end
end

local function one_of(...)
	local values = {};
	for _, value in pairs({ ... }) do values[value] = value; end
	return function (value) return values[value]; end
end

-- Of a list, or of one, those that are known: name -> true. And one that is not.
local function some_of(...)
	local known = {};
	for _, name in pairs({ ... }) do known[name] = true; end
	return function (value)
		local found, unknown = {}, nil;
		for _, name in pairs(type(value) == "table" and value or { value }) do
			if known[name] then found[name] = true; else unknown = name; end
		end
		return next(found) and found or nil, unknown;
	end
end

local function boolean_or(name)
	return function (value)
		if value == name then return value; end
		return boolean(value);
	end
end

local function uri(value)
	if text(value) and value:find("^%a[%w+.-]*:.") then return value; end
end

local known_options = {
	contact_uri = { default = "xmpp:" .. module.host, uri, "a URI" };
	push_answer_timeout = { default = 120, number(1), "a number of seconds, at least 1" };
	push_cache_age = { default = 60, number(1), "a number of seconds, at least 1" };
	push_coalesce_window = { default = 1, number(0), "a number of seconds" };
	push_max_devices = { default = 5, number(1, true), "a whole number, at least 1" };
	push_max_errors = { default = 16, number(1, true), "a whole number, at least 1" };
	push_max_failures = { default = 5, number(0, true), "a whole number, 0 for no limit" };
	push_max_hibernation_timeout = { default = 72*3600, number(1), "a number of seconds, at least 1" };
	push_max_in_flight = { default = 4096, number(1, true), "a whole number, at least 1" };
	push_max_per_minute = { default = 60, number(0, true), "a whole number, 0 for no limit" };
	push_notification_important_body = { default = "New Message!", text,
		"a string in UTF-8 without control characters, of at most 4096 bytes" };
	push_notification_count = { default = "one", one_of("one", "unread"), "'one' or 'unread'" };
	push_notification_with_body = { default = false, boolean, "true or false" };
	push_notification_with_sender = { default = false, boolean, "true or false" };
	push_notify_on = { default = "all", one_of("all", "messages", "important"), "'all', 'messages' or 'important'" };
	push_notify_read = { default = "asked", boolean_or("asked"), "'asked', true or false" };
	push_protocols = { default = { push = true; push2 = true }, some_of("push", "push2"), "a list of 'push' and 'push2'";
		shown = "both" };
	push_recovery_rate = { default = 50, number(1, true), "a whole number, at least 1" };
	push_retry_age = { default = 24*3600, number(0), "a number of seconds" };
	push_retry_max = { default = 30*60, number(0.1), "a number of seconds, at least 0.1" };
	push_retry_min = { default = 5, number(0.1), "a number of seconds, at least 0.1" };
	push_trace = { default = true, boolean, "true or false" };
	push_wake_before_timeout = { default = 0, number(0), "a number of seconds, 0 for never" };
	push_wake_on_start = { default = false, boolean, "true or false" };
};

local options = {};

-- A value may be anything, also something that cannot be printed
local function describe(value)
	local ok, printed = pcall(tostring, value);
	if not ok then printed = type(value); end
	return (printed:sub(1, max_logged_value):gsub("[^\32-\126]", function (char)
		return ("\\%d"):format(char:byte());
	end));
end

-- The value in the configuration if it is valid, or nil and what is wrong
local function read_option(name, option)
	local ok, value = pcall(module.get_option, module, name);
	if not ok then return nil, ("cannot be read (%s)"):format(describe(value)); end
	if value == nil then return; end
	local valid, unknown;
	ok, valid, unknown = pcall(option[1], value);
	if ok and valid ~= nil then
		return valid, unknown ~= nil and ("must be %s: '%s' in it is ignored"):format(option[2], describe(unknown)) or nil;
	end
	return nil, ("must be %s, not %s '%s'"):format(option[2], type(value), describe(value));
end

local function read_options()
	for name, option in pairs(known_options) do
		local value, problem = read_option(name, option);
		if problem and value == nil then
			module:log("error", "Option %s %s: using the default, %s", name, problem, option.shown or tostring(option.default));
		elseif problem then
			module:log("error", "Option %s %s", name, problem);
		end
		if value == nil then value = option.default; end
		options[name] = value;
	end
end

return {
	version = "@VERSION@";
	values = options;
	read = read_options;
	text = text;
};
