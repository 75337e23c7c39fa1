local hostile = require "spec.support.hostile";
local native = require "spec.support.native";

local user, xml = native.user, native.xml;

local identifier = "push.test<n1";

local function message(from, more)
	return xml(("<message type='chat' from='%s' to='anna@home.test'><body>Hi</body>%s</message>")
		:format(from, more or ""));
end

local bert = message("bert@away.test/pc");

describe("what filters say", function ()
	local engine;

	before_each(function ()
		engine = native.engine();
	end);

	-- The phrases of the reasons for which a stanza is left out, by identifier
	local function judge(records, stanza, load_roster)
		return engine:judge(user, records, stanza, load_roster or function () return {}; end, function () end);
	end

	local function is_left_out(record, stanza, load_roster)
		record.jid = "push.test";
		return judge({ [identifier] = record }, stanza, load_roster)[identifier] ~= nil;
	end

	it("is said of each registration", function ()
		local judged = judge({
			["push.test<1"] = { muted_jids = { ["bert@away.test"] = true } }; ["push.test<2"] = { muted_jids = {} };
			["push.test<3"] = { filter_unknown = true }; ["push.test<4"] = {}; ["push.test<5"] = 7;
		}, bert);
		local left_out = {};
		for name in pairs(judged) do left_out[#left_out + 1] = name; end
		table.sort(left_out);
		assert.same({ "push.test<1"; "push.test<3" }, left_out);
		assert.not_equal(judged["push.test<1"], judged["push.test<3"]);
	end);

	it("is said of each place of a queue", function ()
		local record = { muted_jids = { ["bert@away.test"] = true } };
		local function queue(place, ...)
			return engine:judge_queue(user, record, place == 0 and ... or { ... }, place, function () end,
				function () end);
		end
		local rosa = message("rosa@away.test");
		local muted = queue(0, bert);
		assert.equal(1, #muted);
		assert.equal("\0" .. muted .. "\0" .. muted, queue(1, rosa, bert, 7, bert));
		assert.equal("\0", queue(0, rosa));
	end);

	it("asks for the roster once, and only for whom a filter wants to know", function ()
		local count = 0;
		local function load_roster()
			count = count + 1;
			return { ["bert@away.test"] = {} };
		end
		local strict = { filter_unknown = true };
		assert.same({}, judge({ a = strict; b = strict; c = {} }, bert, load_roster));
		assert.equal(1, count);
		for _, stanza in ipairs({
			xml("<message type='groupchat' from='team@rooms.test/Bert'><body>Hi</body></message>");
			message("home.test"); message("anna@home.test/pc"); xml("<presence from='x@y.test'/>");
		}) do
			assert.is_false(is_left_out(strict, stanza, load_roster));
		end
		assert.is_false(is_left_out({ muted_jids = {} }, bert, load_roster));
		assert.equal(1, count);
		assert.is_true(is_left_out(strict, xml("<presence type='subscribe' from='x@y.test'/>"), load_roster));
	end);

	it("is nothing of a sender whom nobody can look up", function ()
		for _, load_roster in ipairs({
			function () end; function () error("the disk is on fire"); end; function () return "x"; end;
		}) do
			assert.is_false(is_left_out({ filter_unknown = true }, bert, load_roster));
		end
		assert.is_true(is_left_out({ filter_unknown = true }, bert, function () return {}; end));
	end);

	it("knows nobody by what is pending", function ()
		local roster = { [false] = { pending = { ["bert@away.test"] = true } } };
		assert.is_true(is_left_out({ filter_unknown = true }, bert, function () return roster; end));
		roster["bert@away.test"] = { subscription = "none"; ask = "subscribe" };
		assert.is_false(is_left_out({ filter_unknown = true }, bert, function () return roster; end));
	end);

	it("compares the normalised form of who invites, and of where to", function ()
		local invite = "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='ROSA@Away.test/x'/></x>";
		local direct = "<x xmlns='jabber:x:conference' jid='Team@ROOMS.test'/>";
		local function is_muted(chat, stanza)
			return is_left_out({ muted_jids = { [chat] = true } }, stanza);
		end
		assert.is_true(is_muted("rosa@away.test", message("fun@rooms.test", invite)));
		assert.is_false(is_muted("rosa@away.test", message("fun@rooms.test/x", invite)));
		assert.is_true(is_muted("team@rooms.test", message("bert@away.test/pc", direct)));
		assert.is_false(is_muted("team@rooms.test", message("bert@away.test/pc", direct:gsub("jid='[^']*'", "jid='@'"))));
	end);

	it("is that of the chat that the user has sent to, from another device", function ()
		local sent = xml("<message from='anna@home.test/pc' to='bert@away.test'><body>Hi</body></message>");
		local carbon = xml("<message from='anna@home.test'><sent xmlns='urn:xmpp:carbons:2'>"
			.. "<forwarded xmlns='urn:xmpp:forward:0'>" .. tostring(sent):gsub("<message", "<message xmlns='jabber:client'", 1)
			.. "</forwarded></sent></message>");
		for _, stanza in ipairs({ sent; carbon }) do
			assert.is_true(is_left_out({ muted_jids = { ["bert@away.test"] = true } }, stanza));
			assert.is_false(is_left_out({ filter_unknown = true }, stanza));
		end
	end);

	it("may be of anything", function ()
		local room = xml("<message type='groupchat' from='team@rooms.test/x'/>");
		for _, value in pairs(hostile.values) do
			for _, field in ipairs({ "muted_jids"; "groupchat_rules"; "filter_unknown" }) do
				local record = { jid = "push.test"; [field] = value };
				assert.is_true(pcall(judge, { [identifier] = record }, bert));
				assert.is_true(pcall(judge, { [identifier] = record }, room));
			end
			local rules = { ["team@rooms.test"] = { when = value; nick = value } };
			assert.is_true(is_left_out({ groupchat_rules = rules }, room));
		end
	end);

	it("is left to the community's module where that is loaded", function ()
		engine:leave_to({ cloud_notify_filters = true });
		assert.is_false(is_left_out({ muted_jids = { ["bert@away.test"] = true } }, bert));
		for _, feature in ipairs(native.library.features({ cloud_notify_filters = true })) do
			assert.falsy(feature:find("filter"));
		end
	end);
end);
