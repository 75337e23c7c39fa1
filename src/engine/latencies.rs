//! How long answers took, for a histogram.

use std::time::Duration;

/// The upper bounds of its buckets; the last bucket has none.
pub const BOUNDS: [Duration; 13] = [
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
];

/// Answers of one bucket: their number and mean are right, so that the bucket and the sum of the histogram are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// How long they took on average, in seconds.
    pub mean: f64,
    /// How many there were.
    pub count: u32,
}

/// How many of a bucket wait to be taken; more are left out. If nobody asks for long, it shall not be a burden once
/// somebody does.
const MAX: u32 = 1_000_000;

#[derive(Default, Clone, Copy)]
struct Bucket {
    count: u32,
    sum: Duration,
}

/// Those that nobody has taken yet. They take the same memory however many there are.
#[derive(Default)]
pub(super) struct Latencies([Bucket; BOUNDS.len() + 1]);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        let bucket = &mut self.0[BOUNDS.partition_point(|bound| *bound < latency)];
        if bucket.count < MAX {
            bucket.count += 1;
            bucket.sum += latency;
        }
    }

    /// Takes at most so many; the others stay for the next time.
    pub fn take(&mut self, max: u32) -> Vec<Latency> {
        let mut left = max;
        let mut taken = Vec::new();
        for (i, bucket) in self.0.iter_mut().enumerate() {
            let count = bucket.count.min(left);
            if count == 0 {
                continue;
            }
            let sum = if count == bucket.count {
                bucket.sum
            } else {
                bucket.sum / bucket.count * count
            };
            let mean = sum.as_secs_f64() / f64::from(count);
            let bound = BOUNDS.get(i).map_or(f64::INFINITY, Duration::as_secs_f64);
            taken.push(Latency {
                mean: mean.min(bound), // However it has been rounded
                count,
            });
            bucket.count -= count;
            bucket.sum -= sum;
            left -= count;
        }
        taken
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|bucket| bucket.count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn taken(latencies: &mut Latencies, max: u32) -> (Vec<u32>, f64) {
        let taken = latencies.take(max);
        let sum = taken.iter().map(|one| one.mean * f64::from(one.count));
        (taken.iter().map(|one| one.count).collect(), sum.sum())
    }

    #[test]
    fn counts_and_sums_are_right() {
        let mut latencies = Latencies::default();
        for latency in [0, 10, 10, 11, 25, 26, 120_000, 120_001, 300_000] {
            latencies.add(ms(latency));
        }
        let (counts, sum) = taken(&mut latencies, 100);
        assert_eq!(counts, [3, 2, 1, 1, 2]);
        assert!((sum - 540.083).abs() < 1e-9, "{sum}");
        assert!(latencies.is_empty());
        assert_eq!(latencies.take(100), []);
    }

    #[test]
    fn what_is_more_stays_and_stays_right() {
        let mut latencies = Latencies::default();
        for latency in 0..1000 {
            latencies.add(ms(latency));
        }
        let (mut count, mut sum) = (0, 0.0);
        while !latencies.is_empty() {
            let (counts, part) = taken(&mut latencies, 7);
            let taken: u32 = counts.iter().sum();
            assert!(taken <= 7);
            count += taken;
            sum += part;
        }
        assert_eq!(count, 1000);
        assert!((sum - 499.5).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn a_mean_stays_in_its_bucket() {
        for (i, bound) in BOUNDS.into_iter().enumerate() {
            let mut latencies = Latencies::default();
            for _ in 0..3 {
                latencies.add(bound);
                latencies.add(bound + Duration::from_nanos(1));
            }
            let taken = latencies.take(6);
            assert!(taken[0].mean <= bound.as_secs_f64(), "{i}");
            assert!(taken[1].mean > bound.as_secs_f64(), "{i}");
        }
    }
}
