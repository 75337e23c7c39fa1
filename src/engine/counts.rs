//! How often what has happened, for metrics. Nothing here knows of a user or a node, and there are only so many labels.

use super::answer::{CONDITIONS, Outcome};
use super::latencies::Latencies;
use super::reason::{Cause, Reason, Rule, Silence};
use super::trail::Event;
use crate::stanza::Importance;

/// How a registration is notified.
const PROTOCOLS: [&str; 2] = ["push0", "push2"];

/// By what a push has come about.
const RULES: [&str; 13] = [
    "unacked",
    "archived",
    "undelivered",
    "offline",
    "room",
    "sent",
    "away",
    "subscription",
    "waiting",
    "ping",
    "before-timeout",
    "on-start",
    "read",
];
const WAITING: usize = 8;
const PING: usize = 9;
const READ: usize = 12;

/// A listener has vetoed a push: a reason for silence besides the engine's own.
const VETOED: usize = Silence::ALL.len();

/// So is that registrations could not be read when a stanza came.
const BLIND: usize = VETOED + 1;

/// A registration could not be read: a cause to wait besides the engine's own.
const UNREADABLE: usize = Cause::ALL.len();

/// Besides the conditions of errors: a result, and no answer in time.
const NO_ERROR: usize = CONDITIONS.len();
const NO_ANSWER: usize = CONDITIONS.len() + 1;

/// A counter or a gauge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Its name.
    pub name: &'static str,
    /// The values of its labels.
    pub labels: Vec<&'static str>,
    /// What it has grown by, or its value.
    pub value: u64,
}

/// What has been counted since it was taken.
#[derive(Default)]
pub(super) struct Counts {
    pushes: [[[u64; Importance::ALL.len()]; RULES.len()]; PROTOCOLS.len()],
    silences: [u64; Silence::ALL.len() + 2],
    holds: [u64; Cause::ALL.len() + 1],
    answers: [[u64; CONDITIONS.len() + 2]; Outcome::ALL.len()],
    pub latencies: Latencies,
}

impl Counts {
    /// So many times, for a registration of push2 or of XEP-0357.
    pub fn add(&mut self, event: &Event, times: u32, is_push2: bool) {
        let times = u64::from(times);
        let protocol = usize::from(is_push2);
        let mut decided = |rule, importance, reason| {
            self.decided((protocol, rule), importance, reason, times);
        };
        match *event {
            Event::Met {
                rule,
                stanza,
                reason,
            } => {
                let importance = stanza.map(|(importance, _)| importance);
                decided(of_rule(rule), importance, reason);
            }
            Event::Turn {
                importance, reason, ..
            } => decided(WAITING, importance, reason),
            Event::Ping(occasion, reason) => {
                decided(PING + occasion as usize, None, reason);
            }
            Event::Read(reason) => decided(READ, None, reason),
            Event::Unreadable => self.holds[UNREADABLE] += times,
            Event::Vetoed(_) => self.silences[VETOED] += times,
            Event::Blind => self.silences[BLIND] += times,
            Event::Discreet | Event::Restored => {}
            Event::Answered {
                outcome,
                condition,
                after,
                ..
            } => {
                let condition = of_condition(outcome, condition);
                self.answers[of_outcome(outcome, condition) as usize][condition] += times;
                // Where there is no way to it, nobody has answered but our own server.
                let is_answer = condition != NO_ANSWER && !is_routing(condition);
                if let Some(after) = after.filter(|_| is_answer) {
                    self.latencies.add(after);
                }
            }
        }
    }

    fn decided(
        &mut self,
        (protocol, rule): (usize, usize),
        importance: Option<Importance>,
        reason: Reason,
        times: u64,
    ) {
        let importance = importance.unwrap_or(Importance::Unimportant);
        match reason {
            Reason::Pushed => self.pushes[protocol][rule][importance as usize] += times,
            Reason::Held { cause, .. } => self.holds[cause as usize] += times,
            Reason::Silent(silence) => self.silences[silence as usize] += times,
        }
    }

