//! Pushes to a service that answers errors alone: which of its failures are in a row.

/// The place of a push among those to a service that answers errors alone, and that of the one before: each is greater
/// than the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub place: u64,
    pub after: u64,
}

/// The pushes to one such service.
#[derive(Debug, Default)]
pub(super) struct Silent {
    under_way: usize,
    /// The place of the one that left last, and of the last one that has failed.
    last: u64,
    last_failed: Option<u64>,
}

impl Silent {
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// A push leaves; its place, if errors alone are answered. Returns that of the one before.
    pub fn sent(&mut self, place: Option<u64>) -> u64 {
        self.under_way += usize::from(place.is_some());
        let before = self.last;
        self.last = place.unwrap_or(before);
        before
    }

    pub fn settled(&mut self, is_silent: bool) {
        self.under_way = self.under_way.saturating_sub(usize::from(is_silent));
    }

    /// Whether a push has left between the last that has failed and this one, for which no error has come: errors come
    /// in the order of the pushes, so it has been taken.
    pub fn is_broken_by(&self, row: Row) -> bool {
        self.last_failed.is_some_and(|last| row.after > last)
    }

    pub fn failed(&mut self, row: Row) {
        self.last_failed = self.last_failed.max(Some(row.place));
    }

    /// What has failed before is not in a row with what fails from now on.
    pub fn begin_row(&mut self) {
        self.last_failed = None;
    }
}
