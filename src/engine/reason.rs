//! Why a device is pushed to, has to wait, or gets nothing: what a log, a trail or a count of decisions is made of.

use std::time::Duration;

/// The rule by which a stanza meets a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Rule (a): unacknowledged in the stream management queue of a session.
    Unacked {
        /// Its place in [`Account::sessions`](super::Account::sessions).
        session: usize,
    },
    /// Rule (b): stored in the user's archive.
    Archived,
    /// Rule (b), for a stanza that is in the archive: not acknowledged by a session that has ended.
    Undelivered,
    /// Rule (c): in offline storage.
    Offline,
    /// Rule (c): a groupchat message to the bare JID.
    Room,
    /// The end of a call, as the account itself says it to somebody else.
    Sent,
    /// Delivered to others of the user's devices, whom nobody seems to look at (`tigase:push:away:0`).
    Away,
    /// Somebody asks to see the presence of a user who is offline (RFC 6121 section 3.1.3).
    Subscription,
}

impl Rule {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unacked { .. } => "unacked",
            Self::Archived => "archived",
            Self::Undelivered => "undelivered",
            Self::Offline => "offline",
            Self::Room => "room",
            Self::Sent => "sent",
            Self::Away => "away",
            Self::Subscription => "subscription",
        }
    }
}

/// Why there is a push without a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody has asked for it.
    Asked,
    /// A hibernated session is about to end (`push_wake_before_timeout`).
    Timeout,
    /// The server has started (`push_wake_on_start`).
    Start,
}

impl Occasion {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 3] = [Self::Asked, Self::Timeout, Self::Start];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "ping",
            Self::Timeout => "before-timeout",
            Self::Start => "on-start",
        }
    }

    /// What a name stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Why there is no push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The device has a live session.
    Online,
    /// The device has a hibernated session: rule (a) takes care of it.
    Hibernated,
    /// There was a push for this stanza, or the device has received it.
    AlreadyPushed,
    /// It waits for a push already.
    AlreadyWaiting,
    /// An important push has just woken the device.
    SpokenFor,
    /// It is the user's own copy of what went to somebody else.
    NotRecipient,
    /// It is no longer on its way, and not in the archive.
    NotArchived,
    /// It has nothing to show, and its session has ended.
    Unimportant,
    /// `push_notify_on` leaves it out.
    NotWanted,
    /// The client has muted the chat.
    Muted,
    /// The client wants nothing from whom the user's roster does not know.
    UnknownSender,
    /// The room is not among those that the client listens to.
    RoomNotListed,
    /// The client listens to the room only where the user is mentioned.
    NotMentioned,
    /// None of the registration's match profiles is for such a stanza (`urn:xmpp:push2:0`).
    NotMatched,
    /// The user is active on another device, and the client wants to be left alone then (`urn:xmpp:push2:0`).
    Grace,
    /// The user's notification settings (XEP-0492) leave the chat out.
    ChatSettings,
    /// It is the user's own message, which a room has sent to all.
    OwnMessage,
    /// It corrects or takes back what the device was pushed for.
    Amends,
    /// The user has read it on another device.
    ReadElsewhere,
    /// It is itself a push: two who name each other as push service would wake each other for ever.
    IsPush,
    /// It has waited, and its device is back: it has received it.
    Returned,
    /// It has waited for longer than `push_retry_age`.
    TooOld,
    /// It has waited, and another push has spoken for it meanwhile.
    Served,
}

