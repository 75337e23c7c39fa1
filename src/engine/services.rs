//! All push services that there is something to be known of, within bounds.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::time::Duration;

use lru::LruCache;

use super::answer::Fault;
use super::failing::Failing;
use super::identity::{DeviceKey, PushId, ServiceKey, normalised};
use super::options::Options;
use super::queue::Place;
use super::service::{Failure, Next, Service, Sign};
use super::service_state::{FailingService, ServiceChange, ServiceStatus};
use crate::stanza::Key;

/// How many services are remembered where there is no reason to: nobody waits for them.
const MAX_SERVICES: usize = 4096;

/// How many services are looked at to find one that may be forgotten.
const MAX_SPARED: usize = 16;

/// What a service takes in the tables and queues besides itself and its JID, in bytes.
const ENTRY: usize = 256;

/// A service that was frozen has answers on their way when it gives its first sign of life: they come
/// first.
const MOMENT: Duration = Duration::from_millis(250);

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
}

impl Services {
    pub fn new(key: Key) -> Self {
        Self {
            known: LruCache::unbounded(),
            by_host: BTreeSet::new(),
            given: HashMap::new(),
            jids: 0,
            key,
        }
    }

    /// Whether a push may leave for this service now. `at_once`: whatever others have met with there.
    pub fn admits(&self, key: ServiceKey, now: Duration, at_once: bool) -> bool {
        at_once || self.get(key).is_none_or(|service| service.admits(now))
    }

    /// How many pushes wait for an answer of it that comes in any case.
    pub fn awaited_from(&self, key: ServiceKey) -> usize {
        self.get(key).map_or(0, Service::awaited)
    }

    /// A push leaves for it, see [`Service::sent`].
    pub fn sent(
        &mut self,
        key: ServiceKey,
        jid: &str,
        now: Duration,
        id: PushId,
        silent: Option<u64>,
    ) -> u64 {
        self.get_or_insert(key, jid).sent(now, id, silent)
    }

    /// Whether this push is to find out whether it is back.
    pub fn is_probed_by(&self, key: ServiceKey, id: PushId) -> bool {
        self.get(key)
            .is_some_and(|service| service.is_probed_by(id))
    }

    /// A push to it is not awaited any more.
    pub fn settled(&mut self, key: ServiceKey, id: PushId, silent: bool) {
        if let Some(service) = self.known.peek_mut(&key) {
            service.settled(id, silent);
        }
    }

    /// It has answered a push after `latency`, if that is known; the condition is that of an error.
    pub fn answered(
        &mut self,
        key: ServiceKey,
        now: Duration,
        latency: Option<Duration>,
        condition: Option<&'static str>,
    ) {
        if let Some(service) = self.known.peek_mut(&key) {
            if let Some(latency) = latency {
                service.health.answered(latency);
            }
            if let Some(condition) = condition {
                service.health.complained(now, condition);
            }
        }
    }

    /// It gives a sign of life: what is owed there may go out. The change is that its circuit is closed.
    pub fn alive(
        &mut self,
        key: ServiceKey,
        now: Duration,
        sign: Sign,
        options: &Options,
    ) -> Option<ServiceChange> {
        let service = self.known.peek_mut(&key)?;
        if !service.takes(now, sign, options) {
            return None;
        }
        let before = service.queue.released();
        if sign == Sign::Connected {
            service.queue.release_all();
        } else {
            service.queue.release();
        }
        let change = service.works(match sign {
            Sign::Unopposed(sent) | Sign::UnopposedProbe(sent) => sent,
            _ => now,
        });
        let count = service.queue.released();
        if count > 0 {
            let wait = if sign == Sign::Connected {
                Duration::ZERO
            } else {
                MOMENT
            };
            let given = self.given.entry(service.host).or_default();
            let at = service.pace(now + wait, *given);
            let count = u32::try_from(count - before).unwrap_or(u32::MAX);
            let turn = Duration::from_secs(1) / options.recovery_rate.max(1);
            *given = at.max(*given) + turn.saturating_mul(count);
        }
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
        service.failed(now, failure, options, backoff)
    }

    /// Whether the caller has to be told now that somebody waits for it, or that nobody does any more.
    pub fn watch(&mut self, key: ServiceKey) -> Option<ServiceChange> {
        self.known.peek_mut(&key)?.watch()
    }

    pub fn is_out(&self, key: ServiceKey) -> bool {
        self.get(key).is_some_and(Service::is_out)
    }

