-- Reads encrypted notifications (tigase:push:encrypt:0) as a device does, by means of OpenSSL.

require "spec.support.init";

local base64 = require "util.encodings".base64.decode;
local json = require "util.json";
local st = require "util.stanza";

-- Prosody has it from 13.0 on.
local path = "build/debian/prosody-13.0/usr/lib/prosody/util/crypto.so";
local crypto = assert(package.loadlib(path, "luaopen_util_crypto"))();

local xmlns_data = "jabber:x:data";
local xmlns_encrypt = "tigase:push:encrypt:0";
local xmlns_priority = "tigase:push:priority:0";

local encrypted = { key = "AAECAwQFBgcICQoLDA0ODw==" };

-- What a client adds to <enable/>; max_size may be nil.
function encrypted.ask(key, max_size)
	return st.stanza("encrypt", { xmlns = xmlns_encrypt; alg = "aes-128-gcm"; ["max-size"] = max_size })
		:text(key or encrypted.key);
end

-- What a notification says to the device, and the element that carries it. Nothing else may say anything.
function encrypted.read(publish, key)
	local element = publish.notification:get_child("encrypted", xmlns_encrypt);
	assert(element, tostring(publish.stanza));
	assert(not publish.notification:get_child("x", xmlns_data), tostring(publish.stanza));
	local iv = base64(element.attr.iv);
	assert(#iv == 12);
	local text = crypto.aes_128_gcm_decrypt(base64(key or encrypted.key), iv, base64(element:get_text()));
	return json.decode(assert(text, "the tag is wrong")), element;
end

-- high, low or nil
function encrypted.priority(publish)
	return publish.notification:get_child_text("priority", xmlns_priority);
end

return encrypted;
