//! All devices that are remembered, within bounds.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::device::Device;
use super::identity::DeviceKey;
use super::rate::Meter;

/// How many devices are remembered.
const MAX_DEVICES: usize = 131_072;

/// How much memory they may take together with all that there is for them, in bytes.
const MAX_BYTES: usize = 160 << 20;

/// What an entry takes besides what [`Device::bytes`] counts.
const ENTRY: usize = 64;

/// A device that nobody has asked for during this time is forgotten: whatever a stanza was waiting in, it
/// is gone by then (`push_max_hibernation_timeout` is three days by default).
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// For how many users it is remembered what registrations that have ended have got within the last minute.
const MAX_FORMER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// How many devices are looked at to find one that may be forgotten.
const MAX_SPARED: usize = 64;

/// The devices. The one not asked for for the longest time is forgotten first, one that is owed a
/// push last: what it loses is its error count and the knowledge of what it was pushed for.
pub(super) struct Devices<S> {
    known: LruCache<DeviceKey, (Device<S>, usize)>,
    /// What a user's registrations have got that have ended counts for the next one: nobody gets more by
    /// enabling again and again. By user, as a keyed hash.
    former: LruCache<u64, Meter>,
    bytes: usize,
    pub max_count: usize,
    max_bytes: usize,
}

impl<S> Default for Devices<S> {
    fn default() -> Self {
        Self {
            known: LruCache::sparse(NonZeroUsize::MAX),
            former: LruCache::sparse(MAX_FORMER),
            bytes: 0,
            max_count: MAX_DEVICES,
            max_bytes: MAX_BYTES,
        }
    }
}

impl<S> Devices<S> {
    pub fn get(&self, key: DeviceKey) -> Option<&Device<S>> {
        self.known.peek(&key).map(|(device, _)| device)
    }

    pub fn get_mut(&mut self, key: DeviceKey) -> Option<&mut Device<S>> {
        self.known.peek_mut(&key).map(|(device, _)| device)
    }

    /// The device, which is remembered from now on. It has been asked for. `owner` stands for its user.
    pub fn get_or_insert(
        &mut self,
        key: DeviceKey,
        now: Duration,
        owner: impl FnOnce() -> u64,
        new: impl FnOnce() -> Device<S>,
    ) -> &mut Device<S> {
        let former = &mut self.former;
        let (device, _) = self.known.get_or_insert_mut(key, || {
            let meter = former.pop(&owner()).unwrap_or_default();
            (Device { meter, ..new() }, 0)
        });
        device.touched = now;
        device
    }

    /// Forgets a device; `owner` stands for its user.
    pub fn remove(
        &mut self,
        key: DeviceKey,
        now: Duration,
        owner: impl FnOnce(&str) -> u64,
    ) -> Option<Device<S>> {
        let (device, measured) = self.known.pop(&key)?;
        self.bytes -= measured;
        if !device.meter.is_empty() {
            let former = self
                .former
                .get_or_insert_mut(owner(&device.user), Meter::default);
            former.absorb(now, &device.meter);
        }
        Some(device)
    }

    /// Forgets what devices of this user have got that are forgotten.
    pub fn forget_former(&mut self, owner: u64) {
        self.former.pop(&owner);
    }

    pub fn iter(&self) -> impl Iterator<Item = (DeviceKey, &Device<S>)> {
        self.known.iter().map(|(key, (device, _))| (*key, device))
    }

    /// Takes note of how large a device has become.
    pub fn measure(&mut self, key: DeviceKey) {
        if let Some((device, measured)) = self.known.peek_mut(&key) {
            let bytes = device.bytes() + ENTRY;
            self.bytes = self.bytes - *measured + bytes;
            *measured = bytes;
        }
    }

