//! Writes Prosody stanzas directly on the Lua stack.
//!
//! A stanza is `{ name, attr, tags, … }` with the metatable of `util.stanza`; children lie in
//! its array part, elements among them once more in `tags`.
//!
//! These functions may raise (out of memory, an error in somebody's finaliser). So nothing
//! that has a destructor may be alive in a frame that calls them; what a tree is written
//! from belongs to the callers, outside the protected call.

use std::ffi::c_int;
use std::slice;

use mlua::ffi::{self, lua_State};
use mlua::{IntoLuaMulti, Lua, LuaString, Result, Table};

use crate::stanza::StanzaId;
use crate::wire::message::Message;
use crate::wire::options::{Field, write_form};
use crate::wire::publish::{Header, NONE, Payload, Writer, write_pubsub};

/// Where the metatable lies on the stack; elements that exist already follow.
const METATABLE: c_int = 1;
const FIRST: c_int = 2;
const SECOND: c_int = 3;
/// The deepest tree that is written takes this many slots.
const SLOTS: c_int = 64;

/// Writes the IQ of a push around `pubsub`, as a stanza with `metatable`.
///
/// # Errors
/// What Lua raises: out of memory, for one.
pub fn iq(lua: &Lua, metatable: &Table, header: &Header<'_>, pubsub: Table) -> Result<Table> {
    write(lua, (metatable, pubsub, None::<Table>), |writer| {
        header.write(writer, Place(FIRST));
    })
}

/// Writes the message of a push with what is in `notification`.
///
/// # Errors
/// What Lua raises.
pub fn message(
    lua: &Lua,
    metatable: &Table,
    header: &Header<'_>,
    message: &Message<'_>,
    notification: Table,
) -> Result<Table> {
    write(lua, (metatable, notification, None::<Table>), |writer| {
        message.write(writer, header, Place(FIRST));
    })
}

/// Writes the `<notification/>` for several messages.
///
/// # Errors
/// What Lua raises.
pub fn notification(lua: &Lua, metatable: &Table, message: &Message<'_>) -> Result<Table> {
    write(lua, (metatable, None::<Table>, None::<Table>), |writer| {
        message.write_notification(writer);
    })
}

/// Writes the `<pubsub/>` of a push around `item`, and `options` if there are any.
///
/// # Errors
/// What Lua raises.
pub fn pubsub(
    lua: &Lua,
    metatable: &Table,
    node: &str,
    item: Table,
    options: Option<Table>,
) -> Result<Table> {
    let options_place = options.as_ref().map(|_| Place(SECOND));
    write(lua, (metatable, item, options), |writer| {
        write_pubsub(writer, node, Place(FIRST), options_place);
    })
}

/// Writes an `<item/>` for several publishes.
///
/// # Errors
/// What Lua raises.
pub fn item(lua: &Lua, metatable: &Table, payload: &Payload<'_>) -> Result<Table> {
    write(lua, (metatable, None::<Table>, None::<Table>), |writer| {
        payload.write_item(writer);
    })
}

/// Writes a form with these `fields`.
///
/// # Errors
/// What Lua raises.
pub fn form(lua: &Lua, metatable: &Table, fields: &[Field]) -> Result<Table> {
    write(lua, (metatable, None::<Table>, None::<Table>), |writer| {
        write_form(writer, fields);
    })
}

/// Writes `<publish-options/>` with `form` in it.
///
/// # Errors
/// What Lua raises.
pub fn options(lua: &Lua, metatable: &Table, form: Table) -> Result<Table> {
    write(lua, (metatable, form, None::<Table>), |writer| {
        writer.open("publish-options", None, NONE);
        writer.child(Place(FIRST));
        writer.close();
    })
}

