local client = require "spec.support.client";
local devices = require "spec.support.devices";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

for _, version in ipairs(prosody.all_versions) do
	describe("in a server that does odd things, on Prosody " .. version .. ",", function ()
		local server, push, bert;

		setup(function ()
			server = prosody.start({ version = version; options = { push_coalesce_window = 0 } });
			server:add_user("bert", "secret", "home.test");
			push = push_service.connect(server, "push.test", "secret");
			bert = client.connect(server, "bert@home.test");
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		before_each(function () push:clear(); end);

		it("a session that was bound while the module was not loaded is attached when it is", function ()
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone" });
			devices.enable(phone, { jid = "push.test"; node = "n1" });
			phone:close();
			server:unload_module("cloud_notify", "home.test");
			phone = client.connect(server, jid, { resource = "phone" });
			server:load_module("cloud_notify", "home.test");
			assert.equal("push.test<n1", server:session(phone.full_jid).push_identifier);
			bert:message({ to = jid; body = "Hello" });
			phone:expect({ body = "Hello" });
			push:expect_none();
			phone:close();
		end);

		it("an archive that does not tell its id is a reason all the same", function ()
			local jid = devices.new_user(server);
			local phone = client.connect(server, jid, { resource = "phone" });
			devices.enable(phone, { jid = "push.test"; node = "n1" });
			phone:close();
			server:eval([[
				local jid, user = ...;
				module("home.test", "cloud_notify"):fire_event("archive-message-added", {
					origin = {}, for_user = user,
					stanza = st.message({ from = "bert@home.test", to = jid, id = "m1" }, "Hello"),
				});
			]], jid, jid:match("^[^@]+"));
			assert.equal("n1", push:wait(1).node);
		end);

		it("one push that fails stops no other", function ()
			local jid = devices.new_user(server);
			for i = 1, 3 do
				local phone = client.connect(server, jid, { resource = "phone" .. i });
				devices.enable(phone, { jid = "push.test"; node = "n" .. i });
				phone:close();
			end
			server:eval([[
				rawset(_G, "spec_listener", function (event)
					event.push_info.node = true;
					error("oh no");
				end);
				hosts["home.test"].events.add_handler("cloud_notify/push", spec_listener);
			]]);
			bert:send(st.message({ to = jid; type = "chat"; id = "m1" }):text_tag("body", "Hello"));
			push:wait(3);
			server:eval([[hosts["home.test"].events.remove_handler("cloud_notify/push", spec_listener);]]);
		end);
	end);
end