impl Silence {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 23] = [
        Self::Online,
        Self::Hibernated,
        Self::AlreadyPushed,
        Self::AlreadyWaiting,
        Self::SpokenFor,
        Self::NotRecipient,
        Self::NotArchived,
        Self::Unimportant,
        Self::NotWanted,
        Self::Muted,
        Self::UnknownSender,
        Self::RoomNotListed,
        Self::NotMentioned,
        Self::NotMatched,
        Self::Grace,
        Self::ChatSettings,
        Self::OwnMessage,
        Self::Amends,
        Self::ReadElsewhere,
        Self::IsPush,
        Self::Returned,
        Self::TooOld,
        Self::Served,
    ];

    /// A number for it, from 1.
    pub fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|one| *one == self);
        place
            .and_then(|place| u8::try_from(place + 1).ok())
            .unwrap_or(0)
    }

    /// What a number stands for.
    pub fn from_code(code: i64) -> Option<Self> {
        let place = usize::try_from(code).ok()?.checked_sub(1)?;
        Self::ALL.get(place).copied()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Hibernated => "hibernated",
            Self::AlreadyPushed => "already-pushed",
            Self::AlreadyWaiting => "already-waiting",
            Self::SpokenFor => "spoken-for",
            Self::NotRecipient => "not-recipient",
            Self::NotArchived => "not-archived",
            Self::Unimportant => "unimportant",
            Self::NotWanted => "not-wanted",
            Self::Muted => "muted",
            Self::UnknownSender => "unknown-sender",
            Self::RoomNotListed => "room-not-listed",
            Self::NotMentioned => "not-mentioned",
            Self::NotMatched => "not-matched",
            Self::Grace => "grace",
            Self::ChatSettings => "chat-settings",
            Self::OwnMessage => "own-message",
            Self::Amends => "amends",
            Self::ReadElsewhere => "read-elsewhere",
            Self::IsPush => "is-push",
            Self::Returned => "returned",
            Self::TooOld => "too-old",
            Self::Served => "served",
        }
    }

    /// A phrase for the log.
    fn phrase(self) -> &'static str {
        match self {
            Self::Online => "device is online",
            Self::Hibernated => "device hibernates, stream management takes care of it",
            Self::AlreadyPushed => "already pushed",
            Self::AlreadyWaiting => "already waiting",
            Self::SpokenFor => "device has just been woken",
            Self::NotRecipient => "user is not the recipient",
            Self::NotArchived => "not delivered, and not in the archive",
            Self::Unimportant => "not delivered, and not important",
            Self::Muted => "chat is muted by the client",
            Self::UnknownSender => {
                "sender is not in the roster, the client wants none from strangers"
            }
            Self::RoomNotListed => "room is not among those that the client listens to",
            Self::NotMentioned => "user is not mentioned, the client wants only that of this room",
            Self::NotMatched => "none of the client's match profiles wants it",
            Self::Grace => "user is active on another device, the client waits for that",
            Self::ChatSettings => "left out by the user's notification settings for this chat",
            Self::OwnMessage => "user's own message, sent back by a room",
            Self::Amends => "corrects or takes back what was pushed",
            Self::ReadElsewhere => "user has read it on another device",
            Self::IsPush => "stanza is itself a push",
            Self::NotWanted => "left out by push_notify_on",
            Self::Returned => "device is back, it has what waited",
            Self::TooOld => "owed for longer than push_retry_age",
            Self::Served => "another push has spoken for what waited",
        }
    }
}

/// Why stanzas wait. What comes later is the stronger reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Unimportant ones wait for the end of `push_coalesce_window`.
    Window,
    /// `push_max_per_minute` is reached.
    Rate,
    /// Too many pushes wait for an answer.
    Room,
    /// The device is owed a push that the push service could not take.
    Debt,
    /// The registration is suspended until its next trial.
    Suspension,
}

/// What has become of a stanza and a registration, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A push has left.
    Pushed,
    /// It waits for this, and if that is known, until then.
    Held {
        /// What it waits for.
        cause: Cause,
        /// Until when, if that is known.
        until: Option<Duration>,
    },
    /// There is no push.
    Silent(Silence),
}

impl Reason {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pushed => "pushed",
            Self::Held { cause, .. } => cause.name(),
            Self::Silent(silence) => silence.name(),
        }
    }

    /// A phrase for the log.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Pushed => "pushed",
            Self::Held { cause, .. } => cause.phrase(),
            Self::Silent(silence) => silence.phrase(),
        }
    }
}

impl Cause {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 5] = [
        Self::Window,
        Self::Rate,
        Self::Room,
        Self::Debt,
        Self::Suspension,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Rate => "rate",
            Self::Room => "room",
            Self::Debt => "debt",
            Self::Suspension => "suspension",
        }
    }

    /// A phrase for people.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Window => "not important, waits for the end of push_coalesce_window",
            Self::Rate => "more than push_max_per_minute, waits for its turn",
            Self::Room => "too many pushes wait for an answer, waits for one",
            Self::Debt => "push service could not take the last one, waits for the next attempt",
            Self::Suspension => "registration is suspended, waits for the next trial",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_says_of_each_reason_what_to_do() {
        let guide = include_str!("../../docs/admin/troubleshooting.md");
        let phrases = Silence::ALL.map(Silence::phrase).into_iter();
        for phrase in phrases.chain(Cause::ALL.map(Cause::phrase)) {
            assert!(guide.contains(&format!("\n| `{phrase}` |")), "{phrase}");
        }
    }
}
