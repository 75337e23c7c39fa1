-- Whatever Lua code calls, and whenever: at worst it gets an error.

local everything = require "spec.support.everything";
local native = require "spec.support.native";
local st = require "util.stanza";

local library, user, host = native.library, native.user, native.host;

local function new_engine()
	library.close(host);
	return library.open(host, st.stanza_mt, st.deserialize);
end

local function greeting()
	return st.message({ from = "bert@away.test/pc", to = "anna@home.test", id = "m1" }, "Hi");
end

-- Nothing of what came before is left in the way.
local function works()
	assert.is_true(native.archive(native.engine(), greeting()).important);
end

-- Has finalisers call f while g runs, some times.
local function during(f, g)
	local count, most, running = 0, 5, false;
	local function finalise()
		if count == most then return; end
		setmetatable({}, { __gc = finalise });
		if running then return; end
		count, running = count + 1, true;
		f();
		running = false;
	end
	setmetatable({}, { __gc = finalise });
	collectgarbage("setpause", 0);
	collectgarbage("setstepmul", 10000);
	repeat g(); until count == most;
	collectgarbage("setpause", 200);
	collectgarbage("setstepmul", 100);
end

describe("a finaliser", function ()
	it("may call everything while anything else is called", function ()
		local engine = new_engine();
		local calls = everything.of(library, engine);
		during(function () everything.call(calls); end, function ()
			for _, call in ipairs(calls) do pcall(call[2], table.unpack(call[3], 1, 6)); end
		end);
		works();
	end);

	it("may call everything of an engine that is collected with it", function ()
		for _ = 1, native.times(10) do
			local engine = library.open("lost.test", st.stanza_mt, st.deserialize);
			setmetatable({ everything.of(library, engine) }, { __gc = function (calls) everything.call(calls[1]); end });
			engine = nil; -- luacheck: ignore 311
			collectgarbage();
		end
		works();
	end);

	it("may take the pushes of others", function ()
		local engine = native.engine();
		local records = native.records();
		during(function ()
			pcall(engine.settle, engine, greeting());
			pcall(engine.next_push, engine, greeting(), records, true);
		end, function ()
			pcall(engine.archived, engine, user, records, nil, greeting(), native.archive_id());
		end);
		works();
	end);

	it("may call everything when Lua ends", function ()
		local lua = "lua" .. _VERSION:match("%d.%d");
		local status = { os.execute(("%s %s spec/support/last_calls.lua"):format(os.getenv("SPEC_RUNNER") or "", lua)) };
		assert.same({ true, "exit", 0 }, status);
	end);
end);

describe("a call", function ()
	it("for a host that is closed, is for nothing", function ()
		local engine = new_engine();
		local calls = everything.of(library, engine);
		library.close(host);
		everything.call(calls);
		local archived = engine:readers();
		library.close(host);
		assert.is_nil((archived(user, native.records(), nil, greeting(), "a1")));
		works();
	end);

	it("may come from as deep as Lua goes", function ()
		local engine = new_engine();
		local calls = everything.of(library, engine);
		local function deeper(depth)
			local ok, err = pcall(string.gsub, "x", "x", function () deeper(depth + 1); end);
			if not ok then everything.call(calls); end
			return err;
		end
		deeper(0);
		works();
	end);

	it("may be made with a reader whose insides were changed", function ()
		local archived = native.library.open(host, st.stanza_mt, st.deserialize):readers();
		for place = 1, 3 do
			for _, value in ipairs({ false; 1; "x"; {}; io.stdout; print }) do
				local _, before = debug.getupvalue(archived, place);
				debug.setupvalue(archived, place, value);
				pcall(archived, user, native.records(), nil, greeting(), "a1");
				debug.setupvalue(archived, place, before);
			end
		end
		works();
	end);

	-- What Lua says of its length is any border: an entry with nothing behind it. It doubles the place until
	-- there is nothing.
	it("with a table that ends far away takes no longer than its entries do", function ()
		local entries = {};
		for power = 0, 62 do entries[power + 1] = ("[%d]=entry"):format(2^power); end
		local far = load("local entry = ...; return { " .. table.concat(entries, ";") .. " };");
		assert.is_true(_VERSION ~= "Lua 5.4" or #far(true) > 2^40); -- COMPAT 5.2, 5.3: they do not go that far
		local engine = native.engine();
		local record = { jid = "push.test"; node = "n1" };
		local records = { ["push.test<n1"] = record };
		local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
		local sessions = { phone = session };
		local function read(stanza, queue)
			engine:archived(user, records, nil, stanza, native.archive_id());
			engine:offline(user, records, nil, stanza);
			engine:unacked(user, session, sessions, queue, 1);
			engine:unacked(user, session, sessions, queue, -1);
			engine:read(user, session, sessions, queue);
		end
		read(greeting(), far(greeting()));
		for _, entry in ipairs({ "text"; { name = "body"; attr = {}; tags = far({}); "Hi" } }) do
			local stanza = greeting();
			stanza.tags = far(entry);
			read(stanza, { stanza });
			stanza.tags[1] = setmetatable(far(entry), { __index = { name = "body"; attr = {}; tags = {} } });
			read(stanza, { stanza });
			local enable = far(entry);
			enable.name, enable.tags = "enable", far(entry);
			enable.attr = { xmlns = "urn:xmpp:push:0"; jid = "push.test" };
			pcall(library.enable, enable, "anna@home.test/phone");
			pcall(library.disable, enable);
			pcall(library.revoked_node, enable, "anna@home.test");
		end
		pcall(engine.restore, engine, { devices = far({ user = user; identifier = "push.test<n1" }); services = far({}) }, 1);
		works();
	end);
end);
