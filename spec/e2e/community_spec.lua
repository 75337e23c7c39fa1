-- The community's modules that do what is done here, too: it is left to those that are loaded.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local encrypted = require "spec.support.encrypted";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_encrypt = "tigase:push:encrypt:0";
local xmlns_muted = "tigase:push:filter:muted:0";
local xmlns_priority = "tigase:push:priority:0";

local modules = { "cloud_notify_encrypted"; "cloud_notify_filters"; "cloud_notify_priority_tag" };

-- What Siskin looks for.
local features = {
	"tigase:push:encrypt:0"; "tigase:push:encrypt:aes-128-gcm"; "tigase:push:filter:groupchat:0";
	"tigase:push:filter:ignore-unknown:0"; "tigase:push:filter:muted:0"; "tigase:push:jingle:0"; "tigase:push:priority:0";
};

local function announced(anna)
	local reply = anna:iq(st.iq({ type = "get"; to = anna.jid; id = "disco" })
		:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
	local found = {};
	for feature in reply.tags[1]:childtags("feature") do
		local name = feature.attr.var;
		if name:find("^tigase:") and name ~= "tigase:push:away:0" then found[#found + 1] = name; end
	end
	table.sort(found);
	return found;
end

-- The lines that say what is no longer needed.
local function said(server, mark)
	loop.wait_for(function ()
		return not inspect.eval(server, [[return (upvalue("is_due"));]]);
	end, nil, "the self test");
	local lines = {};
	for _, line in ipairs(inspect.logged(server, "info", mark)) do
		lines[#lines + 1] = line:match("Extensions are left to ([^-]*), which");
	end
	return lines;
end

local function named(...)
	return (("mod_" .. table.concat({ ... }, ", mod_")));
end

for _, version in ipairs(prosody.versions) do
	describe("beside the community's modules on Prosody " .. version, function ()
		local server, push, rosa, bert;

		local function start(options)
			options.version, options.community = version, true;
			server = prosody.start(options);
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
			bert = client.connect(server, devices.new_user(server));
			if version == "0.12" then
				-- Without util.crypto mod_cloud_notify_encrypted uses luaossl, by a name that it has not defined.
				server:eval([[rawset(_G, "ciphers", require "openssl.cipher")]]);
			end
		end

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		local function elements_of(notification, name, namespace)
			local found = {};
			for element in notification:childtags(name, namespace) do found[#found + 1] = element; end
			return found;
		end

		-- Whoever does it: a client that asks for everything gets it, and gets it once.
		local function assert_all_work()
			local anna = client.connect(server, devices.new_user(server));
			assert.same(features, announced(anna));
			devices.enable(anna, { jid = "push.test"; node = "n1"; extra = {
				st.stanza("muted", { xmlns = xmlns_muted }):tag("item", { jid = bert.jid }):up();
				st.stanza("priority", { xmlns = xmlns_priority });
				encrypted.ask();
			} });
			anna:close();
			assert.same({}, devices.woken(push, bert, anna.jid));
			assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
			local notification = push.received[1].notification;
			assert.equal(1, #elements_of(notification, "encrypted", xmlns_encrypt), tostring(notification));
			local priorities = elements_of(notification, "priority", xmlns_priority);
			assert.equal(1, #priorities, tostring(notification));
			assert.equal("high", priorities[1]:get_text());
			assert.same({}, elements_of(notification, "x", "jabber:x:data"));
		end

		-- The last of them loads this one, too.
		local function start_with_others()
			start({ without = { "cloud_notify" } });
			for _, name in ipairs({ "filters"; "priority_tag"; "encrypted" }) do
				server:load_module("cloud_notify_" .. name, "home.test");
			end
		end

		for order, begin in pairs({
			["by the configuration"] = function () start({ modules = { "cloud_notify_extensions" } }); end;
			["after this one"] = function () start({}); server:load_module("cloud_notify_extensions", "home.test"); end;
			["before this one"] = start_with_others;
		}) do
			it("loaded " .. order .. ": what they do is left to them, and that is said once", function ()
				begin();
				assert_all_work();
				assert.same({ named(table.unpack(modules)) }, said(server));
				for _, name in ipairs({ "cloud_notify"; "cloud_notify_filters"; "cloud_notify" }) do
					server:reload_module(name, "home.test");
				end
				assert_all_work();
				assert.equal(1, #said(server));
			end);
		end

		for _, name in ipairs(modules) do
			it(("mod_%s comes, goes and is reloaded while the server runs"):format(name), function ()
				start({});
				assert_all_work();
				assert.same({}, said(server));
				server:load_module(name, "home.test");
				assert_all_work();
				assert.same({ named(name) }, said(server));
				server:reload_module(name, "home.test");
				assert_all_work();
				assert.equal(1, #said(server));
				server:unload_module(name, "home.test");
				assert_all_work();
				assert.equal(1, #said(server));
				server:load_module(name, "home.test");
				assert_all_work();
				assert.equal(2, #said(server));
			end);
		end

		it("what they do elsewhere is done here for this host", function ()
			start({ config = [[
				VirtualHost "other.test"
				modules_enabled = { "cloud_notify_extensions" }
			]] });
			assert_all_work();
			assert.equal(1, #said(server)); -- That of the other host
		end);
	end);
end
