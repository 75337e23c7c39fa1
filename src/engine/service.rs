//! What is known of a push service: whether it takes pushes, and who waits for it.
//!
//! Whoever answers is alive. What a service says of one registration is that device's matter. Against the
//! service speak only that there is no way to it, that it is silent, and that it says so of itself to
//! several users. Where that happens several times in a row its circuit is open: devices that have
//! failed wait, and one push at a time probes whether it is back. Devices that have not failed
//! themselves, and calls, are pushed to at once all the same: nobody else can delay them.

use std::time::Duration;

use super::answer::Fault;
use super::circuit::{Circuit, Witnesses};
use super::failing::Failing;
use super::health::Health;
use super::identity::{DeviceKey, PushId};
use super::options::Options;
use super::queue::Queue;
use super::service_state::{
    CircuitState, FailingService, ServiceChange, ServiceState, ServiceStatus,
};
use super::silent::{Row, Silent};

/// The shortest time between two helpings of owed pushes.
const HELPING: Duration = Duration::from_millis(100);

/// A push that a service has not taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub push: PushId,
    /// Stands for the user.
    pub user: u64,
    pub sent: Duration,
    pub fault: Fault,
    /// If the service answers errors alone.
    pub row: Option<Row>,
}

/// A push service's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It has taken a push, or refused it for good.
    Settled,
    /// It answers errors alone, and none has come for a push that left then.
    Unopposed(Duration),
    /// Nor for one that left then to probe it.
    UnopposedProbe(Duration),
    /// It has said something else: of a registration, or to anybody.
    Heard,
    /// There is a connection with its host.
    Connected,
}

/// What a timer of a service has to be set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Probe(Duration),
    Helping(Duration),
}

/// A push service.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub jid: Box<str>,
    /// Stands for its host.
    pub host: u64,
    /// Those who wait for it.
    pub queue: Queue,
    /// Pushes that wait for its answer.
    pub in_flight: usize,
    /// Those of them that it answers only if it does not take them.
    silent: Silent,
    /// Since when it fails.
    pub failing: Failing,
    /// What speaks against it, in a row.
    pub failures: u32,
    pub health: Health,
    witnesses: Witnesses,
    circuit: Option<Circuit>,
    /// When it has answered last, or has been sent what it must have taken.
    worked: Option<Duration>,
    /// When an answer that was none to a push has counted as a sign of life last.
    heard: Option<Duration>,
    helping_at: Option<Duration>,
    /// Until then the last helping counts, however often it gives a sign of life.
    paced_until: Duration,
    /// The caller knows that somebody waits for it.
    is_watched: bool,
}

impl Service {
    pub fn new(jid: Box<str>, host: u64) -> Self {
        Self {
            jid,
            host,
            ..Self::default()
        }
    }

    /// Whether a push may leave for it now that is not pushed at once whatever others have met with.
    pub fn admits(&self, now: Duration) -> bool {
        self.circuit
            .as_ref()
            .is_none_or(|circuit| circuit.admits(now))
    }

    /// How many pushes wait for an answer that comes in any case.
    pub fn awaited(&self) -> usize {
        self.in_flight.saturating_sub(self.silent.under_way())
    }

    /// A push leaves; its place, if errors alone are answered. Returns that of the one before.
    pub fn sent(&mut self, now: Duration, id: PushId, silent: Option<u64>) -> u64 {
        self.in_flight += 1;
        if let Some(circuit) = &mut self.circuit {
            circuit.sent(now, id);
        }
        self.silent.sent(silent)
    }

    /// Whether this push is to find out whether it is back.
    pub fn is_probed_by(&self, id: PushId) -> bool {
        self.circuit
            .as_ref()
            .is_some_and(|circuit| circuit.is_probed_by(id))
    }

    pub fn settled(&mut self, id: PushId, is_silent: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.silent.settled(is_silent);
        if let Some(circuit) = &mut self.circuit {
            circuit.settled(id);
        }
    }

    /// Whether this sign of life counts: one that anybody could provoke does if somebody waits for it, and
    /// once in `push_retry_min`; silence does if it is that after a probe, or nothing has failed that left since.
    pub fn takes(&mut self, now: Duration, sign: Sign, options: &Options) -> bool {
        match sign {
            Sign::Settled | Sign::Connected | Sign::UnopposedProbe(_) => return true,
            Sign::Unopposed(sent) => return sent >= self.failing.at,
            Sign::Heard => {}
        }
        let heard = self.heard.map(|heard| heard + options.retry_min);
        let is_too_soon = heard.is_some_and(|again| now < again);
        let is_news = self.is_out() || self.queue.is_waiting();
        if !is_news || is_too_soon {
            return false;
        }
        self.heard = Some(now);
        true
    }

    /// It works since then. The change is that its circuit is closed.
    pub fn works(&mut self, since: Duration) -> Option<ServiceChange> {
        let failures = self.failures;
        self.begin_row();
        self.worked = Some(since);
        self.circuit.take().map(|_| ServiceChange {
            failures,
            ..self.change(ServiceState::Back)
        })
    }

    /// Those who have been released go out from `at` on; whoever is the first of its host's services, from
    /// `turn` on. Returns when they begin.
    pub fn pace(&mut self, at: Duration, turn: Duration) -> Duration {
        let at = at.max(self.paced_until);
        self.helping_at = Some(match self.helping_at {
            Some(before) => before.min(at),
            None => at.max(turn),
        });
        at
    }

