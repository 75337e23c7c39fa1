//! What metrics are made of.

use super::counts::Count;
use super::face::Engine;
use super::latencies::Latency;
use super::reason::Cause;

impl<S> Engine<S> {
    /// Takes what has been counted since the last time. `all`: also what has not happened.
    pub fn take_counts(&mut self, all: bool) -> Vec<Count> {
        self.witness.counts().take(all)
    }

    /// Takes how long answers took since the last time, of at most so many answers; whether there are more.
    pub fn take_latencies(&mut self, max: u32) -> (Vec<Latency>, bool) {
        let latencies = &mut self.witness.counts().latencies;
        let taken = latencies.take(max);
        (taken, !latencies.is_empty())
    }

    /// How it is now.
    pub fn gauges(&self) -> Vec<Count> {
        let gauge = |name, labels, value: usize| Count {
            name,
            labels,
            value: value as u64,
        };
        let mut waiting = [0; Cause::ALL.len()];
        for (_, device) in self.schedule.devices.iter() {
            if let Some(held) = device.held() {
                waiting[held.cause as usize] += 1;
            }
        }
        let waiting = Cause::ALL.iter().zip(waiting);
        let waiting = waiting.map(|(cause, count)| gauge("waiting", vec![cause.name()], count));
        let mut gauges = vec![
            gauge("in_flight", vec![], self.in_flight()),
            gauge("open_circuits", vec![], self.services_out().len()),
            gauge("trail", vec![], self.witness.trail().bytes()),
        ];
        gauges.extend(waiting);
        gauges
    }
}
