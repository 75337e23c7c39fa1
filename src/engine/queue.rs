//! The devices that wait for a push service, in the order in which they have a turn.

use std::collections::BTreeMap;

use super::answer::Fault;
use super::failing::Failing;
use super::identity::DeviceKey;

/// A device that a sign of life has released so often in vain does not try again each time that others get an
/// answer.
const STUBBORN: u32 = 2;

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

/// The devices that wait for a push service.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those that wait for a sign of life.
    waiting: BTreeMap<Place, DeviceKey>,
    /// Those that wait for their own next attempt, or a connection.
    retrying: BTreeMap<Place, DeviceKey>,
    /// Those that a sign of life has released.
    released: BTreeMap<Place, DeviceKey>,
    /// How many have ever joined.
    places: u64,
}

impl Queue {
    /// A device waits from now on. `failing` are its failures, `fault` is that of the last one.
    pub fn join(
        &mut self,
        device: DeviceKey,
        call: bool,
        failing: Failing,
        fault: Fault,
        is_out: bool,
    ) -> Place {
        self.places += 1;
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
            self.retrying.insert(place, device);
        } else {
            self.waiting.insert(place, device);
        }
        place
    }

    /// A device does not wait any more.
    pub fn leave(&mut self, place: Place) {
        for queue in [&mut self.waiting, &mut self.retrying, &mut self.released] {
            queue.remove(&place);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.retrying.len() + self.released.len()
    }

    /// Whether anybody waits for a sign of life.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether anybody is released who has not had a turn.
    pub fn is_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Releases those who wait for a sign of life.
    pub fn release(&mut self) {
        self.released.append(&mut self.waiting);
    }

    /// Releases all.
    pub fn release_all(&mut self) {
        self.release();
        self.released.append(&mut self.retrying);
    }

    /// How many are released.
    pub fn released(&self) -> usize {
        self.released.len()
    }

    /// The service is out: whoever was released, or told by it what it says to others, too, waits for a sign of
    /// life.
    pub fn hold_back(&mut self) {
        self.waiting.append(&mut self.released);
        let doubtful = self
            .retrying
            .extract_if(.., |place, _| place.matter == Matter::Doubtful);
        self.waiting.extend(doubtful);
    }

    /// Whoever is to probe the service.
    pub fn pop_probe(&mut self) -> Option<DeviceKey> {
        let first = self.waiting.pop_first();
        let (_, device) = first.or_else(|| self.retrying.pop_first())?;
        Some(device)
    }

    /// Whoever was released and has the next turn.
    pub fn pop_released(&mut self) -> Option<DeviceKey> {
        self.released.pop_first().map(|(_, device)| device)
    }
}