    /// What has failed before is not in a row with what fails from now on.
    fn begin_row(&mut self) {
        self.failures = 0;
        self.failing = Failing::default();
        self.witnesses = Witnesses::None;
        self.silent.begin_row();
    }

    /// Something speaks against it. The change is that its circuit is open now.
    pub fn failed(
        &mut self,
        now: Duration,
        failure: Failure,
        options: &Options,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> Option<ServiceChange> {
        // It has answered since.
        if self.worked.is_some_and(|worked| failure.sent < worked) {
            return None;
        }
        if let Some(row) = failure.row {
            if self.silent.is_broken_by(row) {
                self.begin_row();
            }
            self.silent.failed(row);
        }
        self.failing.fail(now, failure.sent, options.retry_age);
        self.failures = self.failures.saturating_add(1);
        self.witnesses.add(failure.user);
        if let Some(circuit) = &mut self.circuit {
            circuit.failed(now, failure.push, backoff);
            return None;
        }
        let is_enough = options.max_failures > 0 && self.failures >= options.max_failures;
        // What it says to one user may be about that one.
        let is_its_own = failure.fault != Fault::Service || self.witnesses == Witnesses::Several;
        if !is_enough || !is_its_own {
            return None;
        }
        self.circuit = Some(Circuit::open(now + backoff(1)));
        self.queue.hold_back();
        self.helping_at = None;
        self.is_watched = true;
        Some(self.change(ServiceState::Out))
    }

    /// Whoever had a turn to probe it has not taken it, or has.
    pub fn end_turn(&mut self) {
        if let Some(circuit) = &mut self.circuit {
            circuit.end_turn();
        }
    }

    /// What has to happen next for those who wait.
    pub fn next(&mut self, now: Duration) -> Next {
        if self.queue.len() == 0 {
            self.helping_at = None;
            return Next::Nothing;
        }
        if self.failing.is_dead(now) {
            // They are to be given up.
            return Next::Helping(*self.helping_at.get_or_insert(now));
        }
        match (&self.circuit, self.helping_at) {
            (Some(circuit), _) => circuit
                .next()
                .map_or(Next::Nothing, |at| Next::Probe(at.max(now))),
            (None, Some(at)) => Next::Helping(at),
            (None, None) => Next::Nothing,
        }
    }

    /// The device whose push will probe it, if it is time.
    pub fn take_probe(&mut self, now: Duration) -> Option<DeviceKey> {
        let circuit = self.circuit.as_mut()?;
        if !circuit.is_due(now) {
            return None;
        }
        let device = self.queue.pop_probe()?;
        circuit.begin_turn();
        Some(device)
    }

    /// The devices whose turn it is, if it is time.
    pub fn take_helping(&mut self, now: Duration, options: &Options) -> Vec<DeviceKey> {
        if self.helping_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        if self.failing.is_dead(now) {
            self.queue.release_all();
        }
        let rate = options.recovery_rate.max(1);
        let share = usize::try_from(rate.div_ceil(10)).unwrap_or(usize::MAX);
        let helping = (0..share)
            .map_while(|_| self.queue.pop_released())
            .collect();
        let pause = HELPING.max(Duration::from_secs(1) / rate);
        self.paced_until = now + pause;
        self.helping_at = self.queue.is_released().then_some(self.paced_until);
        helping
    }

    /// Whether the caller has to be told now that somebody waits for it, or that nobody does any more.
    pub fn watch(&mut self) -> Option<ServiceChange> {
        let is_waited_for = self.is_waited_for();
        if is_waited_for == self.is_watched {
            return None;
        }
        self.is_watched = is_waited_for;
        Some(self.change(if is_waited_for {
            ServiceState::Failing
        } else {
            ServiceState::Well
        }))
    }

    /// Whether somebody waits for it, as the caller knows. The caller knows that nobody waits for others.
    pub fn is_still_watched(&mut self) -> bool {
        self.is_watched &= self.is_waited_for();
        self.is_watched
    }

    /// It was failing before a restart.
    pub fn restore(&mut self, failing: &FailingService, now: Duration) {
        self.failing = Failing {
            attempts: failing.failures,
            since: now.saturating_sub(failing.age),
            at: now,
            ..Failing::default()
        };
        self.failures = failing.failures;
    }
}

/// How it does, for others.
impl Service {
    pub fn is_out(&self) -> bool {
        self.circuit.is_some()
    }

    pub fn status(&self, now: Duration) -> ServiceStatus {
        ServiceStatus {
            jid: self.jid.clone(),
            circuit: match (&self.circuit, self.helping_at) {
                (Some(_), _) => CircuitState::Open,
                (None, Some(_)) => CircuitState::Recovering,
                (None, None) => CircuitState::Closed,
            },
            failures: self.failures,
            in_flight: self.in_flight,
            owed: self.queue.len(),
            latency: self.health.latency(),
            complaint: self.health.complaint(now),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && !self.is_waited_for()
    }

    /// Anybody may make circuits, of any number of services, and then wait for none of them.
    pub fn may_be_forgotten(&self) -> bool {
        self.in_flight == 0 && self.queue.len() == 0
    }

    fn is_waited_for(&self) -> bool {
        self.queue.len() > 0 || self.is_out()
    }

    fn change(&self, state: ServiceState) -> ServiceChange {
        ServiceChange {
            jid: self.jid.clone(),
            state,
            failures: self.failures,
            owed: self.queue.len(),
        }
    }
}
