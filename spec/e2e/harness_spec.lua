local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local push_service = require "spec.support.push_service";
local lfs = require "lfs";

for _, version in ipairs(prosody.all_versions) do
	describe("the test harness with Prosody " .. version, function ()
		local server;

		before_each(function ()
			server = prosody.start({ version = version });
			server:add_user("anna", "secret", "home.test");
			server:add_user("bert", "secret", "home.test");
		end);

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		it("lets two users exchange messages", function ()
			local anna = client.connect(server, "anna@home.test");
			local bert = client.connect(server, "bert@home.test", { resource = "phone" });
			assert.equal("bert@home.test/phone", bert.full_jid);

			anna:message({ to = "bert@home.test", body = "Hello Bert" });
			local greeting = bert:expect({ name = "message", body = "Hello Bert" });
			assert.equal(anna.full_jid, greeting.attr.from);

			bert:message({ to = greeting.attr.from, body = "Hello Anna" });
			anna:expect({ name = "message", from = bert.full_jid, body = "Hello Anna" });
		end);

		it("resumes a session that lost its connection", function ()
			local anna = client.connect(server, "anna@home.test", { sm = "resume" });
			local bert = client.connect(server, "bert@home.test");

			anna:cut();
			assert.is_true(server:session(anna.full_jid).hibernating);
			bert:message({ to = anna.full_jid, body = "Are you there?" });
			bert:ping();

			assert.equal(anna, anna:resume());
			assert.is_false(server:session(anna.full_jid).hibernating);
			anna:expect({ name = "message", body = "Are you there?" });
		end);

		it("tells when a session cannot be resumed", function ()
			local anna = client.connect(server, "anna@home.test", { sm = "noresume" });

			anna:cut();
			assert.is_nil(server:session(anna.full_jid));

			anna.sm_id = "unknown";
			local resumed, failed = anna:resume();
			assert.is_false(resumed);
			assert.equal("failed", failed.name);
			anna:bind();
			anna:close();
		end);

		it("takes and answers the notifications of an offline user", function ()
			local push = push_service.connect(server, "push.test", "secret");
			local anna = client.connect(server, "anna@home.test");
			local bert = client.connect(server, "bert@home.test");

			local reply = anna:enable_push({ jid = "push.test", node = "n1", options = { secret = "x" } });
			assert.equal("result", reply.attr.type);
			anna:close();
			push:expect_none();

			bert:message({ to = "anna@home.test", body = "Wake up" });
			local publish = push:wait(1);
			assert.equal("n1", publish.node);
			assert.equal("x", publish.options.secret);
			assert.equal("1", publish.form["message-count"]);
			push:expect_none();

			push:disconnect();
			push:clear();
			bert:message({ to = "anna@home.test", body = "Still asleep?" });
			bert:ping();
			assert.same({}, push.received);
			push:reconnect();
			assert.equal("n1", push:wait(1).node);
		end);

		it("looks inside the server", function ()
			local mark = server:log_mark();
			server:eval([=[module("home.test", "cloud_notify"):log("info", "Saw %d of %s", ...)]=], 3, "\0\n'ä");
			server:wait_log("Saw 3 of", nil, mark);

			assert.same({ 1, nil, { "two" } }, { server:eval([=[return 1, nil, { "two" }]=]) });
			assert.has_error(function () server:eval([=[error({})]=]); end);
			assert.equal("secret", server:store_get("home.test", "accounts", "anna").password);
			server:reload_module("cloud_notify", "home.test");
			assert.is_true(server:heap() > 0 and server:rss() > 0);
		end);

		it("keeps data and ports over a restart", function ()
			local ports = server.ports;
			server:restart();
			assert.equal(ports, server.ports);
			client.connect(server, "anna@home.test"):close();

			server:kill();
			assert.is_false(server:running());
			server:restart();
			client.connect(server, "anna@home.test"):close();
		end);

		it("leaves nothing behind", function ()
			local pid, directory = server:pid(), server.directory;
			assert.truthy(lfs.attributes("/proc/" .. pid));
			server:stop();
			assert.is_nil(lfs.attributes("/proc/" .. pid));
			assert.is_nil(lfs.attributes(directory));
		end);
	end);
end
