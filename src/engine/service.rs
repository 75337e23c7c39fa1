//! What is known of a push service: whether it takes pushes, and who waits for it.
//!
//! Whoever answers is alive. What a service says of one registration is that device's matter. Against the
//! service speak only that there is no way to it, that it is silent, and that it says so of itself to
//! several users. Where that happens several times in a row its circuit is open: devices that have
//! failed wait, and one push at a time probes whether it is back. Devices that have not failed
//! themselves, and calls, are pushed to at once all the same: nobody else can delay them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::time::Duration;

use lru::LruCache;

use super::delivery::{Fault, PushId};
use super::device::{DeviceKey, Failing};
use super::options::Options;
use crate::stanza::Key;

/// How many services are remembered where there is no reason to: nobody waits for them.
const MAX_SERVICES: usize = 4096;

/// How many services are looked at to find one that may be forgotten.
const MAX_SPARED: usize = 16;

/// What a service takes in the tables and queues besides itself and its JID, in bytes.
const ENTRY: usize = 256;

/// The shortest time between two helpings of owed pushes.
const HELPING: Duration = Duration::from_millis(100);

/// A service that was frozen has answers on their way when it gives its first sign of life: they come
/// first.
const MOMENT: Duration = Duration::from_millis(250);

/// A device that a sign of life has released so often in vain does not try again each time that others get an
/// answer.
const STUBBORN: u32 = 2;

/// Stands for the JID of a push service; a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServiceKey(pub u64);

/// What has become of a push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Devices wait for a sign of life of it.
    Failing,
    /// Its circuit is open: those who have failed wait, but for one probe at a time.
    Out,
    /// It was out and takes pushes again.
    Back,
    /// Nobody waits for it any more.
    Well,
}

/// A change of a push service's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// Its JID.
    pub jid: Box<str>,
    /// What it is now.
    pub state: ServiceState,
    /// Failures in a row, before.
    pub failures: u32,
    /// How many devices wait for it.
    pub owed: usize,
}

/// A push service that fails, to outlive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingService {
    /// Its JID.
    pub jid: Box<str>,
    /// Failures in a row.
    pub failures: u32,
    /// Time since the first of them.
    pub age: Duration,
}

/// A device's place in the queue of a service: calls first, then who has failed least, then who
/// came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    not_a_call: bool,
    failures: u32,
    number: u64,
    matter: Matter,
}

/// Whose fault it is that a device waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    /// The service's: it waits for a sign of life.
    Service,
    /// The service's, if it says so of itself to others, too.
    Doubtful,
    /// Its own: that others get an answer is no reason to try again.
    Own,
}

impl Place {
    /// Whether the device has an attempt of its own, whatever becomes of the service.
    pub fn is_own_matter(&self) -> bool {
        self.matter != Matter::Service
    }
}

/// Whose failures speak against a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Witnesses {
    #[default]
    None,
    One(u64),
    Several,
}

impl Witnesses {
    fn add(&mut self, user: u64) {
        *self = match *self {
            Self::None => Self::One(user),
            Self::One(other) if other == user => Self::One(user),
            _ => Self::Several,
        };
    }
}

/// An open circuit.
#[derive(Debug, Default)]
struct Circuit {
    /// When the next probe may be sent.
    probe_at: Duration,
    /// It is somebody's turn to probe, who has not sent anything yet.
    turn: bool,
    probe: Option<PushId>,
    /// Probes that have failed in a row.
    rounds: u32,
}

#[derive(Debug, Default)]
struct Service {
    jid: Box<str>,
    /// A keyed hash.
    host: u64,
    /// What speaks against it, in a row.
    failing: Failing,
    failures: u32,
    witnesses: Witnesses,
    /// When it has answered last.
    worked: Option<Duration>,
    /// When an answer that was none to a push has counted as a sign of life last.
    heard: Option<Duration>,
    in_flight: usize,
    circuit: Option<Circuit>,
    /// The devices that wait for a sign of life.
    waiting: BTreeMap<Place, DeviceKey>,
    /// Those that wait for their own next attempt, or a connection.
    retrying: BTreeMap<Place, DeviceKey>,
    /// Those that a sign of life has released: they go out at `push_recovery_rate`.
    released: BTreeMap<Place, DeviceKey>,
    helping_at: Option<Duration>,
    /// Until then the last helping counts, however often it gives a sign of life.
    paced_until: Duration,
    /// The caller knows that somebody waits for it.
    is_watched: bool,
}