/// The key `name` of `table`, and the table that is its value: neither is made anew.
///
/// # Errors
/// If there is none.
pub fn entry(lua: &Lua, table: &Table, name: &str) -> Result<(LuaString, Table)> {
    let run = |state: *mut lua_State| {
        // SAFETY: the table lies at 1, and nobody changes it meanwhile; every key comes from it.
        unsafe {
            ffi::luaL_checkstack(state, SLOTS, c"entry".as_ptr());
            ffi::lua_pushnil(state);
            while ffi::lua_next(state, 1) != 0 {
                if ffi::lua_type(state, -2) == ffi::LUA_TSTRING {
                    let mut length = 0;
                    let bytes = ffi::lua_tolstring(state, -2, &raw mut length);
                    let key = slice::from_raw_parts(bytes.cast::<u8>(), length);
                    if key == name.as_bytes() {
                        break;
                    }
                }
                ffi::lua_settop(state, -2);
            }
            ffi::lua_remove(state, 1);
        }
    };
    // SAFETY: as said there.
    unsafe { lua.exec_raw(table, run) }
}

/// Marks stanzas of `queue` with their identities; place 0 is `queue` itself.
///
/// # Errors
/// What Lua raises.
pub fn mark(lua: &Lua, queue: &Table, marks: &[(usize, StanzaId)]) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let run = |state: *mut lua_State| {
        // SAFETY: the queue lies at 1; whatever in it is no table is passed over. This frame
        // borrows plain data only.
        unsafe {
            ffi::luaL_checkstack(state, SLOTS, c"marks".as_ptr());
            for (place, id) in marks {
                match ffi::lua_Integer::try_from(*place) {
                    Ok(0) | Err(_) => ffi::lua_pushvalue(state, 1),
                    Ok(place) => drop(ffi::lua_rawgeti(state, 1, place)),
                }
                if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                    let mut writer = StackWriter { state };
                    writer.push_str("_push_id");
                    ffi::lua_pushinteger(state, id.0.cast_signed());
                    ffi::lua_rawset(state, -3);
                }
                ffi::lua_settop(state, 1);
            }
            ffi::lua_settop(state, 0);
        }
    };
    // SAFETY: as said there.
    unsafe { lua.exec_raw(queue, run) }
}

/// Lays `args` (the metatable and two elements or nils) on the stack and has `tree` written.
fn write(lua: &Lua, args: impl IntoLuaMulti, tree: impl FnOnce(&mut StackWriter)) -> Result<Table> {
    let run = |state: *mut lua_State| {
        // SAFETY: raises if there is no room, which leaves only this frame.
        unsafe { ffi::luaL_checkstack(state, SLOTS, c"stanza".as_ptr()) };
        // SAFETY: three arguments, whatever has been given.
        unsafe { ffi::lua_settop(state, SECOND) };
        tree(&mut StackWriter { state });
        // SAFETY: one value, the tree, has been left on top; it replaces the arguments.
        unsafe {
            ffi::lua_replace(state, METATABLE);
            ffi::lua_settop(state, METATABLE);
        }
    };
    // SAFETY: `run` and what it calls borrow plain data only.
    unsafe { lua.exec_raw(args, run) }
}

struct StackWriter {
    state: *mut lua_State,
}

/// The element that lies at this place of the stack.
struct Place(c_int);

impl StackWriter {
    fn push_str(&mut self, text: &str) {
        // SAFETY: copies the bytes; `SLOTS` has room.
        unsafe { ffi::lua_pushlstring(self.state, text.as_ptr().cast(), text.len()) };
    }

    fn set(&mut self, name: &str, value: &str) {
        self.push_str(name);
        self.push_str(value);
        // SAFETY: a table lies below the two.
        unsafe { ffi::lua_rawset(self.state, -3) };
    }

    /// Appends the value on top to the array part of the table at `index`, and takes it away.
    fn append(&mut self, index: c_int) {
        // SAFETY: `index` is that of a table.
        unsafe {
            let length = ffi::lua_rawlen(self.state, index);
            let place = ffi::lua_Integer::try_from(length).unwrap_or(0) + 1;
            ffi::lua_rawseti(self.state, index, place);
        }
    }

