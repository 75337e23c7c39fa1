rockspec_format = "3.0"
package = "mod_cloud_notify"
version = "1.0.0-1"

-- It is in the rock that `make rock` makes, with all crates.
source = {
	url = "file://prosody-mod-cloud-notify-rs-1.0.0.tar.gz";
	dir = "prosody-mod-cloud-notify-rs-1.0.0";
}

description = {
	summary = "Push notifications (XEP-0357, Push 2.0) for Prosody";
	detailed = [[
		Wakes the phone of a user who has no connection, or one that has died unnoticed. It takes the place of Prosody's
		own mod_cloud_notify and decides with a rule engine written in Rust, which has to be there to build it.
	]];
	license = "MIT";
	labels = { "prosody"; "xmpp"; "push" };
}

dependencies = { "lua >= 5.2, < 5.5" }

-- Where Prosody looks in the folder of `prosodyctl install`: share/lua/5.x/mod_cloud_notify/mod_cloud_notify.lua
build = {
	type = "command";
	build_command = [[make LUA="$("$(LUA)" -e 'io.write(_VERSION:sub(5))')" all]];
	install_command = [[make LUA="$("$(LUA)" -e 'io.write(_VERSION:sub(5))')" PLUGINDIR="$(LUADIR)" install >/dev/null]];
}
