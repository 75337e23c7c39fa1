//! The face of the engine: each event has a method, and leads to whoever takes care of it.

use std::time::Duration;

use super::about;
use super::account::Account;
use super::answer::Answer;
use super::copies::Copies;
use super::deadlines::{self, Expired};
use super::decision::{Decision, Ticket};
use super::delivery::{self, Report};
use super::identity::PushId;
use super::meeting::{self, Met, add_pushed, recognised_by};
use super::options::Options;
use super::reason::{Reason, Rule};
use super::release::{self, Released};
use super::said::Said;
use super::schedule::Schedule;
use super::taken;
use super::trail::Event;
use super::waiting;
use super::witness::Witness;
use crate::stanza::{Facts, Importance, Key, Queued, StanzaId, cut};

/// The rules of one host and all that they have to remember.
pub struct Engine<S> {
    pub(super) schedule: Schedule<S>,
    pub(super) copies: Copies,
    pub(super) said: Said,
    pub(super) witness: Witness,
}

impl<S> Default for Engine<S> {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

/// Its making, and identities.
impl<S> Engine<S> {
    /// How many stanzas of a device are kept for one later push.
    pub const MAX_HELD: usize = waiting::MAX_CANDIDATES;

    /// For how long a call rings: until then what ends it may come.
    pub const MAX_RINGING: Duration = about::MAX_RINGING;

    /// An engine that has not seen anything yet.
    pub fn new(options: Options) -> Self {
        Self::with_key(options, Key::random())
    }

    /// The same with a key of one's own: equal events lead to equal decisions.
    pub fn with_key(options: Options, key: Key) -> Self {
        Self {
            witness: Witness::new(options.trace),
            schedule: Schedule::new(options, key),
            copies: Copies::default(),
            said: Said::default(),
        }
    }

    /// Changes the options; what is under way keeps the deadlines that it has.
    pub fn configure(&mut self, options: Options) {
        self.witness.turn_trail(options.trace);
        self.schedule.options = options;
    }

    /// The secret of all stanza identities, for [`Facts::read`].
    pub fn key(&self) -> &Key {
        self.schedule.identities.key()
    }

    /// An identity for a stanza that has none of its own (see [`Facts::id`]). It fits into the
    /// 53 bits that all Luas have for a whole number.
    pub fn new_id(&mut self) -> StanzaId {
        self.schedule.identities.stanza()
    }

    /// An identity for a stanza without one that waits in the queue of `session`, where several
    /// sessions of a device may have been given a clone of it. `queued` is what the clones have in
    /// common.
    pub fn twin_id(&mut self, queued: Queued, session: u64) -> StanzaId {
        let identities = &mut self.schedule.identities;
        self.copies.twin(queued, session, || identities.stanza())
    }
}

/// Stanzas and the rules.
impl<S> Engine<S> {
    /// Rule (a): a stanza that `account.sessions[session]` has not acknowledged, for the
    /// registration that this session is attached to.
    pub fn unacked(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
        session: usize,
        facts: &Facts,
        id: StanzaId,
    ) -> Decision {
        let met = Met::new(facts, id);
        self.meet(now, Rule::Unacked { session }, account, registration, met)
    }

    /// Whether an important push of rule (a), or a call, speaks for all that comes now, but for calls.
    pub fn is_spoken_for(&self, now: Duration, account: &Account<'_>, registration: usize) -> bool {
        let registration = &account.registrations[registration];
        meeting::is_spoken_for(&self.schedule, now, account.user, registration)
    }

    /// Rule (a): stanzas that the device has received, or that a push has spoken for, without their having been
    /// met one by one.
    pub fn served(
        &mut self,
        now: Duration,
        user: &str,
        identifier: &str,
        stanzas: impl IntoIterator<Item = (StanzaId, Facts)>,
    ) {
        let key = self.schedule.identities.device(user, identifier);
        self.schedule.device(now, key, user, identifier);
        let stanzas = stanzas.into_iter();
        let all = stanzas.map(|(id, facts)| recognised_by(id, &facts));
        add_pushed(&mut self.schedule, now, key, all);
    }

    /// Rule (b): a stanza that went into the archive of `account`, where `id` is
    /// [`StanzaId::archived`].
    pub fn archived(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        let mut met = Met::new(facts, id);
        if facts.note_to_self {
            let user = self.schedule.identities.user(account.user);
            met.alias = self.copies.first_copy(now, user, facts, id);
        }
        self.meet_all(now, Rule::Archived, account, met)
    }

    /// Rule (b) again: a stanza in the archive of `account` that a session has not acknowledged which
    /// has ended without hibernating.
    pub fn undelivered(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        // Whoever was called has been called when it was archived.
        let facts = Facts {
            importance: facts.importance.min(Importance::Important),
            call: None,
            ..*facts
        };
        self.meet_all(now, Rule::Undelivered, account, Met::new(&facts, id))
    }

    /// Rule (c): a stanza that offline storage has taken.
    pub fn offline(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Offline, account, Met::new(facts, id))
    }

