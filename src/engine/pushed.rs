//! Which stanzas a device was pushed for, or will be.

use std::collections::VecDeque;

use crate::stanza::StanzaId;

/// How many stanzas a device is known to have been pushed for. A stanza that is older was met
/// by all the rules long ago; `smacks_max_queue_size` is 500 by default.
pub(super) const MAX_PUSHED: usize = 640;

/// All that a stanza is recognised by.
pub(super) type Ids = [Option<StanzaId>; 2];

/// Stanzas, the latest [`MAX_PUSHED`] at least. Most have one identity, and none has more than two.
#[derive(Debug, Default)]
pub(super) struct Pushed(VecDeque<StanzaId>);

impl Pushed {
    pub fn contains(&self, id: StanzaId) -> bool {
        let (older, newer) = self.0.as_slices();
        newer.contains(&id) || older.contains(&id)
    }

    pub fn add(&mut self, ids: Ids) {
        ids.into_iter().flatten().for_each(|id| self.add_one(id));
    }

    pub fn remove(&mut self, ids: Ids) {
        self.0.retain(|id| !ids.contains(&Some(*id)));
    }

    pub fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|id| self.add_one(id));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<StanzaId>()
    }

    fn add_one(&mut self, id: StanzaId) {
        if self.contains(id) {
            return;
        }
        if self.0.len() == 2 * MAX_PUSHED {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: usize) -> StanzaId {
        StanzaId(u64::try_from(id).unwrap())
    }

    #[test]
    fn the_latest_are_known() {
        let mut pushed = Pushed::default();
        for n in 0..3 * MAX_PUSHED {
            pushed.add([Some(id(2 * n)), Some(id(2 * n + 1))]);
        }
        assert!(!pushed.contains(id(4 * MAX_PUSHED - 1)));
        for n in 4 * MAX_PUSHED..6 * MAX_PUSHED {
            assert!(pushed.contains(id(n)), "{n}");
        }
        assert!(pushed.bytes() <= 4 * MAX_PUSHED * size_of::<StanzaId>());
    }

    #[test]
    fn what_is_removed_is_not_known_any_more() {
        let mut pushed = Pushed::default();
        pushed.add([Some(id(1)), Some(id(2))]);
        pushed.add([Some(id(3)), None]);
        pushed.remove([Some(id(1)), Some(id(2))]);
        assert!(!pushed.contains(id(1)) && !pushed.contains(id(2)) && pushed.contains(id(3)));
    }

    #[test]
    fn two_become_one() {
        let (mut one, mut other) = (Pushed::default(), Pushed::default());
        one.add([Some(id(1)), None]);
        other.add([Some(id(1)), Some(id(2))]);
        one.append(other);
        assert_eq!(one.0, [id(1), id(2)]);
    }
}
