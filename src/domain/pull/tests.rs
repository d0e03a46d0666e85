use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::domain::{SecretBytes, content::Data, registry::keyring::given};

const CONFIG: &str = "kubernetes.io/dockerconfigjson";

fn secret(name: &str, auths: Value) -> PullSecret {
    let text = json!({ "auths": auths }).to_string();
    let data = Data::from([(".dockerconfigjson".to_owned(), SecretBytes::from(text.as_str()))]);
    PullSecret {
        name: name.to_owned(),
        state: State::Known { type_: CONFIG.to_owned(), given: given(CONFIG, &data) },
    }
}

fn keys(name: &str, keys: &[&str]) -> PullSecret {
    secret(
        name,
        keys.iter().map(|key| ((*key).to_owned(), json!({"username": "u", "password": "p"}))).collect(),
    )
}

fn missing(name: &str) -> PullSecret {
    PullSecret { name: name.to_owned(), state: State::Missing }
}

fn offer(secret: &str, key: &str) -> Offer {
    Offer {
        credential: "RegistryCredential platform/quay".to_owned(),
        secret: secret.to_owned(),
        keys: vec![key.to_owned()],
        is_permitted: true,
        expires: None,
        status_message: None,
    }
}

fn one(image: &str, attached: Vec<PullSecret>) -> Facts {
    Facts {
        namespace: "web".to_owned(),
        pod: "api".to_owned(),
        service_account: "default".to_owned(),
        images: vec![(image.to_owned(), vec![Container { name: "api".to_owned(), ..Container::default() }])],
        attached,
        ..Facts::default()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn answer(facts: &Facts) -> ImageExplained {
    explain(facts, now()).images.remove(0)
}

fn verdict(facts: &Facts) -> Verdict {
    answer(facts).verdict
}

const IMAGE: &str = "quay.io/acme/api:1";

#[test]
fn entries_are_told_in_the_order_of_kubelet() {
    let facts =
        one(IMAGE, vec![keys("a", &["quay.io", "ghcr.io"]), keys("b", &["quay.io/acme", "quay.io:443"])]);
    let told = answer(&facts);
    let entries: Vec<_> = told
        .entries
        .iter()
        .map(|e| (e.secret.as_str(), e.key.as_deref().unwrap(), e.matches, e.reason))
        .collect();
    assert_eq!(
        entries,
        [
            ("b", "quay.io/acme", true, "Matches"),
            ("a", "quay.io", true, "Matches"),
            ("a", "ghcr.io", false, "OtherHost"),
            ("b", "quay.io:443", false, "OtherPort"),
        ]
    );
    assert_eq!(told.verdict, Verdict::Ok);
}

#[test]
fn a_key_that_was_meant_is_named() {
    for (image, key, reason) in [
        ("nginx", "https://index.docker.io/v1", "HubPath"),
        ("nginx", "registry-1.docker.io", "HubAlias"),
        ("reg.io:5000/a", "reg.io", "OtherPort"),
        ("quay.io/acme/api", "quay.io/other", "OtherPath"),
        ("quay.io/acme/api", "Quay.io", "UpperCase"),
    ] {
        let told = answer(&one(image, vec![keys("s", &["zz.example.com", key])]));
        assert_eq!(told.verdict, Verdict::WrongKey, "{key}");
        assert!(told.message.contains(&format!("'{key}'")), "{}", told.message);
        assert!(told.entries.iter().any(|entry| entry.reason == reason), "{key}");
    }
}

#[test]
fn a_secret_that_the_pod_does_not_name_is_not_attached() {
    let mut facts = one(IMAGE, vec![]);
    facts.others = vec![(keys("free", &["quay.io"]), false), (keys("new", &["quay.io"]), true)];
    let told = answer(&facts);
    assert_eq!(told.verdict, Verdict::NotAttached);
    assert!(told.message.contains("'new'") && told.message.contains("delete the Pod"), "{}", told.message);
    facts.others.pop();
    assert!(answer(&facts).message.contains("imagePullSecrets"));
    facts.others.clear();
    facts.offers = vec![offer("quay", "quay.io")];
    assert_eq!(verdict(&facts), Verdict::NotAttached);
    assert!(answer(&facts).message.contains("of ServiceAccount 'default'"), "{}", answer(&facts).message);
}

/// A new Pod of that template would name the same ones.
#[test]
fn a_pod_that_names_its_own_is_told_to_name_more_in_its_template() {
    let today = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let named = ["old".to_owned()];
    assert!(names_its_own(&named, Some(&today(&["new"]))));
    assert!(!names_its_own(&named, Some(&today(&["new", "old"]))) && !names_its_own(&named, None));
    assert!(!names_its_own(&[], Some(&today(&["new"]))));

    let mut facts = one(IMAGE, vec![keys("old", &["ghcr.io"])]);
    facts.names_its_own = true;
    let template = |facts: &Facts| {
        let told = answer(facts);
        assert_eq!(told.verdict, Verdict::NotAttached);
        let says = "gets none from its ServiceAccount: name it in `imagePullSecrets` of the Pod's template";
        assert!(told.message.contains(says) && !told.message.contains("delete"), "{}", told.message);
    };
    for on_account in [true, false] {
        facts.others = vec![(keys("new", &["quay.io"]), on_account)];
        template(&facts);
    }
    facts.others.clear();
    facts.offers = vec![offer("quay", "quay.io")];
    template(&facts);
}

#[test]
fn a_missing_secret_is_told_with_who_should_make_it() {
    let mut facts = one(IMAGE, vec![missing("quay")]);
    assert_eq!(verdict(&facts), Verdict::SecretMissing);
    facts.offers =
        vec![Offer { status_message: Some("source \u{1b}[2Jgone".to_owned()), ..offer("quay", "quay.io") }];
    let told = answer(&facts);
    assert_eq!(told.verdict, Verdict::SecretMissing);
    assert!(
        told.message.contains("platform/quay") && told.message.contains("source [2Jgone"),
        "{}",
        told.message
    );
    // One for another registry is not what this image lacks.
    facts.offers = vec![offer("quay", "ghcr.io")];
    assert_eq!(verdict(&facts), Verdict::WrongKey);
}

#[test]
fn without_consent_nothing_else_helps() {
    let mut facts = one(IMAGE, vec![missing("quay")]);
    facts.offers = vec![Offer { is_permitted: false, ..offer("quay", "quay.io") }];
    assert_eq!(verdict(&facts), Verdict::NoConsent);
    facts.offers.push(offer("other", "quay.io/acme"));
    assert_eq!(verdict(&facts), Verdict::NotAttached, "another one may");
}

#[test]
fn a_token_that_has_ended_is_told() {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    let jwt = |end: i64| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(json!({"exp": end}).to_string()));
    let ecr = |end: i64| STANDARD.encode(json!({"payload": "x", "expiration": end}).to_string());
    let with = |password: &str| {
        one(IMAGE, vec![secret("s", json!({"quay.io": {"username": "u", "password": password}}))])
    };
    for password in [jwt(1_799_999_999), ecr(1_799_999_999)] {
        let told = answer(&with(&password));
        assert_eq!((told.verdict, told.entries[0].reason), (Verdict::Expired, "Expired"));
        assert!(told.entries[0].matches && !told.message.contains(&password));
    }
    assert_eq!(verdict(&with(&jwt(1_800_000_001))), Verdict::Ok);
    let mut facts = one(IMAGE, vec![keys("quay", &["quay.io"])]);
    facts.offers = vec![Offer { expires: Some(now()), ..offer("quay", "quay.io") }];
    assert_eq!(verdict(&facts), Verdict::Expired);
}

#[test]
fn one_secret_that_cannot_be_read_spoils_all() {
    let mut facts =
        one(IMAGE, vec![keys("good", &["quay.io"]), secret("bad", json!({"ghcr.io": {"auth": "%"}}))]);
    let told = answer(&facts);
    assert_eq!(told.verdict, Verdict::InvalidSecret);
    assert!(told.entries.iter().any(|entry| entry.secret == "bad" && entry.key.is_none()));
    facts.images[0].0 = "quay.io/UPPER".to_owned();
    assert_eq!(verdict(&facts), Verdict::InvalidImage);
}

#[test]
fn what_kubelet_says_counts() {
    let mut facts = one(IMAGE, vec![keys("s", &["quay.io"])]);
    facts.images[0].1[0].waiting =
        Some(Waiting { reason: "ErrImagePull".to_owned(), message: "401 Unauthorized".to_owned() });
    let told = answer(&facts);
    assert!(told.verdict == Verdict::PullFails && told.message.contains("401 Unauthorized"));
    let mut facts = one("nginx", vec![keys("s", &["quay.io"])]);
    assert_eq!(verdict(&facts), Verdict::WrongKey);
    facts.images[0].1[0].pulled = true;
    assert_eq!(verdict(&facts), Verdict::NoCredential);
    // It was on the node, and is pulled again.
    let failing =
        || Some(Waiting { reason: "ImagePullBackOff".to_owned(), message: "Back-off: denied".to_owned() });
    facts.images[0].1[0].waiting = failing();
    assert_eq!(verdict(&facts), Verdict::WrongKey);
    let mut facts = one("nginx", vec![]);
    assert_eq!(verdict(&facts), Verdict::NoCredential);
    facts.images[0].1[0].waiting = failing();
    let told = answer(&facts);
    assert!(!told.verdict.is_fine() && told.message.contains("Back-off: denied"), "{}", told.message);
    assert_eq!(told.verdict, Verdict::PullFails);
    let unknown = PullSecret { name: "s".to_owned(), state: State::Unknown };
    assert_eq!(verdict(&one(IMAGE, vec![unknown])), Verdict::Unknown);
}

#[test]
fn a_hostile_secret_gives_a_short_answer_without_logins() {
    let auths = (0..60_000).map(|n| (format!("https://user:canary@h{n}\u{1b}[31m.io"), json!({})));
    let told = answer(&one(IMAGE, vec![secret("s", auths.collect())]));
    let text = serde_json::to_string(&told).unwrap();
    assert!(text.len() < 20_000 && told.omitted == 60_000 - 20, "{}", told.omitted);
    assert!(!text.contains("canary") && !text.contains("\\u001b"));
    let auths = (0..60_000).map(|n| (format!("quay.io?{n}"), json!({})));
    let told = answer(&one(IMAGE, vec![secret("s", auths.collect())]));
    assert_eq!((told.entries.len(), told.omitted), (100, 60_000 - 100));
}
