//! Values of Lua, of every type and in every place, from any bytes.

use arbitrary::{Arbitrary, Result as Chosen, Unstructured};
use mlua::{Lua, Result};

/// What the module reads, so that the fuzzer need not guess it.
const WORDS: &[&str] = &[
    "AAECAwQFBgcICQoLDA0ODw==",
    "aes-128-gcm",
    "age",
    "algorithm",
    "anna@home.test",
    "attr",
    "auth_secret",
    "awaiting_ack",
    "bert@away.test/pc",
    "body",
    "by",
    "chats",
    "client",
    "client_id",
    "delay",
    "delayed_ack_timer",
    "destroyed",
    "devices",
    "due_in",
    "encrypted",
    "encryption",
    "failures",
    "field",
    "forwarded",
    "from",
    "grace",
    "hibernating",
    "home.test",
    "http://jabber.org/protocol/muc#user",
    "id",
    "identifier",
    "important",
    "invite",
    "iq",
    "jabber:client",
    "jabber:x:conference",
    "jabber:x:data",
    "jid",
    "jwt_claims",
    "jwt_key",
    "key_base64",
    "match",
    "matches",
    "max_size",
    "mention",
    "message",
    "name",
    "node",
    "options",
    "phone",
    "priority",
    "propose",
    "protocol",
    "push2",
    "push2 phone",
    "push2_identifier",
    "push2_settings",
    "push_active",
    "_push_archive_id",
    "push.test",
    "push.test<n1",
    "_push_id",
    "push_identifier",
    "push_settings",
    "received",
    "reply",
    "resource",
    "send",
    "sent",
    "sequence",
    "services",
    "since",
    "smacks",
    "stamp",
    "stanza-id",
    "subject",
    "submit",
    "suspended",
    "tags",
    "timestamp",
    "to",
    "trials",
    "type",
    "ua_public",
    "unread_queue",
    "until",
    "urn:xmpp:carbons:2",
    "urn:xmpp:delay",
    "urn:xmpp:forward:0",
    "urn:xmpp:jingle-message:0",
    "urn:xmpp:push2:match:all",
    "urn:xmpp:push2:match:archived",
    "urn:xmpp:push2:match:important",
    "urn:xmpp:push2:send:notify-only:0",
    "urn:xmpp:push2:send:sce+rfc8291+rfc8292:0",
    "urn:xmpp:sid:0",
    "user",
    "value",
    "var",
    "x",
    "xmlns",
];

/// The longest string, and the deepest table in a text.
const MAX_TEXT: usize = 1 << 16;
const MAX_DEPTH: usize = 100;

/// A value that Lua may have.
#[derive(Debug, Arbitrary)]
pub enum Value {
    Nil,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(Text),
    Table {
        raises: bool,
        fields: Vec<Field>,
    },
    /// A table that is there already, perhaps around this very place.
    Again(usize),
    Function,
    Thread,
}

#[derive(Debug, Arbitrary)]
pub enum Field {
    Next(Value),
    Named(Text, Value),
    Any(Value, Value),
}

#[derive(Debug)]
pub struct Text(Vec<u8>);

impl<'a> Arbitrary<'a> for Text {
    fn arbitrary(input: &mut Unstructured<'a>) -> Chosen<Self> {
        Ok(Self(match input.int_in_range(0..=3)? {
            0 => input.arbitrary()?,
            _ => input.choose(WORDS)?.as_bytes().to_vec(),
        }))
    }
}

impl Value {
    /// Reads what people can write: `{ key value … }`, `( entry … )`, `!{ a table that raises }`,
    /// `"a string"` and words: `nil`, `true`, `1e300`, `nan`, `function`, `thread`, `^1` for the
    /// first table once more, `x*9000` for a long string, and strings otherwise. Every text is one.
    pub fn read(mut text: &[u8]) -> Self {
        read(&mut text, MAX_DEPTH).unwrap_or(Self::Nil)
    }

