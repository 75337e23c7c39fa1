//! The Lua module: converts, and nothing else.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the shape of functions that Lua calls"
)]
#![allow(
    clippy::non_std_lazy_statics,
    reason = "once_cell is this project's choice"
)]

mod dom;
mod host;
mod meeting;
#[allow(unsafe_code)]
mod reader;
mod requests;
#[allow(unsafe_code)]
mod writer;

use mlua::{Lua, Result, Table};

/// The `_VERSION` that this library is for.
const LUA: &str = if cfg!(feature = "lua52") {
    "Lua 5.2"
} else if cfg!(feature = "lua53") {
    "Lua 5.3"
} else {
    "Lua 5.4"
};

/// What `package.loadlib(…, "luaopen_cloud_notify")` gives: a table with
/// `open(host, stanza_metatable, deserialize)`, which returns the engine of a host.
#[allow(unsafe_code)]
#[mlua::lua_module(name = "cloud_notify")]
fn cloud_notify(lua: &Lua) -> Result<Table> {
    let exports = lua.create_table()?;
    exports.set("version", env!("CARGO_PKG_VERSION"))?;
    exports.set("lua", LUA)?;
    exports.set("open", lua.create_function(host::open)?)?;
    exports.set("close", lua.create_function(host::close)?)?;
    exports.set("enable", lua.create_function(requests::enable)?)?;
    exports.set("disable", lua.create_function(requests::disable)?)?;
    exports.set("revoked_node", lua.create_function(requests::revoked_node)?)?;
    exports.set("admit", lua.create_function(requests::admit)?)?;
    exports.set("matching", lua.create_function(requests::matching)?)?;
    exports.set("surplus", lua.create_function(requests::surplus)?)?;
    exports.set("suspend", lua.create_function(requests::suspend)?)?;
    exports.set("owned_by", lua.create_function(requests::owned_by)?)?;
    Ok(exports)
}
