use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    api::CredentialKind,
    domain::token::{AccessKey, Cloud, Flow, Identity},
    telemetry::Freshness,
};

const LIFE: Duration = Duration::from_secs(3_600);

thread_local! {
    /// How far the clock of the machine has jumped, in the test of this thread.
    static JUMP: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A cloud on the clock of the test.
struct Fake {
    began: Instant,
    epoch: Timestamp,
    asked: AtomicUsize,
    is_down: AtomicBool,
    /// How many are asked at the same time, now and at most.
    at_once: (AtomicUsize, AtomicUsize),
}

impl Fake {
    fn now(&self) -> Timestamp {
        self.epoch + self.began.elapsed()
    }
}

impl Fake {
    async fn mint(&self) -> Result<Token, MintError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once.1.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.at_once.0.fetch_sub(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(MintError::new(Reason::CloudUnreachable, "down"));
        }
        let password = format!("token-{asked}").as_str().into();
        Ok(Token { username: "AWS".into(), password, expires: self.now() + LIFE, life: LIFE })
    }
}

struct World {
    minting: Arc<Minting>,
    fake: Arc<Fake>,
}

impl World {
    /// With the queue at work.
    fn start() -> Self {
        let queues = Arc::new(Queues::default());
        let prints = Arc::new(FingerprintKey::new([1; 32]));
        let metrics = Arc::new(Metrics::new(Freshness::default()));
        let mut minting = Minting::new(queues.clone(), prints, metrics);
        minting.clock = || Timestamp::now() + JUMP.get();
        let minting = Arc::new(minting);
        let (asked, is_down, at_once) = Default::default();
        let (began, epoch) = (Instant::now(), Timestamp::now());
        let fake = Arc::new(Fake { began, epoch, asked, is_down, at_once });
        let (at_work, clouds) = (minting.clone(), fake.clone());
        let work = move |key, ()| {
            let clouds = clouds.clone();
            at_work.clone().work(|_, _| async move { clouds.mint().await }, key)
        };
        tokio::spawn(queues.mint.clone().run(async {}, work));
        Self { minting, fake }
    }

    fn sync(&self, name: &str, secret: &str) -> Minted {
        self.sync_with(name, grant(secret), Some(true), None, false)
    }

    fn sync_with(
        &self,
        name: &str,
        grant: Grant,
        permitted: Option<bool>,
        recorded: Option<(Token, bool)>,
        anew: bool,
    ) -> Minted {
        let wanted = [("key".to_owned(), Wanted { grant, permitted, recorded })].into();
        self.minting.sync(&id(name), wanted, anew).remove("key").unwrap()
    }

    fn asked(&self) -> usize {
        self.fake.asked.load(Ordering::SeqCst)
    }
}

fn id(name: &str) -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: "team".into(), name: name.into() }
}

fn grant(secret: &str) -> Grant {
    let flow = Flow::Ecr { region: "eu-central-1".to_owned(), role: None, external_id: None };
    let key = AccessKey { id: "id".into(), secret: secret.into(), session: None };
    Grant { flow, identity: Identity::AccessKey(key), secret_version: None, authorities: None }
}