    /// Makes it in Lua; `tables` are those that are there.
    pub fn make(&self, lua: &Lua, tables: &mut Vec<mlua::Table>) -> Result<mlua::Value> {
        Ok(match self {
            Self::Nil => mlua::Value::Nil,
            Self::Boolean(value) => mlua::Value::Boolean(*value),
            Self::Integer(value) => mlua::Value::Integer(*value),
            Self::Number(value) => mlua::Value::Number(*value),
            Self::Text(Text(bytes)) => mlua::Value::String(lua.create_string(bytes)?),
            Self::Again(place) => match tables.len() {
                0 => mlua::Value::Nil,
                count => mlua::Value::Table(tables[place % count].clone()),
            },
            Self::Function => lua.globals().raw_get("error")?,
            Self::Thread => {
                let body = lua.globals().raw_get("error")?;
                mlua::Value::Thread(lua.create_thread(body)?)
            }
            Self::Table { raises, fields } => {
                let table = lua.create_table()?;
                tables.push(table.clone());
                for field in fields {
                    let (key, value) = match field {
                        Field::Next(value) => {
                            let place = i64::try_from(table.raw_len() + 1).unwrap_or_default();
                            (mlua::Value::Integer(place), value)
                        }
                        Field::Named(Text(key), value) => {
                            (mlua::Value::String(lua.create_string(key)?), value)
                        }
                        Field::Any(key, value) => (key.make(lua, tables)?, value),
                    };
                    let value = value.make(lua, tables)?;
                    // Nil and not-a-number are no keys.
                    let _ = table.raw_set(key, value);
                }
                if *raises {
                    table.set_metatable(Some(lua.named_registry_value("raising")?))?;
                }
                mlua::Value::Table(table)
            }
        })
    }
}

/// The next value, if `text` has one before the end or a closing bracket.
fn read(text: &mut &[u8], depth: usize) -> Option<Value> {
    *text = text.trim_ascii_start();
    let (&first, rest) = text.split_first()?;
    let raises = first == b'!';
    let opening = if raises { rest.first() } else { Some(&first) };
    match (opening, first) {
        (Some(&bracket @ (b'{' | b'(')), _) => {
            *text = &rest[usize::from(raises)..];
            let depth = depth.checked_sub(1)?;
            let fields = std::iter::from_fn(|| {
                let first = read(text, depth)?;
                Some(match (bracket, first) {
                    (b'(', value) => Field::Next(value),
                    (_, Value::Text(key)) => Field::Named(key, read(text, depth)?),
                    (_, key) => Field::Any(key, read(text, depth)?),
                })
            });
            let fields = fields.collect();
            *text = text.split_first().map_or(*text, |(_, rest)| rest);
            Some(Value::Table { raises, fields })
        }
        (_, b'}' | b')') => None,
        (_, b'"') => {
            let end = rest.iter().position(|&byte| byte == b'"');
            let string = &rest[..end.unwrap_or(rest.len())];
            *text = rest.get(string.len() + 1..).unwrap_or_default();
            Some(Value::Text(Text(string.to_vec())))
        }
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b"{}()\"".contains(byte);
            let end = text.iter().position(ends).unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            *text = rest;
            Some(read_word(word))
        }
    }
}

fn read_word(word: &[u8]) -> Value {
    let known = match word {
        b"nil" => Some(Value::Nil),
        b"true" => Some(Value::Boolean(true)),
        b"false" => Some(Value::Boolean(false)),
        b"function" => Some(Value::Function),
        b"thread" => Some(Value::Thread),
        _ => None,
    };
    let number = |word: &str| {
        let integer = word.parse().map(Value::Integer);
        integer.or_else(|_| word.parse().map(Value::Number)).ok()
    };
    let again = |word: &str| {
        let place: usize = word.strip_prefix('^')?.parse().ok()?;
        Some(Value::Again(place.saturating_sub(1)))
    };
    let long = |word: &str| {
        let (piece, times) = word.split_once('*')?;
        let times: usize = times.parse().ok()?;
        let most = MAX_TEXT / piece.len().max(1);
        Some(Value::Text(Text(
            piece.repeat(times.min(most)).into_bytes(),
        )))
    };
    let readable = || {
        let word = str::from_utf8(word).ok()?;
        number(word).or_else(|| again(word)).or_else(|| long(word))
    };
    known
        .or_else(readable)
        .unwrap_or_else(|| Value::Text(Text(word.to_vec())))
}
