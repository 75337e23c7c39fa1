//! What the engine remembers of a device.

use std::time::Duration;

use super::failing::Failing;
use super::identity::{DeviceName, PushId, ServiceKey};
use super::pushed::Pushed;
use super::rate::Meter;
use super::reason::{Cause, Silence};
use super::ringing::Calls;
use super::told::Told;
use super::waiting::Waiting;
use crate::stanza::{Importance, StanzaId};

/// What a device that waits takes in the queues besides, in bytes.
const IN_QUEUES: usize = 192;

/// When to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Now,
    SpokenFor,
    Later(Duration),
}

/// What the engine remembers of a device.
pub(super) struct Device<S> {
    pub user: Box<str>,
    pub identifier: Box<str>,
    /// The push service that it was pushed to last, or waited for.
    pub service: Option<ServiceKey>,
    /// Another one each time that the device is back: what was pushed before is received then.
    pub epoch: u64,
    /// Another one each time that the registration is enabled.
    pub generation: u64,
    /// Pushes that wait for an answer, in the order in which they left.
    pub in_flight: Vec<PushId>,
    /// A push has left for it since it is known.
    pub was_woken: bool,
    /// Permanent errors in a row.
    pub errors: u32,
    pub failing: Failing,
    pub pushed: Pushed,
    pub told: Told,
    pub spoke: Option<Spoke>,
    pub calls: Calls,
    pub meter: Meter,
    pub waiting: Option<Waiting<S>>,
    /// When it was last asked for.
    pub touched: Duration,
}

/// An important push of rule (a), or a call by any rule, which speaks for what follows shortly after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoke {
    pub at: Duration,
    pub until: Duration,
    pub by: PushId,
}

impl<S> Device<S> {
    pub fn new(user: &str, identifier: &str, epoch: u64) -> Self {
        Self {
            user: user.into(),
            identifier: identifier.into(),
            service: None,
            epoch,
            generation: epoch,
            in_flight: Vec::new(),
            was_woken: false,
            errors: 0,
            failing: Failing::default(),
            pushed: Pushed::default(),
            told: Told::default(),
            spoke: None,
            calls: Calls::default(),
            meter: Meter::default(),
            waiting: None,
            touched: Duration::ZERO,
        }
    }

    /// Whose it is.
    pub fn name(&self) -> DeviceName {
        DeviceName {
            user: self.user.clone(),
            identifier: self.identifier.clone(),
        }
    }