    /// A device that has to be forgotten, if there is one: too many are remembered, or for too long, or they
    /// take too much memory with what there is `besides`, in bytes.
    pub fn surplus(&mut self, now: Duration, besides: usize) -> Option<DeviceKey> {
        let is_full = self.known.len() > self.max_count || self.bytes + besides > self.max_bytes;
        let (_, (oldest, _)) = self.known.peek_lru()?;
        if !is_full && oldest.touched + MAX_AGE >= now {
            return None;
        }
        for _ in 0..MAX_SPARED {
            let (&key, (device, _)) = self.known.peek_lru()?;
            if !device.is_busy() {
                break;
            }
            // It asks for itself, so that the next look is at others.
            if let Some((device, _)) = self.known.get_mut(&key) {
                device.touched = now;
            }
        }
        let (&key, (device, _)) = self.known.peek_lru()?;
        let is_old = device.touched + MAX_AGE < now && !device.is_busy();
        (is_full || is_old).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::identity::PushId;
    use crate::engine::reason::Cause;
    use crate::engine::waiting::{Until, Waiting};
    use crate::stanza::StanzaId;

    fn devices(count: u64, now: Duration) -> Devices<()> {
        let mut devices = Devices::default();
        for key in 0..count {
            add(&mut devices, key, now);
        }
        devices
    }

    fn add(devices: &mut Devices<()>, key: u64, now: Duration) {
        let key = DeviceKey(key);
        devices.get_or_insert(key, now, || 1, || Device::new("anna", "push.test<n", 0));
        devices.measure(key);
    }

    fn make_busy(devices: &mut Devices<()>, key: u64) {
        let waiting = Waiting::new(Duration::ZERO, Until::Room, Cause::Room);
        devices.get_mut(DeviceKey(key)).unwrap().waiting = Some(waiting);
    }

    #[test]
    fn the_least_recent_goes_first_and_a_busy_one_last() {
        let now = Duration::from_hours(1);
        let mut devices = devices(3, now);
        assert_eq!(devices.surplus(now, 0), None);
        devices.max_bytes = devices.bytes - 1;
        assert_eq!(devices.surplus(now, 0), Some(DeviceKey(0)));
        add(&mut devices, 0, now);
        assert_eq!(devices.surplus(now, 0), Some(DeviceKey(1)));
        make_busy(&mut devices, 1);
        assert_eq!(devices.surplus(now, 0), Some(DeviceKey(2)));
        (0..3).for_each(|key| make_busy(&mut devices, key));
        assert!(
            devices.surplus(now, 0).is_some(),
            "the bound holds whatever waits"
        );
    }

    #[test]
    fn one_with_a_push_under_way_is_busy() {
        let now = Duration::from_hours(1);
        let mut devices = devices(2, now);
        let push = PushId {
            device: DeviceKey(0),
            nonce: 1,
        };
        let device = devices.get_mut(DeviceKey(0)).unwrap();
        device.in_flight.push(push);
        devices.max_bytes = devices.bytes - 1;
        assert_eq!(devices.surplus(now, 0), Some(DeviceKey(1)));
    }

    #[test]
    fn what_nobody_asks_for_during_a_week_goes() {
        let now = Duration::from_hours(1);
        let mut devices = devices(2, now);
        let week = now + Duration::from_hours(168);
        assert_eq!(devices.surplus(week, 0), None);
        make_busy(&mut devices, 0);
        let later = week + Duration::from_secs(1);
        assert_eq!(devices.surplus(later, 0), Some(DeviceKey(1)));
        devices.remove(DeviceKey(1), later, |_| 1);
        assert_eq!(devices.surplus(later, 0), None, "it is owed a push");
    }

    #[test]
    fn one_that_is_spared_does_not_cost_a_younger_one() {
        let now = Duration::from_hours(1);
        let mut devices = devices(1, now);
        make_busy(&mut devices, 0);
        let later = now + Duration::from_secs(1);
        add(&mut devices, 1, later);
        assert_eq!(devices.surplus(later + MAX_AGE, 0), None);
    }

    #[test]
    fn the_bounds_may_be_reached() {
        let now = Duration::from_hours(1);
        let mut devices = devices(3, now);
        devices.max_bytes = devices.bytes;
        devices.max_count = 3;
        assert_eq!(devices.surplus(now, 0), None);
        devices.max_count = 2;
        assert_eq!(devices.surplus(now, 0), Some(DeviceKey(0)));
    }

    #[test]
    fn memory_is_counted_as_it_grows_and_shrinks() {
        let mut devices = devices(1, Duration::ZERO);
        let before = devices.bytes;
        let device = devices.get_mut(DeviceKey(0)).unwrap();
        for id in 0..10_000 {
            device.pushed.add([Some(StanzaId(id)), None]);
        }
        devices.measure(DeviceKey(0));
        let grown = devices.bytes - before;
        assert!((1280 * 8..=4096 * 8).contains(&grown), "{grown}");
        devices.remove(DeviceKey(0), Duration::ZERO, |_| 1);
        assert_eq!(devices.bytes, 0);
    }

    /// Even if each device remembers as much as it can.
    #[test]
    fn a_host_takes_no_more_than_its_share() {
        let mut devices = Devices::<()> {
            max_bytes: MAX_BYTES / 512,
            ..Devices::default()
        };
        let user = "u".repeat(1023);
        for key in 0..40 {
            let key = DeviceKey(key);
            let identifier = "i".repeat(5120);
            let new = || Device::new(&user, &identifier, 0);
            let device = devices.get_or_insert(key, Duration::ZERO, || 1, new);
            for id in 0..1280 {
                device.pushed.add([Some(StanzaId(id)), None]);
            }
            devices.measure(key);
            while let Some(key) = devices.surplus(Duration::ZERO, 0) {
                devices.remove(key, Duration::ZERO, |_| 1);
            }
        }
        let actual: usize = devices.iter().map(|(_, one)| one.bytes() + ENTRY).sum();
        assert_eq!(actual, devices.bytes);
        assert!(actual <= MAX_BYTES / 512);
        assert!(devices.iter().count() > 10);
    }
}
