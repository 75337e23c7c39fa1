//! The arguments of one reading.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mlua::ffi::{self, lua_State};
use mlua::{IntoLuaMulti, Lua, Result};

use super::keys::Keys;
use super::table::TableRef;
use super::value::{SLOTS, Value};

/// The arguments of one reading.
pub struct Frame<'f> {
    state: *mut lua_State,
    /// Where the keys lie; the arguments follow `arguments`.
    keys: c_int,
    arguments: c_int,
    lifetime: PhantomData<&'f ()>,
}

impl<'f> Frame<'f> {
    /// The arguments that follow the index `arguments`.
    ///
    /// # Safety
    /// As for [`Value::new`]; and they stay where they are for all of `'f`.
    pub(super) const unsafe fn new(state: *mut lua_State, keys: c_int, arguments: c_int) -> Self {
        Self {
            state,
            keys,
            arguments,
            lifetime: PhantomData,
        }
    }

    fn at(&self, place: c_int) -> Value<'f> {
        // SAFETY: `new` has been promised that; an index beyond the top is acceptable, too.
        unsafe { Value::new(self.state, self.keys, self.arguments + 1 + place) }
    }

    /// The argument at `place` (from 0), if it is a table.
    pub fn table(&self, place: c_int) -> Option<TableRef<'f>> {
        TableRef::of(self.at(place))
    }

    /// The argument at `place`, if it is a string.
    pub fn str(&self, place: c_int) -> Option<&'f str> {
        self.at(place).str()
    }

    /// The argument at `place`, if it is a string of any bytes.
    pub fn bytes(&self, place: c_int) -> Option<&'f [u8]> {
        self.at(place).bytes()
    }

    /// The argument at `place`, if it is a whole number.
    pub fn integer(&self, place: c_int) -> Option<i64> {
        self.at(place).integer()
    }

    /// Whether the argument at `place` is neither nil nor false.
    pub fn is_set(&self, place: c_int) -> bool {
        self.at(place).is_set()
    }
}

/// Lays `args` on the stack and has `read` look at them. What `read` captures is `Send`, so it
/// has no handle to Lua: nothing changes in there while it looks.
///
/// # Errors
/// If the stack cannot hold them.
pub fn read<R>(
    lua: &Lua,
    keys: &Keys,
    args: impl IntoLuaMulti,
    read: impl for<'f> FnOnce(&'f Frame<'f>) -> R + Send,
) -> Result<R> {
    let mut outcome = None;
    let run = |state: *mut lua_State| {
        // SAFETY: `state` is the running one; a missing slot is reported, not raised.
        if unsafe { ffi::lua_checkstack(state, SLOTS) } == 0 {
            return;
        }
        // SAFETY: there is room; the keys lie at 1, the arguments follow, and stay.
        let frame = unsafe { Frame::new(state, 1, 1) };
        // A panic must not cross the C frame of the protected call around us.
        outcome = Some(catch_unwind(AssertUnwindSafe(|| read(&frame))));
        // SAFETY: removes what the protected call laid down; nothing refers to it any more.
        unsafe { ffi::lua_settop(state, 0) };
    };
    // SAFETY: `run` calls nothing that raises, so it is never jumped out of.
    unsafe { lua.exec_raw::<()>((keys.table(), args), run)? };
    match outcome {
        Some(Ok(result)) => Ok(result),
        Some(Err(panic)) => resume_unwind(panic),
        None => Err(mlua::Error::runtime("Lua stack overflow")),
    }
}