/// A push that a service has not taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub push: PushId,
    /// Stands for the user.
    pub user: u64,
    pub sent: Duration,
    pub fault: Fault,
}

/// A push service's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It has taken a push, or refused it for good.
    Settled,
    /// It has said something else: of a registration, or to anybody.
    Heard,
    /// There is a connection with its host.
    Connected,
}

/// All push services that there is something to be known of.
pub(super) struct Services {
    known: LruCache<ServiceKey, Service>,
    /// By host, as a keyed hash.
    by_host: BTreeSet<(u64, ServiceKey)>,
    /// Until when the services of a host have been given turns: however many JIDs it has, what is owed there goes
    /// out at one rate.
    given: HashMap<u64, Duration>,
    jids: usize,
    key: Key,
    in_flight: usize,
    places: u64,
}

/// What a timer of the services has to be set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Probe(Duration),
    Helping(Duration),
}

impl Services {
    pub fn new(key: Key) -> Self {
        Self {
            known: LruCache::unbounded(),
            by_host: BTreeSet::new(),
            given: HashMap::new(),
            jids: 0,
            key,
            in_flight: 0,
            places: 0,
        }
    }

    /// Whether a push may leave for this service now. `at_once`: whatever others have met with there.
    pub fn admits(&self, key: ServiceKey, now: Duration, at_once: bool) -> bool {
        let circuit = self.known.peek(&key).and_then(|one| one.circuit.as_ref());
        at_once
            || circuit.is_none_or(|circuit| {
                circuit.turn || circuit.probe.is_none() && circuit.probe_at <= now
            })
    }

    /// How many pushes wait for its answer.
    pub fn in_flight_at(&self, key: ServiceKey) -> usize {
        self.known.peek(&key).map_or(0, |service| service.in_flight)
    }

    /// How many pushes wait for an answer, of all services together.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A push leaves for it.
    pub fn sent(&mut self, key: ServiceKey, jid: &str, now: Duration, id: PushId) {
        self.in_flight += 1;
        let service = self.get_or_insert(key, jid);
        service.in_flight += 1;
        if let Some(circuit) = &mut service.circuit
            && circuit.probe.is_none()
            && (circuit.turn || circuit.probe_at <= now)
        {
            circuit.turn = false;
            circuit.probe = Some(id);
        }
    }

    /// A push to it is not awaited any more.
    pub fn settled(&mut self, key: ServiceKey, id: PushId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(service) = self.known.peek_mut(&key) {
            service.in_flight = service.in_flight.saturating_sub(1);
            if let Some(circuit) = &mut service.circuit {
                circuit.probe.take_if(|probe| *probe == id);
            }
        }
    }

    /// It gives a sign of life: what is owed there may go out. The change is that its circuit is closed.
    /// `push_retry_min` is the shortest time between two signs that anybody could provoke.
    pub fn alive(
        &mut self,
        key: ServiceKey,
        now: Duration,
        sign: Sign,
        options: &Options,
    ) -> Option<ServiceChange> {
        let service = self.known.peek_mut(&key)?;
        if sign == Sign::Heard {
            let heard = service.heard.map(|heard| heard + options.retry_min);
            let is_too_soon = heard.is_some_and(|again| now < again);
            let is_news = service.circuit.is_some() || !service.waiting.is_empty();
            if !is_news || is_too_soon {
                return None;
            }
            service.heard = Some(now);
        }
        let failures = std::mem::take(&mut service.failures);
        service.failing = Failing::default();
        service.witnesses = Witnesses::None;
        service.worked = Some(now);
        let was_out = service.circuit.take().is_some();
        let before = service.released.len();
        service.released.append(&mut service.waiting);
        if sign == Sign::Connected {
            service.released.append(&mut service.retrying);
        }
        let count = u32::try_from(service.released.len() - before).unwrap_or(u32::MAX);
        if !service.released.is_empty() {
            let wait = if sign == Sign::Connected {
                Duration::ZERO
            } else {
                MOMENT
            };
            let given = self.given.entry(service.host).or_default();
            let at = (now + wait).max(service.paced_until);
            let turns =
                (Duration::from_secs(1) / options.recovery_rate.max(1)).saturating_mul(count);
            service.helping_at = Some(match service.helping_at {
                Some(before) => before.min(at),
                None => at.max(*given),
            });
            *given = at.max(*given) + turns;
        }
        let change = was_out.then(|| ServiceChange {
            failures,
            ..service.change(ServiceState::Back)
        });
        if self.given.len() > MAX_SERVICES {
            self.given.retain(|_, until| *until > now);
        }
        change
    }

