local native = require "spec.support.native";
local st = require "util.stanza";

local library, xml = native.library, native.xml;

local own = "anna@home.test/phone";
local notify = "<send xmlns='urn:xmpp:push2:send:notify-only:0'/>";

-- The device's keys are those of RFC 8291 section 5; the other is made for this.
local ua_public = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
local auth_secret = "BTBZMqHH6r4Tts7J_aSIgg";
local jwt_key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgw/G4LPpf8JPsY6uU3E2sQpjRNvzCOdnwG9PHhQ8GiMGh"
	.. "RANCAASzr87EvAs0+EEcyUTAZ+7/4c/WUn1WMN09G+2AWYOB/i9j44XJbQRgb/cKshTNIQ8bnc7lNcO75leGZCWC/ot7";

local function enable(children)
	return library.enable2(xml("<enable xmlns='urn:xmpp:push2:0'>" .. children .. "</enable>"), own);
end

local function enable_match(children, profile)
	return enable(("<service>push.test</service><client>c1</client><match profile='urn:xmpp:push2:match:%s'>%s</match>")
		:format(profile or "all", children));
end

local function web_push(children)
	return enable_match("<send xmlns='urn:xmpp:push2:send:sce+rfc8291+rfc8292:0'>" .. children .. "</send>");
end

local function keys(public, secret)
	return ("<ua-public>%s</ua-public><auth-secret>%s</auth-secret>"):format(public, secret);
end

local function assert_refused(condition, pattern, enabled, error_type, actual_condition, text)
	assert.is_nil(enabled);
	assert.same({ "modify", condition }, { error_type, actual_condition });
	assert.truthy(text:find(pattern, 1, true), text);
end

describe("a request to enable push 2.0", function ()
	it("is kept as mod_push2 keeps it", function ()
		local chats = "<filter jid='Team@rooms.test'><mention/><reply/></filter><filter jid='noise@rooms.test'/>";
		assert.same({ {
			service = "push.test"; jid = "push.test"; client = "https://push.test/a#b"; node = "https://push.test/a#b";
			matches = {
				{
					match = "urn:xmpp:push2:match:important"; grace = 120;
					chats = { ["team@rooms.test"] = { mention = true; reply = true }; ["noise@rooms.test"] = {} };
					send = "urn:xmpp:push2:send:sce+rfc8291+rfc8292:0";
					ua_public = ua_public:gsub("-", "+"):gsub("_", "/") .. "="; auth_secret = "BTBZMqHH6r4Tts7J/aSIgg==";
					jwt_alg = "ES256"; jwt_key = jwt_key; jwt_claims = { aud = "https://push.test" };
				};
				{ match = "urn:xmpp:push2:match:all"; send = "urn:xmpp:push2:send:notify-only:0" };
			};
		} }, { enable("<service>Push.test</service><client>https://push.test/a#b</client>"
			.. "<match profile='urn:xmpp:push2:match:important'><grace>120</grace>" .. chats
			.. "<send xmlns='urn:xmpp:push2:send:sce+rfc8291+rfc8292:0'>" .. keys(ua_public, auth_secret)
			.. "<jwt-alg>ES256</jwt-alg><jwt-key>" .. jwt_key .. "</jwt-key>"
			.. "<jwt-claim name='aud'>https://push.test</jwt-claim></send></match>"
			.. "<match profile='urn:xmpp:push2:match:all'>" .. notify .. "</match>") });
	end);

	it("is refused with what is wrong", function ()
		local rest = "<match profile='urn:xmpp:push2:match:all'>" .. notify .. "</match>";
		assert_refused("bad-request", "<service/>", enable("<client>c</client>" .. rest));
		assert_refused("jid-malformed", "<service/>", enable("<service>@</service><client>c</client>" .. rest));
		assert_refused("bad-request", "your own", enable("<service>" .. own .. "</service><client>c</client>" .. rest));
		assert_refused("bad-request", "<client/>", enable("<service>push.test</service>" .. rest));
		assert_refused("bad-request", "<match/>", enable("<service>push.test</service><client>c</client>"));
		assert_refused("feature-not-implemented", "urn:xmpp:push2:match:some", enable_match(notify, "some"));
		assert_refused("bad-request", "<grace/>", enable_match("<grace>soon</grace>" .. notify));
		assert_refused("jid-malformed", "<filter/>", enable_match("<filter/>" .. notify));
		local alg = "<jwt-alg>HS256</jwt-alg><jwt-key>" .. jwt_key .. "</jwt-key>";
		assert_refused("feature-not-implemented", "HS256", web_push(keys(ua_public, auth_secret) .. alg));
		assert_refused("bad-request", "<ua-public/>", web_push(keys(("A"):rep(87), auth_secret)));
		assert_refused("bad-request", "<auth-secret/>", web_push(keys(ua_public, "AAAA")));
	end);

	it("may have many filters, but not endless ones", function ()
		local function filters(count, children)
			local list = {};
			for i = 1, count do list[i] = ("<filter jid='c%d@rooms.test'>%s</filter>"):format(i, children or ""); end
			return table.concat(list) .. notify;
		end
		local chats = enable_match(filters(5000, "<mention/><reply/>")).matches[1].chats;
		assert.same({ mention = true; reply = true }, chats["c5000@rooms.test"]);
		for _, count in ipairs({ 5001; 10000; 100000 }) do
			assert_refused("policy-violation", "<filter/>", enable_match(filters(count)));
		end
		assert_refused("policy-violation", "<filter/>", enable_match(filters(2, ("<x>"):rep(100) .. ("</x>"):rep(100))));
		assert_refused("policy-violation", "<filter/>", enable_match(filters(2, ("<x/>"):rep(20000))));
		local long = ("<filter jid='%s@rooms.test'/>"):format(("x"):rep(1000));
		assert_refused("policy-violation", "<filter/>", enable_match(long:rep(600) .. notify));
		assert_refused("policy-violation", "too large", enable_match(("<x><filter/></x>"):rep(5000) .. notify));
	end);

	it("is not read to its end when it has too many filters", function ()
		local element = xml("<enable xmlns='urn:xmpp:push2:0'><service>push.test</service><client>c</client>"
			.. "<match profile='urn:xmpp:push2:match:all'>" .. ("<filter jid='x@y.test'/>"):rep(5001) .. "</match></enable>");
		local match = element.tags[3];
		match[#match + 1] = true;
		assert_refused("policy-violation", "<filter/>", library.enable2(element, own));
	end);

	it("is refused when it is no element", function ()
		for _, element in ipairs({
			{}; { name = "enable" }; { name = "enable"; attr = 7 }; { name = "enable"; attr = {}; true };
			{ name = "enable"; attr = {}; { name = "match"; attr = {}; { name = "filter"; attr = { jid = {} } } } };
		}) do
			local enabled, error_type, condition = library.enable2(element, own);
			assert.is_nil(enabled);
			assert.same({ "modify"; "bad-request" }, { error_type; condition });
		end
		local cyclic = st.stanza("enable", { xmlns = "urn:xmpp:push2:0" });
		cyclic[1], cyclic.tags[1] = cyclic, cyclic;
		assert_refused("policy-violation", "too large", library.enable2(cyclic, own));
	end);
end);
