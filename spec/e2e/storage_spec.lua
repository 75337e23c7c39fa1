local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local postgres = require "spec.support.postgres";
local push_service = require "spec.support.push_service";

-- What could suffer on its way through a database
local odd_text = "it's \"quoted\" \\ %s &amp; äöü \240\159\147\177 ]]>";

-- The options of a storage that has to work, as functions: a database is started
-- no sooner than it is needed.
local backends = {
	{ name = "internal storage"; options = function () return {}; end };
	{ name = "SQLite"; options = function ()
		return { storage = "sql"; sql = { driver = "SQLite3"; database = "prosody.sqlite" } };
	end };
	{ name = "PostgreSQL"; options = function (database)
		return { storage = "sql"; sql = database:connection() };
	end; needs_database = true };
};

for _, version in ipairs(prosody.versions) do
	for _, backend in ipairs(backends) do
		describe("registrations in " .. backend.name .. " with Prosody " .. version, function ()
			local server, database, push;

			local function reconnect()
				push = push_service.connect(server, "push.test", "secret");
			end

			setup(function ()
				database = backend.needs_database and postgres.start();
				server = prosody.start({
					version = version;
					hosts = { "home.test"; "work.test" };
					options = backend.options(database);
				});
				reconnect();
			end);

			teardown(function ()
				prosody.stop_all();
				if database then database:stop(); end
				assert.same({}, server:faults());
			end);

			local function new_client(options)
				return client.connect(server, devices.new_user(server), options);
			end

			-- The same user name on two hosts
			local function new_namesakes(options)
				local at_home = new_client(options);
				server:add_user(at_home.username, "secret", "work.test");
				return at_home, client.connect(server, at_home.username .. "@work.test", options);
			end

			local function woken(jid)
				local sender = new_client();
				local nodes = devices.woken(push, sender, jid);
				sender:close();
				return nodes;
			end

			if backend.name ~= "internal storage" then
				it("are really there", function ()
					assert.equal("sql", server:eval([[
						return select(2, require "core.storagemanager".get_driver("home.test", "cloud_notify"));
					]]));
				end);
			end

			it("are there with all they have after a restart", function ()
				local anna = new_client({ resource = "phone" });
				devices.enable(anna, { jid = "push.test"; node = odd_text; options = { secret = odd_text } });
				local before = devices.stored(server, anna.jid);
				server:restart();
				reconnect();

				assert.same(before, devices.stored(server, anna.jid));
				assert.same({ odd_text }, woken(anna.jid));
				assert.equal(odd_text, push.received[1].options.secret);
				anna = client.connect(server, anna.jid, { resource = "phone" });
				assert.same(before["push.test<" .. odd_text], devices.attached(anna).settings);
			end);

			it("are there after a crash, and what was disabled is not", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.enable(anna, { jid = "push.test"; node = "n2" });
				devices.disable(anna, { jid = "push.test"; node = "n1" });
				server:kill();
				server:restart();
				reconnect();
				assert.same({ "push.test<n2" }, devices.identifiers(server, anna.jid));
				assert.same({ "n2" }, woken(anna.jid));
			end);

			it("are replaced by newer ones", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "old"; more = "old" } });
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "new" } });
				anna:close();
				server:restart();
				reconnect();
				assert.same({ "n1" }, woken(anna.jid));
				assert.equal("new", push.received[1].options.secret);
				assert.is_nil(push.received[1].options.more);
			end);

			it("leave nothing when the last is disabled", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.disable(anna, { jid = "push.test" });
				assert.is_nil(devices.stored(server, anna.jid));
			end);

			it("leave nothing when the account is deleted", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				server:delete_user(anna.username, "home.test");
				assert.is_nil(devices.stored(server, anna.jid));
			end);

			it("keep their order of age", function ()
				local anna = new_client({ resource = "phone" });
				for _, node in ipairs({ "c"; "d"; "b"; "a"; "e" }) do
					devices.enable(anna, { jid = "push.test"; node = node });
				end
				server:restart();
				reconnect();
				anna = client.connect(server, anna.jid, { resource = "phone" });
				devices.enable(anna, { jid = "push.test"; node = "c" });
				devices.enable(anna, { jid = "push.test"; node = "f" });
				devices.enable(anna, { jid = "push.test"; node = "g" });
				assert.same({ "push.test<a"; "push.test<c"; "push.test<e"; "push.test<f"; "push.test<g" },
					devices.identifiers(server, anna.jid));
			end);

			describe("of two virtual hosts", function ()
				it("wake for messages to their own user only", function ()
					local at_home, at_work = new_namesakes();
					devices.enable(at_home, { jid = "push.test"; node = "n1"; options = { secret = "home" } });
					devices.enable(at_work, { jid = "push.test"; node = "n1"; options = { secret = "work" } });
					at_home:close();
					at_work:close();

					for _, jid in ipairs({ at_home.jid; at_work.jid }) do
						local host = jid:match("@(.*)$");
						assert.same({ "n1" }, woken(jid));
						assert.equal(host, push.received[1].stanza.attr.from);
						assert.equal(host:match("^%a+"), push.received[1].options.secret);
					end
				end);

				it("are attached to the sessions of their own host only", function ()
					local at_home, at_work = new_namesakes({ resource = "phone" });
					devices.enable(at_home, { jid = "push.test"; node = "n1" });
					assert.same({}, devices.attached(at_work));
					at_work:close();
					at_work = client.connect(server, at_work.jid, { resource = "phone" });
					assert.same({}, devices.attached(at_work));
					assert.same({}, woken(at_work.jid));

					devices.enable(at_work, { jid = "push.test"; node = "n1" });
					at_home:close();
					assert.same({ "n1" }, woken(at_home.jid));
					assert.same({}, woken(at_work.jid));
				end);

				it("are disabled for one only", function ()
					local at_home, at_work = new_namesakes();
					devices.enable(at_home, { jid = "push.test"; node = "n1" });
					devices.enable(at_work, { jid = "push.test"; node = "n1" });
					devices.disable(at_home, { jid = "push.test" });
					assert.is_nil(devices.stored(server, at_home.jid));
					assert.same({ "push.test<n1" }, devices.identifiers(server, at_work.jid));
					assert.equal("push.test<n1", devices.attached(at_work).identifier);
				end);

				it("make room on their own host only", function ()
					local at_home, at_work = new_namesakes();
					devices.enable(at_work, { jid = "push.test"; node = "n1" });
					for i = 1, 6 do
						devices.enable(at_home, { jid = "push.test"; node = "n" .. i });
					end
					assert.equal(5, #devices.identifiers(server, at_home.jid));
					assert.same({ "push.test<n1" }, devices.identifiers(server, at_work.jid));
				end);

				it("count their errors for themselves", function ()
					local at_home, at_work = new_namesakes();
					devices.enable(at_home, { jid = "push.test"; node = "n1" });
					devices.enable(at_work, { jid = "push.test"; node = "n1" });
					at_home:close();
					at_work:close();
					push.answer = push_service.error("cancel", "item-not-found");
					woken(at_home.jid);
					push.answer = push_service.result;
					woken(at_work.jid);
					assert.equal(1, devices.push_errors(server, at_home.jid, "push.test<n1"));
					assert.equal(0, devices.push_errors(server, at_work.jid, "push.test<n1"));
				end);

				it("go with their own account only", function ()
					local at_home, at_work = new_namesakes();
					devices.enable(at_home, { jid = "push.test"; node = "n1" });
					devices.enable(at_work, { jid = "push.test"; node = "n1" });
					at_work:close();
					server:delete_user(at_home.username, "home.test");
					assert.is_nil(devices.stored(server, at_home.jid));
					assert.same({ "push.test<n1" }, devices.identifiers(server, at_work.jid));
					assert.same({ "n1" }, woken(at_work.jid));
				end);
			end);
		end);
	end
end
