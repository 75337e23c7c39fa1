//! A Lua state with the native module in it, as Prosody has it.

use std::ffi::c_int;

use arbitrary::Unstructured;
// The module lies in there.
use cloud_notify as _;
use minidom::Element;
use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Result, Table};

use crate::value::Value;

unsafe extern "C-unwind" {
    fn luaopen_cloud_notify(state: *mut lua_State) -> c_int;
}

/// Calls the function `name` of `calls.lua` with the value that `data` is, read as a text and
/// taken as choices. It raises what must not be; errors of the module it takes as answers.
///
/// # Panics
/// If it does raise. (A panic of the module ends the process where it happens.)
pub fn with_values(name: &str, data: &[u8]) {
    thread_local! {
        static LUA: (&'static Lua, Table) = open().expect("Lua is there");
    }
    let chosen = Unstructured::new(data).arbitrary().ok();
    LUA.with(|(lua, calls)| {
        for value in [Some(Value::read(data)), chosen].into_iter().flatten() {
            let call = || {
                let value = value.make(lua, &mut Vec::new())?;
                calls.raw_get::<Function>(name)?.call::<()>(value)
            };
            if let Err(error) = call() {
                panic!("{error}\nwith {value:?}");
            }
        }
    });
}

fn open() -> Result<(&'static Lua, Table)> {
    // SAFETY: the state is never closed, so it outlives all that refers to it.
    let lua: &Lua = unsafe {
        let state = ffi::luaL_newstate();
        ffi::luaL_openlibs(state);
        Lua::get_or_init_from_ptr(state)
    };
    // SAFETY: the function is what Lua would have found in the library.
    let open = unsafe { lua.create_c_function(luaopen_cloud_notify)? };
    let native: Table = open.call("cloud_notify")?;
    let is_xml = lua.create_function(|_, text: String| {
        // The parser takes no attributes that are longer than this, nor carriage returns in them;
        // XML has both.
        if text.len() > 8192 {
            return Ok((true, None));
        }
        let stream = format!("<stream xmlns='jabber:client'>{text}</stream>").replace('\r', "");
        let error = stream.parse::<Element>().err();
        Ok((
            error.is_none(),
            error.map(|error| format!("{error:?} in {text}")),
        ))
    })?;
    let calls = lua.load(include_str!("calls.lua")).set_name("=calls.lua");
    let (calls, raising): (Table, Table) = calls.call((native, is_xml))?;
    lua.set_named_registry_value("raising", raising)?;
    Ok((lua, calls))
}
