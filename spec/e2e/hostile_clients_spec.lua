-- Clients that register without end, or with as much as the server lets through.

local prosody = require "spec.support.prosody";
local client = require "spec.support.client";
local devices = require "spec.support.devices";
local inspect = require "spec.support.inspect";
local push_service = require "spec.support.push_service";

local many = 3000;
local batch = 100;

local xmlns_push = "urn:xmpp:push:0";
local xmlns_data = "jabber:x:data";

local function form(content)
	return ("<x xmlns='%s' type='submit'>%s</x>"):format(xmlns_data, content);
end

local function field(i, value)
	return ("<field var='f%d'><value>%s</value></field>"):format(i, value or "v");
end

local function nested(depth, name)
	return ("<" .. name .. ">"):rep(depth) .. ("</" .. name .. ">"):rep(depth);
end

local ten_thousand_fields, ten_thousand_attributes = {}, {};
for i = 1, 10000 do
	ten_thousand_fields[i] = field(i);
	ten_thousand_attributes[i] = ("a%d='v'"):format(i);
end

-- What may be in an <enable/>
local too_much = {
	["a form of ten thousand fields"] = form(table.concat(ten_thousand_fields));
	["a form with one value of a megabyte"] = form(field(1, ("x"):rep(2^20)));
	["a form with a hundred thousand values"] = form("<field var='a'>" .. ("<value/>"):rep(100000) .. "</field>");
	["a form with 1,900 values"] = form("<field var='a'>" .. ("<value/>"):rep(1900) .. "</field>");
	["a form with 1,000 attributes"] = form("<field " .. table.concat(ten_thousand_attributes, " ", 1, 1000) .. "/>");
	["a form thirty thousand levels deep"] = form(nested(30000, "x"));
	["ten thousand forms"] = form(field(1)):rep(10000);
	["an extension thirty thousand levels deep"] = nested(30000, "a");
	["an extension of a megabyte"] = "<a xmlns='urn:a'>" .. ("x"):rep(2^20) .. "</a>";
	["an extension with ten thousand attributes"] = "<a " .. table.concat(ten_thousand_attributes, " ") .. "/>";
	["a hundred thousand elements"] = ("<a/>"):rep(100000);
};

