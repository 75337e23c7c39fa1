//! Pushes under way: sent, and not answered.

use std::collections::HashMap;
use std::time::Duration;

use super::about::About;
use super::identity::{PushId, ServiceKey};
use super::kept::Kept;
use crate::stanza::Importance;

/// How many pushes may wait for an answer, of all devices together and of one user's. One of each device
/// may always, and calls may take twice a user's share: whoever fills it delays nobody else.
pub(super) const MAX: usize = 65_536;
pub(super) const MAX_OF_USER: u32 = 256;

/// How much memory one takes, in bytes, with its places in tables.
const ENTRY: usize = 512;

/// A push that waits for its answer.
pub(super) struct InFlight<S> {
    pub service: ServiceKey,
    /// That of its device; none if another push has woken that meanwhile.
    pub epoch: Option<u64>,
    /// That of its device.
    pub generation: u64,
    /// When that came which it is for.
    pub since: Duration,
    pub sent: Duration,
    pub deadline: Duration,
    /// Stands for its user.
    pub user: u64,
    /// How many messages it tells of; 0 if there is nothing unread any more.
    pub count: u32,
    /// It carries content, so that it speaks for nothing else.
    pub content: bool,
    /// The registration is suspended, and this is to find out whether it works again.
    pub trial: bool,
    pub about: About,
    /// What it is for, to be pushed again if need be.
    pub stanza: Option<Kept<S>>,
}

impl<S> InFlight<S> {
    /// Whether it is for anything but to tell that nothing is unread any more.
    /// Whether the device is owed it if it is not taken: it is for more than to tell that nothing is unread any more.
    pub fn is_owed(&self) -> bool {
        self.count > 0 || self.trial || self.about.ids != [None, None]
    }

    pub fn attempt(&self, id: PushId) -> Attempt {
        Attempt {
            id,
            service: self.service,
            sent: self.sent,
            about: self.about,
            content: self.content,
            trial: self.trial,
        }
    }
}

/// A push that has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub id: PushId,
    pub service: ServiceKey,
    pub sent: Duration,
    pub about: About,
    pub content: bool,
    pub trial: bool,
}

impl Attempt {
    /// Whether a device that this push has woken learns of something that came, or was sent, at `at`, too.
    pub fn speaks_for(&self, at: Duration, importance: Importance) -> bool {
        !self.content && self.sent >= at && self.about.importance >= importance
    }
}

/// All pushes under way.
pub(super) struct PushesInFlight<S> {
    pushes: HashMap<PushId, InFlight<S>>,
    /// By user, as a keyed hash.
    pub of_users: HashMap<u64, u32>,
}

impl<S> Default for PushesInFlight<S> {
    fn default() -> Self {
        Self {
            pushes: HashMap::new(),
            of_users: HashMap::new(),
        }
    }
}

impl<S> PushesInFlight<S> {
    pub fn get(&self, id: PushId) -> Option<&InFlight<S>> {
        self.pushes.get(&id)
    }

    pub fn get_mut(&mut self, id: PushId) -> Option<&mut InFlight<S>> {
        self.pushes.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (PushId, &InFlight<S>)> {
        self.pushes.iter().map(|(id, push)| (*id, push))
    }

    pub fn contains(&self, id: PushId) -> bool {
        self.pushes.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.pushes.len()
    }

    /// Whether there is room for another one of a device that has one: a call takes it from its user alone.
    pub fn has_room(&self, user: u64, is_call: bool) -> bool {
        let of_user = self.of_user(user);
        if is_call {
            of_user < 2 * MAX_OF_USER
        } else {
            of_user < MAX_OF_USER && self.len() < MAX
        }
    }

    /// Whether a user has more than there may be.
    pub fn exceeds(&self, user: u64) -> bool {
        self.of_user(user) > 2 * MAX_OF_USER
    }

    fn of_user(&self, user: u64) -> u32 {
        self.of_users.get(&user).copied().unwrap_or(0)
    }

    pub fn insert(&mut self, id: PushId, push: InFlight<S>) {
        *self.of_users.entry(push.user).or_default() += 1;
        self.pushes.insert(id, push);
    }

    pub fn remove(&mut self, id: PushId) -> Option<InFlight<S>> {
        let push = self.pushes.remove(&id)?;
        if let Some(count) = self.of_users.get_mut(&push.user) {
            *count -= 1;
            if *count == 0 {
                self.of_users.remove(&push.user);
            }
        }
        Some(push)
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.pushes.len() * ENTRY
    }
}