    /// Something speaks against it: [`Failure::fault`] is not the device's. The change is that its circuit is
    /// open now.
    pub fn failed(
        &mut self,
        key: ServiceKey,
        now: Duration,
        failure: Failure,
        options: &Options,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> Option<ServiceChange> {
        let service = self.known.peek_mut(&key)?;
        // It has answered since.
        if service.worked.is_some_and(|worked| failure.sent < worked) {
            return None;
        }
        service.failing.fail(now, failure.sent, options.retry_age);
        service.failures = service.failures.saturating_add(1);
        service.witnesses.add(failure.user);
        if let Some(circuit) = &mut service.circuit {
            if circuit.probe == Some(failure.push) {
                circuit.rounds = circuit.rounds.saturating_add(1);
                circuit.probe_at = now + backoff(circuit.rounds);
            }
            return None;
        }
        let is_enough = options.max_failures > 0 && service.failures >= options.max_failures;
        // What it says to one user may be about that one.
        let is_its_own = failure.fault != Fault::Service || service.witnesses == Witnesses::Several;
        if !is_enough || !is_its_own {
            return None;
        }
        service.circuit = Some(Circuit {
            probe_at: now + backoff(1),
            rounds: 1,
            ..Circuit::default()
        });
        service.waiting.append(&mut service.released);
        let doubtful = service
            .retrying
            .extract_if(.., |place, _| place.matter == Matter::Doubtful);
        service.waiting.extend(doubtful);
        service.helping_at = None;
        service.is_watched = true;
        Some(service.change(ServiceState::Out))
    }

    /// Whether the caller has to be told now that somebody waits for it, or that nobody does any more.
    pub fn watch(&mut self, key: ServiceKey) -> Option<ServiceChange> {
        let service = self.known.peek_mut(&key)?;
        let is_waited_for = service.is_waited_for();
        if is_waited_for == service.is_watched {
            return None;
        }
        service.is_watched = is_waited_for;
        Some(service.change(if is_waited_for {
            ServiceState::Failing
        } else {
            ServiceState::Well
        }))
    }

    pub fn is_out(&self, key: ServiceKey) -> bool {
        let service = self.known.peek(&key);
        service.is_some_and(|service| service.circuit.is_some())
    }

    /// Whether nobody could reach it for thirty days.
    pub fn is_dead(&self, key: ServiceKey, now: Duration) -> bool {
        let service = self.known.peek(&key);
        service.is_some_and(|service| service.failing.is_dead(now))
    }

    /// A device waits for a sign of life, or its own next attempt, from now on. `failing` are its failures, `fault`
    /// is that of the last one. Returns its place in the queue; none if the service is not known.
    pub fn queue(
        &mut self,
        key: ServiceKey,
        device: DeviceKey,
        call: bool,
        failing: Failing,
        fault: Fault,
    ) -> Option<Place> {
        let service = self.known.peek_mut(&key)?;
        self.places += 1;
        let is_out = service.circuit.is_some();
        let matter = if fault == Fault::Device || failing.in_vain >= STUBBORN {
            Matter::Own
        } else if fault == Fault::Service && !is_out {
            Matter::Doubtful
        } else {
            Matter::Service
        };
        let place = Place {
            not_a_call: !call,
            failures: failing.attempts,
            number: self.places,
            matter,
        };
        if place.is_own_matter() {
            service.retrying.insert(place, device);
        } else {
            service.waiting.insert(place, device);
        }
        Some(place)
    }

    /// The device does not wait any more.
    pub fn leave(&mut self, key: ServiceKey, place: Place) {
        if let Some(service) = self.known.peek_mut(&key) {
            for queue in [
                &mut service.waiting,
                &mut service.retrying,
                &mut service.released,
            ] {
                queue.remove(&place);
            }
        }
    }

    /// Whoever had a turn to probe it has not taken it, or has.
    pub fn turn_is_over(&mut self, key: ServiceKey) {
        let service = self.known.peek_mut(&key);
        if let Some(circuit) = service.and_then(|service| service.circuit.as_mut()) {
            circuit.turn = false;
        }
    }

    /// What has to happen next for those who wait.
    pub fn next(&mut self, key: ServiceKey, now: Duration) -> Next {
        let Some(service) = self.known.peek_mut(&key) else {
            return Next::Nothing;
        };
        if service.owed() == 0 {
            service.helping_at = None;
            return Next::Nothing;
        }
        if service.failing.is_dead(now) {
            // They are to be given up.
            let at = *service.helping_at.get_or_insert(now);
            return Next::Helping(at);
        }
        match (&service.circuit, service.helping_at) {
            (Some(circuit), _) if circuit.turn || circuit.probe.is_some() => Next::Nothing,
            (Some(circuit), _) => Next::Probe(circuit.probe_at.max(now)),
            (None, Some(at)) => Next::Helping(at),
            (None, None) => Next::Nothing,
        }
    }

    /// The device whose push will probe the service, if it is time.
    pub fn take_probe(&mut self, key: ServiceKey, now: Duration) -> Option<DeviceKey> {
        let service = self.known.peek_mut(&key)?;
        let circuit = service.circuit.as_mut()?;
        if circuit.turn || circuit.probe.is_some() || circuit.probe_at > now {
            return None;
        }
        let (_, device) = service
            .waiting
            .pop_first()
            .or_else(|| service.retrying.pop_first())?;
        circuit.turn = true;
        Some(device)
    }

    /// The devices whose turn it is, if it is time.
    pub fn take_helping(
        &mut self,
        key: ServiceKey,
        now: Duration,
        options: &Options,
    ) -> Vec<DeviceKey> {
        let Some(service) = self.known.peek_mut(&key) else {
            return Vec::new();
        };
        if service.helping_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        if service.failing.is_dead(now) {
            service.released.append(&mut service.waiting);
            service.released.append(&mut service.retrying);
        }
        let rate = options.recovery_rate.max(1);
        let share = usize::try_from(rate.div_ceil(10)).unwrap_or(usize::MAX);
        let helping = (0..share)
            .map_while(|_| service.released.pop_first().map(|(_, device)| device))
            .collect();
        let pause = HELPING.max(Duration::from_secs(1) / rate);
        service.paced_until = now + pause;
        service.helping_at = (!service.released.is_empty()).then_some(service.paced_until);
        helping
    }

    /// The services at this host, in the order of their keys.
    pub fn at_host(&self, host: &str) -> Vec<ServiceKey> {
        let host = self.key.hash_one(host);
        let range = (host, ServiceKey(0))..=(host, ServiceKey(u64::MAX));
        self.by_host.range(range).map(|(_, key)| *key).collect()
    }

    /// The services that are failing.
    pub fn failing(&self, now: Duration) -> Vec<FailingService> {
        let failing = self.known.iter().filter(|(_, one)| one.failures > 0);
        failing
            .map(|(_, service)| FailingService {
                jid: service.jid.clone(),
                failures: service.failures,
                age: now.saturating_sub(service.failing.since),
            })
            .collect()
    }

    /// The services that are left alone.
    pub fn out(&self) -> Vec<String> {
        let out = self.known.iter().filter(|(_, one)| one.circuit.is_some());
        out.map(|(_, service)| service.jid.to_string()).collect()
    }

    /// The services that somebody waits for. The caller knows that nobody waits for any other.
    pub fn watched(&mut self) -> Vec<String> {
        let mut watched = Vec::new();
        for (_, service) in &mut self.known {
            service.is_watched &= service.is_waited_for();
            if service.is_watched {
                watched.push(service.jid.to_string());
            }
        }
        watched
    }

    /// A service that was failing before a restart.
    pub fn restore(&mut self, key: ServiceKey, failing: &FailingService, now: Duration) {
        let service = self.get_or_insert(key, &failing.jid);
        service.failing = Failing {
            attempts: failing.failures,
            since: now.saturating_sub(failing.age),
            at: now,
            ..Failing::default()
        };
        service.failures = failing.failures;
    }

    /// There is something to be known of it from now on.
    pub fn remember(&mut self, key: ServiceKey, jid: &str) {
        self.get_or_insert(key, jid);
    }

    /// Whether those are remembered only of whom somebody awaits something.
    pub fn is_full(&self) -> bool {
        self.known.len() >= MAX_SERVICES
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.known.len() * (size_of::<Service>() + ENTRY) + self.jids
    }

    /// How many services there is something to be known of.
    pub fn len(&self) -> usize {
        self.known
            .iter()
            .filter(|(_, one)| !one.is_idle() || one.failures > 0)
            .count()
    }

    fn get_or_insert(&mut self, key: ServiceKey, jid: &str) -> &mut Service {
        if self.known.len() >= MAX_SERVICES && !self.known.contains(&key) {
            self.make_room();
        }
        let (by_host, jids, hasher) = (&mut self.by_host, &mut self.jids, &self.key);
        self.known.get_or_insert_mut(key, || {
            let jid: Box<str> = super::normalised(jid).into();
            let host = hasher.hash_one(host_of(&jid));
            by_host.insert((host, key));
            *jids += jid.len();
            Service {
                jid,
                host,
                ..Service::default()
            }
        })
    }

    /// Forgets one that nobody waits for. What is lost is for how long it has been failing.
    fn make_room(&mut self) {
        for _ in 0..MAX_SPARED {
            let Some((&key, service)) = self.known.peek_lru() else {
                return;
            };
            if service.may_be_forgotten() {
                self.by_host.remove(&(service.host, key));
                self.jids -= service.jid.len();
                self.known.pop(&key);
                return;
            }
            self.known.promote(&key);
        }
    }
}

impl Service {
    fn is_idle(&self) -> bool {
        self.in_flight == 0 && !self.is_waited_for()
    }

