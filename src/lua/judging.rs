//! What filters say of a stanza. They may have ten thousand chats in a record, which Lua finds among in no time, but
//! not without making strings. So it is asked for where it matters only, and through handles.

use std::cell::OnceCell;

use minidom::Element;
use mlua::{Function, Lua, LuaString, Result, Table, Value};
use xmpp_parsers::jid::Jid;

use super::chat_settings;
use super::host::Host;
use super::matches::{Matches, is_push2};
use super::reader::{self, Key, Stanza};
use super::requests::text;
use super::rooms::nickname;
use crate::engine::Silence;
use crate::extension::{Asked, Chosen, EXTENSIONS, Field, Others, Room, Rooms, stranger};
use crate::push2::{Addressed, Event};
use crate::stanza::{self, Content, Importance};

/// How much of the text is left of what is too large to be read as a whole, in bytes.
const MAX_SKELETON: usize = 4096;

/// The field of a session that says when it has been active last.
const ACTIVE: &str = "push_active";

/// What [`judge`] takes.
type AskedOfAll = (
    String,
    Table,
    Table,
    Function,
    Function,
    Option<Table>,
    Option<f64>,
);

/// `judge(user, records, stanza, load_roster, load_chat_settings, sessions, now)`: identifier -> the number of a reason
/// for silence. `load_roster(user)` is called if a filter wants to know the user's roster, and returns nil if nobody
/// knows it; `load_chat_settings(user)` if the user's settings for chats are not known. Sessions say in `push_active`
/// when they have been active last, in seconds of the time that now is.
pub fn judge(
    lua: &Lua,
    host: &Host,
    (user, records, stanza, load_roster, load_chat_settings, sessions, now): AskedOfAll,
) -> Result<Table> {
    let judged = lua.create_table()?;
    let activity = Activity { sessions, now };
    let judge = Judge::new(lua, host, user, load_roster, load_chat_settings, activity)?;
    let said = OnceCell::new();
    for pair in records.pairs::<Value, Value>() {
        let (Value::String(identifier), Value::Table(record)) = pair? else {
            continue;
        };
        if !judge.has_say(&record) {
            continue;
        }
        if said.get().is_none() {
            let _ = said.set(judge.read(&stanza)?);
        }
        if let Some(said) = said.get()
            && let Some(silence) = judge.silence(Some(&identifier), &record, said)?
        {
            judged.raw_set(identifier, silence.code())?;
        }
    }
    Ok(judged)
}

/// What [`judge_queue`] takes.
type AskedOfOne = (
    String,
    Table,
    Table,
    i64,
    Function,
    Function,
    Option<Table>,
    Option<f64>,
    Option<LuaString>,
);

/// `judge_queue(user, record, queue, place, load_roster, load_chat_settings, sessions, now, identifier)`: the same for
/// each stanza of a queue, or for a single one at place 0, as the bytes of a string.
pub fn judge_queue(
    lua: &Lua,
    host: &Host,
    (user, record, queue, place, load_roster, load_chat_settings, sessions, now, identifier): AskedOfOne,
) -> Result<LuaString> {
    let activity = Activity { sessions, now };
    let judge = Judge::new(lua, host, user, load_roster, load_chat_settings, activity)?;
    let mut judged = Vec::new();
    if judge.has_say(&record) {
        let mut add = |stanza: &Value| {
            let silence = match stanza {
                Value::Table(stanza) => {
                    judge.silence(identifier.as_ref(), &record, &judge.read(stanza)?)?
                }
                _ => None,
            };
            judged.push(silence.map_or(0, Silence::code));
            Ok::<_, mlua::Error>(())
        };
        if place == 0 {
            add(&Value::Table(queue))?;
        } else {
            for stanza in queue.sequence_values() {
                add(&stanza?)?;
            }
        }
    }
    lua.create_string(judged)
}

