//! What is known of a push service: whether it takes pushes, and who waits for it.
//!
//! A service that fails several times in a row is left alone: its circuit is open. One push at a time
//! probes whether it is back; all others are owed. Once it answers, the owed ones go out at a
//! bounded rate.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::delivery::PushId;
use super::device::DeviceKey;
use super::options::Options;

/// How many pushes may wait for an answer, of all services together.
const MAX_IN_FLIGHT: usize = 65_536;

/// How many services are remembered, while there is a reason to.
const MAX_SERVICES: usize = 4096;

/// How many devices are remembered that wait for another attempt of their own.
const MAX_RETRYING: usize = 4096;

/// The time between two helpings of owed pushes.
pub(super) const HELPING: Duration = Duration::from_millis(100);

/// A service that nobody could reach for so long, in so many attempts, is given up.
const DEAD_AFTER: Duration = Duration::from_hours(30 * 24);
const DEAD_FAILURES: u32 = 16;

/// Stands for the JID of a push service; a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServiceKey(pub u64);

/// A push service has begun or ceased to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// Its JID.
    pub jid: Box<str>,
    /// It takes pushes again; else it does not.
    pub back: bool,
    /// Failures in a row, before.
    pub failures: u32,
    /// How many devices wait for it.
    pub owed: usize,
}

/// A push service that fails, to outlive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Its JID.
    pub jid: Box<str>,
    /// Failures in a row.
    pub failures: u32,
    /// Time since the first of them.
    pub age: Duration,
}

#[derive(Debug, Default)]
struct Service {
    jid: Box<str>,
    /// Transient failures in a row.
    failures: u32,
    /// When the first of them came.
    failing_since: Option<Duration>,
    /// The last of them.
    last_failure: Option<(Duration, DeviceKey)>,
    /// When it has answered last.
    worked: Option<Duration>,
    in_flight: usize,
    /// The circuit is open: when the next probe may be sent.
    probe_at: Option<Duration>,
    last_probe: Duration,
    probe: Option<PushId>,
    /// Probes that have failed in a row.
    rounds: u32,
    /// The devices that wait, in their order.
    queue: BTreeMap<u64, DeviceKey>,
    /// Devices that wait for another attempt of their own since it has worked last, or some of them.
    retrying: BTreeSet<DeviceKey>,
    is_helping: bool,
}

/// A push that a service could not take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub push: PushId,
    pub sent: Duration,
    /// The service itself has said so.
    pub reached: bool,
}

/// All push services that there is something to be known of.
#[derive(Debug, Default)]
pub(super) struct Services {
    known: HashMap<ServiceKey, Service>,
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
    /// Whether a push may go to this service now.
    pub fn admits(&self, key: ServiceKey, now: Duration, options: &Options) -> bool {
        let room = self.in_flight < MAX_IN_FLIGHT;
        room && self
            .known
            .get(&key)
            .is_none_or(|service| match service.probe_at {
                Some(probe_at) => service.probe.is_none() && probe_at <= now,
                None => service.in_flight < options.max_in_flight,
            })
    }

    /// A push leaves for it.
    pub fn sent(&mut self, key: ServiceKey, jid: &str, now: Duration, id: PushId) {
        let service = self.get_or_insert(key, jid);
        service.in_flight += 1;
        if service.probe_at.is_some() {
            service.probe = Some(id);
            service.last_probe = now;
        }
        self.in_flight += 1;
    }

    /// A push to it is not awaited any more.
    pub fn settled(&mut self, key: ServiceKey, id: PushId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(service) = self.known.get_mut(&key) {
            service.in_flight = service.in_flight.saturating_sub(1);
            service.probe.take_if(|probe| *probe == id);
        }
        self.forget_if_idle(key);
    }

    /// It has answered, whatever it said: it works.
    pub fn works(&mut self, key: ServiceKey, now: Duration) -> Option<ServiceChange> {
        let service = self.known.get_mut(&key)?;
        let failures = std::mem::take(&mut service.failures);
        service.failing_since = None;
        service.last_failure = None;
        service.worked = Some(now);
        service.retrying.clear();
        service.rounds = 0;
        let change = service.probe_at.take().map(|_| ServiceChange {
            jid: service.jid.clone(),
            back: true,
            failures,
            owed: service.queue.len(),
        });
        self.forget_if_idle(key);
        change
    }