    /// Takes what has been counted. `all`: also what has not happened, but for answers, so that the first time that it
    /// does is seen as a change.
    pub fn take(&mut self, all: bool) -> Vec<Count> {
        let mut counts = Vec::new();
        let mut take = |name, labels: &[&'static str], count: &mut u64| {
            let value = std::mem::take(count);
            if value > 0 || all && name != "answers" {
                let labels = labels.to_vec();
                counts.push(Count {
                    name,
                    labels,
                    value,
                });
            }
        };
        for (protocol, counts) in PROTOCOLS.iter().zip(&mut self.pushes) {
            for (rule, counts) in RULES.iter().zip(counts) {
                for (importance, count) in Importance::ALL.iter().zip(counts) {
                    take("pushes", &[protocol, rule, importance.name()], count);
                }
            }
        }
        let silences = Silence::ALL.map(Silence::name);
        let silences = silences.iter().chain(&["vetoed", "unreadable"]);
        for (reason, count) in silences.zip(&mut self.silences) {
            take("silences", &[reason], count);
        }
        let causes = Cause::ALL.map(Cause::name);
        for (cause, count) in causes.iter().chain(&["unreadable"]).zip(&mut self.holds) {
            take("holds", &[cause], count);
        }
        let conditions = CONDITIONS.map(|condition| match condition {
            "undefined-condition" => "other",
            _ => condition,
        });
        let conditions = conditions.iter().chain(&["none", "no-answer"]);
        for (outcome, counts) in Outcome::ALL.iter().zip(&mut self.answers) {
            for (condition, count) in conditions.clone().zip(counts) {
                take("answers", &[outcome.name(), condition], count);
            }
        }
        counts
    }
}

fn of_rule(rule: Rule) -> usize {
    match rule {
        Rule::Unacked { .. } => 0,
        Rule::Archived => 1,
        Rule::Undelivered => 2,
        Rule::Offline => 3,
        Rule::Room => 4,
        Rule::Sent => 5,
        Rule::Away => 6,
        Rule::Subscription => 7,
    }
}

fn of_condition(outcome: Outcome, condition: Option<&str>) -> usize {
    let Some(condition) = condition else {
        let is_result = matches!(outcome, Outcome::Delivered | Outcome::Revived);
        return if is_result { NO_ERROR } else { NO_ANSWER };
    };
    let defined = CONDITIONS.iter().position(|defined| *defined == condition);
    defined.unwrap_or(NO_ERROR)
}

/// An error that says nothing of a registration, which has ended or been made anew, has been refused all the same.
fn of_outcome(outcome: Outcome, condition: usize) -> Outcome {
    if outcome == Outcome::Delivered && condition != NO_ERROR {
        Outcome::Refused
    } else {
        outcome
    }
}

