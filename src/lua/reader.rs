//! Reads Prosody's tables directly on the Lua stack: stanzas, sessions, records.
//!
//! Through handles the same reading takes several times as long, and it happens for every
//! stanza that the rules meet. Only functions that can neither raise an error nor
//! allocate are used here, so that no collector runs and nothing is skipped over: raw access
//! with keys that exist already, type checks before every conversion. Metatables are not
//! asked; whatever is of another type than expected is as if it were not there.

use std::borrow::Cow;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::slice;

use mlua::ffi::{self, lua_State};
use mlua::{Function, IntoLuaMulti, Lua, Result, Table};
use parking_lot::Mutex;

use crate::stanza::{Attr, Element};

/// The field names that are read, in the order of [`Keys`].
macro_rules! keys {
    ($($key:ident = $name:literal),* $(,)?) => {
        /// A field name.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy)]
        pub enum Key { $($key),* }

        const NAMES: &[&str] = &[$($name),*];
    };
}

keys! {
    Attr = "attr",
    AwaitingAck = "awaiting_ack",
    By = "by",
    DelayedAckTimer = "delayed_ack_timer",
    Destroyed = "destroyed",
    Encryption = "encryption",
    From = "from",
    Hibernating = "hibernating",
    Id = "id",
    Jid = "jid",
    Name = "name",
    Node = "node",
    Presence = "presence",
    Priority = "priority",
    PushId = "_push_id",
    PushIdentifier = "push_identifier",
    PushSettings = "push_settings",
    PushStreamClosed = "push_stream_closed",
    Smacks = "smacks",
    Since = "since",
    Stamp = "stamp",
    Suspended = "suspended",
    Tags = "tags",
    To = "to",
    Trials = "trials",
    Type = "type",
    UnreadQueue = "unread_queue",
    Until = "until",
    Xmlns = "xmlns",
}

impl From<Attr> for Key {
    fn from(attr: Attr) -> Self {
        match attr {
            Attr::By => Self::By,
            Attr::From => Self::From,
            Attr::Id => Self::Id,
            Attr::Stamp => Self::Stamp,
            Attr::To => Self::To,
            Attr::Type => Self::Type,
        }
    }
}

/// The field names as Lua strings, so that looking one up allocates nothing.
pub struct Keys(Table);

impl Keys {
    /// Makes them.
    pub fn new(lua: &Lua) -> Result<Self> {
        lua.create_sequence_from(NAMES.iter().copied()).map(Self)
    }
}

/// Stack slots that a frame has at hand; deeper tables ask for more.
const SLOTS: c_int = 32;

/// How deep a stanza is looked into to say how large it is, and what an element takes at least, in bytes.
const DEEPEST: usize = 32;
const ELEMENT: usize = 256;
/// What an attribute takes besides its name and value: its place in a table that is half empty.
const ATTRIBUTE: usize = 80;
/// The largest length of a table that Lua is believed.
const BELIEVED: usize = 1024;

/// The most arguments that a [`function`] has.
const ARGUMENTS: c_int = 6;

/// The arguments of one reading.
pub struct Frame<'f> {
    state: *mut lua_State,
    /// Where the keys lie; the arguments follow `arguments`.
    keys: c_int,
    arguments: c_int,
    lifetime: PhantomData<&'f ()>,
}

/// What a [`function`] returns to Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// False: what sessions have unread has to be read first.
    Unread,
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
    unsafe { lua.exec_raw((&keys.0, host), make) }
}

/// The C function behind each [`function`].
unsafe extern "C-unwind" fn call<R: Reader>(state: *mut lua_State) -> c_int {
    // SAFETY: the state is the running one.
    unsafe { run(state, R::read) }
}