#[tokio::test(start_paused = true)]
async fn no_copy_holds_an_expired_token_while_minting_works_for_a_dozen_expiries() {
    let world = World::start();
    assert_eq!(world.sync("reg", "s"), Minted { token: None, error: None });
    let mut copy: Option<Arc<Token>> = None;
    let (mut seen, began) = (0, Instant::now());
    while began.elapsed() < 13 * LIFE {
        // The credential loop, which is woken by each change.
        let minted = world.sync("reg", "s");
        if minted.token.is_some() && minted.token != copy {
            copy = minted.token;
            seen += 1;
        }
        if began.elapsed() > Duration::from_secs(10) {
            let left = copy.as_ref().unwrap().left(world.fake.now());
            assert!(left > LIFE.mul_f64(0.1), "{left:?} left after {:?}", began.elapsed());
        }
        // For a quarter of a life it is down, again and again.
        let is_down = began.elapsed().as_secs() % 4_000 > 3_100;
        world.fake.is_down.store(is_down, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    assert!(world.asked() > seen, "it was down when it was asked");
    assert!((12..40).contains(&seen), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn of_one_identity_there_is_one_token_whoever_wants_it() {
    let world = World::start();
    for n in 0..50 {
        world.sync(&format!("reg-{n}"), "same");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.asked(), 1);
    let tokens: Vec<_> = (0..50).map(|n| world.sync(&format!("reg-{n}"), "same").token.unwrap()).collect();
    assert!(tokens.iter().all(|token| Arc::ptr_eq(token, &tokens[0])));
    assert_eq!(world.minting.changes(&id("reg-7").owner()), 1);
    // Another identity has its own, and those of one namespace do not take all places.
    for n in 0..50 {
        world.sync(&format!("other-{n}"), &format!("s{n}"));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.asked(), 51);
    assert!(world.fake.at_once.1.load(Ordering::SeqCst) <= crate::domain::schedule::MINTS_PER_NAMESPACE);
    // What nobody wants is not minted any more, and nothing of it is kept.
    for n in 0..50 {
        world.minting.forget(&id(&format!("reg-{n}")).owner());
        world.minting.forget(&id(&format!("other-{n}")).owner());
    }
    tokio::time::sleep(2 * LIFE).await;
    assert_eq!(world.asked(), 51);
    let state = world.minting.state.read();
    let entries = &state.entries;
    assert!(entries.items.is_empty() && entries.by_owner.is_empty() && state.changes.is_empty());
}

fn earlier(world: &World) -> Token {
    let left = Duration::from_secs(1_000);
    Token { username: "AWS".into(), password: "earlier".into(), expires: world.fake.now() + left, life: left }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_earlier_process_is_good_for_the_rest_of_its_life() {
    let world = World::start();
    let recorded = Some((earlier(&world), true));
    let minted = world.sync_with("reg", grant("s"), Some(true), recorded, false);
    assert_eq!(minted.token.unwrap().password.text(), "earlier");
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(world.asked(), 0, "a restart mints nothing");
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.asked(), 1, "at half of what is left");
    // One that could not be renewed is tried at once, and stays meanwhile.
    let recorded = Some((earlier(&world), false));
    let minted = world.sync_with("other", grant("t"), Some(true), recorded, false);
    assert_eq!(minted.token.unwrap().password.text(), "earlier");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_person_may_have_a_new_token_but_not_many() {
    let world = World::start();
    world.sync("reg", "s");
    tokio::time::sleep(Duration::from_secs(30)).await;
    for _ in 0..20 {
        world.sync_with("reg", grant("s"), Some(true), None, true);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = world.asked();
    assert!((2..=5).contains(&asked), "{asked}");
    // One that others have, too, is not changed by the wish of one.
    world.sync("other", "s");
    world.sync_with("reg", grant("s"), Some(true), None, true);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn the_identity_of_the_operator_is_used_as_long_as_consent_lasts_and_its_last_token_stays() {
    let world = World::start();
    let own = || Grant { identity: Identity::Operator(Cloud::Aws), ..grant("") };
    let sync = |permitted| world.sync_with("reg", own(), permitted, None, false);
    let hour = || tokio::time::sleep(LIFE);
    assert_eq!(sync(Some(false)).error.unwrap().reason, Reason::IdentityNotPermitted);
    assert_eq!(sync(None).error.unwrap().reason, Reason::IdentityNotPermitted, "nobody has allowed it");
    hour().await;
    assert_eq!(world.asked(), 0, "nothing is asked without consent");
    assert!(sync(Some(true)).error.is_none());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let token = sync(None).token.unwrap();
    assert!(sync(None).error.is_none(), "a policy that cannot be read takes nothing away");
    let minted = sync(Some(false));
    assert_eq!((minted.token, minted.error.unwrap().reason), (Some(token), Reason::IdentityNotPermitted));
    let asked = world.asked();
    hour().await;
    assert_eq!(world.asked(), asked);
    assert!(sync(Some(true)).error.is_none());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.asked(), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_consent_is_given_no_token_that_others_have() {
    let world = World::start();
    let own = || Grant { identity: Identity::Operator(Cloud::Aws), ..grant("") };
    world.sync_with("ours", own(), Some(true), None, false);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(world.sync_with("ours", own(), Some(true), None, false).token.is_some());
    let minted = world.sync_with("theirs", own(), Some(false), None, true);
    assert_eq!((minted.token, minted.error.unwrap().reason), (None, Reason::IdentityNotPermitted));
    // What they had before a restart stays until its end, and is nobody else's.
    let recorded = Some((earlier(&world), true));
    let minted = world.sync_with("before", own(), Some(false), recorded, false);
    assert_eq!(minted.token.unwrap().password.text(), "earlier");
    let ours = world.sync_with("ours", own(), Some(true), None, false).token.unwrap();
    assert_eq!((ours.password.text(), world.asked()), ("token-0", 1));
}

/// A machine that was asleep: the timers stood still, and the clock went on.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed_before_the_token_ends() {
    let world = World::start();
    let token = || Token { expires: world.fake.now() + 12 * LIFE, life: 12 * LIFE, ..earlier(&world) };
    world.sync_with("reg", grant("s"), Some(true), Some((token(), true)), false);
    tokio::time::sleep(LIFE).await;
    assert_eq!(world.asked(), 0);
    JUMP.set(10 * LIFE);
    tokio::time::sleep(MINT_LOOK + Duration::from_secs(10)).await;
    assert_eq!(world.asked(), 1);
}

/// Attack: whoever may edit the only copy of one credential would have his login in all copies of another.
#[tokio::test(start_paused = true)]
async fn a_token_that_was_read_back_from_a_copy_is_given_to_nobody_else() {
    let world = World::start();
    let own = || Grant { identity: Identity::Operator(Cloud::Aws), ..grant("") };
    let forged = Token { password: "forged".into(), ..earlier(&world) };
    let given = |minted: Minted| minted.token.map(|token| token.password.text().to_owned());
    let sync = |name, recorded| given(world.sync_with(name, own(), Some(true), recorded, false));
    assert_eq!(sync("small", Some((forged, true))).as_deref(), Some("forged"));
    assert!(world.minting.is_new(&id("large"), &own()), "its own copies are asked");
    assert_eq!(sync("large", Some((earlier(&world), true))).as_deref(), Some("earlier"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((world.asked(), sync("large", None).as_deref()), (0, Some("earlier")));
    // Who comes without one has a new one minted, and all have that then.
    assert_eq!(sync("new", None), None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    for name in ["small", "large", "new"] {
        assert_eq!(sync(name, None).as_deref(), Some("token-0"), "{name}");
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_policies_cannot_be_read_after_a_start_what_was_minted_is_renewed() {
    let world = World::start();
    let own = || Grant { identity: Identity::Operator(Cloud::Aws), ..grant("") };
    let minted = world.sync_with("reg", own(), None, Some((earlier(&world), true)), false);
    assert!(minted.error.is_none(), "{minted:?}");
    assert!(world.sync_with("new", own(), None, None, false).error.is_some(), "nobody has allowed it");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.asked(), 1);
    assert!(world.sync_with("new", own(), None, None, true).token.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_has_no_consent_has_nothing_minted_anew() {
    let world = World::start();
    let own = || Grant { identity: Identity::Operator(Cloud::Aws), ..grant("") };
    world.fake.is_down.store(true, Ordering::SeqCst);
    world.sync_with("ours", own(), Some(true), None, false);
    tokio::time::sleep(LIFE).await;
    let asked = world.asked();
    for _ in 0..20 {
        world.sync_with("theirs", own(), Some(false), None, true);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert!(world.asked() <= asked + 1, "{} of {asked}", world.asked());
}
