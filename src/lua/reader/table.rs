//! A table on the stack: its fields and its entries.

use std::ffi::c_int;

use mlua::ffi::{self, lua_Integer};

use super::keys::Key;
use super::value::{SLOTS, TOP, Value};

/// The largest length of a table that Lua is believed.
const BELIEVED: usize = 1024;

/// A value on the stack that is a table, at an absolute index.
pub struct TableRef<'f>(Value<'f>);

/// What an element may have inside.
pub enum Child<'t, 'f> {
    /// Another element.
    Element(&'t TableRef<'f>),
    /// Character data.
    Text(&'f str),
}

impl<'f> TableRef<'f> {
    /// The table that an argument is, if it is one.
    pub(super) fn of(argument: Value<'f>) -> Option<Self> {
        argument.is_table().then_some(Self(argument))
    }

    /// The same table, for somebody who is lent it no longer than `self`.
    pub(super) const fn again(&self) -> Self {
        Self(self.at(self.0.index, ffi::LUA_TTABLE))
    }

    const fn at(&self, index: c_int, kind: c_int) -> Value<'f> {
        // SAFETY: as for the value that it has come from. All that is pushed here is lent, and taken
        // away only afterwards.
        unsafe { Value::of_kind(self.0.state, self.0.keys, index, kind) }
    }

