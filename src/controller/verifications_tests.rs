use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroizing;

use super::*;
use crate::{
    api::{CredentialKind, VerificationMode},
    domain::{
        fingerprint::FingerprintKey,
        reason::Reason,
        verification::{RegistryLogin, Rules, Server, Subject},
    },
    telemetry::Freshness,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A registry that says what it is told to, after a second.
struct Fake {
    says: Lock<Reason>,
    asked: AtomicUsize,
    /// How many are asked at the same time, now and at most.
    at_once: (AtomicUsize, AtomicUsize),
}

impl Fake {
    async fn verify(&self, _: Arc<Login>) -> Outcome {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once.1.fetch_max(now, Ordering::SeqCst);
        let reason = *self.says.read();
        wait(1).await;
        self.at_once.0.fetch_sub(1, Ordering::SeqCst);
        Outcome::new(reason, "says so")
    }
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

struct World {
    verifications: Arc<Verifications>,
    fake: Arc<Fake>,
    metrics: Arc<Metrics>,
}

impl World {
    /// With the queue at work.
    fn start(says: Reason) -> Self {
        let queues = Arc::new(Queues::default());
        let metrics = Arc::new(Metrics::new(Freshness::default()));
        let verifications = Arc::new(Verifications::new(false, queues.clone(), metrics.clone()));
        let (asked, at_once) = Default::default();
        let fake = Arc::new(Fake { says: Lock::new(says), asked, at_once });
        let (at_work, verifier) = (verifications.clone(), fake.clone());
        let work = move |key, ()| {
            let verifier = verifier.clone();
            at_work.clone().work(|login| async move { verifier.verify(login).await }, key)
        };
        tokio::spawn(queues.verification.clone().run(async {}, work));
        Self { verifications, fake, metrics }
    }

    fn says(&self, reason: Reason) {
        *self.fake.says.write() = reason;
    }

    fn asked(&self) -> usize {
        self.fake.asked.load(Ordering::SeqCst)
    }

    fn look(&self, name: &str, login: Login) -> Option<Found> {
        self.look_with(name, login, None, false)
    }

    fn look_with(&self, name: &str, login: Login, recorded: Option<Found>, anew: bool) -> Option<Found> {
        let login = KnownLogin::new(login, &FingerprintKey::new([1; 32]));
        self.verifications.look(&id(name), &[&login], |_| recorded.clone(), anew).remove(0)
    }

    fn reason(&self, name: &str, login: Login) -> Option<Reason> {
        Some(self.look(name, login)?.outcome.reason)
    }
}

fn id(name: &str) -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: "team".into(), name: name.into() }
}

/// What is asked of a repository by one account.
fn login(repository: &str) -> Login {
    login_with("pass", repository)
}

