local client = require "spec.support.client";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";

-- Debian's Prosody runs on Lua 5.4, with which all other specs are run.
for _, lua in ipairs({ "5.2"; "5.3" }) do
	describe("a server on Lua " .. lua, function ()
		local server, push, bert;

		setup(function ()
			server = prosody.start({ lua = lua });
			server:add_user("anna", "secret", "home.test");
			server:add_user("bert", "secret", "home.test");
			push = push_service.connect(server, "push.test", "secret");
			bert = client.connect(server, "bert@home.test");
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		it("pushes by every rule, once", function ()
			local anna = client.connect(server, "anna@home.test", { resource = "phone"; sm = "resume" });
			assert.equal("result", anna:enable_push({ jid = "push.test"; node = "n1"; options = { secret = "s" } }).attr.type);
			anna:cut();
			bert:message({ to = "anna@home.test"; body = "hibernated" });
			assert.equal("n1", push:wait(1).node);
			assert(anna:resume());
			anna:expect({ name = "message"; body = "hibernated" });
			anna:ack();
			anna:close();
			bert:message({ to = "anna@home.test"; body = "archived and offline" });
			local publish = push:wait(2);
			assert.equal("New Message!", publish.form["last-message-body"]);
			assert.equal("s", publish.options.secret);
			push:expect_none(1.2);
		end);

		it("keeps registrations over a reload", function ()
			server:reload_module("cloud_notify", "home.test");
			push:clear();
			bert:message({ to = "anna@home.test"; body = "again" });
			assert.equal("n1", push:wait(1).node);
		end);
	end);
end
