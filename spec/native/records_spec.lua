local hostile = require "spec.support.hostile";
local native = require "spec.support.native";
local st = require "util.stanza";
local valid_utf8 = require "util.encodings".utf8.valid;

local library, user = native.library, native.user;

local fields = {
	"jid"; "node"; "timestamp"; "sequence"; "client_id"; "resource"; "options"; "include_payload";
	"language"; "encryption";
};

local function good_record()
	return {
		jid = "push.test"; node = "n1"; timestamp = 1000; sequence = 1; client_id = "client"; resource = "phone";
		include_payload = "true"; language = "en";
	};
end

local function is_text(value)
	return type(value) == "string" and not not valid_utf8(value);
end

local function greeting()
	return st.message({ from = "bert@away.test/pc", to = "anna@home.test" }, "Hi");
end

local function identifiers(pushes)
	local found = {};
	for i, push in ipairs(pushes or {}) do found[i] = push.identifier; end
	table.sort(found);
	return found;
end

local function sorted(list)
	table.sort(list);
	return list;
end

describe("a record with garbage in it", function ()
	local engine;

	before_each(function ()
		engine = native.engine({ push_coalesce_window = 0 });
	end);

	-- What each rule pushes for a user who has these records.
	local function served(records)
		return {
			identifiers((engine:archived(user, records, nil, greeting(), native.archive_id())));
			identifiers((engine:offline(user, records, nil, greeting())));
		};
	end

	local function unacked(identifier, record)
		local session = { push_identifier = identifier; push_settings = record; hibernating = 1 };
		return identifiers((engine:unacked(user, session, { phone = session }, { greeting() }, 1)));
	end

	for _, field in ipairs(fields) do
		it("does not stop the pushes to other registrations: its " .. field, function ()
			for name, value in pairs(hostile.values) do
				local bad = good_record();
				bad[field] = value;
				local records = { ["push.test<n1"] = bad; ["push.test<n2"] = { jid = "push.test"; node = "n2" } };
				local found = served(records);
				local found_unacked = unacked("push.test<n1", bad);
				local pinged = engine:ping(user, "push.test<n1", bad) ~= nil;
				assert.equal("push.test<n2", table.remove(found[1]), name);
				assert.equal("push.test<n2", table.remove(found[2]), name);
				-- All that a push needs is a service.
				if bad.jid == "push.test" or not is_text(bad.jid) then
					local expected = { bad.jid == "push.test" and "push.test<n1" or nil };
					assert.same({ expected, expected, expected }, { found[1], found[2], found_unacked }, name);
					assert.equal(#expected == 1, pinged, name);
				end
			end
		end);

		it("does not hide the other registrations: its " .. field, function ()
			for name, value in pairs(hostile.values) do
				local bad = good_record();
				bad[field] = value;
				local good = { jid = "push.test"; node = "n2"; timestamp = 2000; client_id = "other"; resource = "tablet" };
				local records = { ["push.test<n1"] = bad; ["push.test<n2"] = good };
				assert.same({ "push.test<n2" }, library.matching(records, "push.test", "n2"), name);
				assert.equal("push.test<n2", library.owned_by(records, "other", "pc"), name);
				good.client_id = nil;
				assert.equal("push.test<n2", library.owned_by(records, nil, "tablet"), name);

				local displaced, timestamp, sequence = library.admit(records, "push.test", "n2", nil, "pc", 5, 3000);
				assert.same({ "push.test<n2" }, displaced, name);
				assert.is_true(timestamp >= 2000, name);
				assert.is_true(sequence >= 0, name);
				assert.same({}, library.surplus(records, 2), name);
			end
		end);
	end

	it("is left alone if a newer version has made it, for a protocol of its own", function ()
		local newer = good_record();
		newer.protocol = "urn:example:push:9";
		local records = { ["push.test<n1"] = newer; ["push.test<n2"] = { jid = "push.test"; node = "n2" } };
		assert.same({ { "push.test<n2" }, { "push.test<n2" } }, served(records));
		assert.same({}, unacked("push.test<n1", newer));
		assert.is_nil(engine:ping(user, "push.test<n1", newer));
		assert.same({ "push.test<n1" }, library.matching(records, "push.test", "n1"));
	end);

	it("is never attached to a session by garbage", function ()
		for name, value in pairs(hostile.values) do
			if type(value) ~= "string" then
				local bad = good_record();
				bad.client_id, bad.resource = value, value;
				assert.is_nil(library.owned_by({ ["push.test<n1"] = bad }, "client", "phone"), name);
			end
		end
	end);

	it("does not survive as the newest for its timestamp", function ()
		for _, timestamp in ipairs({ "soon", {}, true, 0/0 }) do
			local bad = good_record();
			bad.timestamp = timestamp;
			local records = { ["push.test<n1"] = bad; ["push.test<n2"] = { jid = "push.test"; node = "n2"; timestamp = 2000 } };
			assert.same({ "push.test<n1" }, library.surplus(records, 1));
		end
	end);

	it("may be no record at all", function ()
		for name, value in pairs(hostile.values) do
			local records = { ["push.test<n1"] = value; ["push.test<n2"] = { jid = "push.test"; node = "n2" } };
			assert.same({ { "push.test<n2" }, { "push.test<n2" } }, served(records), name);
			assert.same({ "push.test<n2" }, sorted(library.matching(records, "push.test")), name);
			assert.same({}, unacked("push.test<n1", value), name);
			library.surplus(records, 1);
			library.admit(records, "push.test", "n2", nil, "pc", 1, 3000);
		end
	end);

	it("may have any key", function ()
		local keys = { true, 1, 1.5, print, {}, coroutine.create(print), "\255", "a\0b", "", io.stdout };
		for _, key in ipairs(keys) do
			local records = { [key] = good_record(); ["push.test<n2"] = { jid = "push.test"; node = "n2" } };
			for _, found in ipairs(served(records)) do
				assert.equal("push.test<n2", found[#found]);
			end
			assert.same({ "push.test<n2" }, library.matching(records, "push.test", "n2"));
			assert.same({ "push.test<n2" }, (library.admit(records, "push.test", "n2", nil, "pc", 5, 3000)));
			library.surplus(records, 1);
			library.owned_by(records, nil, "phone");
		end
	end);

	it("may have a metatable that raises, as may the table around it", function ()
		local record = hostile.raising({ jid = "push.test"; node = "n1" });
		local records = hostile.raising({ ["push.test<n1"] = record });
		assert.same({ { "push.test<n1" }, { "push.test<n1" } }, served(records));
		assert.same({ "push.test<n1" }, unacked("push.test<n1", record));
		assert.truthy(engine:ping(user, "push.test<n1", record));
		assert.same({ "push.test<n1" }, library.matching(records, "push.test"));
		assert.same({ "push.test<n1" }, library.surplus(records, 0));
	end);

	it("is released, or dropped, when its time has come", function ()
		engine = native.engine({ push_coalesce_window = 1e-9 });
		for name, value in pairs(hostile.values) do
			local record = { jid = "push.test"; node = "n1" };
			local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
			local stanza = st.message({ from = "bert@away.test" });
			local pushes = engine:unacked(user, session, { phone = session }, { stanza }, 1);
			assert.is_nil(pushes);
			assert.same({ user = user; identifier = "push.test<n1" }, select(2, engine:expire())[1]);
			record.jid = value;
			local push = engine:release(user, "push.test<n1", record, { phone = session, pc = value });
			assert.equal(is_text(value) and not value:find("%c"), push ~= nil, name);
		end
	end);

	it("is released without its stanza where that takes more memory than it seems", function ()
		engine = native.engine({ push_coalesce_window = 1e-9; push_notification_with_body = true });
		local record = { jid = "push.test"; node = "n1" };
		local session = { push_identifier = "push.test<n1"; push_settings = record; hibernating = 1 };
		local function released(attributes)
			local stanza = st.message({ from = "bert@away.test" });
			for i = 1, attributes do stanza.attr[("%x"):format(i)] = ""; end
			assert.is_nil(engine:unacked(user, session, { phone = session }, { stanza }, 1));
			engine:expire();
			return engine:release(user, "push.test<n1", record, { phone = session });
		end
		assert.truthy(released(10).original);
		assert.is_nil(released(1000).original);
	end);
end);

describe("a session with garbage in it", function ()
	it("is no session of the registration, and stops nothing", function ()
		local engine = native.engine();
		for name, value in pairs(hostile.values) do
			for _, field in ipairs({ "push_identifier", "hibernating", "awaiting_ack", "destroyed", "smacks" }) do
				local session = { push_identifier = "push.test<other" };
				session[field] = value;
				assert.truthy(native.archive(engine, greeting(), nil, { phone = session, [7] = session, pc = value }), name);
			end
		end
	end);

	it("is pushed to by no rule when it does not say where", function ()
		local engine = native.engine();
		for name, value in pairs(hostile.values) do
			local session = { push_identifier = value; push_settings = { jid = "push.test"; node = "n1" }; hibernating = 1 };
			local pushes = engine:unacked(user, session, { phone = session }, { greeting() }, 1);
			assert.equal(is_text(value) and 1 or 0, #(pushes or {}), name);

			session = { push_identifier = "push.test<n1"; push_settings = value; hibernating = 1 };
			assert.is_nil((engine:unacked(user, session, { phone = session }, { greeting() }, 1)), name);
		end
	end);
end);
