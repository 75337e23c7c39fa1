//! The face of the engine: each event has a method, and leads to whoever takes care of it.

use std::time::Duration;

use super::about;
use super::account::{Account, Registration};
use super::answer::Answer;
use super::copies::Copies;
use super::deadlines::{self, Expired};
use super::decision::{Decision, Ticket};
use super::delivery::{self, Report};
use super::identity::PushId;
use super::meeting::{self, Met, add_pushed, recognised_by};
use super::options::Options;
use super::reason::Rule;
use super::registration;
use super::release::{self, Released};
use super::restart::{self, Owed};
use super::schedule::Schedule;
use super::service::{FailingService, ServiceChange, Sign};
use super::waiting;
use crate::stanza::{Facts, Importance, Key, StanzaId};

/// The rules of one host and all that they have to remember.
pub struct Engine<S> {
    pub(super) schedule: Schedule<S>,
    pub(super) copies: Copies,
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
            schedule: Schedule::new(options, key),
            copies: Copies::default(),
        }
    }

    /// Changes the options; what is under way keeps the deadlines that it has.
    pub fn configure(&mut self, options: Options) {
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
    /// common ([`crate::stanza::queued_id`]).
    pub fn twin_id(&mut self, queued: StanzaId, session: u64) -> StanzaId {
        let identities = &mut self.schedule.identities;
        self.copies.twin(queued, session, || identities.stanza())
    }
}

/// Stanzas and the three rules.
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
        let Registration {
            identifier,
            content,
            ..
        } = account.registrations[registration];
        let key = self.schedule.identities.device(account.user, identifier);
        let device = self.schedule.devices.get(key);
        !content && device.is_some_and(|device| device.is_spoken_for(now))
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
        let importance = met.facts.importance;
        let schedule = &mut self.schedule;
        Decision {
            registration: place,
            rule,
            importance,
            verdict: meeting::meet(schedule, now, rule, account, registration, met),
        }
    }
}

/// Pushes, and those that have to wait.
impl<S> Engine<S> {
    /// A push without a stanza. If there cannot be one now, the device is owed it.
    pub fn ping(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
    ) -> Option<PushId> {
        let registration = &account.registrations[registration];
        meeting::ping(&mut self.schedule, now, account.user, registration)
    }

    /// Keeps the stanza of a push that has been decided on, as long as there is room, in case that it
    /// has to be pushed again.
    pub fn keep(&mut self, id: PushId, stanza: S) {
        let Schedule {
            in_flight, keeper, ..
        } = &mut self.schedule;
        if let Some(push) = in_flight.get_mut(id) {
            push.stanza = keeper.keep(stanza);
        }
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
        release::release(&mut self.schedule, now, account, registration)
    }

    /// A device's turn has come, but its registration cannot be read: not yet.
    pub fn postpone(&mut self, now: Duration, user: &str, identifier: &str) {
        release::postpone(&mut self.schedule, now, user, identifier);
    }

    /// A listener has vetoed this push: it never left, and speaks for nothing.
    pub fn vetoed(&mut self, now: Duration, id: PushId) {
        release::vetoed(&mut self.schedule, now, id);
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
        delivery::answered(&mut self.schedule, now, id, from, answer)
    }

    /// The next moment at which [`Engine::expire`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.schedule.deadline()
    }

    /// Serves the deadlines up to `now`; if there are very many, the first of them.
    pub fn expire(&mut self, now: Duration) -> Expired {
        deadlines::expire(&mut self.schedule, now)
    }
}

/// Registrations and push services.
impl<S> Engine<S> {
    /// The device is back: its session was resumed, or a new one has been attached. What waited
    /// for it has been received, and need not be pushed any more.
    pub fn back(&mut self, user: &str, identifier: &str) {
        registration::back(&mut self.schedule, user, identifier);
    }

    /// The registration was enabled, perhaps again: its errors are forgiven, and its device is
    /// there. What it was pushed for stays known.
    pub fn enabled(&mut self, user: &str, identifier: &str) {
        registration::enabled(&mut self.schedule, user, identifier);
    }

    /// The registration is suspended: nothing is pushed to it for `wait`, then what has come meanwhile
    /// is its trial.
    pub fn suspend(&mut self, now: Duration, user: &str, identifier: &str, wait: Duration) {
        registration::suspend(&mut self.schedule, now, user, identifier, wait);
    }

    /// Forgets a registration that has ended.
    pub fn forget(&mut self, now: Duration, user: &str, identifier: &str) {
        registration::forget(&mut self.schedule, now, user, identifier);
    }

    /// Forgets everything about a user.
    pub fn forget_user(&mut self, now: Duration, user: &str) {
        registration::forget_user(&mut self.schedule, now, user);
    }

    /// A sign of life: `from` is a push service that a stanza has come from. What is owed there goes out,
    /// paced by `push_recovery_rate`.
    pub fn heard(&mut self, now: Duration, from: &str) -> Option<ServiceChange> {
        let service = self.schedule.identities.service(from);
        self.schedule.alive(now, service, Sign::Heard)
    }

    /// The same: there is a connection with `host` now.
    pub fn connected(&mut self, now: Duration, host: &str) -> Vec<ServiceChange> {
        let there = self.schedule.services.at_host(host).into_iter();
        there
            .filter_map(|service| self.schedule.alive(now, service, Sign::Connected))
            .collect()
    }

    /// The connection of a component has ended: what it has not answered will not be answered.
    pub fn disconnected(&mut self, now: Duration, host: &str) -> Vec<Report> {
        delivery::disconnected(&mut self.schedule, now, host)
    }

    /// What all devices are owed, and the push services that are failing, for how long. What has been
    /// sent and is not answered is among it: nobody will be there to take the answer.
    pub fn owed(&self, now: Duration) -> (Vec<Owed>, Vec<FailingService>) {
        restart::owed(&self.schedule, now)
    }

    /// A device was owed this before a restart. `place` is its place among the others: not all of
    /// them shall go out at once.
    pub fn restore(&mut self, now: Duration, owed: &Owed, place: usize) {
        restart::restore(&mut self.schedule, now, owed, place);
    }

    /// A push service was failing before a restart.
    pub fn restore_service(&mut self, now: Duration, failing: &FailingService) {
        restart::restore_service(&mut self.schedule, now, failing);
    }
}

/// What there is.
impl<S> Engine<S> {
    /// How many pushes wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.schedule.in_flight.len()
    }

    /// How many devices there are with something that waits.
    pub fn waiting(&self) -> usize {
        let devices = self.schedule.devices.iter();
        devices.filter(|(_, one)| one.waiting.is_some()).count()
    }

    /// The JIDs of the push services whose signs of life are waited for, and of no others.
    pub fn services_watched(&mut self) -> Vec<String> {
        self.schedule.services.watched()
    }

    /// The JIDs of the push services that are left alone because they failed.
    pub fn services_out(&self) -> Vec<String> {
        self.schedule.services.out()
    }

    /// How many push services there is something to be known of: a push under way, a failure.
    pub fn services(&self) -> usize {
        self.schedule.services.len()
    }

    /// Whether this is the id of a push that waits for its answer.
    pub fn is_in_flight(&self, id: &str) -> bool {
        let in_flight = &self.schedule.in_flight;
        id.parse().is_ok_and(|id| in_flight.contains(id))
    }
}