local function describe_all(version)
	local server, push;

	setup(function ()
		server = prosody.start({
			version = version;
			options = {
				c2s_stanza_size_limit = 8 * 2^20;
				push_coalesce_window = 0;
				push_max_per_minute = 0;
			};
		});
		push = push_service.connect(server, "push.test", "secret");
	end);

	teardown(function ()
		prosody.stop_all();
		assert.same({}, server:faults());
	end);

	local function new_phone(options)
		return client.connect(server, devices.new_user(server), options);
	end

	local function enable(phone, attributes, content)
		phone:send(("<iq type='set' id='e'><enable xmlns='%s' %s>%s</enable></iq>")
			:format(xmlns_push, attributes, content or ""));
		return phone:expect({ name = "iq"; id = "e" });
	end

	it("one that registers thousands of nodes has the last ones, and the server no more", function ()
		local phone = new_phone();
		local sent = 0;
		local function register(count)
			for _ = 1, count / batch do
				local requests = {};
				for i = 1, batch do
					sent = sent + 1;
					requests[i] = ("<iq type='set' id='r%d'><enable xmlns='%s' jid='push.test' node='n%d'/></iq>")
						:format(sent, xmlns_push, sent);
				end
				phone:send(table.concat(requests));
				phone:expect({ name = "iq"; id = ("r%d"):format(sent); type = "result" });
				phone.inbox, phone.received = {}, {};
			end
		end

		register(many / 20);
		local heap, rss = server:heap(), server:rss();
		register(many);
		local heap_growth, rss_growth = server:heap() - heap, server:rss() - rss;
		assert.is_true(heap_growth < 64, ("%.1f KiB more of Lua"):format(heap_growth));
		assert.is_true(rss_growth < 6 * 1024, ("%d KiB more of everything"):format(rss_growth));

		local last = {};
		for i = sent - 4, sent do last[#last + 1] = ("push.test<n%d"):format(i); end
		assert.same(last, devices.identifiers(server, phone.jid));
		assert.equal(last[5], devices.attached(phone).identifier);
		assert.equal(0, inspect.eval(server, [[
			local count = 0;
			for _ in pairs(upvalue("push_errors")) do count = count + 1; end
			return count;
		]]));
		phone:close();
		local sender = new_phone();
		for i, identifier in ipairs(last) do last[i] = identifier:match("<(.*)$"); end
		assert.same(last, devices.woken(push, sender, phone.jid));
		sender:close();
	end);

	it("one that enables and disables thousands of times leaves nothing", function ()
		local phone = new_phone();
		local function cycle(count)
			for _ = 1, count / batch do
				phone:send(([[
					<iq type='set' id='e'><enable xmlns='%s' jid='push.test' node='n'/></iq>
					<iq type='set' id='d'><disable xmlns='%s' jid='push.test'/></iq>
				]]):format(xmlns_push, xmlns_push):rep(batch));
				phone:ping();
				phone.inbox, phone.received = {}, {};
			end
		end
		cycle(batch);
		local heap = server:heap();
		cycle(many / 5);
		assert.is_true(server:heap() - heap < 64);
		assert.is_nil(devices.stored(server, phone.jid));
		assert.same({}, devices.attached(phone));
		phone:close();
	end);

	for name, content in pairs(too_much) do
		it("one that registers with too much is refused, with all as it was: " .. name, function ()
			local phone = new_phone();
			devices.enable(phone, { jid = "push.test"; node = "n1"; options = { secret = "s" } });
			local before, attached = devices.stored(server, phone.jid), devices.attached(phone);
			local reply = enable(phone, "jid='push.test' node='n1'", content);
			assert.equal("error", reply.attr.type);
			local error_type, condition = reply:get_error();
			assert.same({ "modify"; "policy-violation" }, { error_type; condition });
			assert.same(before, devices.stored(server, phone.jid));
			assert.same(attached, devices.attached(phone));
			phone:close();
		end);
	end

	it("one that registers as much as there may be takes a bounded room in the store", function ()
		local phone = new_phone();
		local fields = {};
		for i = 1, 64 do fields[i] = field(i, i == 64 and ("\n"):rep(10000) or ""); end
		for i = 1, 6 do
			local reply = enable(phone, ("jid='push.test' node='n%d'"):format(i), form(table.concat(fields)));
			assert.equal("result", reply.attr.type);
		end
		local file = assert(io.open(("%s/home%%2etest/cloud_notify/%s.dat"):format(server.data, phone.username)));
		local size = file:seek("end");
		file:close();
		assert.is_true(size < 5 * 50000, ("%d bytes"):format(size));
		phone:close();
	end);

	it("one that registers a node of 64 KiB, or a megabyte, is refused, with all as it was", function ()
		local phone = new_phone();
		devices.enable(phone, { jid = "push.test"; node = "n1" });
		local before = devices.stored(server, phone.jid);
		for _, size in ipairs({ 2049; 65536; 2^20 }) do
			local reply = enable(phone, ("jid='push.test' node='%s'"):format(("n"):rep(size)));
			local error_type, condition = reply:get_error();
			assert.same({ "modify"; "policy-violation" }, { error_type; condition });
			reply = enable(phone, ("jid='%s.test' node='n'"):format(("x"):rep(size)));
			assert.equal("error", reply.attr.type);
		end
		assert.same(before, devices.stored(server, phone.jid));
		phone:close();
	end);

	it("one that disables with too much is refused or has its way, and nothing breaks", function ()
		local phone = new_phone();
		devices.enable(phone, { jid = "push.test"; node = "n1" });
		for _, content in ipairs({ nested(30000, "a"); ("<a/>"):rep(100000); ("x"):rep(2^20) }) do
			phone:send(("<iq type='set' id='d'><disable xmlns='%s' jid='push.test' node='%s'>%s</disable></iq>")
				:format(xmlns_push, ("n"):rep(65536), content));
			phone:expect({ name = "iq"; id = "d" });
		end
		assert.same({ "push.test<n1" }, devices.identifiers(server, phone.jid));
		phone:close();
	end);
end

for _, version in ipairs(prosody.versions) do
	describe("clients with Prosody " .. version .. ":", function ()
		describe_all(version);
	end);
end
