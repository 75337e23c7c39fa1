//! What the model has seen for a user's devices, as the trail has to tell it.

use std::time::Duration;

use cloud_notify::engine::{Entry, Event, Reason, Silence};
use cloud_notify::stanza::Importance;

/// How many entries a trail has.
const MAX: usize = 32;

/// What has happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    identifier: String,
    since: Duration,
    at: Duration,
    count: u32,
    event: Event,
}

/// All of that, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Notes(Vec<Noted>);

impl Notes {
    /// Something has happened. What is silent for the same reason as before, with nothing but silence in between,
    /// is no news.
    pub fn add(&mut self, now: Duration, identifier: &str, event: Event) {
        let silence = silence(&event);
        let mut place = None;
        for (index, noted) in self.0.iter().enumerate() {
            if noted.identifier != identifier {
                continue;
            }
            if self::silence(&noted.event).is_none() {
                place = None;
            } else if silence == self::silence(&noted.event) {
                place = Some(index);
            }
        }
        if let Some(place) = place.filter(|_| silence.is_some()) {
            let noted = &mut self.0[place];
            (noted.at, noted.count, noted.event) = (now, noted.count + 1, event);
            return;
        }
        self.0.push(Noted {
            identifier: identifier.into(),
            since: now,
            at: now,
            count: 1,
            event,
        });
        if self.0.len() > MAX {
            self.0.remove(0);
        }
    }

    /// What has been told, if it is not what was noted but for one event more of this device.
    pub fn one_more(&self, told: &[Entry<'_>], now: Duration, identifier: &str) -> Option<Event> {
        let last = told.last()?;
        let is_new = !self.is(told) && last.at == now && last.identifier == identifier;
        is_new.then_some(last.event)
    }

    /// Whether this is told.
    pub fn is(&self, told: &[Entry<'_>]) -> bool {
        self.in_order() == told.iter().map(Noted::of).collect::<Vec<_>>()
    }

    /// As they are told: those that happened last at the end.
    pub fn in_order(&self) -> Vec<Noted> {
        let mut notes = self.0.clone();
        notes.sort_by_key(|noted| noted.at);
        notes
    }
}

impl Noted {
    fn of(entry: &Entry<'_>) -> Self {
        Self {
            identifier: entry.identifier.into(),
            since: entry.since,
            at: entry.at,
            count: entry.count,
            event: entry.event,
        }
    }
}

/// By which rule, why, and of how much importance.
fn silence(event: &Event) -> Option<(String, Silence, Option<Importance>)> {
    match event {
        Event::Met {
            rule,
            stanza,
            reason: Reason::Silent(silence),
        } => Some((
            format!("{rule:?}"),
            *silence,
            stanza.map(|(importance, _)| importance),
        )),
        _ => None,
    }
}
