use std::time::Duration;

use super::*;
use crate::{
    api::{CredentialKind, PasswordHash},
    domain::{fingerprint::FingerprintKey, hashes::Password, identity::CredentialId},
};

fn key(namespace: &str, name: &str) -> HashKey {
    let kind = CredentialKind::BasicAuthCredential;
    let id = CredentialId { kind, namespace: namespace.into(), name: name.into() };
    HashKey { owner: id.owner(), namespace: namespace.into() }
}

/// Hashes that take no time: what counts is whose turn it is.
fn unhashed(users: usize, password: &str) -> Vec<Unhashed> {
    let names: Vec<String> = (0..users).map(|n| format!("user-{n}")).collect();
    let hash = PasswordHash::Sha1;
    let team: Vec<_> = names.iter().map(|user| Password { hash, user, password, existing: None }).collect();
    Hashes::default().plan(&FingerprintKey::new([1; 32]), &team, &[0; 32])
}

/// One place, and the namespaces of what was hashed, in that order.
struct Bench {
    hashing: Arc<Hashing>,
    order: Arc<Lock<Vec<Arc<str>>>>,
}

impl Bench {
    fn new() -> Self {
        let queues = Arc::new(Queues::default());
        let hashing = Arc::new(Hashing { places: Semaphore::new(1), ..Hashing::new(queues.clone()) });
        Self { hashing, order: Arc::default() }
    }

    fn run(&self) {
        let (hashing, order) = (self.hashing.clone(), self.order.clone());
        tokio::spawn(self.hashing.queues.hash.clone().run(async {}, move |key: HashKey, ()| {
            let (hashing, order) = (hashing.clone(), order.clone());
            async move {
                let namespace = key.namespace.clone();
                let next = hashing.work(key).await;
                order.write().push(namespace);
                next
            }
        }));
    }

    /// Waits until a credential is hashed; how many hashes.
    async fn finished(&self, key: &HashKey) -> usize {
        let mut hashes = Hashes::default();
        let done = async {
            while !self.hashing.collect(&key.owner, &mut hashes) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), done).await.expect("in time");
        hashes.texts().len()
    }

    fn of(&self, namespace: &str) -> usize {
        self.order.read().iter().filter(|of| &***of == namespace).count()
    }
}

/// Two tenants who have 1,000 credentials hashed each; a third one waits for a few hashes of theirs, not for all.
#[tokio::test]
async fn a_tenant_with_a_thousand_credentials_delays_another_by_a_few_hashes() {
    let bench = Bench::new();
    for n in 0..1000 {
        bench.hashing.begin(key("greedy", &n.to_string()), unhashed(5, "password"));
        bench.hashing.begin(key("busy", &n.to_string()), unhashed(5, "password"));
    }
    bench.run();
    let first = key("busy", "0");
    while bench.of("greedy") < 10 {
        tokio::task::yield_now().await;
    }
    let small = key("small", "web");
    let before = bench.of("greedy");
    bench.hashing.begin(small.clone(), unhashed(3, "password"));
    assert_eq!(bench.finished(&small).await, 3);
    let meanwhile = bench.of("greedy") - before;
    // Of 5,000: hashes that take no time go by while the queue, and this test, look who is next.
    assert!(meanwhile <= 200, "{meanwhile} hashes of another tenant came before three");
    // Within a namespace its credentials take turns, too: after 10 hashes none has had two.
    let mut hashes = Hashes::default();
    bench.hashing.collect(&first.owner, &mut hashes);
    assert!(hashes.texts().len() <= 1, "one credential has had {}", hashes.texts().len());
}

/// Work that a newer spec or source has made useless would keep its place in the line.
#[tokio::test]
async fn what_is_replaced_or_forgotten_is_not_hashed_any_more() {
    let bench = Bench::new();
    let (web, gone) = (key("team", "web"), key("team", "gone"));
    bench.hashing.begin(web.clone(), unhashed(5_000, "old-password"));
    bench.hashing.begin(gone.clone(), unhashed(5_000, "old-password"));
    bench.run();
    while bench.of("team") < 4 {
        tokio::task::yield_now().await;
    }
    bench.hashing.begin(web.clone(), unhashed(2, "new-password"));
    bench.hashing.forget(&gone.owner);
    assert_eq!(bench.finished(&web).await, 2, "hashes of the old password were handed out");
    assert!(bench.of("team") < 500, "{} hashes", bench.of("team"));
    assert!(bench.finished(&gone).await == 0 && bench.hashing.queues.credential.depth() == 1);
}

/// The end of the process does not wait for what is in the line.
#[tokio::test]
async fn nothing_is_begun_once_the_queue_is_closed() {
    let bench = Bench::new();
    for n in 0..100 {
        bench.hashing.begin(key(&n.to_string(), "web"), unhashed(1, "password"));
    }
    bench.hashing.queues.close();
    let next = bench.hashing.clone().work(key("7", "web")).await;
    assert_eq!(next, Next::Done);
    assert!(!bench.hashing.collect(&key("7", "web").owner, &mut Hashes::default()));
}
