-- tigase:push:jingle:0: a phone is told which call begins, and once that it is over or taken.

local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local loop = require "spec.support.loop";
local payloads = require "spec.support.payloads";
local phones = require "spec.support.phones";
local prosody = require "spec.support.prosody";
local push_service = require "spec.support.push_service";
local st = require "util.stanza";

local xmlns_invites = "urn:xmpp:call-invites:0";
local xmlns_jingle = "tigase:push:jingle:0";
local xmlns_jmi = "urn:xmpp:jingle-message:0";
local xmlns_rtp = "urn:xmpp:jingle:apps:rtp:1";

local calls = 0;

local function new_call()
	calls = calls + 1;
	return ("call-%d"):format(calls);
end

local function said(name, id, xmlns)
	return st.stanza(name, { xmlns = xmlns or xmlns_jmi; id = id });
end

local function propose(id)
	return said("propose", id)
		:tag("description", { xmlns = xmlns_rtp; media = "audio" }):up()
		:tag("description", { xmlns = xmlns_rtp; media = "video" }):up();
end

local function describe_all(version, has_archive)
	local server, push, rosa;

	setup(function ()
		server = prosody.start({ version = version; without = not has_archive and { "mam" } or nil });
		push = push_service.connect(server, "push.test", "secret");
		rosa = client.connect(server, devices.new_user(server));
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	before_each(function ()
		if push.stream.closed then push:reconnect(); end
		push.answer = push_service.result;
		push:clear();
	end);

	local function say(from, to, child)
		from:message({ to = to; child; payloads.hint("store") });
		from:ping();
	end

	local function ask_for_it(phone, node)
		local jingle = st.stanza("jingle", { xmlns = xmlns_jingle });
		devices.enable(phone, { jid = push.jid; node = node; extra = { jingle } });
		return phone;
	end

	-- One that has asked for it.
	local function new_phone()
		local phone = phones.new(push);
		ask_for_it(phone, phone.node);
		phones.acknowledge(phone);
		return phone;
	end

	local function away()
		local phone = new_phone();
		phone:close();
		return phone;
	end

	local function hibernated()
		local phone = new_phone();
		phone:cut();
		return phone;
	end

	-- What the phone has been told of calls: action, id, media, and whether there is a text to show.
	local function told(phone)
		push:ping();
		local all = {};
		for _, publish in ipairs(push.received) do
			local jingle = publish.node == phone.node and publish.notification:get_child("jingle", xmlns_jingle);
			if jingle then
				local words = { jingle.attr.action; jingle.attr.sid };
				for media in jingle:childtags("media") do words[#words + 1] = media:get_text(); end
				words[#words + 1] = publish.form["last-message-body"] and "shown" or nil;
				all[#all + 1] = table.concat(words, " ");
			end
		end
		return all;
	end

	local function assert_told(phone, ...)
		assert.same({ ... }, told(phone));
	end

	local function rings(id)
		return "propose " .. id .. " audio video shown";
	end

	for name, new in pairs({ ["is away"] = away; hibernates = hibernated }) do
		it(("a phone that %s rings, and stops once when its caller gives up"):format(name), function ()
			local phone, id = new(), new_call();
			say(rosa, phone.jid, propose(id));
			assert_told(phone, rings(id));
			inspect.wait_all_answered(server);
			say(rosa, phone.jid, said("retract", id));
			assert_told(phone, rings(id), "retract " .. id);
			say(rosa, phone.jid, said("finish", id));
			assert_told(phone, rings(id), "retract " .. id);
		end);
	end

	-- The answer goes to the caller's full JID.
	local function answered(phone, desk, name, xmlns, id)
		desk:message({ to = rosa.full_jid; said(name, id, xmlns) });
		desk:ping();
		assert.equal(2, #told(phone));
		return told(phone)[2];
	end

	for _, name in ipairs({ "proceed"; "accept"; "reject"; "finish" }) do
		it(("a phone stops ringing when another device of its user says %s"):format(name), function ()
			local phone, id = hibernated(), new_call();
			local desk = client.connect(server, phone.jid);
			say(rosa, phone.jid, propose(id));
			loop.wait_for(function () return #told(phone) == 1; end, nil, "the phone to ring");
			assert.equal(name .. " " .. id, answered(phone, desk, name, nil, id));
			desk:close();
		end);
	end

	it("also for a call of XEP-0482, in the words of XEP-0353", function ()
		local phone, id = hibernated(), new_call();
		local desk = client.connect(server, phone.jid);
		rosa:message({ to = phone.jid; id = id; payloads.call_invite() });
		rosa:ping();
		assert_told(phone, "propose " .. id .. " audio video shown");
		assert.equal("accept " .. id, answered(phone, desk, "accept", xmlns_invites, id));
		desk:close();
	end);

	it("a copy of the answer in the phone's own queue is no reason for another push", function ()
		local phone, id = new_phone(), new_call();
		phone:iq(st.iq({ type = "set"; id = "carbons" }):tag("enable", { xmlns = "urn:xmpp:carbons:2" }));
		phones.acknowledge(phone);
		phone:cut();
		local desk = client.connect(server, phone.jid);
		say(rosa, phone.jid, propose(id));
		assert_told(phone, rings(id));
		say(desk, rosa.full_jid, said("reject", id));
		assert_told(phone, rings(id), "reject " .. id);
		assert(server:session(phone.full_jid).hibernating);
		desk:close();
	end);

	it("a device that has answered itself is not told", function ()
		local phone, id = away(), new_call();
		say(rosa, phone.jid, propose(id));
		assert_told(phone, rings(id));
		local back = ask_for_it(phones.login(phone), phone.node);
		say(back, rosa.full_jid, said("proceed", id));
		assert_told(phone, rings(id));
		back:close();
	end);

	it("strangers stop nothing, nor what is said of another call", function ()
		local phone, id = away(), new_call();
		local eve = client.connect(server, devices.new_user(server));
		say(rosa, phone.jid, propose(id));
		say(eve, phone.jid, said("retract", id));
		say(rosa, phone.jid, said("retract", id .. "0"));
		say(rosa, phone.jid, said("accept", id));
		assert_told(phone, rings(id));
		eve:close();
	end);

	it("a phone that has not asked for it is told of neither", function ()
		local phone, id = phones.away(push), new_call();
		say(rosa, phone.jid, propose(id));
		say(rosa, phone.jid, said("retract", id));
		assert.same({ phones.important; phones.unimportant }, phones.pushed(phone));
		assert_told(phone);
	end);

	it("a call that is owed rings with all that is known of it", function ()
		local phone, id = away(), new_call();
		push:disconnect();
		say(rosa, phone.jid, propose(id));
		loop.wait_for(function () return inspect.waiting(server) > 0; end, nil, "the call to be owed");
		push:reconnect();
		phones.await(phone, 1);
		assert_told(phone, rings(id));
	end);

	it("a call that is owed and over rings no more, and there is nothing to stop", function ()
		local phone, id = away(), new_call();
		push:disconnect();
		say(rosa, phone.jid, propose(id));
		loop.wait_for(function () return inspect.waiting(server) > 0; end, nil, "the call to be owed");
		say(rosa, phone.jid, said("retract", id));
		push:reconnect();
		phones.await(phone, 1);
		assert_told(phone);
	end);

	it("it survives a reload of the module", function ()
		local phone, id = hibernated(), new_call();
		local desk = client.connect(server, phone.jid);
		say(rosa, phone.jid, propose(id));
		assert_told(phone, rings(id));
		server:reload_module("cloud_notify", "home.test");
		assert.equal("reject " .. id, answered(phone, desk, "reject", nil, id));
		desk:close();
	end);
end

for _, version in ipairs(prosody.all_versions) do
	for _, has_archive in ipairs({ true; false }) do
		describe(("a call, with Prosody %s and %s archive:"):format(version, has_archive and "an" or "no"), function ()
			describe_all(version, has_archive);
		end);
	end
end

for _, version in ipairs(prosody.versions) do
	describe("the feature of calls, with Prosody " .. version .. ",", function ()
		after_each(prosody.stop_all);

		for name, options in pairs({
			alone = {};
			["beside the community's module"] = { community = true; modules = { "cloud_notify_encrypted" } };
		}) do
			it("is announced once " .. name, function ()
				local server = prosody.start({ version = version; community = options.community; modules = options.modules });
				local anna = client.connect(server, devices.new_user(server));
				local reply = anna:iq(st.iq({ type = "get"; to = anna.jid; id = "disco" })
					:tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }));
				local count = 0;
				for feature in reply.tags[1]:childtags("feature") do
					if feature.attr.var == xmlns_jingle then count = count + 1; end
				end
				assert.equal(1, count);
			end);
		end
	end);
end
