local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local companion = require "spec.support.companion";
local devices = require "spec.support.devices";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_data = "jabber:x:data";
local xmlns_pubsub = "http://jabber.org/protocol/pubsub";

local function form(type, fields)
	local x = st.stanza("x", { xmlns = xmlns_data; type = type });
	for i = 1, fields do
		x:tag("field", { var = ("field%d"):format(i) }):text_tag("value", "v"):up();
	end
	return x;
end

local function extension(text)
	return st.stanza("extension", { xmlns = "urn:example:extension" }):text(text);
end

local function many_extensions(count)
	local extensions = {};
	for i = 1, count do extensions[i] = extension(""); end
	return extensions;
end

-- What Siskin sends, short of its key.
local function siskin_extensions()
	return {
		st.stanza("groupchat", { xmlns = "tigase:push:filter:groupchat:0" })
			:tag("room", { jid = "team@rooms.test"; allow = "mentioned"; nick = "Anna" }):up();
		st.stanza("muted", { xmlns = "tigase:push:filter:muted:0" }):tag("item", { jid = "x@y.test" }):up();
		st.stanza("priority", { xmlns = "tigase:push:priority:0" });
		st.stanza("encrypt", { xmlns = "tigase:push:encrypt:0"; alg = "aes-128-gcm"; ["max-size"] = "3500" })
			:text("AAECAwQFBgcICQoLDA0ODw==");
		st.stanza("jingle", { xmlns = "tigase:push:jingle:0" });
	};
end

local function affiliation(change)
	return st.message({ from = change.from or "push.test"; to = change.to })
		:tag("pubsub", { xmlns = xmlns_pubsub; node = change.node })
			:tag("affiliation", { jid = change.account or change.to; affiliation = change.affiliation or "none" });
end

-- What must be as it was before a request that fails.
local function state_of(connection)
	return { stored = devices.stored(connection.server, connection.jid); session = devices.attached(connection) };
end

local function assert_error(reply, error_type, condition)
	assert.equal("error", reply.attr.type);
	local actual_type, actual_condition, text = reply:get_error();
	assert.same({ error_type; condition }, { actual_type; actual_condition });
	return text;
end

local function assert_refused(reply, condition)
	local text = assert_error(reply, "modify", condition);
	assert.is_truthy(text and text ~= "", "there is no text");
end