    /// Has `look` see the value on top, which is of the type `kind`, then takes it away.
    fn look_at_top<R>(&self, kind: c_int, look: impl FnOnce(&Value<'f>) -> R) -> R {
        let result = look(&self.at(TOP, kind));
        // SAFETY: only called after something was pushed.
        unsafe { ffi::lua_settop(self.0.state, -2) };
        result
    }

    /// Calls `f` with the value on top, if it is a table.
    fn lend<R>(top: &Value<'f>, f: impl FnOnce(&Self) -> R) -> Option<R> {
        // SAFETY: more room is asked for, not raised for.
        let is_readable = top.is_table() && unsafe { ffi::lua_checkstack(top.state, SLOTS) } != 0;
        is_readable.then(|| {
            // SAFETY: the top is an absolute index.
            f(&Self(unsafe {
                let index = ffi::lua_gettop(top.state);
                Value::of_kind(top.state, top.keys, index, ffi::LUA_TTABLE)
            }))
        })
    }

    fn field<R>(&self, key: Key, look: impl FnOnce(&Value<'f>) -> R) -> R {
        self.field_of(self.0.index, key, look)
    }

    /// A field of the table that is at `index` once the key has been pushed.
    fn field_of<R>(&self, index: c_int, key: Key, look: impl FnOnce(&Value<'f>) -> R) -> R {
        let Value { state, keys, .. } = self.0;
        // SAFETY: `keys` and `index` hold tables; `SLOTS`, and `lend` for what lies deeper, leave room
        // for two values.
        let kind = unsafe {
            ffi::lua_rawgeti(state, keys, key.place());
            ffi::lua_rawget(state, index)
        };
        self.look_at_top(kind, look)
    }

    /// A field that is a string.
    pub fn str(&self, key: Key) -> Option<&'f str> {
        self.field(key, Value::str)
    }

    /// A field that is an integer.
    pub fn integer(&self, key: Key) -> Option<i64> {
        self.field(key, Value::integer)
    }

    /// Whether a field is a table.
    pub fn has_table(&self, key: Key) -> bool {
        self.field(key, Value::is_table)
    }

    /// Whether a field is neither nil nor false.
    pub fn is_set(&self, key: Key) -> bool {
        self.field(key, Value::is_set)
    }

    /// Whether a field is false, and not just missing.
    pub fn is_false(&self, key: Key) -> bool {
        self.field(key, Value::is_false)
    }

    /// Calls `f` with a field that is a table.
    pub fn with<R>(&self, key: Key, f: impl FnOnce(&Self) -> R) -> Option<R> {
        self.field(key, |value| Self::lend(value, f))
    }

    /// Whether both are the same table.
    pub fn is(&self, other: &Self) -> bool {
        // SAFETY: both indices hold tables of this stack.
        unsafe { ffi::lua_rawequal(self.0.state, self.0.index, other.0.index) != 0 }
    }

    /// Tells this table from others that exist at the same time.
    pub fn address(&self) -> u64 {
        // SAFETY: only the address is taken.
        unsafe { ffi::lua_topointer(self.0.state, self.0.index) as u64 }
    }
}

impl<'f> TableRef<'f> {
    /// How many entries there are from 1 on. Lua may find a border far beyond (`t[2^62]`), so a large
    /// one is not believed: whoever goes through that many entries ends soon.
    pub fn len(&self) -> usize {
        // SAFETY: `index` holds a table.
        let border = unsafe { ffi::lua_rawlen(self.0.state, self.0.index) as usize };
        if border <= BELIEVED {
            return border;
        }
        let is_missing = |place: &usize| self.entry(*place, Value::is_nil).unwrap_or(true);
        let missing = (1..=border).find(is_missing);
        missing.map_or(border, |place| place - 1)
    }

    fn entry<R>(&self, place: usize, look: impl FnOnce(&Value<'f>) -> R) -> Option<R> {
        let place = lua_Integer::try_from(place).ok()?;
        // SAFETY: as in `field`.
        let kind = unsafe { ffi::lua_rawgeti(self.0.state, self.0.index, place) };
        Some(self.look_at_top(kind, look))
    }

    /// Calls `f` with the entry at `place` (from 1), if it is a table.
    pub fn with_entry<R>(&self, place: usize, f: impl FnOnce(&Self) -> R) -> Option<R> {
        self.entry(place, |value| Self::lend(value, f))?
    }

    /// Calls `f` with the entry at `place` (from 1), if it is an element or text.
    pub fn with_child<R>(&self, place: usize, f: impl FnOnce(Child<'_, 'f>) -> R) -> Option<R> {
        self.entry(place, |value| match value.str() {
            Some(text) => Some(f(Child::Text(text))),
            None => Self::lend(value, |table| f(Child::Element(table))),
        })?
    }

    /// The entry at `place` (from 1), if it is a string.
    pub(super) fn entry_str(&self, place: usize) -> Option<&'f str> {
        self.entry(place, Value::str)?
    }

    /// The field `name` of the entry at `place` (from 1), if both are there. Takes less time than to
    /// lend the entry.
    pub(super) fn name_of_entry(&self, place: usize) -> Option<&'f [u8]> {
        self.entry(place, |entry| {
            let is_table = entry.is_table();
            is_table.then(|| self.field_of(-2, Key::Name, Value::bytes))?
        })?
    }

    /// Has `look` see every key and its value, until it returns false. Says whether it never did.
    fn go_through(&self, mut look: impl FnMut(&Value<'f>, &Value<'f>) -> bool) -> bool {
        let Value { state, index, .. } = self.0;
        // SAFETY: the first key is nil, every other one comes from the table itself,
        // which nobody changes meanwhile; so `lua_next` does not raise.
        unsafe {
            ffi::lua_pushnil(state);
            while ffi::lua_next(state, index) != 0 {
                let (key, value) = (ffi::lua_type(state, -2), ffi::lua_type(state, TOP));
                if !self.look_at_top(value, |value| look(&self.at(-2, key), value)) {
                    ffi::lua_settop(state, -2);
                    return false;
                }
            }
        }
        true
    }

    /// Calls `f` with every field, all of which have to be strings with strings for keys, until it
    /// returns false. Says whether that was so for all of them.
    pub fn all_strings(&self, mut f: impl FnMut(&'f str, &'f str) -> bool) -> bool {
        self.go_through(|key, value| {
            let strings = key.str().zip(value.str());
            strings.is_some_and(|(key, value)| f(key, value))
        })
    }

    /// Calls `f` with every field that has a string for a key and a table for a value.
    pub fn each(&self, mut f: impl FnMut(&'f str, &Self)) {
        self.go_through(|key, value| {
            if let Some(key) = key.str() {
                Self::lend(value, |value| f(key, value));
            }
            true
        });
    }

    /// Calls `f` with every field that has a string for a key and a whole number for a value.
    pub fn each_integer(&self, mut f: impl FnMut(&'f str, i64)) {
        self.go_through(|key, value| {
            if let (Some(key), Some(value)) = (key.str(), value.integer()) {
                f(key, value);
            }
            true
        });
    }
}