    /// Anybody may make circuits, of any number of services, and then wait for none of them.
    fn may_be_forgotten(&self) -> bool {
        self.in_flight == 0 && self.owed() == 0
    }

    fn is_waited_for(&self) -> bool {
        self.owed() > 0 || self.circuit.is_some()
    }

    fn owed(&self) -> usize {
        self.waiting.len() + self.retrying.len() + self.released.len()
    }

    fn change(&self, state: ServiceState) -> ServiceChange {
        ServiceChange {
            jid: self.jid.clone(),
            state,
            failures: self.failures,
            owed: self.owed(),
        }
    }
}

fn host_of(jid: &str) -> &str {
    let bare = jid.split_once('/').map_or(jid, |(bare, _)| bare);
    bare.split_once('@').map_or(bare, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_hours(1);

    fn services() -> Services {
        Services::new(Key::known(1))
    }

    fn push(nonce: u64) -> PushId {
        PushId {
            device: DeviceKey(nonce),
            nonce,
        }
    }

    fn key(number: usize) -> ServiceKey {
        ServiceKey(u64::try_from(number).unwrap())
    }

    fn failing() -> Failing {
        Failing {
            attempts: 1,
            ..Failing::default()
        }
    }

    fn queue(services: &mut Services, key: ServiceKey, device: u64) -> Place {
        let place = services.queue(key, DeviceKey(device), false, failing(), Fault::Route);
        place.unwrap()
    }

    #[test]
    fn what_is_under_way_is_counted() {
        let mut services = services();
        for nonce in 0..3 {
            services.sent(key(0), "a.test", T, push(nonce));
        }
        services.sent(key(1), "b.test", T, push(3));
        let counts = |services: &Services| {
            let at = |number| services.in_flight_at(key(number));
            (services.in_flight(), at(0), at(1), at(2))
        };
        assert_eq!(counts(&services), (4, 3, 1, 0));
        services.settled(key(0), push(0));
        assert_eq!(counts(&services), (3, 2, 1, 0));
    }

    #[test]
    fn a_service_that_nobody_waits_for_makes_room() {
        let mut services = services();
        for number in 0..MAX_SERVICES {
            services.remember(key(number), &format!("push{number}.test"));
        }
        services.sent(key(0), "push0.test", T, push(0));
        queue(&mut services, key(1), 1);
        services.remember(key(2), "push2.test");
        assert_eq!(services.known.len(), MAX_SERVICES, "it was known");
        for number in MAX_SERVICES..MAX_SERVICES + 4 {
            services.remember(key(number), &format!("push{number}.test"));
        }
        let known = |number| services.known.contains(&key(number));
        assert_eq!(services.known.len(), MAX_SERVICES);
        assert_eq!(services.by_host.len(), MAX_SERVICES);
        assert!(known(0) && known(1) && known(2), "busy, or asked for since");
        assert!(!known(3) && !known(4) && !known(5) && !known(6) && known(7));
        assert_eq!(services.at_host("push3.test"), []);
        assert_eq!(services.at_host("push7.test"), [key(7)]);
    }

    #[test]
    fn where_all_are_busy_none_is_forgotten() {
        let mut services = services();
        for number in 0..=MAX_SERVICES {
            services.remember(key(number), "push.test");
            queue(&mut services, key(number), 1);
        }
        assert_eq!(services.known.len(), MAX_SERVICES + 1);
        assert_eq!(services.len(), MAX_SERVICES + 1);
    }

    #[test]
    fn services_are_found_by_their_host() {
        let mut services = services();
        for (number, jid) in [
            "push.test",
            "a@push.test/b@c",
            "push.test/x@y",
            "x.push.test",
        ]
        .into_iter()
        .enumerate()
        {
            services.remember(key(number), jid);
        }
        assert_eq!(services.at_host("push.test"), [key(0), key(1), key(2)]);
        assert_eq!(services.at_host("x.push.test"), [key(3)]);
        assert_eq!(services.at_host("y"), []);
    }

    #[test]
    fn who_does_not_wait_any_more_is_in_no_queue() {
        let mut services = services();
        services.remember(key(0), "push.test");
        let places = [1, 2].map(|device| queue(&mut services, key(0), device));
        let own = services.queue(key(0), DeviceKey(3), false, failing(), Fault::Device);
        let owed = |services: &Services| services.known.peek(&key(0)).unwrap().owed();
        assert_eq!(owed(&services), 3);
        services.leave(key(0), own.unwrap());
        services.leave(key(0), places[0]);
        assert_eq!(owed(&services), 1);
        services.alive(key(0), T, Sign::Settled, &Options::default());
        services.leave(key(0), places[1]);
        assert_eq!(owed(&services), 0);
        assert_eq!(services.next(key(0), T + MOMENT), Next::Nothing);
    }

    /// When how many of twelve devices leave, in milliseconds after the sign of life.
    fn helpings(rate: u32, sign: Sign) -> Vec<(u128, usize)> {
        let options = Options {
            recovery_rate: rate,
            ..Options::default()
        };
        let mut services = services();
        services.remember(key(0), "push.test");
        (0..12).for_each(|device| _ = queue(&mut services, key(0), device));
        services.alive(key(0), T, sign, &Options::default());
        let mut helpings = Vec::new();
        while let Next::Helping(at) = services.next(key(0), T) {
            let before = at.saturating_sub(Duration::from_nanos(1));
            assert_eq!(services.take_helping(key(0), before, &options), []);
            let helping = services.take_helping(key(0), at, &options);
            helpings.push((at.saturating_sub(T).as_millis(), helping.len()));
        }
        helpings
    }

    #[test]
    fn what_is_released_leaves_in_helpings() {
        assert_eq!(
            helpings(50, Sign::Connected),
            [(0, 5), (100, 5), (200, 2)],
            "a tenth of what a second may bring"
        );
        assert_eq!(helpings(41, Sign::Settled), [(250, 5), (350, 5), (450, 2)]);
        let one_by_one = |pause| -> Vec<_> { (0..12_u128).map(|n| (n * pause, 1)).collect() };
        assert_eq!(helpings(10, Sign::Connected), one_by_one(100));
        assert_eq!(helpings(4, Sign::Connected), one_by_one(250));
        assert_eq!(helpings(1, Sign::Connected), one_by_one(1000));
    }

    #[test]
    fn a_second_sign_of_life_only_hurries() {
        let mut services = services();
        services.remember(key(0), "push.test");
        queue(&mut services, key(0), 1);
        services.alive(key(0), T, Sign::Settled, &Options::default());
        assert_eq!(services.next(key(0), T), Next::Helping(T + MOMENT));
        let later = T + Duration::from_millis(100);
        services.alive(key(0), later, Sign::Settled, &Options::default());
        assert_eq!(services.next(key(0), later), Next::Helping(T + MOMENT));
        services.alive(key(0), later, Sign::Connected, &Options::default());
        assert_eq!(services.next(key(0), later), Next::Helping(later));
    }

    #[test]
    fn there_is_one_probe_at_a_time() {
        let options = Options {
            max_failures: 1,
            ..Options::default()
        };
        let mut services = services();
        services.sent(key(0), "push.test", T, push(0));
        let failure = |number| Failure {
            push: push(number),
            user: 1,
            sent: T,
            fault: Fault::Route,
        };
        let backoff = |attempt| attempt * Duration::from_secs(10);
        let change = services.failed(key(0), T, failure(0), &options, backoff);
        assert_eq!(change.unwrap().state, ServiceState::Out);
        services.settled(key(0), push(0));
        (1..=3).for_each(|device| _ = queue(&mut services, key(0), device));

        let at = T + Duration::from_secs(10);
        let before = at.saturating_sub(Duration::from_nanos(1));
        assert_eq!(services.next(key(0), T), Next::Probe(at));
        assert_eq!(services.take_probe(key(0), before), None);
        assert_eq!(services.take_probe(key(0), at), Some(DeviceKey(1)));
        assert_eq!(services.next(key(0), at), Next::Nothing, "its turn");
        assert_eq!(services.take_probe(key(0), at), None);
        services.sent(key(0), "push.test", at, push(1));
        services.turn_is_over(key(0));
        assert_eq!(services.next(key(0), at), Next::Nothing, "its probe");
        assert_eq!(services.take_probe(key(0), at), None);
        assert!(!services.admits(key(0), at, false) && services.admits(key(0), at, true));

        // That of another push says nothing of it.
        services.sent(key(0), "push.test", at, push(9));
        services.settled(key(0), push(9));
        assert_eq!(services.next(key(0), at), Next::Nothing);
        let later = at + Duration::from_secs(5);
        services.failed(key(0), later, failure(9), &options, backoff);
        services.failed(key(0), later, failure(1), &options, backoff);
        services.settled(key(0), push(1));
        let again = later + Duration::from_secs(20);
        assert_eq!(services.next(key(0), later), Next::Probe(again));
        assert_eq!(services.next(key(0), again * 2), Next::Probe(again * 2));
        assert_eq!(services.take_probe(key(0), again), Some(DeviceKey(2)));
        services.turn_is_over(key(0));
        assert_eq!(services.take_probe(key(0), again), Some(DeviceKey(3)));
    }

    #[test]
    fn there_is_something_to_be_known_of_one_that_is_busy_or_fails() {
        let mut services = services();
        services.remember(key(0), "push0.test");
        assert_eq!((services.len(), services.failing(T).len()), (0, 0));
        services.sent(key(0), "push0.test", T, push(0));
        assert_eq!((services.len(), services.failing(T).len()), (1, 0));
        let failing = FailingService {
            jid: "push1.test".into(),
            failures: 2,
            age: Duration::from_mins(1),
        };
        services.restore(key(1), &failing, T);
        assert_eq!(services.len(), 2);
        assert_eq!(services.failing(T), [failing]);
        let later = services.failing(T + Duration::from_secs(2)).remove(0);
        assert_eq!(later.age, Duration::from_secs(62));
    }
}
