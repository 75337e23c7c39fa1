//! What users have said in rooms, which send it back to all.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use crate::stanza::StanzaId;

/// How many messages of a host's users are known: the last ones.
pub(super) const MAX_SAID: usize = 65_536;

/// For how long a room may take to send one back.
const MAX_AGE: Duration = Duration::from_hours(1);

/// Messages to rooms, see [`StanzaId::said`], and when they were sent.
pub(super) struct Said(LruCache<StanzaId, Duration>);

impl Default for Said {
    fn default() -> Self {
        Self(LruCache::sparse(NonZeroUsize::MAX))
    }
}

impl Said {
    /// A message is on its way to a room.
    pub fn add(&mut self, now: Duration, id: StanzaId) {
        self.0.put(id, now);
        while let Some((_, at)) = self.0.peek_lru()
            && (self.0.len() > MAX_SAID || now > *at + MAX_AGE)
        {
            self.0.pop_lru();
        }
    }

    /// Whether it is one that a user has sent.
    pub fn has(&self, now: Duration, id: StanzaId) -> bool {
        self.0.peek(&id).is_some_and(|at| now <= *at + MAX_AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: usize) -> StanzaId {
        StanzaId(u64::try_from(id).unwrap())
    }

    #[test]
    fn the_last_are_known_for_an_hour() {
        let mut said = Said::default();
        let start = Duration::from_hours(1);
        said.add(start, id(0));
        assert!(said.has(start + MAX_AGE, id(0)) && !said.has(start, id(1)));
        assert!(!said.has(start + MAX_AGE + Duration::from_secs(1), id(0)));
        for n in 1..=MAX_SAID {
            said.add(start, id(n));
        }
        assert!(!said.has(start, id(0)) && said.has(start, id(1)));
        assert_eq!(said.0.len(), MAX_SAID);
        said.add(start + 2 * MAX_AGE, id(0));
        assert_eq!(said.0.len(), 1, "what is old takes no room");
    }
}
