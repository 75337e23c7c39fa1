-- Calls of all functions of the native library, with right and with wrong arguments.

require "spec.support.init";

local hostile = require "spec.support.hostile";
local st = require "util.stanza";

local everything = {};

local methods = {
	"answered"; "asked_anew"; "back"; "configure"; "connected"; "counts"; "device"; "disconnected"; "discreet";
	"displayed"; "enabled"; "expire"; "forget"; "forget_chat_settings"; "forget_user"; "gauges"; "heard"; "in_flight";
	"is_back"; "judge"; "judge_queue"; "latencies"; "learn_chat_settings"; "leave_to"; "next_push"; "out"; "outlook";
	"owed"; "ping"; "plan_wake"; "postpone"; "readers"; "release"; "restore"; "said"; "services"; "settle"; "suspend";
	"trail"; "vetoed"; "waiting"; "watched";
};

local user, identifier = "anna", "push.test<n1";
local record = { jid = "push.test"; node = "n1" };
local records = { [identifier] = record };
local session = { push_identifier = identifier; push_settings = record; hibernating = 1 };
local sessions = { phone = session };

local function greeting()
	return st.message({ from = "bert@away.test/pc", to = "anna@home.test", id = "m1" }, "Hi");
end

local function request()
	return st.presence({ type = "subscribe", from = "bert@away.test" });
end

local enable = st.stanza("enable", { xmlns = "urn:xmpp:push:0"; jid = "push.test"; node = "n1" });
local enable2 = st.stanza("enable", { xmlns = "urn:xmpp:push2:0" })
	:text_tag("service", "push.test"):text_tag("client", "n1")
	:tag("match", { profile = "urn:xmpp:push2:match:all" })
	:tag("send", { xmlns = "urn:xmpp:push2:send:notify-only:0" }):reset();

-- The right arguments, where they are not just those of a device
local function arguments_of(engine)
	return {
		asked_anew = { engine; user; identifier; "bert@away.test" };
		answered = { engine; "push-0000000000000000"; "push.test"; true; "cancel"; "gone" };
		connected = { engine; "push.test" };
		disconnected = { engine; "push.test" };
		configure = { engine; {} };
		counts = { engine; true };
		displayed = { engine; user; identifier; record; sessions; true; "bert@away.test"; "m1" };
		discreet = { engine; "push-00000000000000000000000000000000"; record; true };
		heard = { engine; "push.test" };
		forget_chat_settings = { engine; user };
		judge = { engine; user; records; greeting(); function () return {}; end; function () end };
		judge_queue = { engine; user; record; { greeting() }; 1; function () return {}; end; function () end };
		learn_chat_settings = { engine; user; { greeting() } };
		leave_to = { engine; {} };
		latencies = { engine; 1000 };
		next_push = { engine; greeting(); records; true };
		is_back = { engine; st.presence(); sessions };
		plan_wake = { engine; user; identifier; 600 };
		ping = { engine; user; identifier; record; true };
		release = { engine; user; identifier; record; sessions; true };
		said = { engine; user; "team@rooms.test"; "m1" };
		restore = { engine; { devices = { { user = user; identifier = identifier } } }; 1 };
		settle = { engine; greeting(); records; true };
		suspend = { engine; user; identifier; 1 };
		vetoed = { engine; "push-0000000000000000" };
		admit = { records; "push.test"; "n1"; "client"; "phone"; 5; 1000 };
		close = { "home.test" };
		disable = { enable };
		fetched = { st.stanza("query", { xmlns = "urn:xmpp:mam:2" }) };
		enable = { enable; "anna@home.test/phone" };
		enable2 = { enable2; "anna@home.test/phone" };
		is_xml_text = { "text" };
		matching = { records; "push.test"; "n1" };
		open = { "home.test"; st.stanza_mt; st.deserialize };
		owned_by = { records; "client"; "phone" };
		revoked_node = { enable; "anna@home.test" };
		surplus = { records; 0 };
	};
end

-- All that there is to be called: { name, function, arguments }
function everything.of(library, engine)
	local calls, arguments = {}, arguments_of(engine);
	local readers = { engine:readers() };
	calls[1] = { "archived"; readers[1]; { user; records; sessions; greeting(); "a1" } };
	calls[2] = { "offline"; readers[2]; { user; records; nil; greeting() } };
	calls[3] = { "unacked"; readers[3]; { user; session; sessions; { greeting() }; 1; true } };
	calls[4] = { "read"; readers[4]; { user; session; sessions; { greeting() } } };
	calls[5] = { "undelivered"; readers[5]; { user; records; nil; greeting() } };
	calls[6] = { "sent"; readers[6]; { user; records; nil; greeting(); nil; {} } };
	calls[7] = { "away"; readers[7]; { user; records; sessions; greeting() } };
	calls[8] = { "subscription"; readers[8]; { user; records; nil; request(); 1 } };
	calls[9] = { "active"; readers[9]; { greeting() } };
	for _, name in ipairs(methods) do
		calls[#calls + 1] = { name; engine[name]; arguments[name] or { engine; user; identifier } };
	end
	for name, value in pairs(library) do
		if type(value) == "function" then calls[#calls + 1] = { name; value; arguments[name] or {} }; end
	end
	return calls;
end

-- Calls them all, and returns the errors that were raised.
function everything.call(calls)
	local errors = {};
	local function try(f, ...)
		local ok, err = pcall(f, ...);
		if not ok then errors[#errors + 1] = err; end
	end
	for _, call in ipairs(calls) do
		local f, arguments = call[2], call[3];
		try(f);
		try(f, table.unpack(arguments, 1, 9));
		for _, value in pairs(hostile.values) do try(f, value, value, value, value); end
		try(coroutine.wrap(function () return f(table.unpack(arguments, 1, 9)); end));
	end
	return errors;
end

return everything;