    /// Whether to forget it would lose a push.
    pub fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.waiting.is_some()
    }

    /// Whether the registration is suspended and waits for its trial.
    pub fn is_suspended(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|one| one.cause == Cause::Suspension && !one.is_standing_by())
    }

    /// What waits for a push, and not only stands by for one that is under way.
    pub fn held(&self) -> Option<&Waiting<S>> {
        let waiting = self.waiting.as_ref();
        waiting.filter(|one| one.is_waiting())
    }

    /// Why there is no push for this stanza, if the device has been pushed for it, or will be.
    pub fn knows(&self, id: StanzaId) -> Option<Silence> {
        if self.pushed.contains(id) {
            return Some(Silence::AlreadyPushed);
        }
        let waiting = self.waiting.as_ref();
        let waiting = waiting.filter(|waiting| waiting.ids.contains(id))?;
        Some(if waiting.is_standing_by() {
            Silence::AlreadyPushed
        } else {
            Silence::AlreadyWaiting
        })
    }

    /// The pace of rule (a).
    pub fn pace(
        &self,
        now: Duration,
        window: Duration,
        importance: Importance,
        content: bool,
    ) -> Pace {
        let spoken_for = self.is_spoken_for(now);
        match importance {
            Importance::Urgent => Pace::Now,
            Importance::Important if content || !spoken_for => Pace::Now,
            _ if spoken_for => Pace::SpokenFor,
            _ if window.is_zero() => Pace::Now,
            _ => Pace::Later(now + window),
        }
    }

    /// Whether an important push speaks for what comes now.
    pub fn is_spoken_for(&self, now: Duration) -> bool {
        self.spoke.is_some_and(|spoke| now < spoke.until)
    }

    /// Whether an important push went out at or after `since`.
    pub fn spoke_since(&self, since: Duration) -> bool {
        self.spoke.is_some_and(|spoke| spoke.at >= since)
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.user.len()
            + self.identifier.len()
            + self.in_flight.capacity() * size_of::<PushId>()
            + self.pushed.bytes()
            + self.told.bytes()
            + self.meter.bytes()
            + self.calls.bytes()
            + self
                .waiting
                .as_ref()
                .map_or(0, |waiting| IN_QUEUES + waiting.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::identity::DeviceKey;
    use crate::engine::waiting::Until;
    use crate::stanza::{Facts, Key};
    use Importance::{Important, Unimportant, Urgent};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn device() -> Device<u64> {
        Device::new("anna", "push.test<n", 1)
    }

    const BY: PushId = PushId {
        device: DeviceKey(1),
        nonce: 1,
    };

    #[test]
    fn the_pace_is_that_of_the_window() {
        let (now, window) = (at(10), at(1));
        let pace = |spoken_for: bool, importance, content, window| {
            let mut device = device();
            device.spoke = spoken_for.then_some(Spoke {
                at: now,
                until: now + at(1),
                by: BY,
            });
            device.pace(now, window, importance, content)
        };
        let later = Pace::Later(at(11));
        for (importance, content, alone, spoken_for) in [
            (Urgent, false, Pace::Now, Pace::Now),
            (Urgent, true, Pace::Now, Pace::Now),
            (Important, false, Pace::Now, Pace::SpokenFor),
            (Important, true, Pace::Now, Pace::Now),
            (Unimportant, false, later, Pace::SpokenFor),
            (Unimportant, true, later, Pace::SpokenFor),
        ] {
            assert_eq!(pace(false, importance, content, window), alone);
            assert_eq!(pace(true, importance, content, window), spoken_for);
        }
        assert_eq!(pace(false, Unimportant, false, at(0)), Pace::Now);
        assert_eq!(pace(true, Unimportant, false, at(0)), Pace::SpokenFor);
    }

    #[test]
    fn a_push_speaks_until_the_window_ends() {
        let mut device = device();
        assert!(!device.spoke_since(at(0)) && !device.is_spoken_for(at(0)));
        device.spoke = Some(Spoke {
            at: at(10),
            until: at(11),
            by: BY,
        });
        assert!(device.is_spoken_for(at(10)) && !device.is_spoken_for(at(11)));
        assert!(device.spoke_since(at(10)) && !device.spoke_since(at(11)));
    }

    #[test]
    fn a_suspended_one_waits_for_its_trial() {
        let is_suspended = |cause, until| {
            let mut device = device();
            device.waiting = Some(Waiting::new(at(0), until, cause));
            device.is_suspended()
        };
        assert!(!device().is_suspended());
        assert!(is_suspended(Cause::Suspension, Until::Room));
        assert!(!is_suspended(Cause::Suspension, Until::Answer(BY)));
        assert!(!is_suspended(Cause::Debt, Until::Room));
    }

    fn facts() -> Facts {
        let message = "<message xmlns='jabber:client'/>".parse::<minidom::Element>();
        Facts::read(&message.unwrap(), "anna@home.test", &Key::known(1))
    }

    #[test]
    fn all_that_it_takes_is_counted() {
        let mut device = device();
        let empty = device.bytes();
        assert_eq!(empty, size_of::<Device<u64>>() + "annapush.test<n".len());
        device.in_flight = Vec::with_capacity(100);
        let with_pushes = device.bytes();
        assert_eq!(with_pushes, empty + 100 * size_of::<PushId>());
        device.meter.spend(at(0));
        let with_meter = device.bytes();
        assert_eq!(with_meter, with_pushes + device.meter.bytes());
        assert!(device.meter.bytes() >= 8 && device.meter.bytes().is_multiple_of(8));
        device.pushed.add([Some(StanzaId(1)), None]);
        let with_stanzas = device.bytes();
        assert_eq!(with_stanzas, with_meter + device.pushed.bytes());
        device.told.add(StanzaId(1), &facts());
        let with_told = device.bytes();
        assert_eq!(with_told, with_stanzas + device.told.bytes());
        assert!(device.told.bytes() > 0);
        let mut waiting = Waiting::new(at(0), Until::Room, Cause::Room);
        waiting.ids.add([Some(StanzaId(1)), None]);
        let bytes = waiting.bytes();
        assert!(bytes > 0);
        device.waiting = Some(waiting);
        assert_eq!(device.bytes(), with_told + IN_QUEUES + bytes);
    }
}
