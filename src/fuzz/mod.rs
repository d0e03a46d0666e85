//! Property tests of every parser of foreign input: none panics, hangs, takes or keeps memory beyond what its input is
//! worth, or quotes a secret.
//!
//! `cargo test` runs a few cases of each. The long version, with `--nocapture` so that even a crash tells its seed:
//!
//! ```sh
//! CLAVIGER_FUZZ_CASES=100000 cargo test --config profile.dev.package.claviger.opt-level=1 --lib fuzz -- --nocapture
//! ```
//!
//! It also reads inputs as large as they can get; `cargo test` takes an eighth of that.
//!
//! A failure prints the seed of its case, and `CLAVIGER_FUZZ_SEED=<seed> CLAVIGER_FUZZ_CASES=1` runs it again. What was
//! found stays here as a test of its own. RSA keys cannot be made here, so `rsa.pem` has one, made for these tests alone.
//!
//! | input | from | parsers | properties in |
//! | --- | --- | --- | --- |
//! | user names, passwords, `.dockerconfigjson` | source Secret, pull Secrets of a Pod | `render/{value,registry}`, `registry/{facts,kubelet,key,keyring,docker_config}`, `pull` | `docker_config` |
//! | passwords; hashes that stand in a copy | source Secret, copy | `render/basic_auth`, `htpasswd` | `htpasswd` |
//! | access keys | source Secret | `render/object_storage` | `access_keys` |
//! | PEM and DER | source Secret, kubeconfig | `certificate`, `render/tls` | `certificates` |
//! | kubeconfig; Argo CD's cluster Secret, its name and labels | the operator's or a tool's namespace | `access`, `adoption`, `cluster/access` | `kubeconfig` |
//! | objects of lists and watches, also answers to writes | API servers, also hostile ones | `cluster/{guard,object,account,referrer,cache}`, `declared`, `pod_secrets`, `pod_status`, `workload`, `reference_fields`, `grants`, `api` | `frames` |
//! | refusals | API servers, also hostile ones | `cluster/error` | `frames` |
//! | labels and annotations | whoever can write a Secret, a ServiceAccount or a Namespace | `marks`, `attachment`, `identity`, `ownership`, `meta`, `labels`, `namespace`, `import` | `marks` |
//! | answers of registries and token servers | whoever a tenant names | `verification` | `registries` |
//! | answers of object storage | whoever a tenant names | `verification` | `buckets` |
//! | durations, names and labels of flags | the administrator | `cli/{duration,references,words}` | `flags` |
//!
//! Not here: what clap, hyper, rustls and kube read by themselves, before any line of ours.

// A case that hangs or overflows the stack ends the process, so its seed is told past the test runner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access_keys;
mod buckets;
mod certificates;
mod der;
mod docker_config;
pub(crate) mod generate;
mod htpasswd;
mod kubeconfig;
mod marks;
mod registries;

use std::{
    any::Any,
    cell::Cell,
    env,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

/// What stands in the secret places of inputs, and never in an error.
pub(crate) const CANARY: &str = "canary7f3a9c51canary";

/// How many cases `cargo test` runs of each property.
const CASES: u64 = 200;
/// A case that takes longer, also when it is tried again, is too slow.
const SLOW: Duration = Duration::from_secs(1);
/// A case that takes longer hangs.
const HANG: Duration = Duration::from_secs(60);
/// How much memory a case may take at once: so much, and so many times the size of its input. What a test makes of the
/// result counts too.
const MEMORY: (u64, u64) = (1 << 20, 32);
/// The same of a large input; a text that a kubeconfig repeats may take a few MiB.
const LARGE_MEMORY: (u64, u64) = (6 << 20, 32);
/// How much memory all cases of a property may leave behind: statics that are made when first used.
const LEFT_BEHIND: i64 = 256 << 10;

/// Runs a property with generated inputs, each of which is one more of a row of seeds.
pub(crate) fn check(
    inputs: impl Strategy<Value = Vec<u8>>,
    property: impl Fn(&[u8]) -> Result<(), TestCaseError>,
) {
    let cases: u64 = number("CLAVIGER_FUZZ_CASES").unwrap_or(CASES);
    let first: u64 = number("CLAVIGER_FUZZ_SEED").unwrap_or_else(rand::random);
    let left_behind = Cell::new(0);
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        let (began, begins) = channel();
        let watched = name.clone();
        scope.spawn(move || {
            let mut last = first;
            loop {
                match begins.recv_timeout(HANG) {
                    Ok(seed) => last = seed,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        say(&format!("{watched} hangs with CLAVIGER_FUZZ_SEED={last} CLAVIGER_FUZZ_CASES=1"));
                        std::process::exit(101);
                    }
                }
            }
        });
        // Sent to, it tells the watcher that a case begins; dropped, that all are through.
        let began: Sender<u64> = began;
        if cases > CASES {
            say(&format!("{name}: {cases} cases from CLAVIGER_FUZZ_SEED={first}"));
        }
        let start = Instant::now();
        for seed in (0..cases).map(|case| first.wrapping_add(case)) {
            let mut runner = runner(seed);
            let tree = inputs.new_tree(&mut runner).expect("an input");
            let done = runner.run_one(tree, |input| {
                let _ = began.send(seed);
                judge(&input, &property, &left_behind)
            });
            if let Err(error) = done {
                panic!("with CLAVIGER_FUZZ_SEED={seed} CLAVIGER_FUZZ_CASES=1: {}", told(error));
            }
        }
        if cases > CASES {
            say(&format!("{name}: {cases} cases in {:.0?}", start.elapsed()));
        }
    });
    let left_behind = left_behind.get();
    assert!(left_behind <= LEFT_BEHIND, "{left_behind} bytes are left behind from seed {first} on");
}