/// Why no match of a registration of push2 wants an important message now, whatever chat that is of. Archived: the
/// user's archive has it.
pub fn silence_now(
    identifier: &LuaString,
    record: &Table,
    activity: &Activity,
    is_archived: bool,
) -> Result<Option<Silence>> {
    if !is_push2(record) {
        return Ok(None);
    }
    let event = Event {
        importance: Importance::Important,
        is_archived,
        has_body: true,
        is_call: false,
        active: activity.of_others(Some(identifier))?,
        is_mentioned: false,
        is_reply: false,
    };
    Ok(Matches::read(record, "")?.silence(&event))
}

/// When the user's sessions have been active.
pub struct Activity {
    pub sessions: Option<Table>,
    pub now: Option<f64>,
}

impl Activity {
    /// Seconds since a session has been active that is not attached to this registration of push2.
    fn of_others(&self, identifier: Option<&LuaString>) -> Result<Option<u32>> {
        let mut last: Option<f64> = None;
        for pair in self.sessions.iter().flat_map(Table::pairs::<Value, Value>) {
            let (_, Value::Table(session)) = pair? else {
                continue;
            };
            let Value::Number(active) = session.raw_get(ACTIVE)? else {
                continue;
            };
            let attached: Value = session.raw_get(Key::Push2Identifier.name())?;
            if identifier.is_none() || attached.as_string() != identifier {
                last = Some(last.map_or(active, |last| last.max(active)));
            }
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates"
        )]
        Ok(last.zip(self.now).map(|(last, now)| (now - last) as u32))
    }
}

/// A stanza, as far as it matters here.
pub struct Said {
    pub content: Content,
    importance: Importance,
    is_archived: bool,
    /// Whom it is for: to look through a long text takes time.
    addressed: OnceCell<Addressed>,
}

impl Said {
    /// The same for the matches of push2. Sessions are those of the user, who is known in rooms by them, and active is for
    /// how many seconds the user has done nothing elsewhere.
    pub fn event(
        &self,
        matches: &Matches,
        account: &str,
        sessions: Option<&Table>,
        active: Option<u32>,
    ) -> Result<Event> {
        let content = &self.content;
        let addressed = match self.addressed.get() {
            _ if !matches.are_personal => Addressed::default(),
            Some(known) => *known,
            None => {
                let nick = nickname(sessions, content.chat())?;
                let read = || Addressed::read(content, account, nick.as_deref());
                *self.addressed.get_or_init(read)
            }
        };
        // Whether its end matters is known by whoever knows which calls ring.
        let importance = if content.ends_call() {
            Importance::Urgent
        } else {
            self.importance
        };
        Ok(Event {
            importance,
            is_archived: self.is_archived,
            has_body: content.body.is_some() || content.is_encrypted,
            is_call: content.call.is_some(),
            active,
            is_mentioned: addressed.is_mentioned,
            is_reply: addressed.is_reply,
        })
    }

    /// What is left of it where it is too large to be read as a whole.
    pub fn skeleton(&self) -> Element {
        let mut message = Element::bare("message", "jabber:client");
        if let Some(body) = &self.content.body {
            let mut element = Element::bare("body", "jabber:client");
            let length = body.floor_char_boundary(MAX_SKELETON);
            element.append_text_node(&body[..length]);
            message.append_child(element);
        }
        message
    }
}

/// Whoever looks at stanzas for a user's registrations.
struct Judge<'a> {
    lua: &'a Lua,
    host: &'a Host,
    others: Others,
    user: String,
    account: String,
    load_roster: Function,
    /// What that has returned.
    roster: OnceCell<Option<Table>>,
    load_chat_settings: Function,
    activity: Activity,
}

impl<'a> Judge<'a> {
    fn new(
        lua: &'a Lua,
        host: &'a Host,
        user: String,
        load_roster: Function,
        load_chat_settings: Function,
        activity: Activity,
    ) -> Result<Self> {
        Ok(Self {
            lua,
            host,
            others: host.state()?.disclosure.others,
            account: format!("{user}@{}", host.name),
            user,
            load_roster,
            roster: OnceCell::new(),
            load_chat_settings,
            activity,
        })
    }

    /// Whether the registration has filters, or the user's settings are for it.
    fn has_say(&self, record: &Table) -> bool {
        EXTENSIONS.filter(record, self.others) || !record.has_filters()
    }