unsafe fn run(state: *mut lua_State, read: fn(&str, &Frame<'_>) -> Reply) -> c_int {
    // SAFETY: the types of the upvalues are checked, whoever has changed them. The host's name stays
    // in its upvalue. No value with a destructor is alive where something may raise.
    unsafe {
        ffi::luaL_checkstack(state, SLOTS, c"arguments".as_ptr());
        // What is missing is nil; and the keys are at hand on the stack.
        ffi::lua_settop(state, ARGUMENTS);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        if ffi::lua_type(state, -1) != ffi::LUA_TTABLE {
            return ffi::luaL_error(state, c"the names of fields are missing".as_ptr());
        }
        let frame = Frame {
            state,
            keys: ARGUMENTS + 1,
            arguments: 0,
            lifetime: PhantomData,
        };
        let host = frame.at(0).string_at(ffi::lua_upvalueindex(2));
        // A panic must not cross the C frames above.
        let reply = catch_unwind(AssertUnwindSafe(|| {
            host.map_or(Reply::Nothing, |host| read(host, &frame))
        }))
        .map_err(drop);
        match reply {
            Ok(Reply::Nothing) => 0,
            Ok(Reply::Unread) => {
                ffi::lua_pushboolean(state, 0);
                1
            }
            Ok(Reply::Text(text)) => {
                ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len());
                1
            }
            Ok(Reply::Work) => {
                ffi::lua_pushboolean(state, 1);
                1
            }
            Ok(Reply::Queue {
                text,
                work,
                next,
                unread,
            }) => {
                match text {
                    Some(text) => drop(ffi::lua_pushlstring(
                        state,
                        text.as_ptr().cast(),
                        text.len(),
                    )),
                    None if work => ffi::lua_pushboolean(state, 1),
                    None => ffi::lua_pushnil(state),
                }
                match next {
                    Some(next) => ffi::lua_pushinteger(state, next as ffi::lua_Integer),
                    None => ffi::lua_pushnil(state),
                }
                ffi::lua_pushboolean(state, unread.into());
                3
            }
            Err(()) => ffi::luaL_error(state, c"panic in the native library".as_ptr()),
        }
    }
}

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
        let frame = Frame {
            state,
            keys: 1,
            arguments: 1,
            lifetime: PhantomData,
        };
        // A panic must not cross the C frame of the protected call around us.
        outcome = Some(catch_unwind(AssertUnwindSafe(|| read(&frame))));
        // SAFETY: removes what the protected call laid down; nothing refers to it any more.
        unsafe { ffi::lua_settop(state, 0) };
    };
    // SAFETY: `run` calls nothing that raises, so it is never jumped out of.
    unsafe { lua.exec_raw::<()>((&keys.0, args), run)? };
    match outcome {
        Some(Ok(result)) => Ok(result),
        Some(Err(panic)) => resume_unwind(panic),
        None => Err(mlua::Error::runtime("Lua stack overflow")),
    }
}

impl<'f> Frame<'f> {
    /// The argument at `place` (from 0), if it is a table.
    pub fn table(&self, place: c_int) -> Option<TableRef<'f>> {
        let index = self.arguments + 1 + place;
        // SAFETY: any index is valid for a type check.
        let is_table = unsafe { ffi::lua_type(self.state, index) } == ffi::LUA_TTABLE;
        is_table.then_some(self.at(index))
    }

    /// The argument at `place`, if it is a string.
    pub fn str(&self, place: c_int) -> Option<&'f str> {
        self.at(0).string_at(self.arguments + 1 + place)
    }

    /// The argument at `place`, if it is a whole number.
    pub fn integer(&self, place: c_int) -> Option<i64> {
        let index = self.arguments + 1 + place;
        // SAFETY: a number converts without allocation.
        unsafe {
            (ffi::lua_type(self.state, index) == ffi::LUA_TNUMBER)
                .then(|| ffi::lua_tointeger(self.state, index))
        }
    }

    /// Whether the argument at `place` is neither nil nor false.
    pub fn is_set(&self, place: c_int) -> bool {
        // SAFETY: any index is valid, and any value converts to a boolean.
        unsafe { ffi::lua_toboolean(self.state, self.arguments + 1 + place) != 0 }
    }

    fn at(&self, index: c_int) -> TableRef<'f> {
        TableRef {
            state: self.state,
            keys: self.keys,
            index,
            lifetime: PhantomData,
        }
    }
}

/// A table on the stack. It cannot be copied, so it cannot outlive its place there.
///
/// Strings live as long as the frame (`'f`): they stay in their tables, which hang on
/// the arguments, and nothing changes or collects them meanwhile.
pub struct TableRef<'f> {
    state: *mut lua_State,
    keys: c_int,
    index: c_int,
    lifetime: PhantomData<&'f ()>,
}