    /// Rule (c): a groupchat message to the bare JID, which no session receives.
    pub fn room(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Room, account, Met::new(facts, id))
    }

    /// What the account itself sends to somebody else: it may end a call.
    pub fn sent(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Sent, account, Met::new(facts, id))
    }

    /// The user sends a message to a room, which will send it back: see [`StanzaId::said`].
    pub fn said(&mut self, now: Duration, id: StanzaId) {
        self.said.add(now, id);
    }

    /// A message that others of the user's devices receive while nobody seems to look at them, for the
    /// registrations that want to know ([`Presence::is_away`](super::Presence::is_away)).
    pub fn away(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Away, account, Met::new(facts, id))
    }

    /// Somebody asks to see the presence of a user who is offline
    /// ([`Presence::is_offline`](super::Presence::is_offline)): a new request, which is pending from now on.
    pub fn subscription(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Subscription, account, Met::new(facts, id))
    }

    fn meet_all(
        &mut self,
        now: Duration,
        rule: Rule,
        account: &Account<'_>,
        met: Met<'_>,
    ) -> Vec<Decision> {
        (0..account.registrations.len())
            .map(|registration| self.meet(now, rule, account, registration, met))
            .collect()
    }

    fn meet(
        &mut self,
        now: Duration,
        rule: Rule,
        account: &Account<'_>,
        place: usize,
        met: Met<'_>,
    ) -> Decision {
        let registration = &account.registrations[place];
        let is_own = met.facts.said.is_some_and(|id| self.said.has(now, id));
        let met = Met { is_own, ..met };
        let schedule = &mut self.schedule;
        let (importance, verdict) = meeting::meet(schedule, now, rule, account, registration, met);
        let decision = Decision {
            registration: place,
            rule,
            importance,
            verdict,
        };
        let event = Event::Met {
            rule,
            stanza: Some((importance, met.facts.label)),
            reason: decision.reason(),
        };
        self.witness
            .add(now, account.user, registration.identifier, event);
        decision
    }
}

/// Pushes, and those that have to wait.
impl<S> Engine<S> {
    /// Keeps the stanza of a push that has been decided on, as long as there is room, in case that it
    /// has to be pushed again.
    pub fn keep(&mut self, id: PushId, stanza: S) {
        let Schedule {
            in_flight, keeper, ..
        } = &mut self.schedule;
        in_flight.keep(id, stanza, keeper);
    }

    /// Keeps a stanza that has to wait. At most [`Self::MAX_HELD`] of them are candidates for the
    /// push; for the others `stanza` need not be given.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one stanza"
    )]
    pub fn hold(&mut self, now: Duration, ticket: Ticket, stanza: Option<S>) {
        meeting::hold(&mut self.schedule, now, &ticket, stanza);
    }

    /// Publishes what waited for a device, unless the device has come back meanwhile or another
    /// push has spoken for it.
    pub fn release(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
    ) -> Option<Released<S>> {
        let registration = &account.registrations[registration];
        let trial = registration.suspended.is_some();
        let turned = release::release(&mut self.schedule, now, account, registration);
        let importance = turned.as_ref().ok().map(|released| released.importance);
        let reason = turned
            .as_ref()
            .map_or_else(|reason| *reason, |_| Some(Reason::Pushed));
        if let Some(reason) = reason {
            let event = Event::Turn {
                importance,
                trial,
                reason,
            };
            let (user, identifier) = (account.user, registration.identifier);
            self.witness.add(now, user, identifier, event);
        }
        turned.ok()
    }

    /// A device's turn has come, but its registration cannot be read: not yet.
    pub fn postpone(&mut self, now: Duration, user: &str, identifier: &str) {
        release::postpone(&mut self.schedule, now, user, identifier);
        self.witness.add(now, user, identifier, Event::Unreadable);
    }

    /// A listener has vetoed this push: it never left, and speaks for nothing.
    pub fn vetoed(&mut self, now: Duration, id: PushId, reason: &str) {
        if let Some(device) = self.schedule.devices.get(id.device) {
            let event = Event::Vetoed(cut(reason));
            self.witness
                .add(now, &device.user, &device.identifier, event);
        }
        release::vetoed(&mut self.schedule, now, id);
    }

    /// A listener has failed: this push leaves without text and sender.
    pub fn was_discreet(&mut self, now: Duration, id: PushId) {
        if let Some(device) = self.schedule.devices.get(id.device) {
            self.witness
                .add(now, &device.user, &device.identifier, Event::Discreet);
        }
    }

    /// Takes an answer to a push. `None` if it is none: not an id of ours, not awaited, or not from
    /// the JID that was asked. `from` is normalised (RFC 7622).
    pub fn answered(
        &mut self,
        now: Duration,
        id: &str,
        from: &str,
        answer: Answer<'_>,
    ) -> Option<Report> {
        let report = delivery::answered(&mut self.schedule, now, id, from, answer)?;
        self.witness.report(now, &report, answer.condition());
        Some(report)
    }

    /// Takes an error without an id of a service that answers errors alone: it is about the push that left last for
    /// `client` ([`Registration::client`](super::Registration::client)) and is under way. `None` if there is none.
    /// `from` is normalised (RFC 7622).
    pub fn answered_without_id(
        &mut self,
        now: Duration,
        from: &str,
        client: &str,
        answer: Answer<'_>,
    ) -> Option<Report> {
        let report = taken::answered_without_id(&mut self.schedule, now, from, client, answer)?;
        self.witness.report(now, &report, answer.condition());
        Some(report)
    }

    /// The next moment at which [`Engine::expire`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.schedule.deadline()
    }

    /// Serves the deadlines up to `now`; if there are very many, the first of them.
    pub fn expire(&mut self, now: Duration) -> Expired {
        let expired = deadlines::expire(&mut self.schedule, now);
        for report in &expired.unanswered {
            self.witness.report(now, report, None);
        }
        expired
    }
}
