-- Web Push as a device and its push service see it: web_push.py, which is other people's code.

require "spec.support.init";

local json = require "util.json";
local loop = require "spec.support.loop";
local loopback = require "spec.support.loopback";
local process = require "spec.support.process";

local web_push = {};

local packages = "build/debian/http-ece/usr/lib/python3/dist-packages";

local python, connection; -- started with the first request
local received = "";

local function start()
	local port = ("%d"):format(loopback.free_port());
	python = process.spawn({
		"env"; "PYTHONPATH=" .. packages;
		"/usr/bin/python3"; "-B"; "spec/support/web_push.py"; loopback.address; port;
	}, "/dev/stderr");
	local function on_data(data) received = received .. data; end
	connection = loop.wait_for(function ()
		assert(python:running(), "web_push.py has ended");
		return loop.connect(port, on_data, function () end);
	end, nil, "web_push.py to listen");
end

local function ask(name, arguments)
	if not connection then start(); end
	connection:send(json.encode({ name; arguments }) .. "\n");
	local line = loop.wait_for(function ()
		assert(not connection.closed, "web_push.py has ended");
		return received:match("^[^\n]*\n");
	end, nil, "an answer from web_push.py");
	received = received:sub(#line + 1);
	local answer = json.decode(line);
	if answer.error then error(name .. ": " .. answer.error, 3); end
	return answer;
end

-- New key material, in base64: ua_private, ua_public, auth_secret of the device; jwt_key (PKCS#8) and jwt_public of its
-- push service.
function web_push.keys()
	return ask("keys", {});
end

-- What a payload says to the device whose keys these are. Raises an error if it is not for it, or no UTF-8.
function web_push.decrypt(keys, payload)
	return ask("decrypt", { ua_private = keys.ua_private; auth_secret = keys.auth_secret; payload = payload }).text;
end

-- The claims of a token, and its header. Raises an error if the key has not signed it, if it is for another audience,
-- or if it is too late.
function web_push.verify(token, key, audience)
	local answer = ask("verify", { token = token; key = key; audience = audience });
	return answer.claims, answer.header;
end

return web_push;
