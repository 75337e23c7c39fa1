-- While a call rings somewhere, its user's other devices may take it

local os_time = os.time;
local pairs = pairs;

local max_called = 10000; -- then those whose calls are over are forgotten

local called, called_count = {}, 0; -- user -> until when

local function on_call(user, seconds)
	local now = os_time();
	if called_count >= max_called then
		for one, last in pairs(called) do
			if last < now then called[one], called_count = nil, called_count - 1; end
		end
	end
	if not called[user] then called_count = called_count + 1; end
	called[user] = now + seconds;
end

local function is_called(user)
	local last = called[user];
	if last and last < os_time() then called[user], called_count, last = nil, called_count - 1, nil; end
	return last ~= nil;
end

-- A call goes on ringing through a reload

local function save()
	return { called = called, called_count = called_count };
end

local function restore(saved)
	if not saved then return; end
	for user, last in pairs(saved.called) do called[user] = last; end
	called_count = saved.called_count;
end

return {
	version = "@VERSION@";
	called = called;
	on_call = on_call;
	is_called = is_called;
	save = save;
	restore = restore;
};