fn runner(seed: u64) -> TestRunner {
    let config = Config { failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Runs one case within its limits of time and memory.
fn judge(
    input: &[u8],
    property: &impl Fn(&[u8]) -> TestCaseResult,
    left_behind: &Cell<i64>,
) -> TestCaseResult {
    // On a busy machine a case may well wait for its turn; it is slow when it is so each time.
    for _ in 0..3 {
        let mut done: Result<TestCaseResult, Box<dyn Any + Send>> = Ok(Ok(()));
        let began = Instant::now();
        let memory = allocation_counter::measure(|| {
            done = catch_unwind(AssertUnwindSafe(|| property(input)));
        });
        let took = began.elapsed();
        match done {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(result) => result?,
        }
        left_behind.set(left_behind.get() + memory.bytes_current);
        let (fixed, each) = MEMORY;
        let allowed = fixed + each * input.len() as u64;
        prop_assert!(memory.bytes_max <= allowed, "took {} bytes of {allowed}", memory.bytes_max);
        if took <= SLOW {
            return Ok(());
        }
    }
    Err(TestCaseError::fail(format!("took longer than {SLOW:?}")))
}

fn told(error: TestError<Vec<u8>>) -> String {
    match error {
        TestError::Abort(reason) => reason.to_string(),
        TestError::Fail(reason, input) => {
            let shown: String = input.escape_ascii().map(char::from).take(4000).collect();
            format!("{reason}\ninput of {} bytes: {shown}", input.len())
        }
    }
}

/// Says something past the test runner, which keeps what is printed until the test ends.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn is_long() -> bool {
    number("CLAVIGER_FUZZ_CASES").is_some_and(|cases| cases > CASES)
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Reads inputs of growing size: the time must not grow as the square of the size, nor the memory beyond its limit.
pub(crate) fn grows_with_its_input(
    what: &str,
    size: usize,
    input: impl Fn(usize) -> Vec<u8>,
    read: impl Fn(&[u8]),
) {
    // What is done at once need not be compared.
    const AT_ONCE: Duration = Duration::from_millis(300);
    let measure = |input: Vec<u8>| {
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            let memory = allocation_counter::measure(|| read(&input));
            fastest = fastest.min(began.elapsed());
            let allowed = LARGE_MEMORY.0 + LARGE_MEMORY.1 * input.len() as u64;
            assert!(memory.bytes_max <= allowed, "{what}: {} bytes for {}", memory.bytes_max, input.len());
            if fastest < AT_ONCE {
                break;
            }
        }
        fastest
    };
    // The long version looks at the largest input that there can be.
    let size = if is_long() { size } else { size / 8 };
    let times = || (measure(input(size)), measure(input(size / 4)));
    // On a busy machine a large input may well have had less of it than a small one.
    let grows = |(large, small): (Duration, Duration)| large < AT_ONCE || large < small * 9;
    assert!((0..3).any(|_| grows(times())), "{what}: {:?} for all and for a quarter of it", times());
}

/// Fails when an error, as people or logs may show it, has a secret in it, or is endless.
pub(crate) fn tells_no_secret(error: &(impl std::fmt::Display + std::fmt::Debug)) -> TestCaseResult {
    let told = format!("{error} {error:?}");
    prop_assert!(!told.contains(CANARY), "{}", told);
    prop_assert!(told.len() < 64 << 10, "an error of {} bytes", told.len());
    Ok(())
}
