//! Stanzas that are kept in case they have to be pushed again.

use std::sync::Arc;

/// How many stanzas are kept for all devices together, and as many of pushes under way to services that answer errors
/// alone. A push without its stanza still wakes.
pub(super) const MAX_KEPT: usize = 4096;

/// Stanzas are kept as long as there is room.
#[derive(Debug, Default)]
pub(super) struct Keeper(Arc<()>);

/// A stanza that is kept.
#[derive(Debug)]
pub(super) struct Kept<S> {
    stanza: S,
    _room: Arc<()>,
}

impl Keeper {
    pub fn keep<S>(&self, stanza: S) -> Option<Kept<S>> {
        self.has_room().then(|| Kept {
            stanza,
            _room: self.0.clone(),
        })
    }

    pub fn has_room(&self) -> bool {
        Arc::strong_count(&self.0) <= MAX_KEPT
    }
}

impl<S> Kept<S> {
    pub fn into_stanza(self) -> S {
        self.stanza
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_be_kept_but_not_any_number() {
        let keeper = Keeper::default();
        let mut kept: Vec<_> = (0..MAX_KEPT).filter_map(|one| keeper.keep(one)).collect();
        assert_eq!(kept.len(), MAX_KEPT);
        assert!(keeper.keep(0).is_none());
        kept.pop();
        assert!(keeper.keep(0).is_some());
    }
}