impl<'f> TableRef<'f> {
    /// Pushes the value of a field and returns its type.
    fn push(&self, key: Key) -> c_int {
        // SAFETY: `self.keys` and `self.index` hold tables; `SLOTS`, and `with_top` for what lies
        // deeper, leave room for two values.
        unsafe {
            ffi::lua_rawgeti(self.state, self.keys, key as ffi::lua_Integer + 1);
            ffi::lua_rawget(self.state, self.index);
            ffi::lua_type(self.state, -1)
        }
    }

    fn pop(&self) {
        // SAFETY: only called after something was pushed.
        unsafe { ffi::lua_settop(self.state, -2) };
    }

    /// The string at `index`, if it is one and in UTF-8.
    fn string_at(&self, index: c_int) -> Option<&'f str> {
        // SAFETY: the type is checked first, so that nothing is converted in place; the
        // bytes live in their table for all of `'f`.
        unsafe {
            if ffi::lua_type(self.state, index) != ffi::LUA_TSTRING {
                return None;
            }
            let mut length = 0;
            let bytes = ffi::lua_tolstring(self.state, index, &raw mut length);
            str::from_utf8(slice::from_raw_parts(bytes.cast(), length)).ok()
        }
    }

    /// Calls `f` with the value on top of the stack, if it is a table, and takes it away.
    fn with_top<R>(&self, f: impl FnOnce(&TableRef<'f>) -> R) -> Option<R> {
        // SAFETY: a type check; more room is asked for, not raised for; the index is absolute.
        let top = unsafe {
            (ffi::lua_type(self.state, -1) == ffi::LUA_TTABLE
                && ffi::lua_checkstack(self.state, SLOTS) != 0)
                .then(|| ffi::lua_gettop(self.state))
        };
        let result = top.map(|index| f(&self.other(index)));
        self.pop();
        result
    }

    fn other(&self, index: c_int) -> Self {
        Self {
            state: self.state,
            keys: self.keys,
            index,
            lifetime: PhantomData,
        }
    }

    /// A field that is a string.
    pub fn str(&self, key: Key) -> Option<&'f str> {
        self.push(key);
        let string = self.string_at(-1);
        self.pop();
        string
    }

    /// A field that is an integer.
    pub fn integer(&self, key: Key) -> Option<i64> {
        let is_number = self.push(key) == ffi::LUA_TNUMBER;
        // SAFETY: a number converts without allocation.
        let integer = is_number.then(|| unsafe { ffi::lua_tointeger(self.state, -1) });
        self.pop();
        integer
    }

    /// Whether a field is a table.
    pub fn has_table(&self, key: Key) -> bool {
        let is_table = self.push(key) == ffi::LUA_TTABLE;
        self.pop();
        is_table
    }

    /// Whether a field is neither nil nor false.
    pub fn is_set(&self, key: Key) -> bool {
        self.push(key);
        // SAFETY: any value converts to a boolean.
        let set = unsafe { ffi::lua_toboolean(self.state, -1) } != 0;
        self.pop();
        set
    }

    /// Whether a field is false, and not just missing.
    pub fn is_false(&self, key: Key) -> bool {
        let is_boolean = self.push(key) == ffi::LUA_TBOOLEAN;
        // SAFETY: any value converts to a boolean.
        let is_false = is_boolean && unsafe { ffi::lua_toboolean(self.state, -1) } == 0;
        self.pop();
        is_false
    }

    /// Calls `f` with a field that is a table.
    pub fn with<R>(&self, key: Key, f: impl FnOnce(&TableRef<'f>) -> R) -> Option<R> {
        self.push(key);
        self.with_top(f)
    }

    /// Whether both are the same table.
    pub fn is(&self, other: &Self) -> bool {
        // SAFETY: both indices hold tables of this stack.
        unsafe { ffi::lua_rawequal(self.state, self.index, other.index) != 0 }
    }

    /// Tells this table from others that exist at the same time.
    pub fn address(&self) -> u64 {
        // SAFETY: only the address is taken.
        unsafe { ffi::lua_topointer(self.state, self.index) as u64 }
    }

    /// How many entries there are from 1 on. Lua may find a border far beyond (`t[2^62]`), so a large
    /// one is not believed: whoever goes through that many entries ends soon.
    pub fn len(&self) -> usize {
        // SAFETY: `self.index` holds a table.
        let border = unsafe { ffi::lua_rawlen(self.state, self.index) as usize };
        if border <= BELIEVED {
            return border;
        }
        let missing = (1..=border).find(|&place| self.type_of_entry(place) == ffi::LUA_TNIL);
        missing.map_or(border, |place| place - 1)
    }

    fn type_of_entry(&self, place: usize) -> c_int {
        let Ok(place) = ffi::lua_Integer::try_from(place) else {
            return ffi::LUA_TNIL;
        };
        // SAFETY: as in `push`.
        let kind = unsafe {
            ffi::lua_rawgeti(self.state, self.index, place);
            ffi::lua_type(self.state, -1)
        };
        self.pop();
        kind
    }

    /// Calls `f` with the entry at `place` (from 1), if it is a table.
    pub fn with_entry<R>(&self, place: usize, f: impl FnOnce(&TableRef<'f>) -> R) -> Option<R> {
        let place = ffi::lua_Integer::try_from(place).ok()?;
        // SAFETY: as in `push`.
        unsafe { ffi::lua_rawgeti(self.state, self.index, place) };
        self.with_top(f)
    }

    /// The field `name` of the entry at `place` (from 1), if both are there.
    fn name_of_entry(&self, place: usize) -> Option<&'f [u8]> {
        let place = ffi::lua_Integer::try_from(place).ok()?;
        // SAFETY: as in `push`, `with_top` and `string_at`.
        unsafe {
            ffi::lua_rawgeti(self.state, self.index, place);
            let mut name = None;
            if ffi::lua_type(self.state, -1) == ffi::LUA_TTABLE {
                ffi::lua_rawgeti(self.state, self.keys, Key::Name as ffi::lua_Integer + 1);
                ffi::lua_rawget(self.state, -2);
                if ffi::lua_type(self.state, -1) == ffi::LUA_TSTRING {
                    let mut length = 0;
                    let bytes = ffi::lua_tolstring(self.state, -1, &raw mut length);
                    name = Some(slice::from_raw_parts(bytes.cast(), length));
                }
                ffi::lua_settop(self.state, -3);
            } else {
                self.pop();
            }
            name
        }
    }

    /// The entry at `place` (from 1), if it is a string.
    fn entry_str(&self, place: usize) -> Option<&'f str> {
        let place = ffi::lua_Integer::try_from(place).ok()?;
        // SAFETY: as in `push`.
        unsafe { ffi::lua_rawgeti(self.state, self.index, place) };
        let string = self.string_at(-1);
        self.pop();
        string
    }

    /// Calls `f` with the entry at `place` (from 1), if it is an element or text.
    pub fn with_child<R>(&self, place: usize, f: impl FnOnce(Child<'_, 'f>) -> R) -> Option<R> {
        let place = ffi::lua_Integer::try_from(place).ok()?;
        // SAFETY: as in `push`.
        unsafe { ffi::lua_rawgeti(self.state, self.index, place) };
        if let Some(text) = self.string_at(-1) {
            self.pop();
            return Some(f(Child::Text(text)));
        }
        self.with_top(|table| f(Child::Element(table)))
    }

    /// Calls `f` with every field, all of which have to be strings with strings for keys, until it
    /// returns false. Says whether that was so for all of them.
    pub fn all_strings(&self, mut f: impl FnMut(&'f str, &'f str) -> bool) -> bool {
        // SAFETY: as in `each`.
        unsafe {
            ffi::lua_pushnil(self.state);
            while ffi::lua_next(self.state, self.index) != 0 {
                let strings = self.string_at(-2).zip(self.string_at(-1));
                self.pop();
                if !strings.is_some_and(|(key, value)| f(key, value)) {
                    self.pop();
                    return false;
                }
            }
        }
        true
    }

    /// Takes from `left` what an element takes. Whether there was enough.
    fn takes(&self, left: &mut usize, depth: usize) -> bool {
        let mut bytes = ELEMENT;
        self.with(Key::Attr, |attr| {
            attr.all_strings(|name, value| {
                bytes += ATTRIBUTE + name.len() + value.len();
                true
            })
        });
        let Some((mut rest, depth)) = left.checked_sub(bytes).zip(depth.checked_sub(1)) else {
            return false;
        };
        let fits = (1..=self.len()).all(|place| {
            let fits = self.with_child(place, |child| match child {
                Child::Element(element) => element.takes(&mut rest, depth),
                Child::Text(text) => rest
                    .checked_sub(text.len())
                    .map(|left| rest = left)
                    .is_some(),
            });
            fits.unwrap_or(true)
        });
        *left = rest;
        fits
    }

    /// Calls `f` with every field that has a string for a key and a table for a value.
    pub fn each(&self, mut f: impl FnMut(&'f str, &TableRef<'f>)) {
        // SAFETY: the first key is nil, every other one comes from the table itself,
        // which nobody changes meanwhile; so `lua_next` does not raise.
        unsafe {
            ffi::lua_pushnil(self.state);
            while ffi::lua_next(self.state, self.index) != 0 {
                match self.string_at(-2) {
                    Some(key) => drop(self.with_top(|value| f(key, value))),
                    None => self.pop(),
                }
            }
        }
    }
}

