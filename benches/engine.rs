//! The engine alone: events per second, bytes per registration, the worst event, and the cost
//! against the number of users.
//!
//! `cargo bench`. What is counted rather than timed is printed first.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud_notify::engine::{
    Account, Answer, Connection, Decision, Engine, NotifyOn, Options, PushId, Registration,
    Session, Verdict,
};
use cloud_notify::stanza::{Facts, StanzaId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use minidom::Element;

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USERS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

const CHAT: &str = "<message xmlns='jabber:client' type='chat' from='romeo@away.test/phone' id='m1'>\
    <body>Are you coming to the orchard tonight?</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/>\
    <markable xmlns='urn:xmpp:chat-markers:0'/>\
    <request xmlns='urn:xmpp:receipts'/></message>";

const PRESENCE: &str = "<presence xmlns='jabber:client' from='romeo@away.test/phone' id='p1'>\
    <show>away</show></presence>";

/// As many users as one likes, each with one device, and the time.
struct Host {
    engine: Engine<u64>,
    users: Vec<(String, String)>,
    count: u64,
    now: Duration,
}

impl Host {
    fn new(users: usize) -> Self {
        Self {
            engine: Engine::new(Self::options()),
            users: (0..users)
                .map(|user| (format!("user{user}"), format!("push.test<node-of-{user}")))
                .collect(),
            count: 0,
            now: Duration::ZERO,
        }
    }

    fn options() -> Options {
        Options {
            max_per_minute: 0,
            max_in_flight: 65_536,
            ..Options::default()
        }
    }

    fn facts(&self, stanza: &str) -> Facts {
        let stanza: Element = stanza.parse().expect("a stanza");
        Facts::read(&stanza, "user@home.test", self.engine.key())
    }

    /// Another user each time, spread over all of them.
    fn next_user(&mut self) -> usize {
        self.count += 1;
        self.now += Duration::from_micros(100);
        usize::try_from(self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.users.len() as u64)
            .expect("a place")
    }

    fn archived(&mut self, user: usize, sessions: &[Session<'_>], facts: &Facts) -> Vec<Decision> {
        let (name, identifier) = &self.users[user];
        let account = Account {
            user: name,
            registrations: &[Registration {
                identifier,
                jid: "push.test",
                content: false,
                calls: false,
                left_out: None,
                suspended: None,
                client: None,
            }],
            sessions,
        };
        let archive_id = self.count.to_string();
        let id = StanzaId::archived(&archive_id, self.engine.key());
        self.engine.archived(self.now, &account, facts, id)
    }

    fn push(&mut self, user: usize, facts: &Facts) -> Option<PushId> {
        self.archived(user, &[], facts)
            .into_iter()
            .find_map(|decision| match decision.verdict {
                Verdict::Push(id) => Some(id),
                _ => None,
            })
    }

    /// Pushes to every user once.
    fn fill(&mut self) -> Facts {
        let facts = self.facts(CHAT);
        for user in 0..self.users.len() {
            self.count += 1;
            if let Some(id) = self.push(user, &facts) {
                self.answer(id);
            }
        }
        facts
    }

    fn push_and_answer(&mut self, facts: &Facts) {
        let user = self.next_user();
        if let Some(id) = self.push(user, facts) {
            self.answer(id);
        }
    }

    fn answer(&mut self, id: PushId) {
        let (now, id) = (self.now, id.to_string());
        black_box(self.engine.answered(now, &id, "push.test", Answer::Result));
    }
}

/// Every user has been pushed to once.
fn filled(users: usize) -> (Host, Facts) {
    let mut host = Host::new(users);
    let facts = host.fill();
    (host, facts)
}

/// What filling a host takes, in bytes.
fn filled_size(users: usize, trace: bool) -> usize {
    let mut host = Host::new(users);
    host.engine.configure(Options {
        trace,
        ..Host::options()
    });
    let before = IN_USE.load(Ordering::Relaxed);
    host.fill();
    IN_USE.load(Ordering::Relaxed) - before
}

fn print_sizes() {
    println!("registrations that were pushed to, bytes in the engine for each, and of all trails:");
    for users in USERS {
        let without = filled_size(users, false);
        let trails = filled_size(users, true) - without;
        #[expect(clippy::cast_precision_loss, reason = "it is printed")]
        let each = without as f64 / users as f64;
        println!("  {users:>9}  {each:>7.1}  {trails:>10}");
    }
}

/// The slowest of many events: what one event can delay all others by.
fn print_worst_event() {
    let (mut host, facts) = filled(1_000_000);
    let mut times: Vec<Duration> = (0..1_000_000)
        .map(|_| {
            let begin = Instant::now();
            host.push_and_answer(&facts);
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("a push and its answer, a million of them to a million registrations, microseconds:");
    // The very worst may be the machine's: it does other things as well.
    for (name, place) in [
        ("median", 500_000),
        ("99.9 %", 999_000),
        ("99.999 %", 999_990),
        ("worst", 999_999),
    ] {
        println!("  {name:>9}  {:>7.1}", times[place].as_secs_f64() * 1e6);
    }
}

fn against_users(c: &mut Criterion) {
    let mut group = c.benchmark_group("push and answer, users");
    group.throughput(Throughput::Elements(1));
    for users in USERS {
        let (mut host, facts) = filled(users);
        group.bench_function(BenchmarkId::from_parameter(users), |b| {
            b.iter(|| host.push_and_answer(&facts));
        });
    }
    group.finish();
}

fn events(c: &mut Criterion) {
    let (mut host, chat) = filled(10_000);
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));

    group.bench_function("archive, device live", |b| {
        b.iter(|| {
            let user = host.next_user();
            let identifier = host.users[user].1.clone();
            let live = Session {
                identifiers: [Some(&identifier), None],
                connection: Connection::Live {
                    ack_overdue: false,
                    available: true,
                },
            };
            black_box(host.archived(user, &[live], &chat));
        });
    });
    group.bench_function("facts of a message", |b| {
        let stanza: Element = CHAT.parse().expect("a stanza");
        b.iter(|| Facts::read(&stanza, "user@home.test", host.engine.key()));
    });
    group.bench_function("not wanted", |b| {
        let presence = host.facts(PRESENCE);
        host.engine.configure(Options {
            notify_on: NotifyOn::Important,
            ..Options::default()
        });
        b.iter(|| {
            let user = host.next_user();
            black_box(host.archived(user, &[], &presence));
        });
    });
    group.finish();
}

fn unanswered(c: &mut Criterion) {
    let mut group = c.benchmark_group("push, unanswered before");
    for outstanding in [0_usize, 1_000, 10_000, 30_000, 60_000] {
        let mut host = Host::new(10_000);
        let facts = host.facts(CHAT);
        for _ in 0..outstanding {
            let user = host.next_user();
            host.push(user, &facts);
        }
        group.bench_function(BenchmarkId::from_parameter(outstanding), |b| {
            b.iter(|| {
                host.now = Duration::from_secs(10); // or they would be given up
                host.push_and_answer(&facts);
            });
        });
    }
    group.finish();
}

fn numbers(_: &mut Criterion) {
    print_sizes();
    print_worst_event();
}

criterion_group!(benches, numbers, against_users, events, unanswered);
criterion_main!(benches);
