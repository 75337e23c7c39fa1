local native = require "spec.support.native";
local st = require "util.stanza";

local library, xml = native.library, native.xml;

local own = "anna@home.test/phone";

local function request(name, attributes, children)
	return xml(("<%s xmlns='urn:xmpp:push:0' %s>%s</%s>"):format(name, attributes, children or "", name));
end

local function enable(attributes, children)
	return library.enable(request("enable", attributes, children), own);
end

local function form(fields, type)
	return ("<x xmlns='jabber:x:data' type='%s'>%s</x>"):format(type or "submit", fields);
end

local function field(name, value)
	return ("<field var='%s'><value>%s</value></field>"):format(name, value);
end

local function assert_refused(condition, address, error_type, actual_condition, text)
	assert.is_nil(address);
	assert.same({ "modify", condition }, { error_type, actual_condition });
	assert.is_true(#text > 10);
end

describe("a request to enable push", function ()
	it("names the service and the node", function ()
		assert.same({ { identifier = "push.test<n1"; jid = "push.test"; node = "n1" } },
			{ enable("jid='push.test' node='n1'") });
		assert.same({ { identifier = "push.test<"; jid = "push.test" } }, { enable("jid='push.test'") });
		assert.equal("push.test<", enable("jid='push.test' node=''").identifier);
	end);

	it("has its address normalised, but not its node", function ()
		assert.same({ { identifier = "service@push.test/APNS<NodE"; jid = "service@push.test/APNS"; node = "NodE" } },
			{ enable("jid='Service@PUSH.test/APNS' node='NodE'") });
	end);

	it("may have extensions that nobody knows", function ()
		assert.truthy(enable("jid='push.test' away='true'", form(field("secret", "x"))
			.. "<priority xmlns='tigase:push:priority:0'/><away xmlns='urn:x'><deep><deeper/></deep></away>text"));
	end);

	it("is refused without an address", function ()
		assert_refused("bad-request", enable("node='n1'"));
	end);

	it("is refused with an address that is none", function ()
		for _, jid in ipairs({
			""; "@"; "@push.test"; "a@"; "a@/b"; "push.test/"; "a b@push.test"; "/res";
			("x"):rep(1024) .. "@push.test"; "a@push.test/" .. ("x"):rep(1024);
		}) do
			assert_refused("jid-malformed", enable(("jid='%s'"):format(jid)));
		end
	end);

	it("is refused with the client's own address", function ()
		for _, jid in ipairs({ own, "anna@home.test", "Anna@Home.Test" }) do
			assert_refused("bad-request", enable(("jid='%s'"):format(jid)));
		end
	end);

	it("is refused over the limits", function ()
		assert.truthy(enable(("jid='push.test' node='%s'"):format(("n"):rep(2048))));
		assert_refused("policy-violation", enable(("jid='push.test' node='%s'"):format(("n"):rep(2049))));
		assert_refused("policy-violation", enable("jid='push.test'", form(field("a", ("b"):rep(16384)))));
		assert.truthy(enable("jid='push.test'", form(field("a", "b"):rep(64))));
		assert_refused("policy-violation", enable("jid='push.test'", form(field("a", "b"):rep(65))));
		assert_refused("policy-violation", enable("jid='push.test'", "<x xmlns='urn:x'>" .. ("b"):rep(33000) .. "</x>"));
		assert_refused("policy-violation", enable("jid='push.test'", ("<x xmlns='urn:x'/>"):rep(33)));
	end);

	it("may have long lists of chats, but not endless ones", function ()
		local function lists(name, count, more)
			local entry = "<item jid='X@y.test' nick='n'/>";
			local ns = ("tigase:push:filter:%s:0"):format(name);
			return ("<%s xmlns='%s'>%s%s</%s>"):format(name, ns, entry:rep(count), more or "", name);
		end
		local full = lists("muted", 10000) .. lists("groupchat", 10000);
		local address = enable("jid='push.test'", full);
		assert.same({ ["x@y.test"] = true }, address.fields.muted_jids);
		for _, name in ipairs({ "muted"; "groupchat" }) do
			for _, count in ipairs({ 10001; 100000 }) do
				assert_refused("policy-violation", enable("jid='push.test'", lists(name, count)));
			end
			local levels = 100;
			local deep = ("<item>"):rep(levels) .. ("</item>"):rep(levels);
			assert_refused("policy-violation", enable("jid='push.test'", lists(name, 1, deep)));
			local twice = lists(name, 10000):rep(4);
			assert_refused("policy-violation", enable("jid='push.test'", twice));
		end
		assert_refused("policy-violation", enable("jid='push.test'", lists("unknown", 10000)));
	end);

	it("may have a form of any type", function ()
		for _, any in ipairs({
			form(field("a", "b"), "form"); form(field("a", "b"), "nonsense"); "<x xmlns='jabber:x:data'/>";
			form("<field><value>b</value></field>");
		}) do
			assert.truthy(enable("jid='push.test'", any));
		end
	end);

	it("is refused with a form that takes more room in the store than on the wire", function ()
		local function values(count, attributes)
			return form("<field var='a'>" .. ("<value %s/>"):format(attributes or ""):rep(count) .. "</field>");
		end
		local namespaces = {};
		for i = 1, 8 do namespaces[i] = ("p:a%d=''"):format(i); end
		local qualified = ("xmlns:p='%s' "):format(("n"):rep(300)) .. table.concat(namespaces, " ");
		assert.truthy(enable("jid='push.test'", values(127)));
		assert.truthy(enable("jid='push.test'", values(5, qualified)));
		for _, large in ipairs({ values(128); values(1900); values(30, "a='' b='' c='' d='' e='' f='' g='' h='' i=''");
			values(10, qualified); values(1, ("xml:lang='%s'"):format(("l"):rep(17000))) }) do
			assert_refused("policy-violation", enable("jid='push.test'", large));
		end
		for _, large in ipairs({ ("<p:y/>"):rep(100); ("<p:y xmlns:p='%s'/>"):format(("n"):rep(300)):rep(100) }) do
			local fields = form("<field var='a'>" .. large .. "</field>"):gsub("^<x ", "%0xmlns:p='" .. ("n"):rep(300) .. "' ");
			assert_refused("policy-violation", enable("jid='push.test'", fields));
		end
	end);

	it("is refused when it is too deep or too large to be read", function ()
		local levels = 100;
		assert_refused("policy-violation", enable("jid='push.test'",
			("<x xmlns='urn:x'>"):rep(levels) .. ("</x>"):rep(levels)));
		assert_refused("policy-violation", enable("jid='push.test'", "<x xmlns='urn:x'>" .. ("<y/>"):rep(5000) .. "</x>"));
		local cyclic = st.stanza("enable", { xmlns = "urn:xmpp:push:0"; jid = "push.test" });
		cyclic[1], cyclic.tags[1] = cyclic, cyclic;
		assert_refused("policy-violation", library.enable(cyclic, own));
	end);

	it("is refused when it is no element", function ()
		for _, element in ipairs({
			{}; { name = "enable" }; { name = "enable"; attr = 7 }; { name = {}; attr = { jid = "push.test" } };
			{ name = "enable"; attr = { jid = {} } }; { name = "enable"; attr = { [7] = {} } };
			{ name = "enable"; attr = { jid = "push.test"; node = "\255" } };
			{ name = "enable"; attr = { jid = "push.test" }; true };
		}) do
			assert_refused("bad-request", library.enable(element, own));
		end
	end);
end);

describe("a request to disable push", function ()
	local function disable(attributes)
		return library.disable(request("disable", attributes));
	end

	it("names the service and, perhaps, the node", function ()
		assert.same({ { identifier = "push.test<n1"; jid = "push.test"; node = "n1" } },
			{ disable("jid='Push.Test' node='n1'") });
		assert.is_nil(disable("jid='push.test'").node);
		assert.equal("", disable("jid='push.test' node=''").node);
	end);

	it("is refused without an address, or with one that is none", function ()
		assert_refused("bad-request", disable("node='n1'"));
		assert_refused("jid-malformed", disable("jid='@'"));
		assert_refused("policy-violation", disable(("jid='push.test' node='%s'"):format(("n"):rep(2049))));
	end);
end);

describe("the end of a registration, as its push service announces it", function ()
	local function revoked(attributes, affiliation)
		return library.revoked_node(xml(("<pubsub xmlns='http://jabber.org/protocol/pubsub' %s><affiliation %s/></pubsub>")
			:format(attributes, affiliation)), "anna@home.test");
	end

	it("is for one node of one account", function ()
		assert.equal("n1", revoked("node='n1'", "jid='anna@home.test' affiliation='none'"));
		assert.is_nil(revoked("node='n1'", "jid='bert@home.test' affiliation='none'"));
		assert.is_nil(revoked("node='n1'", "jid='anna@home.test' affiliation='publisher'"));
		assert.is_nil(revoked("node='n1'", "affiliation='none'"));
		assert.is_nil(revoked("", "jid='anna@home.test' affiliation='none'"));
	end);

	it("is nothing else", function ()
		for _, element in ipairs({ {}; { name = "pubsub" }; st.stanza("pubsub"); st.stanza("pubsub", { node = "n1" }) }) do
			assert.is_nil(library.revoked_node(element, "anna@home.test"));
		end
	end);
end);

describe("the place of a new registration", function ()
	local function record(node, timestamp, sequence)
		return { jid = "push.test"; node = node; timestamp = timestamp; sequence = sequence };
	end

	it("is the newest, in the place of the one for the same service and node", function ()
		local records = { ["push.test<n1"] = record("n1", 1000); ["push.test<n2"] = record("n2", 2000) };
		assert.same({ { "push.test<n1" }, 3000, 0 }, { library.admit(records, "push.test", "n1", nil, "pc", 5, 3000) });
		assert.same({ {}, 3000, 0 }, { library.admit(records, "push.test", "n3", nil, "pc", 5, 3000) });
		assert.same({ {}, 2000, 1 }, { library.admit(records, "push.test", "n3", nil, "pc", 5, 1500) });
		assert.same({ {}, 1000, 0 }, { library.admit({}, "push.test", nil, nil, "pc", 5, 1000) });
	end);

	it("is made by the oldest ones", function ()
		local records = {
			["push.test<n1"] = record("n1", 1000, 1);
			["push.test<n2"] = record("n2", 1000, 0);
			["push.test<n3"] = record("n3", 999, 7);
		};
		local displaced = library.admit(records, "push.test", "n4", nil, "pc", 2, 3000);
		table.sort(displaced);
		assert.same({ "push.test<n2"; "push.test<n3" }, displaced);
		assert.same({ "push.test<n3" }, library.surplus(records, 2));
	end);

	it("is none of those whose protocol only a newer version knows: they count for themselves", function ()
		local function newer(protocol, timestamp)
			return { protocol = protocol; resource = "pc"; timestamp = timestamp };
		end
		local records = {
			["push.test<n1"] = record("n1", 1000);
			["push.test<n2"] = record("n2", 2000);
			["push9 one"] = newer("push9", 1); ["push9 two"] = newer("push9", 3000);
			["push10 one"] = newer("push10", 1);
		};
		assert.same({}, library.surplus(records, 2));
		assert.same({ "push.test<n1" }, (library.admit(records, "push.test", "n3", nil, "pc", 2, 4000)));
		assert.is_nil(library.owned_by(records, nil, "pc", true));
		records["push9 three"] = newer("push9", 2000);
		assert.same({ "push9 one" }, library.surplus(records, 2));
	end);
end);