fn is_routing(condition: usize) -> bool {
    matches!(
        CONDITIONS.get(condition),
        Some(&("remote-server-not-found" | "remote-server-timeout"))
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrayvec::ArrayString;

    use super::*;
    use crate::engine::Occasion;
    use crate::stanza::Label;

    fn pushed(rule: Rule, importance: Importance) -> Event {
        Event::Met {
            rule,
            stanza: Some((importance, Label::default())),
            reason: Reason::Pushed,
        }
    }

    fn answered(outcome: Outcome, condition: Option<&'static str>) -> Event {
        Event::Answered {
            outcome,
            condition,
            after: Some(Duration::from_secs(1)),
            owed: false,
        }
    }

    /// What an event is counted as, and for how many answers there are latencies then.
    fn counted(event: Event) -> (String, u32) {
        let mut counts = Counts::default();
        counts.add(&event, 1, false);
        let latencies = counts.latencies.take(9).iter().map(|one| one.count).sum();
        let taken = counts.take(false);
        assert_eq!(counts.take(false), []);
        let lines = taken.iter().map(|one| {
            let labels = one.labels.join(" ");
            format!("{} {labels} {}", one.name, one.value)
        });
        (lines.collect::<Vec<_>>().join("; "), latencies)
    }

    #[test]
    fn each_protocol_is_counted_by_itself() {
        let mut counts = Counts::default();
        counts.add(&pushed(Rule::Archived, Importance::Important), 2, true);
        let taken = counts.take(false);
        assert_eq!(taken[0].labels, ["push2", "archived", "important"]);
        assert_eq!((taken.len(), taken[0].value), (1, 2));
    }

    #[test]
    fn no_answer_has_no_latency() {
        let taken = Event::Answered {
            outcome: Outcome::Delivered,
            condition: None,
            after: None,
            owed: false,
        };
        assert_eq!(counted(taken), ("answers delivered none 1".into(), 0));
    }

    #[test]
    fn each_event_is_counted_once() {
        use Importance::{Important, Unimportant, Urgent};
        let held = Reason::Held {
            cause: Cause::Debt,
            until: None,
        };
        for (event, line) in [
            (
                pushed(Rule::Unacked { session: 3 }, Unimportant),
                "pushes push0 unacked unimportant 1",
            ),
            (
                pushed(Rule::Archived, Urgent),
                "pushes push0 archived urgent 1",
            ),
            (
                pushed(Rule::Undelivered, Important),
                "pushes push0 undelivered important 1",
            ),
            (
                pushed(Rule::Offline, Important),
                "pushes push0 offline important 1",
            ),
            (
                pushed(Rule::Room, Important),
                "pushes push0 room important 1",
            ),
            (
                pushed(Rule::Away, Important),
                "pushes push0 away important 1",
            ),
            (
                pushed(Rule::Subscription, Important),
                "pushes push0 subscription important 1",
            ),
            (
                Event::Turn {
                    importance: Some(Important),
                    trial: false,
                    reason: Reason::Pushed,
                },
                "pushes push0 waiting important 1",
            ),
            (
                Event::Ping(Occasion::Asked, Reason::Pushed),
                "pushes push0 ping unimportant 1",
            ),
            (
                Event::Ping(Occasion::Timeout, Reason::Pushed),
                "pushes push0 before-timeout unimportant 1",
            ),
            (Event::Ping(Occasion::Start, held), "holds debt 1"),
            (Event::Unreadable, "holds unreadable 1"),
            (Event::RETURNED, "silences returned 1"),
            (
                Event::unread(Rule::Archived, Silence::Online),
                "silences online 1",
            ),
            (Event::Vetoed(ArrayString::new()), "silences vetoed 1"),
            (Event::Blind, "silences unreadable 1"),
            (Event::Discreet, ""),
            (Event::Restored, ""),
        ] {
            assert_eq!(counted(event), (line.to_owned(), 0));
        }
    }

    #[test]
    fn answers_are_counted_by_outcome_and_condition() {
        for (outcome, condition, line, latencies) in [
            (Outcome::Delivered, None, "delivered none", 1),
            (Outcome::Revived, None, "revived none", 1),
            (Outcome::Failed, None, "failed no-answer", 0),
            (Outcome::Suspended, None, "suspended no-answer", 0),
            (
                Outcome::Failed,
                Some("remote-server-timeout"),
                "failed remote-server-timeout",
                0,
            ),
            (
                Outcome::Failed,
                Some("remote-server-not-found"),
                "failed remote-server-not-found",
                0,
            ),
            (
                Outcome::Failed,
                Some("resource-constraint"),
                "failed resource-constraint",
                1,
            ),
            (
                Outcome::Refused,
                Some("undefined-condition"),
                "refused other",
                1,
            ),
            (Outcome::Removed, Some("gone"), "removed gone", 1),
            (Outcome::Delivered, Some("gone"), "refused gone", 1),
        ] {
            let line = format!("answers {line} 1");
            assert_eq!(counted(answered(outcome, condition)), (line, latencies));
        }
    }

    #[test]
    fn all_that_may_happen_has_its_place() {
        for (i, silence) in Silence::ALL.into_iter().enumerate() {
            assert_eq!(silence as usize, i);
        }
        for (i, importance) in Importance::ALL.into_iter().enumerate() {
            assert_eq!(importance as usize, i);
        }
        for (i, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, i);
        }
        for (i, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, i);
        }
        let rules = [
            Rule::Unacked { session: 0 },
            Rule::Archived,
            Rule::Undelivered,
            Rule::Offline,
            Rule::Room,
            Rule::Sent,
            Rule::Away,
            Rule::Subscription,
        ];
        for rule in rules {
            assert_eq!(RULES[of_rule(rule)], rule.name());
        }
        for occasion in Occasion::ALL {
            assert_eq!(RULES[PING + occasion as usize], occasion.name());
        }
        // Statsd gives a meaning to anything else.
        let all = Counts::default().take(true);
        assert_eq!(all.len(), PROTOCOLS.len() * RULES.len() * 3 + 25 + 6);
        for label in all.iter().flat_map(|one| &one.labels) {
            let is_plain = |char: char| char.is_ascii_alphanumeric() || char == '-';
            assert!(label.chars().all(is_plain), "{label}");
        }
    }
}
