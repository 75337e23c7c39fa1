//! Pushes without a stanza: somebody asks for one, a session is about to end, the server has started.

use std::time::Duration;

use super::about::About;
use super::account::{Account, Registration};
use super::decision::Ticket;
use super::face::Engine;
use super::identity::{DeviceKey, DeviceName, PushId};
use super::meeting::hold;
use super::reason::{Cause, Occasion, Reason, Silence};
use super::schedule::Schedule;
use super::sending::{obstacle, send};
use super::trail::Event;
use crate::stanza::Importance;

impl<S> Engine<S> {
    /// A push without a stanza. If there cannot be one now, the device is owed it, unless the registration is
    /// suspended.
    ///
    /// # Errors
    ///
    /// Why there is none now.
    pub fn ping(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
        occasion: Occasion,
    ) -> Result<PushId, Reason> {
        let registration = &account.registrations[registration];
        let push = ping(&mut self.schedule, now, account, registration, occasion);
        let reason = push.err().unwrap_or(Reason::Pushed);
        let event = Event::Ping(occasion, reason);
        self.witness
            .add(now, account.user, registration.identifier, event);
        push
    }

    /// A session of the device hibernates, and ends after `remaining` unless it is resumed. `push_wake_before_timeout`
    /// before that, [`Self::expire`] names the device; not before half of the time is over.
    pub fn plan_wake(&mut self, now: Duration, user: &str, identifier: &str, remaining: Duration) {
        let before = self.schedule.options.wake_before_timeout;
        if before.is_zero() {
            return;
        }
        let at = now + remaining.saturating_sub(before).max(remaining / 2);
        let device = DeviceName {
            user: user.into(),
            identifier: identifier.into(),
        };
        self.schedule.plan_wake(at, device);
    }
}

/// A push without a stanza, or why there is none now.
pub(super) fn ping<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    account: &Account<'_>,
    registration: &Registration<'_>,
    occasion: Occasion,
) -> Result<PushId, Reason> {
    let user = account.user;
    let key = schedule.identities.device(user, registration.identifier);
    if let Some(pause) = registration.suspended {
        return Err(Reason::Held {
            cause: Cause::Suspension,
            until: Some(now + pause),
        });
    }
    if let Some(silence) = silence(schedule, account, registration, key, occasion) {
        return Err(Reason::Silent(silence));
    }
    schedule.device(now, key, user, registration.identifier);
    let about = About::nothing(Importance::Unimportant);
    if let Some((wait, cause)) = obstacle(schedule, now, key, registration, user, about.importance)
    {
        let until = wait.until();
        let ticket = Ticket {
            device: key,
            about,
            wait,
            cause,
            until,
        };
        hold(schedule, now, &ticket, None);
        return Err(Reason::Held { cause, until });
    }
    let id = send(schedule, now, key, registration, user, about, now);
    schedule.measure(now, key);
    Ok(id)
}

/// Why the device need not be woken on this occasion. Whoever asks for a push gets one.
fn silence<S>(
    schedule: &Schedule<S>,
    account: &Account<'_>,
    registration: &Registration<'_>,
    key: DeviceKey,
    occasion: Occasion,
) -> Option<Silence> {
    let identifier = registration.identifier;
    if occasion == Occasion::Asked {
        return None;
    }
    if account.is_live(identifier) {
        return Some(Silence::Online);
    }
    let is_start = occasion == Occasion::Start;
    if is_start && account.is_hibernated(identifier) {
        return Some(Silence::Hibernated);
    }
    let device = schedule.devices.get(key)?;
    if device.held().is_some() {
        return Some(Silence::AlreadyWaiting);
    }
    (is_start && device.was_woken).then_some(Silence::AlreadyPushed)
}