    /// Copies the first `length` entries of the table at one place to the one at another.
    ///
    /// # Safety
    /// There are tables at both places, and room for one value more.
    unsafe fn copy_array(&self, from: c_int, to: c_int, length: c_int) {
        for place in 1..=length.into() {
            // SAFETY: as said there.
            unsafe {
                ffi::lua_rawgeti(self.state, from, place);
                ffi::lua_rawseti(self.state, to, place);
            }
        }
    }

    /// Adds the element on top to the one below, and takes it away.
    fn add_child(&mut self) {
        // SAFETY: the stack holds parent and child; both indices are absolute.
        unsafe {
            let child = ffi::lua_gettop(self.state);
            let parent = child - 1;
            self.push_str("tags");
            ffi::lua_rawget(self.state, parent);
            ffi::lua_pushvalue(self.state, child);
            self.append(child + 1);
            ffi::lua_settop(self.state, child);
            self.append(parent);
        }
    }
}

impl StackWriter {
    /// Leaves the attributes of an element on top.
    fn push_attrs<V: AsRef<str>>(&mut self, ns: Option<&str>, attrs: &[(&str, V)]) {
        let fields = attrs.len() + usize::from(ns.is_some());
        // SAFETY: `SLOTS` has room.
        unsafe { ffi::lua_createtable(self.state, 0, c_int::try_from(fields).unwrap_or(0)) };
        if let Some(ns) = ns {
            self.set("xmlns", ns);
        }
        for (name, value) in attrs {
            self.set(name, value.as_ref());
        }
    }
}

impl Writer for StackWriter {
    type Element = Place;

    fn open<V: AsRef<str>>(&mut self, name: &str, ns: Option<&str>, attrs: &[(&str, V)]) {
        // SAFETY: makes the tables of one element and leaves it on top.
        unsafe {
            ffi::lua_createtable(self.state, 2, 3);
            ffi::lua_pushvalue(self.state, METATABLE);
            ffi::lua_setmetatable(self.state, -2);
            self.set("name", name);
            self.push_str("attr");
            self.push_attrs(ns, attrs);
            ffi::lua_rawset(self.state, -3);
            self.push_str("tags");
            ffi::lua_createtable(self.state, 1, 0);
            ffi::lua_rawset(self.state, -3);
        }
    }

    fn open_like(&mut self, Place(place): Place) {
        // SAFETY: `write` has been given the element, of this module's making; all indices are absolute, and the
        // new one is left on top.
        unsafe {
            let length = c_int::try_from(ffi::lua_rawlen(self.state, place)).unwrap_or(0);
            ffi::lua_createtable(self.state, length + 1, 3);
            let element = ffi::lua_gettop(self.state);
            ffi::lua_pushvalue(self.state, METATABLE);
            ffi::lua_setmetatable(self.state, element);
            for key in ["name", "attr"] {
                self.push_str(key);
                self.push_str(key);
                ffi::lua_rawget(self.state, place);
                ffi::lua_rawset(self.state, element);
            }
            self.copy_array(place, element, length);
            self.push_str("tags");
            ffi::lua_createtable(self.state, length + 1, 0);
            self.copy_array(place, element + 2, length);
            ffi::lua_rawset(self.state, element);
        }
    }

    fn text(&mut self, text: &str) {
        self.push_str(text);
        // SAFETY: the element that is open lies below.
        let element = unsafe { ffi::lua_gettop(self.state) } - 1;
        self.append(element);
    }

    fn child(&mut self, Place(place): Place) {
        // SAFETY: `write` has been given one.
        unsafe { ffi::lua_pushvalue(self.state, place) };
        self.add_child();
    }

    fn close(&mut self) {
        // SAFETY: the stack above the arguments holds the open elements.
        let is_root = unsafe { ffi::lua_gettop(self.state) } == SECOND + 1;
        if !is_root {
            self.add_child();
        }
    }
}
