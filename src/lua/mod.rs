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

mod account;
mod chat_settings;
mod clock;
mod dom;
mod host;
mod judging;
mod matches;
mod messages;
mod methods;
mod metrics;
mod overview;
mod pings;
mod publisher;
mod pushes;
mod reader;
mod readers;
mod reading;
mod recognition;
mod reports;
mod requests;
mod requests2;
mod restart;
mod rooms;
mod settlement;
mod state;
mod stored;
mod trail;
mod unacked;
#[allow(unsafe_code)]
mod writer;

use std::rc::Rc;

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, Result, Table};
use reader::Keys;

use crate::extension::Community;

/// The `_VERSION` that this library is for.
static LUA: &str = if cfg!(feature = "lua52") {
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
    // The same for all who load it: the functions stay for ever.
    let name = format!("cloud_notify {:p}", &raw const LUA);
    if let Ok(exports) = lua.named_registry_value(&name) {
        return Ok(exports);
    }
    let keys = Rc::new(Keys::new(lua)?);
    let exports = lua.create_table()?;
    exports.set("version", env!("CARGO_PKG_VERSION"))?;
    exports.set("lua", LUA)?;
    exports.set("open", lua.create_function(methods::open)?)?;
    exports.set("close", lua.create_function(methods::close)?)?;
    exports.set("latency_bounds", metrics::latency_bounds().to_vec())?;
    exports.set("enable", with_keys(lua, &keys, requests::enable)?)?;
    exports.set("enable2", with_keys(lua, &keys, requests2::enable2)?)?;
    let community = Community::ALL.map(Community::module).to_vec();
    exports.set("community", community)?;
    exports.set("features", lua.create_function(requests::features)?)?;
    exports.set("features2", lua.create_function(requests2::features2)?)?;
    exports.set("disable", with_keys(lua, &keys, requests::disable)?)?;
    exports.set(
        "revoked_node",
        with_keys(lua, &keys, requests::revoked_node)?,
    )?;
    exports.set("fetched", with_keys(lua, &keys, requests::fetched)?)?;
    exports.set("admit", lua.create_function(requests::admit)?)?;
    exports.set("matching", lua.create_function(requests::matching)?)?;
    exports.set("surplus", lua.create_function(requests::surplus)?)?;
    exports.set("suspend", lua.create_function(requests::suspend)?)?;
    let owned_by = lua.create_function(requests::owned_by)?;
    reader::outlast_finalisers(lua, &owned_by, &keys)?;
    exports.set("owned_by", owned_by)?;
    exports.set("is_xml_text", lua.create_function(requests::is_xml_text)?)?;
    lua.set_named_registry_value(&name, &exports)?;
    Ok(exports)
}

/// A function that reads tables on the stack.
fn with_keys<A: FromLuaMulti + 'static, R: IntoLuaMulti + 'static>(
    lua: &Lua,
    keys: &Rc<Keys>,
    function: fn(&Lua, &Keys, A) -> Result<R>,
) -> Result<Function> {
    let keys = Rc::clone(keys);
    lua.create_function(move |lua, arguments| function(lua, &keys, arguments))
}
