//! The circuit of a push service that is out: one push at a time probes whether it is back. And what opens it.

use std::time::Duration;

use super::identity::PushId;

/// Whose failures speak against a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Witnesses {
    #[default]
    None,
    One(u64),
    Several,
}

impl Witnesses {
    /// So do those of a user.
    pub fn add(&mut self, user: u64) {
        *self = match *self {
            Self::None => Self::One(user),
            Self::One(other) if other == user => Self::One(user),
            _ => Self::Several,
        };
    }
}

/// An open circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    /// When the next probe may be sent.
    probe_at: Duration,
    /// It is somebody's turn to probe, who has not sent anything yet.
    turn: bool,
    probe: Option<PushId>,
    /// Probes that have failed in a row.
    rounds: u32,
}

impl Circuit {
    /// Its first probe may leave at `probe_at`.
    pub fn open(probe_at: Duration) -> Self {
        Self {
            probe_at,
            turn: false,
            probe: None,
            rounds: 1,
        }
    }

    /// When the next probe is due; none while there is one, or somebody whose turn it is.
    pub fn next(&self) -> Option<Duration> {
        (!self.turn && self.probe.is_none()).then_some(self.probe_at)
    }

    /// Whether a push may be its probe.
    pub fn admits(&self, now: Duration) -> bool {
        self.turn || self.is_due(now)
    }

    /// Whether somebody may have the turn to probe.
    pub fn is_due(&self, now: Duration) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// Somebody has the turn to probe.
    pub fn begin_turn(&mut self) {
        self.turn = true;
    }

    /// Whoever had it has not taken it, or has.
    pub fn end_turn(&mut self) {
        self.turn = false;
    }

    /// A push leaves: it may be the probe.
    pub fn sent(&mut self, now: Duration, id: PushId) {
        if self.probe.is_none() && (self.turn || self.probe_at <= now) {
            self.turn = false;
            self.probe = Some(id);
        }
    }

    /// Whether a push is its probe.
    pub fn is_probed_by(&self, id: PushId) -> bool {
        self.probe == Some(id)
    }

    /// A push is not awaited any more.
    pub fn settled(&mut self, id: PushId) {
        self.probe.take_if(|probe| *probe == id);
    }

    /// A push has failed: if it was the probe, the next one has to wait.
    pub fn failed(&mut self, now: Duration, id: PushId, backoff: impl FnOnce(u32) -> Duration) {
        if self.probe == Some(id) {
            self.rounds = self.rounds.saturating_add(1);
            self.probe_at = now + backoff(self.rounds);
        }
    }
}
