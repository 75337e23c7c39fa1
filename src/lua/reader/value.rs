//! A value on the stack.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::slice;

use mlua::ffi::{self, lua_State};

/// Stack slots that a reading has at hand; deeper tables ask for more.
pub const SLOTS: c_int = 32;

/// Where the value that was pushed last lies.
pub const TOP: c_int = -1;

/// A value on the stack, of whatever type. It cannot be copied, so that one that is lent cannot
/// outlive its place there.
///
/// Strings live as long as the reading (`'f`): they stay in their tables, which hang on
/// the arguments, and nothing changes or collects them meanwhile.
pub struct Value<'f> {
    pub(super) state: *mut lua_State,
    /// Where the keys lie.
    pub(super) keys: c_int,
    pub(super) index: c_int,
    /// Its type.
    kind: c_int,
    lifetime: PhantomData<&'f ()>,
}

impl<'f> Value<'f> {
    /// The value at `index`, which is of the type `kind`, as Lua has said.
    ///
    /// # Safety
    /// `state` is the running one and has `SLOTS` free, the table of [`Keys`](super::Keys) lies at
    /// `keys`, `index` is acceptable, and whoever owns what is made keeps the value in its place. For
    /// all of `'f` nothing is done with Lua but reading.
    pub const unsafe fn of_kind(
        state: *mut lua_State,
        keys: c_int,
        index: c_int,
        kind: c_int,
    ) -> Self {
        Self {
            state,
            keys,
            index,
            kind,
            lifetime: PhantomData,
        }
    }

    /// The value at `index`.
    ///
    /// # Safety
    /// As for [`Self::of_kind`].
    pub unsafe fn new(state: *mut lua_State, keys: c_int, index: c_int) -> Self {
        // SAFETY: any acceptable index is valid for a type check; and the caller promises the rest.
        unsafe { Self::of_kind(state, keys, index, ffi::lua_type(state, index)) }
    }

    const fn is_a(&self, kind: c_int) -> bool {
        self.kind == kind
    }

    /// Whether there is none.
    pub const fn is_nil(&self) -> bool {
        self.is_a(ffi::LUA_TNIL)
    }

    /// Whether it is a table.
    pub const fn is_table(&self) -> bool {
        self.is_a(ffi::LUA_TTABLE)
    }

    /// Whether it is neither nil nor false.
    pub fn is_set(&self) -> bool {
        // SAFETY: any index is valid, and any value converts to a boolean.
        unsafe { ffi::lua_toboolean(self.state, self.index) != 0 }
    }

    /// Whether it is false, and not just missing.
    pub fn is_false(&self) -> bool {
        self.is_a(ffi::LUA_TBOOLEAN) && !self.is_set()
    }

    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        // SAFETY: a number converts without allocation.
        self.is_a(ffi::LUA_TNUMBER)
            .then(|| unsafe { ffi::lua_tointeger(self.state, self.index) })
    }

    /// The bytes, if it is a string.
    pub fn bytes(&self) -> Option<&'f [u8]> {
        if !self.is_a(ffi::LUA_TSTRING) {
            return None;
        }
        let mut length = 0;
        // SAFETY: it is a string, so that nothing is converted in place; the bytes live in their
        // table for all of `'f`.
        unsafe {
            let bytes = ffi::lua_tolstring(self.state, self.index, &raw mut length);
            Some(slice::from_raw_parts(bytes.cast(), length))
        }
    }

    /// The string, if it is one and in UTF-8.
    pub fn str(&self) -> Option<&'f str> {
        str::from_utf8(self.bytes()?).ok()
    }
}