/// What an element may have inside.
pub enum Child<'t, 'f> {
    /// Another element.
    Element(&'t TableRef<'f>),
    /// Character data.
    Text(&'f str),
}

/// A Prosody stanza (or an element in one) as the rules see it.
pub struct Stanza<'f> {
    table: TableRef<'f>,
    /// The namespace of the parent.
    inherited: &'f str,
}

impl<'f> Stanza<'f> {
    /// Calls `f` with the stanza that `table` is. The view is lent, for it must not outlive the
    /// table's place on the stack.
    pub fn with<R>(table: &TableRef<'f>, f: impl FnOnce(&Self) -> R) -> R {
        Self::inside(table, "jabber:client", f)
    }

    fn inside<R>(table: &TableRef<'f>, inherited: &'f str, f: impl FnOnce(&Self) -> R) -> R {
        let table = table.other(table.index);
        f(&Self { table, inherited })
    }

    /// Whether it takes no more memory than so many bytes, as far as can be said.
    pub fn is_within(&self, bytes: usize) -> bool {
        let mut left = bytes;
        self.table.takes(&mut left, DEEPEST)
    }

    /// Prosody leaves `xmlns` out where it is that of the parent.
    fn namespace(&self) -> &'f str {
        let own = self.table.with(Key::Attr, |attr| attr.str(Key::Xmlns));
        own.flatten().unwrap_or(self.inherited)
    }
}

