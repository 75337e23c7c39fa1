//! Stanzas that come several times, without an identity that says so.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::time::Duration;

use crate::stanza::{Facts, Queued, StanzaId};

/// How many stanzas in queues of several sessions of one device are told apart.
pub(super) const MAX_TWINS: usize = 1024;

/// Clones are stamped within so many seconds.
const SECONDS: u64 = 1;

/// Two archive events belong to one note to self if they come within this time.
const ECHO: Duration = Duration::from_secs(1);

/// A stanza without an identity of its own, and the sessions that have it in their queues.
pub(super) struct Twin {
    id: StanzaId,
    second: i64,
    sessions: Vec<u64>,
}

/// The first copy of a note to self, as the archive announced it.
struct Echo {
    user: u64,
    content: Option<StanzaId>,
    id: StanzaId,
    at: Duration,
}

/// The copies that may still come.
#[derive(Default)]
pub(super) struct Copies {
    echo: Option<Echo>,
    pub twins: HashMap<StanzaId, VecDeque<Twin>>,
    pub twins_in_order: VecDeque<StanzaId>,
}

impl Copies {
    /// The identity that a stanza in the queue of `session` has been given in that of another session. Without
    /// one it gets `new_id`.
    pub fn twin(
        &mut self,
        Queued { content, second }: Queued,
        session: u64,
        new_id: impl FnOnce() -> StanzaId,
    ) -> StanzaId {
        let others = self.twins.get_mut(&content).into_iter().flatten();
        let clone = others
            .filter(|twin| second.abs_diff(twin.second) <= SECONDS)
            .filter(|twin| !twin.sessions.contains(&session))
            .min_by_key(|twin| second.abs_diff(twin.second));
        if let Some(twin) = clone {
            twin.sessions.push(session);
            return twin.id;
        }
        let id = new_id();
        if self.twins_in_order.len() == MAX_TWINS
            && let Some(oldest) = self.twins_in_order.pop_front()
            && let Entry::Occupied(mut twins) = self.twins.entry(oldest)
        {
            twins.get_mut().pop_front();
            if twins.get().is_empty() {
                twins.remove();
            }
        }
        self.twins_in_order.push_back(content);
        self.twins.entry(content).or_default().push_back(Twin {
            id,
            second,
            sessions: vec![session],
        });
        id
    }

    /// A note to self goes into the archive twice, under two ids. Returns the first id when the
    /// second one is announced. `user` stands for the account.
    pub fn first_copy(
        &mut self,
        now: Duration,
        user: u64,
        facts: &Facts,
        id: StanzaId,
    ) -> Option<StanzaId> {
        let first = self.echo.take().filter(|echo| {
            echo.user == user && echo.content == facts.content && now <= echo.at + ECHO
        });
        if first.is_none() {
            self.echo = Some(Echo {
                user,
                content: facts.content,
                id,
                at: now,
            });
        }
        first.map(|echo| echo.id)
    }
}
