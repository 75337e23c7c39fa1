//! Pushes under way: sent, and not answered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::time::Duration;

use super::about::About;
use super::identity::{ClientKey, PushId, ServiceKey};
use super::kept::{Keeper, Kept, MAX_KEPT};
use super::silent::Row;
use crate::stanza::Importance;

/// How many pushes may wait for an answer, of all devices together and of one user's. One of each device
/// may always, and calls may take twice a user's share: whoever fills it delays nobody else. As many more may wait for
/// an error that seldom comes.
pub(super) const MAX: usize = 65_536;
pub(super) const MAX_OF_USER: u32 = 256;

/// How much memory one takes, in bytes, with its places in tables.
const ENTRY: usize = 512;

/// The place of a push among those to a client: each is greater than the last.
pub(super) type OfClient = (ClientKey, u64);

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
    /// Its place among the pushes to its client, if its service answers errors alone.
    pub client: Option<OfClient>,
    /// What has left for that service before it: the place of that push.
    pub after: u64,
    /// Its time is over before the time: it does not count any more.
    pub is_over: bool,
    pub about: About,
    /// What it is for, to be pushed again if need be.
    pub stanza: Option<Kept<S>>,
}

impl<S> InFlight<S> {
    /// Whether no answer means that it is taken.
    pub fn is_silent(&self) -> bool {
        self.client.is_some()
    }

    /// Whether the device is owed it if it is not taken: it is for more than to tell that nothing is unread any more.
    pub fn is_owed(&self) -> bool {
        self.count > 0 || self.trial || self.about.ids != [None, None]
    }

    /// Its place in the row of pushes to a service that answers errors alone, and that of the one before.
    pub fn row(&self) -> Option<Row> {
        let (_, place) = self.client?;
        let after = self.after;
        Some(Row { place, after })
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
    /// By user, as a keyed hash, and by whether no answer means that they are taken.
    pub of_users: HashMap<(u64, bool), u32>,
    /// Those for which it does, in the order in which they left for a client.
    pub of_clients: BTreeMap<OfClient, PushId>,
    /// Those of them that were given stanzas to keep, in that order.
    keeping: VecDeque<PushId>,
    keeper: Keeper,
}

impl<S> Default for PushesInFlight<S> {
    fn default() -> Self {
        Self {
            pushes: HashMap::new(),
            of_users: HashMap::new(),
            of_clients: BTreeMap::new(),
            keeping: VecDeque::new(),
            keeper: Keeper::default(),
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

    /// Keeps what a push is for as long as there is room with `others`. Where errors alone are answered, they come soon
    /// if at all, and the last pushes may need theirs.
    pub fn keep(&mut self, id: PushId, stanza: S, others: &Keeper) {
        let Some(push) = self.pushes.get_mut(&id) else {
            return;
        };
        if !push.is_silent() {
            push.stanza = others.keep(stanza);
            return;
        }
        while self.keeping.len() >= MAX_KEPT || !self.keeper.has_room() {
            let Some(first) = self.keeping.pop_front() else {
                break;
            };
            if let Some(first) = self.pushes.get_mut(&first) {
                first.stanza = None;
            }
        }
        let kept = self.keeper.keep(stanza);
        if let Some(push) = self.pushes.get_mut(&id) {
            push.stanza = kept;
            self.keeping.push_back(id);
        }
    }

    /// The push that left last for a client.
    pub fn newest_for(&self, client: ClientKey) -> Option<PushId> {
        let all = (client, 0)..=(client, u64::MAX);
        self.of_clients.range(all).next_back().map(|(_, id)| *id)
    }

    /// Whether there is room for another one of a device that has one: a call takes it from its user alone.
    pub fn has_room(&self, user: u64, is_call: bool, is_silent: bool) -> bool {
        let of_user = self.of_user(user, is_silent);
        if is_call {
            return of_user < 2 * MAX_OF_USER;
        }
        let silent = self.of_clients.len();
        let of_all = if is_silent {
            silent
        } else {
            self.len() - silent
        };
        of_user < MAX_OF_USER && of_all < MAX
    }

    /// Whether a user has more than there may be.
    pub fn exceeds(&self, user: u64) -> bool {
        let mut kinds = [true, false].into_iter();
        kinds.any(|is_silent| self.of_user(user, is_silent) > 2 * MAX_OF_USER)
    }

    fn of_user(&self, user: u64, is_silent: bool) -> u32 {
        let of_user = self.of_users.get(&(user, is_silent));
        of_user.copied().unwrap_or(0)
    }

    /// Its time is over now. Returns when it would have been, unless it is already.
    pub fn hasten(&mut self, now: Duration, id: PushId) -> Option<Duration> {
        let push = self.pushes.get_mut(&id).filter(|push| !push.is_over)?;
        push.is_over = true;
        let kind = (push.user, push.is_silent());
        let deadline = mem::replace(&mut push.deadline, now);
        self.discount(kind);
        Some(deadline)
    }

    pub fn insert(&mut self, id: PushId, push: InFlight<S>) {
        let kind = (push.user, push.is_silent());
        *self.of_users.entry(kind).or_default() += 1;
        if let Some(place) = push.client {
            self.of_clients.insert(place, id);
        }
        self.pushes.insert(id, push);
    }

    pub fn remove(&mut self, id: PushId) -> Option<InFlight<S>> {
        let push = self.pushes.remove(&id)?;
        if !push.is_over {
            self.discount((push.user, push.is_silent()));
        }
        if let Some(place) = &push.client {
            self.of_clients.remove(place);
        }
        Some(push)
    }

    fn discount(&mut self, kind: (u64, bool)) {
        if let Some(count) = self.of_users.get_mut(&kind) {
            *count -= 1;
            if *count == 0 {
                self.of_users.remove(&kind);
            }
        }
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.pushes.len() * ENTRY
    }
}
