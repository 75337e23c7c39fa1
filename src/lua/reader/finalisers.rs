//! Functions and errors that outlast finalisers.

use std::ffi::c_int;
use std::rc::Rc;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Result};
use parking_lot::Mutex;

use super::keys::Keys;
use super::value::SLOTS;

/// Keeps something for as long as the process lives. Nobody looks at it from here again, but it is not lost.
fn keep<T: 'static>(value: T) {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let address = Box::into_raw(Box::new(value));
    KEPT.lock().push(address.expose_provenance());
}

/// Has the functions that mlua makes, of which `function` is one, and its errors bear to be used after
/// they have been finalised: when Lua ends, finalisers may still have them, and mlua does not look
/// whether they have been. The functions are few, and are kept for ever, with the `keys` that they use.
///
/// # Errors
/// If there is no memory.
pub fn outlast_finalisers(lua: &Lua, function: &Function, keys: &Rc<Keys>) -> Result<()> {
    let mut is_first = false;
    let unmark = |state: *mut lua_State| {
        // SAFETY: the function lies at 1; if it is not as mlua makes them, nothing is changed. This
        // frame owns nothing.
        unsafe {
            ffi::luaL_checkstack(state, SLOTS, c"functions".as_ptr());
            if !ffi::lua_getupvalue(state, 1, 1).is_null() && ffi::lua_getmetatable(state, -1) != 0
            {
                let metatable = ffi::lua_gettop(state);
                is_first = push_finaliser(state, metatable);
                ffi::lua_pushstring(state, c"__gc".as_ptr());
                ffi::lua_pushnil(state);
                ffi::lua_rawset(state, metatable);
            }
            ffi::lua_settop(state, 0);
        }
    };
    let silence = |state: *mut lua_State| {
        // SAFETY: as above, with an error at 1.
        unsafe {
            ffi::luaL_checkstack(state, SLOTS, c"errors".as_ptr());
            if ffi::lua_getmetatable(state, 1) != 0 {
                let metatable = ffi::lua_gettop(state);
                ffi::lua_pushstring(state, c"__gc".as_ptr());
                if push_finaliser(state, metatable) {
                    ffi::lua_pushvalue(state, metatable);
                    ffi::lua_createtable(state, 0, 0);
                    ffi::lua_pushcclosure(state, finalise_error, 3);
                    ffi::lua_rawset(state, metatable);
                }
            }
            ffi::lua_settop(state, 0);
        }
    };
    // SAFETY: as said there.
    unsafe { lua.exec_raw::<()>(function, unmark)? };
    if is_first {
        keep((lua.clone(), Rc::clone(keys)));
        // SAFETY: as said there.
        unsafe { lua.exec_raw::<()>(mlua::Error::runtime(""), silence)? };
    }
    Ok(())
}

/// Pushes the finaliser in the metatable at `index`, and says whether there is one.
unsafe fn push_finaliser(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: the caller has a table there, and room for a value.
    unsafe {
        ffi::lua_pushstring(state, c"__gc".as_ptr());
        ffi::lua_rawget(state, index);
        ffi::lua_type(state, -1) == ffi::LUA_TFUNCTION
    }
}

/// Finalises an error as mlua does, once. The upvalues are mlua's finaliser, the metatable of errors, and
/// the one of those that are no more.
unsafe extern "C-unwind" fn finalise_error(state: *mut lua_State) -> c_int {
    // SAFETY: what is no error, or no more one, is left alone.
    unsafe {
        ffi::lua_settop(state, 1);
        if ffi::lua_getmetatable(state, 1) != 0
            && ffi::lua_rawequal(state, -1, ffi::lua_upvalueindex(2)) != 0
        {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(3));
            ffi::lua_setmetatable(state, 1);
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
            ffi::lua_pushvalue(state, 1);
            ffi::lua_call(state, 1, 0);
        }
    }
    0
}