    fn read(&self, stanza: &Table) -> Result<Said> {
        read(self.lua, self.host, stanza, &self.account)
    }

    fn silence(
        &self,
        identifier: Option<&LuaString>,
        record: &Table,
        said: &Said,
    ) -> Result<Option<Silence>> {
        let content = &said.content;
        if is_push2(record) {
            let active = self.activity.of_others(identifier)?;
            let matches = Matches::read(record, &content.from)?;
            let sessions = self.activity.sessions.as_ref();
            let event = said.event(&matches, &self.account, sessions, active)?;
            let silence = matches.silence(&event);
            if silence.is_some() || matches.have_filters {
                return Ok(silence);
            }
        } else if record.has_filters() {
            return Ok(self.filtered(record, content));
        }
        let load = &self.load_chat_settings;
        chat_settings::silence(self.host, &self.user, &self.account, content, load)
    }

    fn filtered(&self, record: &Table, content: &Content) -> Option<Silence> {
        let chosen = Chosen {
            account: self.account.clone(),
            is_muted: is_muted(record, content),
            is_unknown: record.is_set(Field::FilterUnknown) && self.is_unknown(content),
            room: read_room(record, content),
        };
        EXTENSIONS.silence(record, self.others, &chosen, content)
    }

    /// Whether the user's roster has not the sender (RFC 6121 section 2). Those who only ask to be there are not in it.
    /// If it cannot be read, everybody is known: no push is lost.
    fn is_unknown(&self, content: &Content) -> bool {
        let Some(sender) = stranger(content, &self.account).and_then(bare_jid) else {
            return false;
        };
        let roster = self.roster.get_or_init(|| self.read_roster());
        let item = roster.as_ref().map(|roster| roster.raw_get(sender));
        item.is_some_and(|item| !matches!(item, Ok(Value::Table(_))))
    }

    fn read_roster(&self) -> Option<Table> {
        match self.load_roster.call(&*self.user) {
            Ok(Value::Table(roster)) => Some(roster),
            _ => None,
        }
    }
}

/// What a stanza that `account` has received says.
pub fn read(lua: &Lua, host: &Host, stanza: &Table, account: &str) -> Result<Said> {
    let said = reader::read(lua, &host.keys, stanza, |frame| {
        let table = frame.table(0)?;
        Some(Stanza::with(&table, |stanza| Said {
            content: Content::read(stanza, account),
            importance: stanza::importance(stanza, account),
            is_archived: table.is_set(Key::PushArchiveId) || stanza::is_archived(stanza, account),
            addressed: OnceCell::new(),
        }))
    })?;
    said.ok_or_else(|| mlua::Error::runtime("it is no stanza"))
}

/// Normalised (RFC 7622).
fn bare_jid(jid: &str) -> Option<String> {
    Some(Jid::new(jid).ok()?.into_bare().into_inner())
}

fn is_there(value: Result<Value>) -> bool {
    !matches!(value, Err(_) | Ok(Value::Nil | Value::Boolean(false)))
}

/// Whether the chat is muted, or who invites to a room, or that room.
fn is_muted(record: &Table, content: &Content) -> bool {
    let Ok(Value::Table(muted)) = record.raw_get(Key::MutedJids.name()) else {
        return false;
    };
    let named = [&content.invited_by, &content.invited_to];
    is_there(muted.raw_get(content.chat()))
        || named.into_iter().flatten().any(|jid| {
            let chat = bare_jid(jid);
            chat.is_some_and(|chat| is_there(muted.raw_get(chat)))
        })
}

fn read_room(record: &Table, content: &Content) -> Rooms {
    let Ok(Value::Table(rules)) = record.raw_get(Key::GroupchatRules.name()) else {
        return Rooms::Any;
    };
    let Ok(Value::Table(rule)) = rules.raw_get(content.chat()) else {
        return Rooms::Others;
    };
    Rooms::Named(Room {
        when: text(&rule, "when").unwrap_or_default(),
        nick: text(&rule, "nick"),
    })
}

impl Asked for Table {
    fn is_set(&self, field: Field) -> bool {
        is_there(self.raw_get(Key::from(field).name()))
    }
}