impl Element for Stanza<'_> {
    fn name(&self) -> &str {
        self.table.str(Key::Name).unwrap_or_default()
    }

    fn ns(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.namespace())
    }

    fn attr(&self, attr: Attr) -> Option<&str> {
        let [value] = self.attrs([attr]);
        value
    }

    fn attrs<const N: usize>(&self, attrs: [Attr; N]) -> [Option<&str>; N] {
        self.table
            .with(Key::Attr, |values| {
                attrs.map(|attr| values.str(attr.into()))
            })
            .unwrap_or([None; N])
    }

    fn find_map<T>(&self, mut visit: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let ns = self.namespace();
        self.table
            .with(Key::Tags, |tags| {
                (1..=tags.len()).find_map(|place| {
                    tags.with_entry(place, |tag| Self::inside(tag, ns, &mut visit))
                        .flatten()
                })
            })
            .flatten()
    }

    /// As the default, but looks at the names of many children in less time.
    fn find_named<T>(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let mut ns = None;
        self.table
            .with(Key::Tags, |tags| {
                (1..=tags.len()).find_map(|place| {
                    let name = tags.name_of_entry(place)?;
                    if !names.iter().any(|wanted| wanted.as_bytes() == name) {
                        return None;
                    }
                    let inherited = *ns.get_or_insert_with(|| self.namespace());
                    tags.with_entry(place, |tag| Self::inside(tag, inherited, &mut visit))
                        .flatten()
                })
            })
            .flatten()
    }

    fn each_text(&self, mut visit: impl FnMut(&str)) {
        for place in 1..=self.table.len() {
            if let Some(text) = self.table.entry_str(place) {
                visit(text);
            }
        }
    }
}
