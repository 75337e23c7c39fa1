-- A push service inside the server: it swallows what is published to it, and keeps
-- what it needs for an answer if it is told to. It stands for an external component.

local sink = { pushes = 0; keep = false; kept = {} };
module.sink = sink;
prosody.hosts[module.host].modules.component = module;

local function swallow(event)
	sink.pushes = sink.pushes + 1;
	if sink.keep then
		local attr = event.stanza.attr;
		sink.kept[#sink.kept+1] = { id = attr.id; to = attr.from; from = attr.to };
	end
	return true;
end

module:hook("iq/host", swallow, 1000);
module:hook("message/host", swallow, 1000); -- Of Push 2.0
