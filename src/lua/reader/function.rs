//! Functions that look at their arguments on the stack as Lua has laid them there.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Result};

use super::frame::Frame;
use super::keys::Keys;
use super::value::{SLOTS, Value};

/// The most arguments that a [`function`] has.
const ARGUMENTS: c_int = 8;

/// What a [`function`] returns to Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// False: there is more to know first, see [`super::super::judging`] and what sessions have unread.
    Incomplete,
    /// A string.
    Text(&'static str),
    /// After a queue: a string, or true if there is something to do; where to go on from; whether
    /// something has been left unread.
    Queue {
        /// A string instead of true.
        text: Option<&'static str>,
        /// There is something to do.
        work: bool,
        /// Where to go on from.
        next: Option<i64>,
        /// Something has been left unread.
        unread: bool,
    },
    /// True.
    Work,
}

/// What looks at the arguments of a [`function`], on behalf of a host. It owns nothing: a finaliser
/// may call the function after Lua has let go of everything else.
pub trait Reader {
    /// Looks at them.
    fn read(host: &str, frame: &Frame<'_>) -> Reply;
}

/// Makes a Lua function that has `R` look at its arguments, without a handle or a conversion in
/// between.
///
/// # Errors
/// If there is no memory.
pub fn function<R: Reader>(lua: &Lua, keys: &Keys, host: &str) -> Result<Function> {
    let make = |state: *mut lua_State| {
        // SAFETY: the arguments, keys and host, become the upvalues; this frame owns nothing.
        unsafe { ffi::lua_pushcclosure(state, call::<R>, 2) };
    };
    // SAFETY: `make` leaves the function on the stack.
    unsafe { lua.exec_raw((keys.table(), host), make) }
}

/// The C function behind each [`function`].
unsafe extern "C-unwind" fn call<R: Reader>(state: *mut lua_State) -> c_int {
    // SAFETY: the state is the running one.
    unsafe { run(state, R::read) }
}

unsafe fn run(state: *mut lua_State, read: fn(&str, &Frame<'_>) -> Reply) -> c_int {
    const KEYS: c_int = ARGUMENTS + 1;
    // SAFETY: the types of the upvalues are checked, whoever has changed them. The host's name stays
    // in its upvalue. No value with a destructor is alive where something may raise.
    unsafe {
        ffi::luaL_checkstack(state, SLOTS, c"arguments".as_ptr());
        // What is missing is nil; and the keys are at hand on the stack.
        ffi::lua_settop(state, ARGUMENTS);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        if ffi::lua_type(state, KEYS) != ffi::LUA_TTABLE {
            return ffi::luaL_error(state, c"the names of fields are missing".as_ptr());
        }
        let frame = Frame::new(state, KEYS, 0);
        let host = Value::new(state, KEYS, ffi::lua_upvalueindex(2)).str();
        // A panic must not cross the C frames above.
        let reply = catch_unwind(AssertUnwindSafe(|| {
            host.map_or(Reply::Nothing, |host| read(host, &frame))
        }))
        .map_err(drop);
        match reply {
            Ok(reply) => push(state, reply),
            Err(()) => ffi::luaL_error(state, c"panic in the native library".as_ptr()),
        }
    }
}

/// Pushes what a reply is for Lua. How many values that are.
unsafe fn push(state: *mut lua_State, reply: Reply) -> c_int {
    // SAFETY: the caller has room for three values, and owns nothing, for a string may raise.
    unsafe {
        match reply {
            Reply::Nothing => return 0,
            Reply::Incomplete => ffi::lua_pushboolean(state, 0),
            Reply::Text(text) => push_str(state, text),
            Reply::Work => ffi::lua_pushboolean(state, 1),
            Reply::Queue {
                text,
                work,
                next,
                unread,
            } => {
                match text {
                    Some(text) => push_str(state, text),
                    None if work => ffi::lua_pushboolean(state, 1),
                    None => ffi::lua_pushnil(state),
                }
                match next {
                    Some(next) => ffi::lua_pushinteger(state, next as ffi::lua_Integer),
                    None => ffi::lua_pushnil(state),
                }
                ffi::lua_pushboolean(state, unread.into());
                return 3;
            }
        }
    }
    1
}

unsafe fn push_str(state: *mut lua_State, text: &str) {
    // SAFETY: copies the bytes; the caller has room.
    unsafe { ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len()) };
}
