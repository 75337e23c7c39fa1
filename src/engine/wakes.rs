//! When devices are woken whose hibernated sessions are about to end.

use std::collections::HashMap;
use std::time::Duration;

use super::identity::{DeviceKey, DeviceName};

/// One for each device.
#[derive(Debug, Default)]
pub(super) struct Wakes(HashMap<DeviceKey, (Duration, DeviceName)>);

impl Wakes {
    /// Takes the place of an earlier one; returns when that was.
    pub fn set(&mut self, key: DeviceKey, at: Duration, device: DeviceName) -> Option<Duration> {
        self.0.insert(key, (at, device)).map(|(at, _)| at)
    }

    pub fn take(&mut self, key: DeviceKey) -> Option<(Duration, DeviceName)> {
        self.0.remove(&key)
    }

    /// Those of a user.
    pub fn of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = DeviceKey> + 'a {
        let own = move |(key, (_, device)): (&DeviceKey, &(Duration, DeviceName))| {
            (&*device.user == user).then_some(*key)
        };
        self.0.iter().filter_map(own)
    }
}