    /// It could not take a push, or could not be reached. The change is that it is left alone now.
    pub fn failed(
        &mut self,
        key: ServiceKey,
        now: Duration,
        failure: Failure,
        options: &Options,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> Option<ServiceChange> {
        let service = self.known.get_mut(&key)?;
        // It has answered since.
        if service.worked.is_some_and(|worked| failure.sent < worked) {
            return None;
        }
        let device = failure.push.device;
        let last = service.last_failure.replace((now, device));
        // Nobody has tried for long, so nobody knows how it was meanwhile.
        if last.is_some_and(|(at, _)| at + options.retry_age < now) {
            service.failing_since = None;
        }
        service.failing_since.get_or_insert(now);
        // What it says to one device again and again is that device's matter.
        let is_repeated = failure.reached && last.is_some_and(|(_, other)| other == device);
        if let Some(probe_at) = &mut service.probe_at {
            service.failures = service.failures.saturating_add(1);
            if service.probe == Some(failure.push) {
                service.rounds = service.rounds.saturating_add(1);
                *probe_at = now + backoff(service.rounds);
            }
            return None;
        }
        if is_repeated {
            return None;
        }
        service.failures = service.failures.saturating_add(1);
        if options.max_failures == 0 || service.failures < options.max_failures {
            return None;
        }
        service.rounds = 1;
        service.probe_at = Some(now + backoff(1));
        Some(ServiceChange {
            jid: service.jid.clone(),
            back: false,
            failures: service.failures,
            owed: service.queue.len(),
        })
    }

    /// A device waits for another attempt of its own.
    pub fn retries(&mut self, key: ServiceKey, device: DeviceKey) {
        if let Some(service) = self.known.get_mut(&key)
            && service.retrying.len() < MAX_RETRYING
        {
            service.retrying.insert(device);
        }
    }

    /// Those who wait for another attempt of their own, as far as they are remembered.
    pub fn take_retrying(&mut self, key: ServiceKey) -> BTreeSet<DeviceKey> {
        let service = self.known.get_mut(&key);
        service.map_or_else(BTreeSet::new, |service| {
            std::mem::take(&mut service.retrying)
        })
    }

    pub fn is_out(&self, key: ServiceKey) -> bool {
        let service = self.known.get(&key);
        service.is_some_and(|service| service.probe_at.is_some())
    }

    /// Whether nobody could reach it for [`DEAD_AFTER`].
    pub fn is_dead(&self, key: ServiceKey, now: Duration) -> bool {
        self.known.get(&key).is_some_and(|service| {
            let since = service.failing_since;
            service.failures >= DEAD_FAILURES
                && since.is_some_and(|since| now.saturating_sub(since) >= DEAD_AFTER)
        })
    }

    /// A device waits from now on for a service with something under way, or out; returns its place
    /// in the queue.
    pub fn queue(&mut self, key: ServiceKey, device: DeviceKey) -> Option<u64> {
        let service = self.known.get_mut(&key)?;
        self.places += 1;
        service.queue.insert(self.places, device);
        Some(self.places)
    }

    /// The device does not wait any more.
    pub fn leave(&mut self, key: ServiceKey, place: u64) {
        if let Some(service) = self.known.get_mut(&key) {
            service.queue.remove(&place);
        }
        self.forget_if_idle(key);
    }

    /// What has to happen next for those who wait.
    pub fn next(&mut self, key: ServiceKey, now: Duration) -> Next {
        let is_dead = self.is_dead(key, now);
        self.forget_if_idle(key);
        let Some(service) = self.known.get_mut(&key) else {
            return Next::Nothing;
        };
        match service.probe_at {
            _ if service.queue.is_empty() => Next::Nothing,
            Some(probe_at) if !is_dead => {
                if service.probe.is_some() {
                    Next::Nothing
                } else {
                    Next::Probe(probe_at.max(now))
                }
            }
            _ if service.is_helping => Next::Nothing,
            _ => {
                service.is_helping = true;
                Next::Helping(now)
            }
        }
    }

    /// The device whose push will probe the service, if it is time. Should that fail, it is the last one in
    /// the queue: a probe shall not depend on one registration.
    pub fn take_probe(&mut self, key: ServiceKey, now: Duration) -> Option<DeviceKey> {
        let service = self.known.get_mut(&key)?;
        if service.probe.is_some() || service.probe_at.is_none_or(|probe_at| probe_at > now) {
            return None;
        }
        service.queue.pop_first().map(|(_, device)| device)
    }

    /// The devices whose turn it is, at most a tenth of a second's share of them.
    pub fn take_helping(
        &mut self,
        key: ServiceKey,
        now: Duration,
        options: &Options,
    ) -> Vec<DeviceKey> {
        let is_dead = self.is_dead(key, now);
        let room = MAX_IN_FLIGHT.saturating_sub(self.in_flight);
        let Some(service) = self.known.get_mut(&key) else {
            return Vec::new();
        };
        service.is_helping = false;
        if service.probe_at.is_some() && !is_dead {
            return Vec::new();
        }
        let share = usize::try_from(options.recovery_rate.div_ceil(10)).unwrap_or(usize::MAX);
        let room = room.min(options.max_in_flight.saturating_sub(service.in_flight));
        let helping = (0..share.min(room))
            .map_while(|_| service.queue.pop_first().map(|(_, device)| device))
            .collect();
        service.is_helping = !service.queue.is_empty();
        helping
    }

    /// Whether another helping has to follow.
    pub fn is_helping(&self, key: ServiceKey) -> bool {
        self.known.get(&key).is_some_and(|one| one.is_helping)
    }

    /// A stanza has come from a service: if it is left alone, it may be probed, but not more often than
    /// every `pause`.
    pub fn spoke(&mut self, key: ServiceKey, now: Duration, pause: Duration) {
        if let Some(service) = self.known.get_mut(&key)
            && let Some(probe_at) = &mut service.probe_at
        {
            *probe_at = now.max(service.last_probe + pause).min(*probe_at);
        }
    }

    /// There is a connection with a host: the services there that are left alone may be probed at once. A
    /// probe that has been under way for `pause` was lost with the connection before; a younger one may
    /// have caused this.
    pub fn connected(&mut self, now: Duration, host: &str, pause: Duration) -> Vec<ServiceKey> {
        let mut there = Vec::new();
        for (key, service) in &mut self.known {
            if let Some(probe_at) = &mut service.probe_at
                && host_of(&service.jid) == host
            {
                *probe_at = now.min(*probe_at);
                service.probe.take_if(|_| service.last_probe + pause <= now);
                there.push(*key);
            }
        }
        there
    }

    /// The services that are failing.
    pub fn failing(&self, now: Duration) -> Vec<Failing> {
        let failing = |service: &Service| {
            Some(Failing {
                jid: service.jid.clone(),
                failures: service.failures,
                age: now.saturating_sub(service.failing_since?),
            })
        };
        self.known.values().filter_map(failing).collect()
    }

    /// The services that are left alone.
    pub fn out(&self) -> Vec<String> {
        let out = self.known.values().filter(|one| one.probe_at.is_some());
        out.map(|service| service.jid.to_string()).collect()
    }

    /// A service that was failing before a restart.
    pub fn restore(&mut self, key: ServiceKey, failing: &Failing, now: Duration) {
        let service = self.get_or_insert(key, &failing.jid);
        service.failing_since = Some(now.saturating_sub(failing.age));
        service.failures = failing.failures;
    }

    /// How many services there is something to be known of.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    fn get_or_insert(&mut self, key: ServiceKey, jid: &str) -> &mut Service {
        if self.known.len() >= MAX_SERVICES && !self.known.contains_key(&key) {
            // What is lost is for how long it has been failing.
            self.known
                .retain(|_, service| service.in_flight > 0 || !service.queue.is_empty());
        }
        self.known.entry(key).or_insert_with(|| Service {
            jid: super::normalised(jid).into(),
            ..Service::default()
        })
    }

    fn forget_if_idle(&mut self, key: ServiceKey) {
        let is_idle = |service: &Service| {
            service.in_flight == 0 && service.failures == 0 && service.queue.is_empty()
        };
        if self.known.get(&key).is_some_and(is_idle) {
            self.known.remove(&key);
        }
    }
}

fn host_of(jid: &str) -> &str {
    let bare = jid.split_once('/').map_or(jid, |(bare, _)| bare);
    bare.split_once('@').map_or(bare, |(_, host)| host)
}