    /// Whether nobody could reach it for thirty days.
    pub fn is_dead(&self, key: ServiceKey, now: Duration) -> bool {
        self.get(key)
            .is_some_and(|service| service.failing.is_dead(now))
    }

    /// A device waits for a sign of life, or its own next attempt, from now on. `failing` are its failures, `fault`
    /// is that of the last one. Returns its place in the queue; none if the service is not known.
    pub fn join(
        &mut self,
        key: ServiceKey,
        device: DeviceKey,
        call: bool,
        failing: Failing,
        fault: Fault,
    ) -> Option<Place> {
        let service = self.known.peek_mut(&key)?;
        let is_out = service.is_out();
        Some(service.queue.join(device, call, failing, fault, is_out))
    }

    /// The device does not wait any more.
    pub fn leave(&mut self, key: ServiceKey, place: Place) {
        if let Some(service) = self.known.peek_mut(&key) {
            service.queue.leave(place);
        }
    }

    /// Whoever had a turn to probe it has not taken it, or has.
    pub fn turn_is_over(&mut self, key: ServiceKey) {
        if let Some(service) = self.known.peek_mut(&key) {
            service.end_turn();
        }
    }

    /// What has to happen next for those who wait.
    pub fn next(&mut self, key: ServiceKey, now: Duration) -> Next {
        let service = self.known.peek_mut(&key);
        service.map_or(Next::Nothing, |service| service.next(now))
    }

    /// The device whose push will probe the service, if it is time.
    pub fn take_probe(&mut self, key: ServiceKey, now: Duration) -> Option<DeviceKey> {
        self.known.peek_mut(&key)?.take_probe(now)
    }

    /// The devices whose turn it is, if it is time.
    pub fn take_helping(
        &mut self,
        key: ServiceKey,
        now: Duration,
        options: &Options,
    ) -> Vec<DeviceKey> {
        let service = self.known.peek_mut(&key);
        service.map_or_else(Vec::new, |service| service.take_helping(now, options))
    }

    /// A service that was failing before a restart.
    pub fn restore(&mut self, key: ServiceKey, failing: &FailingService, now: Duration) {
        self.get_or_insert(key, &failing.jid).restore(failing, now);
    }

    /// There is something to be known of it from now on.
    pub fn remember(&mut self, key: ServiceKey, jid: &str) {
        self.get_or_insert(key, jid);
    }

    fn get(&self, key: ServiceKey) -> Option<&Service> {
        self.known.peek(&key)
    }