for _, version in ipairs(prosody.versions) do
	describe("registering with Prosody " .. version, function ()
		local server, push, other_push, rosa;

		setup(function ()
			server = prosody.start({
				version = version;
				modules = { "spec_companion" };
				components = { ["push.test"] = "secret"; ["other.test"] = "secret" };
			});
			push = push_service.connect(server, "push.test", "secret");
			other_push = push_service.connect(server, "other.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		local function new_client(options)
			return client.connect(server, devices.new_user(server), options);
		end

		it("is offered by the account", function ()
			local anna = new_client();
			local reply = anna:iq(st.iq({ type = "get"; to = anna.jid; id = "disco" })
				:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
			local offered = false;
			for feature in reply.tags[1]:childtags("feature") do
				offered = offered or feature.attr.var == "urn:xmpp:push:0";
			end
			assert.is_true(offered);
		end);

		describe("enable", function ()
			it("stores the registration and attaches the session", function ()
				local anna = new_client();
				local reply = devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "s" } });
				assert.same({}, reply.tags);

				local stored = devices.stored(server, anna.jid);
				assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
				assert.same({ identifier = "push.test<n1"; settings = stored["push.test<n1"] }, devices.attached(anna));

				anna:close();
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				assert.equal("s", push.received[1].options.secret);
			end);

			it("needs no node, and then publishes to the empty one", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test" });
				local record = devices.stored(server, anna.jid)["push.test<"];
				assert.equal("push.test", record.jid);
				assert.is_nil(record.node);

				anna:close();
				assert.same({ "" }, devices.woken(push, rosa, anna.jid));
			end);

			it("replaces the registration with the same jid and node, of which the last options count", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "old"; more = "old" } });
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "new" } });
				assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
				assert.same(devices.stored(server, anna.jid)["push.test<n1"], devices.attached(anna).settings);

				assert.same({}, devices.woken(push, rosa, anna.jid));
				anna:close();
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				assert.equal("new", push.received[1].options.secret);
				assert.is_nil(push.received[1].options.more);
			end);

			it("again without options forgets the earlier ones", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "old" } });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				anna:close();
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				assert.is_nil(push.received[1].stanza.tags[1]:get_child("publish-options"));
			end);

			it("has a line in the log where it changes anything, and so has disable", function ()
				local anna = new_client();
				local function told(act, push_jid, node)
					local mark = server:log_mark();
					act(anna, { jid = push_jid or "push.test"; node = node or "n1" });
					local lines = {};
					for line in server:log_since(mark):gmatch("\tinfo\t([^\n]*)") do
						if line:find("[Pp]ush ") then lines[#lines + 1] = line; end
					end
					return lines;
				end
				assert.same({ "Push notifications enabled at push.test" }, told(devices.enable));
				assert.same({}, told(devices.enable));
				for i = 2, 5 do assert.equal(1, #told(devices.enable, nil, "n" .. i)); end
				assert.same({ "The push registration at other.test takes the place of an older one";
					"Push notifications enabled at other.test" }, told(devices.enable, "other.test"));
				assert.same({}, told(devices.disable));
				assert.same({ "Push notifications disabled at other.test" }, told(devices.disable, "other.test"));
				assert.same({}, told(devices.disable, "other.test"));
			end);

			it("from another client moves nothing away from the session that enabled before", function ()
				local phone = new_client();
				local tablet = client.connect(server, phone.jid);
				devices.enable(phone, { jid = "push.test"; node = "n1"; options = { secret = "old" } });
				devices.enable(tablet, { jid = "push.test"; node = "n1"; options = { secret = "new" } });

				local record = devices.stored(server, phone.jid)["push.test<n1"];
				assert.same({ identifier = "push.test<n1"; settings = record }, devices.attached(phone));
				assert.same({ identifier = "push.test<n1"; settings = record }, devices.attached(tablet));
			end);

			it("takes elements that nobody knows", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1"; extra = siskin_extensions() });
				anna:close();
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
			end);

			it("takes a jid with a resource, and stores it normalised", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "PUSH.Test"; node = "N1" });
				devices.enable(anna, { jid = "Apns@Push.TEST/Prod"; node = "N2" });
				assert.same({ "apns@push.test/Prod<N2"; "push.test<N1" }, devices.identifiers(server, anna.jid));
				assert.equal("push.test", devices.stored(server, anna.jid)["push.test<N1"].jid);
				assert.equal("apns@push.test/Prod", devices.stored(server, anna.jid)["apns@push.test/Prod<N2"].jid);
				assert.equal("apns@push.test/Prod<N2", devices.attached(anna).identifier);

				anna:close();
				assert.same({ "N1"; "N2" }, devices.woken(push, rosa, anna.jid));
			end);

			it("takes publish options of any type, and submits them", function ()
				local anna = new_client();
				for _, type in ipairs({ "submit"; "form"; "result"; "nonsense"; false }) do
					local sent = form(type or nil, 2);
					devices.enable(anna, { jid = "push.test"; node = "n1"; extra = { sent } });
					-- As the original module has it
					assert.equal(type or nil, devices.stored(server, anna.jid)["push.test<n1"].options.attr.type);
					anna:close();
					assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
					local options = push.received[1].stanza.tags[1]:get_child("publish-options");
					assert.equal("submit", options.tags[1].attr.type);
					assert.same({ field1 = "v"; field2 = "v" }, push.received[1].options);
					anna = client.connect(server, anna.jid);
				end
			end);

			it("takes what is just within the limits", function ()
				local anna = new_client();
				for _, request in ipairs({
					{ jid = "push.test"; node = ("n"):rep(2048) };
					{ jid = ("a"):rep(1023) .. "@push.test"; node = "n" };
					{ jid = "push.test"; node = "n1"; extra = { form("submit", 64) } };
					{ jid = "push.test"; node = "n2"; extra = { extension(("e"):rep(32*1024 - 100)) } };
					{ jid = "push.test"; node = "n3"; extra = many_extensions(32) };
				}) do
					devices.enable(anna, request);
				end
			end);

			local large_form = form("submit", 1):tag("field", { var = "large" }):text_tag("value", ("v"):rep(16*1024)):up();

			for what, case in pairs({
				["without a jid"] = { { node = "n2" }; "bad-request" };
				["with an empty jid"] = { { jid = ""; node = "n2" }; "jid-malformed" };
				["with a jid without a domain"] = { { jid = "apns@"; node = "n2" }; "jid-malformed" };
				["with an empty localpart"] = { { jid = "@push.test"; node = "n2" }; "jid-malformed" };
				["with an empty resource"] = { { jid = "push.test/"; node = "n2" }; "jid-malformed" };
				["with a space in the jid"] = { { jid = "a b@push.test"; node = "n2" }; "jid-malformed" };
				["with a localpart that is too long"] = { { jid = ("a"):rep(1024) .. "@push.test" }; "jid-malformed" };
				["with a resource that is too long"] = { { jid = "push.test/" .. ("a"):rep(1024) }; "jid-malformed" };
				["with a node that is too long"] = { { jid = "push.test"; node = ("n"):rep(2049) }; "policy-violation" };
				["with a form that is too large"] = {
					{ jid = "push.test"; node = "n1"; extra = { large_form } }; "policy-violation";
				};
				["with a form of too many fields"] = {
					{ jid = "push.test"; node = "n1"; extra = { form("submit", 65) } }; "policy-violation";
				};
				["with an extension that is too large"] = {
					{ jid = "push.test"; node = "n1"; extra = { extension(("e"):rep(32*1024)) } }; "policy-violation";
				};
				["with too many extensions"] = {
					{ jid = "push.test"; node = "n1"; extra = many_extensions(33) }; "policy-violation";
				};
			}) do
				it(what .. " is refused and changes nothing", function ()
					local anna = new_client();
					devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "s" } });
					local before = state_of(anna);
					assert_refused(anna:enable_push(case[1]), case[2]);
					assert.same(before, state_of(anna));

					anna:close();
					assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
					assert.equal("s", push.received[1].options.secret);
				end);
			end

			it("with the client's own jid is refused and changes nothing", function ()
				local anna = new_client({ resource = "phone" });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				local before = state_of(anna);
				for _, own in ipairs({ anna.full_jid; anna.jid; anna.jid:upper(); anna.jid:upper() .. "/phone" }) do
					assert_refused(anna:enable_push({ jid = own; node = "n2" }), "bad-request");
				end
				assert.same(before, state_of(anna));
			end);
		end);

		describe("push_max_devices", function ()
			it("ends the oldest registration, also of those made within one second", function ()
				local anna = new_client();
				for i = 1, 5 do
					devices.enable(anna, { jid = "push.test"; node = "n" .. i });
				end
				assert.equal(5, #devices.identifiers(server, anna.jid));

				devices.enable(anna, { jid = "push.test"; node = "n6" });
				assert.same({ "push.test<n2"; "push.test<n3"; "push.test<n4"; "push.test<n5"; "push.test<n6" },
					devices.identifiers(server, anna.jid));
				anna:close();
				assert.same({ "n2"; "n3"; "n4"; "n5"; "n6" }, devices.woken(push, rosa, anna.jid));
			end);

			it("counts a registration that was enabled again as the newest", function ()
				local anna = new_client();
				for i = 1, 5 do
					devices.enable(anna, { jid = "push.test"; node = "n" .. i });
				end
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.enable(anna, { jid = "push.test"; node = "n6" });
				assert.same({ "push.test<n1"; "push.test<n3"; "push.test<n4"; "push.test<n5"; "push.test<n6" },
					devices.identifiers(server, anna.jid));
			end);

			it("detaches every session of the registration that ends", function ()
				local phone = new_client();
				local laptop = client.connect(server, phone.jid);
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				devices.enable(laptop, { jid = "push.test"; node = "n1" });
				local tablet;
				for i = 2, 6 do
					tablet = client.connect(server, phone.jid);
					devices.enable(tablet, { jid = "push.test"; node = "n" .. i });
				end
				assert.same({}, devices.attached(phone));
				assert.same({}, devices.attached(laptop));
				assert.equal("push.test<n6", devices.attached(tablet).identifier);
			end);

			-- An app may take a new node with each login.
			for what, case in pairs({
				["by its client id"] = { client_id = "app" };
				["by its resource, where it has no client id"] = { resource = "app" };
			}) do
				it("ends what the same client has enabled before, known " .. what .. ", and not the tablet", function ()
					local tablet = new_client({ resource = "tablet" });
					devices.enable(tablet, { jid = "push.test"; node = "tablet" });
					companion.plan(server, tablet.jid, { client_id = case.client_id });
					for i = 1, 10 do
						local app = client.connect(server, tablet.jid, { resource = case.resource });
						devices.enable(app, { jid = "push.test"; node = ("n%02d"):format(i) });
						app:close();
					end
					assert.same({ "push.test<n07"; "push.test<n08"; "push.test<n09"; "push.test<n10"; "push.test<tablet" },
						devices.identifiers(server, tablet.jid));
					assert.equal("push.test<tablet", devices.attached(tablet).identifier);

					companion.plan(server, tablet.jid, {});
					local pc = client.connect(server, tablet.jid, { resource = "pc" });
					devices.enable(pc, { jid = "push.test"; node = "pc" });
					assert.same({ "push.test<n07"; "push.test<n08"; "push.test<n09"; "push.test<n10"; "push.test<pc" },
						devices.identifiers(server, tablet.jid));
				end);
			end
		end);

		describe("disable", function ()
			local function enable_three(connection)
				devices.enable(connection, { jid = "other.test"; node = "n1" });
				devices.enable(connection, { jid = "push.test"; node = "n1" });
				devices.enable(connection, { jid = "push.test"; node = "n2" });
			end

			it("with a node ends that registration", function ()
				local anna = new_client();
				enable_three(anna);
				devices.disable(anna, { jid = "push.test"; node = "n1" });
				assert.same({ "other.test<n1"; "push.test<n2" }, devices.identifiers(server, anna.jid));
				assert.equal("push.test<n2", devices.attached(anna).identifier);
				devices.disable(anna, { jid = "push.test"; node = "n2" });
				assert.same({}, devices.attached(anna));

				anna:close();
				other_push:clear();
				assert.same({}, devices.woken(push, rosa, anna.jid));
				other_push:wait(1);
			end);

			it("without a node ends all registrations with that push service", function ()
				local anna = new_client();
				enable_three(anna);
				devices.disable(anna, { jid = "push.test" });
				assert.same({ "other.test<n1" }, devices.identifiers(server, anna.jid));
				assert.same({}, devices.attached(anna));

				anna:close();
				assert.same({}, devices.woken(push, rosa, anna.jid));
			end);

			it("knows the push service by its normalised jid", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.disable(anna, { jid = "Push.TEST"; node = "n1" });
				assert.same({}, devices.identifiers(server, anna.jid));
			end);

			it("detaches every session, whichever asked", function ()
				local phone = new_client();
				local laptop = client.connect(server, phone.jid);
				local tablet = client.connect(server, phone.jid);
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				devices.enable(laptop, { jid = "push.test"; node = "n1" });
				devices.enable(tablet, { jid = "push.test"; node = "n2" });

				devices.disable(tablet, { jid = "push.test"; node = "n1" });
				assert.same({}, devices.attached(phone));
				assert.same({}, devices.attached(laptop));
				assert.equal("push.test<n2", devices.attached(tablet).identifier);
			end);

			it("ends the pushes for a session that hibernates", function ()
				local phone = new_client({ sm = "resume" });
				local tablet = client.connect(server, phone.jid, { presence = false });
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				phone:cut();
				assert.same({ "n1" }, devices.woken(push, rosa, phone.jid));
				devices.disable(tablet, { jid = "push.test"; node = "n1" });
				assert.same({}, devices.attached(phone));
				assert.same({}, devices.woken(push, rosa, phone.jid));
			end);

			it("of what is not registered is no error and changes nothing", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				local before = state_of(anna);
				devices.disable(anna, { jid = "push.test"; node = "n2" });
				devices.disable(anna, { jid = "other.test" });
				assert.same(before, state_of(anna));
			end);

			for what, case in pairs({
				["without a jid"] = { { node = "n1" }; "bad-request" };
				["with a jid that is none"] = { { jid = "@push.test"; node = "n1" }; "jid-malformed" };
				["with a node that is too long"] = { { jid = "push.test"; node = ("n"):rep(2049) }; "policy-violation" };
			}) do
				it(what .. " is refused and changes nothing", function ()
					local anna = new_client();
					devices.enable(anna, { jid = "push.test"; node = "n1" });
					local before = state_of(anna);
					assert_refused(anna:disable_push(case[1]), case[2]);
					assert.same(before, state_of(anna));
				end);
			end
		end);

		describe("a client that does not enable on every connection", function ()
			it("is found again by its resource", function ()
				local siskin = new_client({ resource = "siskin"; sm = "resume" });
				devices.enable(siskin, { jid = "push.test"; node = "n1"; extra = siskin_extensions() });
				local attached = devices.attached(siskin);
				siskin:close();

				siskin = client.connect(server, siskin.jid, { resource = "siskin"; sm = "resume" });
				assert.same(attached, devices.attached(siskin));
				assert.same({}, devices.woken(push, rosa, siskin.jid));
				siskin:cut();
				assert.same({ "n1" }, devices.woken(push, rosa, siskin.jid));
			end);

			it("is not taken for one with another resource", function ()
				local phone = new_client({ resource = "phone" });
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				phone:close();

				local laptop = client.connect(server, phone.jid, { resource = "laptop" });
				assert.same({}, devices.attached(laptop));
				assert.same({ "n1" }, devices.woken(push, rosa, phone.jid));
			end);

			it("is found again by its client id, whatever its resource is", function ()
				local jid = devices.new_user(server);
				companion.plan(server, jid, { client_id = "client-1" });
				local anna = client.connect(server, jid, { resource = "one" });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				local attached = devices.attached(anna);
				anna:close();

				anna = client.connect(server, jid, { resource = "two"; sm = "resume" });
				assert.same(attached, devices.attached(anna));
				anna:cut();
				assert.same({ "n1" }, devices.woken(push, rosa, jid));
			end);

			it("is not taken for one with another client id or none, in spite of its resource", function ()
				local jid = devices.new_user(server);
				companion.plan(server, jid, { client_id = "client-1" });
				local anna = client.connect(server, jid, { resource = "phone" });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				anna:close();

				companion.plan(server, jid, { client_id = "client-2" });
				anna = client.connect(server, jid, { resource = "phone" });
				assert.same({}, devices.attached(anna));
				anna:close();

				companion.plan(server, jid, nil);
				anna = client.connect(server, jid, { resource = "phone" });
				assert.same({}, devices.attached(anna));
			end);

			it("is found by its resource though it has a client id since then", function ()
				local anna = new_client({ resource = "phone" });
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				anna:close();

				companion.plan(server, anna.jid, { client_id = "client-1" });
				anna = client.connect(server, anna.jid, { resource = "phone" });
				assert.equal("push.test<n1", devices.attached(anna).identifier);
			end);

			it("finds the registration of its client id before that of its resource", function ()
				local jid = devices.new_user(server);
				companion.plan(server, jid, { client_id = "client-1" });
				local anna = client.connect(server, jid, { resource = "one" });
				devices.enable(anna, { jid = "push.test"; node = "by-client" });
				anna:close();
				companion.plan(server, jid, nil);
				anna = client.connect(server, jid, { resource = "two" });
				devices.enable(anna, { jid = "push.test"; node = "by-resource" });
				anna:close();

				companion.plan(server, jid, { client_id = "client-1" });
				anna = client.connect(server, jid, { resource = "two" });
				assert.equal("push.test<by-client", devices.attached(anna).identifier);
			end);
		end);

		describe("another module that attaches sessions", function ()
			for _, when in ipairs({ "before", "after" }) do
				it("is honoured if it does so " .. when .. " this one", function ()
					local phone = new_client({ resource = "phone" });
					devices.enable(phone, { jid = "push.test"; node = "n1" });
					devices.enable(phone, { jid = "push.test"; node = "n2" });
					phone:close();

					companion.plan(server, phone.jid, { attach = when; identifier = "push.test<n1" });
					phone = client.connect(server, phone.jid, { resource = "phone"; sm = "resume" });
					assert.equal("push.test<n1", devices.attached(phone).identifier);
					assert.same({ "n2" }, devices.woken(push, rosa, phone.jid));
					phone:cut();
					assert.same({ "n1"; "n2" }, devices.woken(push, rosa, phone.jid));
				end);
			end

			it("is honoured at any time, also when it detaches them", function ()
				local phone = new_client({ resource = "phone"; sm = "resume" });
				devices.enable(phone, { jid = "push.test"; node = "n1" });
				assert.same({}, devices.woken(push, rosa, phone.jid));

				server:eval([[
					local session = prosody.full_sessions[...];
					session.push_identifier, session.push_settings = nil, nil;
				]], phone.full_jid);
				assert.same({ "n1" }, devices.woken(push, rosa, phone.jid));
			end);
		end);

		describe("a deleted account", function ()
			it("leaves no registration to the next one with its name", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				anna:close();
				assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
				assert.equal(0, devices.push_errors(server, anna.jid, "push.test<n1"));

				server:delete_user(anna.username, "home.test");
				assert.is_nil(devices.push_errors(server, anna.jid, "push.test<n1"));
				server:add_user(anna.username, "secret", "home.test");
				assert.is_nil(devices.stored(server, anna.jid));
				assert.same({}, devices.woken(push, rosa, anna.jid));
				local again = client.connect(server, anna.jid);
				devices.enable(again, { jid = "push.test"; node = "n2" });
				assert.same({ "push.test<n2" }, devices.identifiers(server, anna.jid));
			end);

			it("is forgotten while its client is connected or hibernates", function ()
				for _, hibernates in ipairs({ false; true }) do
					local anna = new_client({ resource = "phone"; sm = "resume" });
					devices.enable(anna, { jid = "push.test"; node = "n1" });
					if hibernates then anna:cut(); end
					server:delete_user(anna.username, "home.test");
					server:add_user(anna.username, "secret", "home.test");
					assert.same({}, devices.woken(push, rosa, anna.jid));
					local again = client.connect(server, anna.jid, { resource = "phone" });
					assert.same({}, devices.attached(again));
				end
			end);

			it("takes nothing from other accounts with the same device", function ()
				local anna, bert = new_client(), new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.enable(bert, { jid = "push.test"; node = "n1" });
				bert:close();
				server:delete_user(anna.username, "home.test");
				assert.same({ "n1" }, devices.woken(push, rosa, bert.jid));
			end);
		end);

		describe("a push service that announces affiliation none", function ()
			local function announce(from, change)
				from:send(affiliation(change));
				from:ping();
			end

			it("ends the registration, and the client hears nothing of it", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				announce(push, { to = anna.jid; node = "n1" });
				assert.is_nil(devices.stored(server, anna.jid));
				assert.same({}, devices.attached(anna));

				anna:ping();
				for _, stanza in ipairs(anna.received) do
					assert.not_equal("message", stanza.name);
				end
				anna:close();
				assert.same({}, devices.woken(push, rosa, anna.jid));
			end);

			it("does so for that node and that account only", function ()
				local anna, bert = new_client(), new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.enable(anna, { jid = "push.test"; node = "n2" });
				devices.enable(anna, { jid = "other.test"; node = "n1" });
				devices.enable(bert, { jid = "push.test"; node = "n1" });
				announce(push, { to = anna.jid; node = "n1" });
				assert.same({ "other.test<n1"; "push.test<n2" }, devices.identifiers(server, anna.jid));
				assert.same({ "push.test<n1" }, devices.identifiers(server, bert.jid));
				assert.equal("push.test<n1", devices.attached(bert).identifier);
			end);

			it("does so for a client that is offline, which hears nothing of it later either", function ()
				local anna = new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				anna:close();
				announce(push, { to = anna.jid; node = "n1" });
				assert.is_nil(devices.stored(server, anna.jid));
				anna = client.connect(server, anna.jid);
				for _, stanza in ipairs(anna.received) do
					assert.not_equal("message", stanza.name);
				end
			end);

			it("changes nothing for another jid, account or node, or with another affiliation", function ()
				local anna, bert = new_client(), new_client();
				devices.enable(anna, { jid = "push.test"; node = "n1" });
				devices.enable(bert, { jid = "push.test"; node = "n1" });
				local annas, berts = state_of(anna), state_of(bert);

				announce(other_push, { from = "other.test"; to = anna.jid; node = "n1" });
				announce(push, { from = "somebody@push.test"; to = anna.jid; node = "n1" });
				announce(push, { to = anna.jid; node = "n2" });
				announce(push, { to = anna.jid });
				announce(push, { to = anna.jid; account = bert.jid; node = "n1" });
				announce(push, { to = bert.jid; account = anna.jid; node = "n1" });
				announce(push, { to = anna.jid; node = "n1"; affiliation = "publish-only" });
				rosa:send(affiliation({ from = rosa.full_jid; to = anna.jid; node = "n1" }));
				anna:send(affiliation({ from = anna.full_jid; to = anna.jid; node = "n1" }));
				rosa:ping();
				anna:ping();
				assert.same(annas, state_of(anna));
				assert.same(berts, state_of(bert));
			end);
		end);
	end);

	local function a_store_that_fails(how) return function ()
		local server, push, rosa;

		setup(function ()
			server = prosody.start({ version = version; options = { storage = { cloud_notify = "faulty" } } });
			push = push_service.connect(server, "push.test", "secret");
			rosa = client.connect(server, devices.new_user(server));
		end);

		teardown(function ()
			prosody.stop_all();
			-- What was raised is in the log
			if how == "error" then assert.same({}, server:faults()); end
		end);

		local function break_store(method)
			server:eval([[
				local method, how = ...;
				module("home.test", "storage_faulty"):shared("failing")[method] = how;
			]], method, how);
		end

		local function mend_store()
			server:eval([[
				local failing = module("home.test", "storage_faulty"):shared("failing");
				failing.get, failing.set = nil, nil;
			]]);
		end

		after_each(mend_store);

		-- Runs a request while the store fails.
		local function attempt(method, request)
			break_store(method);
			local ok, reply = pcall(request);
			mend_store();
			assert.is_true(ok, "no answer");
			assert_error(reply, "wait", "internal-server-error");
		end

		-- The next access has to ask the store.
		local function forget_what_was_read()
			server:reload_module("cloud_notify", "home.test");
		end

		it("leaves everything as it was before an enable", function ()
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "old" } });
			local before = state_of(anna);
			for _, node in ipairs({ "n1"; "n2" }) do
				attempt("set", function ()
					return anna:enable_push({ jid = "push.test"; node = node; options = { secret = "new" } });
				end);
				assert.same(before, state_of(anna));
			end

			anna:close();
			assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
			assert.equal("old", push.received[1].options.secret);
		end);

		it("leaves everything as it was before the first enable", function ()
			local anna = client.connect(server, devices.new_user(server));
			attempt("set", function ()
				return anna:enable_push({ jid = "push.test"; node = "n1" });
			end);
			assert.same({ session = {} }, state_of(anna));
			anna:close();
			assert.same({}, devices.woken(push, rosa, anna.jid));
		end);

		it("displaces no older registration", function ()
			local phone = client.connect(server, devices.new_user(server));
			local tablet = client.connect(server, phone.jid);
			devices.enable(phone, { jid = "push.test"; node = "n1" });
			for i = 2, 5 do
				devices.enable(tablet, { jid = "push.test"; node = "n" .. i });
			end
			local phones, tablets = state_of(phone), state_of(tablet);
			attempt("set", function ()
				return tablet:enable_push({ jid = "push.test"; node = "n6" });
			end);
			assert.same(phones, state_of(phone));
			assert.same(tablets, state_of(tablet));
		end);

		it("leaves everything as it was before a disable", function ()
			local anna = client.connect(server, devices.new_user(server), { sm = "resume" });
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			local before = state_of(anna);
			attempt("set", function ()
				return anna:disable_push({ jid = "push.test"; node = "n1" });
			end);
			assert.same(before, state_of(anna));
			anna:cut();
			assert.same({ "n1" }, devices.woken(push, rosa, anna.jid));
		end);

		it("loses nothing when it cannot be read", function ()
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			local before = state_of(anna);
			forget_what_was_read();
			attempt("get", function ()
				return anna:enable_push({ jid = "push.test"; node = "n2" });
			end);
			attempt("get", function ()
				return anna:disable_push({ jid = "push.test"; node = "n1" });
			end);
			assert.same(before, state_of(anna));

			devices.enable(anna, { jid = "push.test"; node = "n2" });
			assert.same({ "push.test<n1"; "push.test<n2" }, devices.identifiers(server, anna.jid));
		end);

		it("stops no message", function ()
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			forget_what_was_read();
			break_store("get");
			rosa:message({ to = anna.jid; body = "Are you there?" });
			anna:expect({ name = "message"; body = "Are you there?" });
		end);
	end; end

	describe("a store that reports errors under Prosody " .. version, a_store_that_fails("error"));
	describe("a store that raises errors under Prosody " .. version, a_store_that_fails("raise"));

	describe("registrations on the disk of Prosody " .. version, function ()
		local server;

		before_each(function ()
			server = prosody.start({ version = version });
		end);

		after_each(function ()
			prosody.stop_all();
			assert.same({}, server:faults());
		end);

		local function woken(jid)
			local push = push_service.connect(server, "push.test", "secret");
			local rosa = client.connect(server, devices.new_user(server));
			return devices.woken(push, rosa, jid);
		end

		it("stay as they are when it cannot be written", function ()
			local directory = server.data .. "/home%2etest/cloud_notify";
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			local before = state_of(anna);

			-- No directory can be made where a file is
			assert(os.rename(directory, directory .. ".away"));
			assert(io.open(directory, "w")):close();
			local reply = anna:enable_push({ jid = "push.test"; node = "n2" });
			assert(os.remove(directory));
			assert(os.rename(directory .. ".away", directory));

			assert_error(reply, "wait", "internal-server-error");
			assert.same(before, state_of(anna));
		end);

		it("are safe from the moment of the result on", function ()
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1"; options = { secret = "s" } });
			server:kill();
			server:restart();
			assert.same({ "push.test<n1" }, devices.identifiers(server, anna.jid));
			assert.same({ "n1" }, woken(anna.jid));
		end);

		it("do not come back once they were disabled", function ()
			local anna = client.connect(server, devices.new_user(server));
			devices.enable(anna, { jid = "push.test"; node = "n1" });
			devices.enable(anna, { jid = "push.test"; node = "n2" });
			devices.disable(anna, { jid = "push.test"; node = "n1" });
			server:kill();
			server:restart();
			assert.same({ "push.test<n2" }, devices.identifiers(server, anna.jid));
			assert.same({ "n2" }, woken(anna.jid));
		end);

		it("keep their age over restarts", function ()
			local anna = client.connect(server, devices.new_user(server), { resource = "phone" });
			for i = 1, 3 do
				devices.enable(anna, { jid = "push.test"; node = "n" .. i });
			end
			-- The names of the later ones would come first in any other order.
			server:restart();
			anna = client.connect(server, anna.jid, { resource = "phone" });
			for _, node in ipairs({ "a4"; "a5"; "a6" }) do
				devices.enable(anna, { jid = "push.test"; node = node });
			end
			assert.same({ "push.test<a4"; "push.test<a5"; "push.test<a6"; "push.test<n2"; "push.test<n3" },
				devices.identifiers(server, anna.jid));

			devices.enable(anna, { jid = "push.test"; node = "n2" });
			server:restart();
			anna = client.connect(server, anna.jid, { resource = "phone" });
			devices.enable(anna, { jid = "push.test"; node = "a7" });
			devices.enable(anna, { jid = "push.test"; node = "a8" });
			assert.same({ "push.test<a5"; "push.test<a6"; "push.test<a7"; "push.test<a8"; "push.test<n2" },
				devices.identifiers(server, anna.jid));
		end);

		it("are found again by a client that does not enable a second time", function ()
			local siskin = client.connect(server, devices.new_user(server), { resource = "siskin"; sm = "resume" });
			devices.enable(siskin, { jid = "push.test"; node = "n1" });
			server:restart();
			siskin = client.connect(server, siskin.jid, { resource = "siskin"; sm = "resume" });
			siskin:cut();
			assert.same({ "n1" }, woken(siskin.jid));
		end);
	end);
end
