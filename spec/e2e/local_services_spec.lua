-- Push services that are modules of the server itself: what they get has never been on a stream.

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local prosody = require "spec.support.prosody";
local st = require "util.stanza";
local parse_xml = require "util.xml".parse;

local xmlns_data = "jabber:x:data";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local pubsub, service = "pubsub.home.test", "local.test";

local summary_path = "{urn:xmpp:push:0}notification/{jabber:x:data}x";

-- The texts of the pushes among some items.
local function texts(items)
	local found = {};
	for i, item in ipairs(items) do
		for field in item:find(summary_path):childtags("field") do
			if field.attr.var == "last-message-body" then found[i] = field:get_child_text("value"); end
		end
	end
	return found;
end

local function describe_all(version)
	local server, sender;

	setup(function ()
		server = prosody.start({
			version = version;
			modules = { "pep" };
			config = ([[
				Component %q "pubsub"
				Component %q "spec_push_service"
			]]):format(pubsub, service);
		});
		server:add_user("rosa", "secret", "home.test");
		sender = client.connect(server, "rosa@home.test");
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function push_once(address, node, options)
		local phone = client.connect(server, devices.new_user(server), { resource = "phone" });
		devices.enable(phone, { jid = address; node = node; options = options });
		phone:close();
		sender:message({ to = phone.jid; body = "Hello" });
		sender:ping();
		assert.equal(0, devices.push_errors(server, phone.jid, address .. "<" .. node));
	end

	describe("mod_pubsub", function ()
		local function open_node(node)
			server:eval([[
				local host, node = ...;
				assert(module(host, "pubsub").environment.service:create(node, true, { publish_model = "open"; max_items = 10 }));
			]], pubsub, node);
		end

		local function items(node)
			local stored = server:eval([[
				local host, node = ...;
				local service = module(host, "pubsub").environment.service;
				local items = select(2, assert(service:get_items(node, true)));
				local stored = {};
				for i, id in ipairs(items) do stored[i] = st.preserialize(items[id]); end
				return stored;
			]], pubsub, node);
			for i, item in ipairs(stored) do stored[i] = st.deserialize(item); end
			return stored;
		end

		it("stores a push to an open node as an item", function ()
			open_node("open");
			push_once(pubsub, "open");
			assert.same({ "New Message!" }, texts(items("open")));
			push_once(pubsub, "open");
			assert.equal(2, #items("open"));
		end);

		it("sees the publish options", function ()
			open_node("optional");
			push_once(pubsub, "optional", { ["pubsub#max_items"] = "10" });
			assert.same({ "New Message!" }, texts(items("optional")));
			local phone = client.connect(server, devices.new_user(server));
			devices.enable(phone, { jid = pubsub; node = "optional"; options = { ["pubsub#max_items"] = "11" } });
			phone:close();
			sender:message({ to = phone.jid; body = "Hello" });
			sender:ping();
			assert.equal(1, #items("optional"));
			assert.equal(1, devices.push_errors(server, phone.jid, pubsub .. "<optional"));
		end);
	end);

	it("mod_pep stores a push to an open node of a user as an item", function ()
		local form = st.stanza("x", { xmlns = xmlns_data; type = "submit" });
		local function field(name, value)
			form:tag("field", { var = name }):text_tag("value", value):up();
		end
		field("FORM_TYPE", "http://jabber.org/protocol/pubsub#node_config");
		field("pubsub#publish_model", "open");
		local created = sender:iq(st.iq({ type = "set"; id = "c1" }):tag("pubsub", { xmlns = xmlns_pubsub })
			:tag("create", { node = "pushes" }):up()
			:tag("configure"):add_child(form));
		assert.equal("result", created.attr.type, tostring(created));
		push_once(sender.jid, "pushes");
		local reply = sender:iq(st.iq({ type = "get"; id = "i1" }):tag("pubsub", { xmlns = xmlns_pubsub })
			:tag("items", { node = "pushes" }));
		local items = {};
		for item in reply:get_child("pubsub", xmlns_pubsub):get_child("items"):childtags("item") do
			items[#items + 1] = item;
		end
		assert.same({ "New Message!" }, texts(items));
	end);

	it("any module gets what a parser would have made of it, and of what listeners add", function ()
		server:eval([[
			local service = module(..., "spec_push_service");
			local got = service:shared("got");
			service:hook("iq/host", function (event)
				got.tree, got.xml = st.preserialize(event.stanza), tostring(event.stanza);
			end, 200);
			module("home.test", "cloud_notify"):hook("cloud_notify/push", function (event)
				local payload = event.notification_payload;
				payload:tag("encrypted", { xmlns = "urn:example:e" }):tag("inner"):tag("other", { xmlns = "urn:example:o" })
					:tag("innermost"):reset();
				event.notification_stanza:tag("plain"):text_tag("inner", "text"):reset();
			end);
		]], service);
		push_once(service, "node", { secret = "s3" });
		local got = server:eval([[return module(..., "spec_push_service"):shared("got");]], service);
		assert.same(st.preserialize(assert(parse_xml(got.xml))), got.tree);
	end);
end

for _, version in ipairs(prosody.all_versions) do
	describe("a push service that is a module, with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