    fn get_or_insert(&mut self, key: ServiceKey, jid: &str) -> &mut Service {
        if self.known.len() >= MAX_SERVICES && !self.known.contains(&key) {
            self.make_room();
        }
        let (by_host, jids, hasher) = (&mut self.by_host, &mut self.jids, &self.key);
        self.known.get_or_insert_mut(key, || {
            let jid: Box<str> = normalised(jid).into();
            let host = hasher.hash_one(host_of(&jid));
            by_host.insert((host, key));
            *jids += jid.len();
            Service::new(jid, host)
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

/// What is said of all of them.
impl Services {
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

    /// The JID of one of them.
    pub fn jid(&self, key: ServiceKey) -> Option<&str> {
        self.get(key).map(|service| &*service.jid)
    }

    /// How one of them does.
    pub fn status(&self, key: ServiceKey, now: Duration) -> Option<ServiceStatus> {
        Some(self.get(key)?.status(now))
    }

    /// How all of them do.
    pub fn statuses(&self, now: Duration) -> Vec<ServiceStatus> {
        self.known.iter().map(|(_, one)| one.status(now)).collect()
    }

    /// The services that are left alone.
    pub fn out(&self) -> Vec<String> {
        let out = self.known.iter().filter(|(_, one)| one.is_out());
        out.map(|(_, service)| service.jid.to_string()).collect()
    }

    /// The services that somebody waits for. The caller knows that nobody waits for any other.
    pub fn watched(&mut self) -> Vec<String> {
        let known = self.known.iter_mut();
        known
            .filter_map(|(_, one)| one.is_still_watched().then(|| one.jid.to_string()))
            .collect()
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
}

fn host_of(jid: &str) -> &str {
    let bare = jid.split_once('/').map_or(jid, |(bare, _)| bare);
    bare.split_once('@').map_or(bare, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::service_state::ServiceState;

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
        let place = services.join(key, DeviceKey(device), false, failing(), Fault::Route);
        place.unwrap()
    }

    #[test]
    fn what_is_under_way_is_counted() {
        let mut services = services();
        for nonce in 0..3 {
            services.sent(key(0), "a.test", T, push(nonce), None);
        }
        services.sent(key(1), "b.test", T, push(3), None);
        let counts = |services: &Services| {
            let at = |number| services.awaited_from(key(number));
            (at(0), at(1), at(2))
        };
        assert_eq!(counts(&services), (3, 1, 0));
        services.settled(key(0), push(0), false);
        assert_eq!(counts(&services), (2, 1, 0));
    }

    #[test]
    fn a_service_that_nobody_waits_for_makes_room() {
        let mut services = services();
        for number in 0..MAX_SERVICES {
            services.remember(key(number), &format!("push{number}.test"));
        }
        services.sent(key(0), "push0.test", T, push(0), None);
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
        let own = services.join(key(0), DeviceKey(3), false, failing(), Fault::Device);
        let owed = |services: &Services| services.known.peek(&key(0)).unwrap().queue.len();
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
    fn who_is_released_already_takes_no_further_turns_from_others_at_the_host() {
        let options = Options {
            recovery_rate: 1,
            ..Options::default()
        };
        let mut services = services();
        services.remember(key(0), "a@push.test");
        services.remember(key(1), "b@push.test");
        (0..3).for_each(|device| _ = queue(&mut services, key(0), device));
        queue(&mut services, key(1), 3);
        for _ in 0..3 {
            services.alive(key(0), T, Sign::Connected, &options);
        }
        services.alive(key(1), T, Sign::Connected, &options);
        let turn = T + Duration::from_secs(3);
        assert_eq!(services.next(key(1), T), Next::Helping(turn));
    }

    #[test]
    fn all_that_they_take_is_counted() {
        let mut services = services();
        let each = size_of::<Service>() + ENTRY + "push.test".len();
        for number in 0..=MAX_SERVICES {
            assert_eq!(services.bytes(), number * each);
            services.remember(key(number), "push.test");
        }
        assert_eq!(services.bytes(), MAX_SERVICES * each, "one has gone");
    }

    #[test]
    fn turns_that_are_over_are_forgotten() {
        let mut services = services();
        let mut alive = |number, now| {
            services.remember(key(number), &format!("push{number}.test"));
            queue(&mut services, key(number), 1);
            services.alive(key(number), now, Sign::Connected, &Options::default());
            services.given.len()
        };
        let hosts = MAX_SERVICES + 10;
        let given: Vec<_> = (0..hosts).map(|number| alive(number, T)).collect();
        assert_eq!(given.last(), Some(&hosts), "none is over");
        assert_eq!(alive(hosts, T * 2), 1);
    }

    #[test]
    fn there_is_one_probe_at_a_time() {
        let options = Options {
            max_failures: 1,
            ..Options::default()
        };
        let mut services = services();
        services.sent(key(0), "push.test", T, push(0), None);
        let failure = |number| Failure {
            row: None,
            push: push(number),
            user: 1,
            sent: T,
            fault: Fault::Route,
        };
        let backoff = |attempt| attempt * Duration::from_secs(10);
        let change = services.failed(key(0), T, failure(0), &options, backoff);
        assert_eq!(change.unwrap().state, ServiceState::Out);
        services.settled(key(0), push(0), false);
        (1..=3).for_each(|device| _ = queue(&mut services, key(0), device));

        let at = T + Duration::from_secs(10);
        let before = at.saturating_sub(Duration::from_nanos(1));
        assert_eq!(services.next(key(0), T), Next::Probe(at));
        assert_eq!(services.take_probe(key(0), before), None);
        assert_eq!(services.take_probe(key(0), at), Some(DeviceKey(1)));
        assert_eq!(services.next(key(0), at), Next::Nothing, "its turn");
        assert_eq!(services.take_probe(key(0), at), None);
        services.sent(key(0), "push.test", at, push(1), None);
        services.turn_is_over(key(0));
        assert_eq!(services.next(key(0), at), Next::Nothing, "its probe");
        assert_eq!(services.take_probe(key(0), at), None);
        assert!(!services.admits(key(0), at, false) && services.admits(key(0), at, true));

        // That of another push says nothing of it.
        services.sent(key(0), "push.test", at, push(9), None);
        services.settled(key(0), push(9), false);
        assert_eq!(services.next(key(0), at), Next::Nothing);
        let later = at + Duration::from_secs(5);
        services.failed(key(0), later, failure(9), &options, backoff);
        services.failed(key(0), later, failure(1), &options, backoff);
        services.settled(key(0), push(1), false);
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
        services.sent(key(0), "push0.test", T, push(0), None);
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