fn login_with(password: &str, repository: &str) -> Login {
    Login {
        key: "r.example.com".to_owned(),
        provider: "Custom".to_owned(),
        version: None,
        rules: Rules { mode: VerificationMode::Enforce, interval: 6 * HOUR },
        server: Server::parse("r.example.com").unwrap(),
        authorities: None,
        subject: Subject::Registry(RegistryLogin {
            username: Zeroizing::new("user".to_owned()),
            password: Zeroizing::new(password.to_owned()),
            repository: Some((repository.to_owned(), "latest".to_owned())),
            scaleway: None,
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_nothing_lets_no_refused_value_out() {
    let world = World::start(Reason::AuthenticationFailed);
    assert_eq!(world.look("reg", login("app")), None);
    wait(10).await;
    let refused = world.look("reg", login("app"));
    assert_eq!(world.reason("reg", login("app")), Some(Reason::AuthenticationFailed));
    world.says(Reason::RateLimited);
    wait(400).await;
    assert!(world.asked() > 1, "it was asked again");
    assert_eq!(world.look("reg", login("app")), refused);
    world.says(Reason::Authenticated);
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.reason("reg", login("app")), Some(Reason::Authenticated));
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_is_asked_at_once_only_where_the_registry_had_no_opinion() {
    for (reason, asked) in [
        (Reason::AccessDenied, 0),
        (Reason::NotDistinguishable, 0),
        (Reason::RateLimited, 1),
        (Reason::RegistryNotAllowed, 1),
    ] {
        let world = World::start(Reason::RegistryNotAllowed);
        let recorded = Found { outcome: Outcome::new(reason, "said so"), at: Timestamp::now() };
        let looked = world.look_with("reg", login("app"), Some(recorded.clone()), false);
        wait(60).await;
        assert_eq!((looked, world.asked()), (Some(recorded), asked), "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_shown_once_whatever_it_is_wanted_for() {
    let world = World::start(Reason::AuthenticationFailed);
    let all = ["one", "two", "three", "four"];
    for name in all {
        assert_eq!(world.look(name, login(name)), None);
    }
    wait(20).await;
    for name in all {
        assert_eq!(world.reason(name, login(name)), Some(Reason::AuthenticationFailed), "{name}");
    }
    assert_eq!(world.asked(), 1);
    // A credential that comes later, also after all others have gone, and one that a person wants to know about.
    for name in all {
        world.verifications.forget(&id(name).owner());
    }
    let known = world.look_with("later", login("later"), None, true);
    assert_eq!(known.map(|found| found.outcome.reason), Some(Reason::AuthenticationFailed));
    for _ in 0..10 {
        world.look_with("later", login("later"), None, true);
        wait(10).await;
    }
    assert_eq!(world.asked(), 1, "150 s have not passed");
    // Then it is asked for one of them at a time.
    for name in all {
        world.look(name, login(name));
    }
    wait(300).await;
    assert_eq!(world.asked(), 2);
    // Nothing else that is said takes it back but that it is accepted.
    world.says(Reason::RateLimited);
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.reason("new", login("new")), Some(Reason::AuthenticationFailed));
    world.says(Reason::Authenticated);
    tokio::time::sleep(HOUR / 2).await;
    for name in all {
        assert_eq!(world.reason(name, login(name)), Some(Reason::Authenticated), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_has_a_refused_account_asked_every_five_minutes_at_most() {
    let world = World::start(Reason::AuthenticationFailed);
    let recorded =
        Found { outcome: Outcome::new(Reason::AuthenticationFailed, "said so"), at: Timestamp::now() };
    world.look_with("reg", login("app"), Some(recorded), true);
    let began = Instant::now();
    while began.elapsed() < HOUR {
        world.look_with("reg", login("app"), None, true);
        wait(10).await;
    }
    // The first wait is 150 s at least, and all are 300 s at most.
    assert!((11..=13).contains(&world.asked()), "{}", world.asked());
}

#[tokio::test(start_paused = true)]
async fn one_account_is_asked_once_at_a_time_and_nobody_polls() {
    let world = World::start(Reason::RateLimited);
    for name in ["one", "two", "three"] {
        world.look(name, login(name));
    }
    wait(10).await;
    assert_eq!((world.asked(), world.fake.at_once.1.load(Ordering::SeqCst)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn each_try_is_counted() {
    let world = World::start(Reason::Authenticated);
    world.look("reg", login("app"));
    wait(10).await;
    let counted = world.metrics.encode();
    let line = "claviger_verifications_total{provider=\"Custom\",outcome=\"Authenticated\"} 1";
    assert!(counted.lines().any(|counted| counted == line), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_know_during_a_try_gets_another_one() {
    let world = World::start(Reason::Authenticated);
    world.look("reg", login("app"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.look_with("reg", login("app"), None, true);
    wait(5).await;
    assert_eq!(world.asked(), 1);
    wait(10).await;
    assert_eq!(world.asked(), 2);
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_number_of_wrong_logins_makes_it_large() {
    let world = World::start(Reason::AuthenticationFailed);
    for n in 0..MAX_REFUSALS + 10 {
        let recorded =
            Found { outcome: Outcome::new(Reason::AuthenticationFailed, "said so"), at: Timestamp::now() };
        let login = login_with(&format!("password-{n}"), "app");
        world.look_with("reg", login, Some(recorded), false);
    }
    assert!(world.verifications.state.read().refusals.0.len() <= MAX_REFUSALS);
}
