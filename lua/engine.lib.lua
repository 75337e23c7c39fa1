-- The engine of this host, in the native library, which keeps it over a reload

local native = module.lib "native";
local st = module.lib "util".prosody_require "util.stanza";

local engine = native.open(module.host, st.stanza_mt, st.deserialize);
local archived, offline, unacked, read, undelivered, sent, away, subscription, active =
	engine:readers();

local function close()
	native.close(module.host);
end

return {
	version = "@VERSION@";
	engine = engine;
	archived = archived;
	offline = offline;
	unacked = unacked;
	read = read;
	undelivered = undelivered;
	sent = sent;
	away = away;
	subscription = subscription;
	active = active;
	close = close;
};
