//! What is said of push services.

use std::time::Duration;

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

/// Whether a push service takes pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// It does.
    Closed,
    /// It is left alone.
    Open,
    /// It does, and what it is owed is on its way.
    Recovering,
}

/// How a push service does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its JID.
    pub jid: Box<str>,
    /// Whether it takes pushes.
    pub circuit: CircuitState,
    /// Failures in a row.
    pub failures: u32,
    /// Pushes that wait for its answer.
    pub in_flight: usize,
    /// How many devices wait for it.
    pub owed: usize,
    /// The median of its last latencies and the longest of them.
    pub latency: Option<(Duration, Duration)>,
    /// The condition of the last push that it has not taken, and for how long that is past.
    pub complaint: Option<(&'static str, Duration)>,
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
