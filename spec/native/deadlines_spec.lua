local native = require "spec.support.native";
local st = require "util.stanza";

describe("the next deadline", function ()
	it("is told once, and again after something has failed: it may not have been heard", function ()
		local engine = native.engine({ push_answer_timeout = 100 });
		local records = native.records();
		local message = st.message({ from = "rosa@home.test", to = native.account }, "Hello Anna");
		local _, _, delay = engine:archived(native.user, records, nil, message, native.archive_id());
		assert.is_true(delay > 99 and delay <= 100);
		assert.is_nil(engine:vetoed("no push"));
		assert.is_false(pcall(engine.discreet, engine, "no push", {}, true));
		delay = engine:vetoed("no push");
		assert.is_true(delay > 99 and delay <= 100);
		assert.is_nil(engine:vetoed("no push"));
	end);
end);
