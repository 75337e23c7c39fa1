//! Calls that a device was pushed for, as long as they may ring there.

use std::time::Duration;

use super::about::MAX_RINGING;
use super::identity::PushId;
use crate::stanza::Call;

/// How many of a device are known: the last ones.
const MAX_CALLS: usize = 4;

#[derive(Debug)]
struct Ringing {
    call: Call,
    since: Duration,
    push: PushId,
    /// The device knows that it is over.
    is_over: bool,
}

/// What is known of the calls of a device that is told of their ends.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Ringing>);

impl Calls {
    /// A push for the beginning of a call has left.
    pub fn add(&mut self, now: Duration, call: Call, push: PushId) {
        self.0.retain(|one| now <= one.since + MAX_RINGING);
        if self.0.len() == MAX_CALLS {
            self.0.remove(0);
        }
        self.0.push(Ringing {
            call,
            since: now,
            push,
            is_over: false,
        });
    }

    /// A push has not been taken: nothing rings.
    pub fn remove(&mut self, push: PushId) {
        self.0.retain(|one| one.push != push);
    }

    /// Whether what `end` ends rings on the device, or has rung and is known to be over; none if it has not rung.
    pub fn ring(&self, now: Duration, end: Call) -> Option<bool> {
        let ended = self.ended_by(now, end);
        ended
            .map(|one| !one.is_over)
            .reduce(|one, other| one | other)
    }

    /// The device learns of the end.
    pub fn end(&mut self, end: Call) {
        for one in &mut self.0 {
            one.is_over |= end.ends(one.call);
        }
    }

    fn ended_by(&self, now: Duration, end: Call) -> impl Iterator<Item = &Ringing> {
        self.0
            .iter()
            .filter(move |one| end.ends(one.call) && now <= one.since + MAX_RINGING)
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Ringing>()
    }
}
