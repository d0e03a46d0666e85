use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::reason::Reason;

fn spec(spec: Value) -> BasicAuthCredentialSpec {
    serde_json::from_value(spec).unwrap()
}

fn team(format: &str) -> BasicAuthCredentialSpec {
    spec(json!({"format": format, "users": [
        {"username": "bob", "secretRef": {"name": "team", "passwordKey": "bob"}},
        {"username": "alice", "secretRef": {"name": "team", "passwordKey": "alice"}},
        {"username": "carol", "secretRef": {"name": "carol"}},
    ]}))
}

fn secret(name: &str, type_: &str, data: &[(&str, &[u8])]) -> SourceSecret {
    SourceSecret {
        name: name.into(),
        type_: type_.into(),
        data: data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.to_vec()))).collect(),
        version: None,
    }
}

fn sources(alice: &str, bob: &str, carol: &str) -> [SourceSecret; 2] {
    let team = [("alice", alice.as_bytes()), ("bob", bob.as_bytes())];
    let carol: [(&str, &[u8]); 1] = [("password", carol.as_bytes())];
    [secret("team", "Opaque", &team), secret("carol", "kubernetes.io/basic-auth", &carol)]
}

fn draw(
    spec: &BasicAuthCredentialSpec,
    sources: &[SourceSecret],
    existing: Option<&Data>,
    entropy: u8,
) -> Result<Content, SourceError> {
    let inputs = Inputs::new(sources, Timestamp::UNIX_EPOCH);
    render(spec, Inputs { existing, entropy: &[entropy; 32], ..inputs })
}

fn text<'a>(content: &'a Content, key: &str) -> &'a str {
    std::str::from_utf8(content.data[key].expose()).unwrap()
}

#[test]
fn each_format_has_the_shape_that_its_consumer_reads() {
    let sources = sources("alice-password", "bob-password", "carol-password");
    for (format, type_, keys, prefix) in [
        ("Htpasswd", "Opaque", vec!["auth"], "$2y$10$"),
        ("NginxOrg", "nginx.org/htpasswd", vec!["htpasswd"], "$2y$10$"),
        ("EnvoyGateway", "Opaque", vec![".htpasswd"], "{SHA}"),
        ("HtpasswdMap", "Opaque", vec!["alice", "bob", "carol"], "$2y$10$"),
    ] {
        let content = draw(&team(format), &sources, None, 1).unwrap();
        assert_eq!(content.type_, type_);
        assert_eq!(content.data.keys().collect::<Vec<_>>(), keys, "{format}");
        if let [key] = keys[..] {
            let text = text(&content, key);
            assert!(text.ends_with('\n'));
            let lines: Vec<_> = text.lines().map(|line| line.split_once(':').unwrap()).collect();
            assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["alice", "bob", "carol"]);
            assert!(lines.iter().all(|(_, hash)| hash.starts_with(prefix)), "{format}");
        } else {
            assert!(keys.iter().all(|key| text(&content, key).starts_with(prefix)));
        }
        let weak = if format == "EnvoyGateway" { vec![Warning::WEAK_HASH] } else { vec![] };
        assert_eq!(content.warnings, weak, "{format}");
        // The warnings, just compared, are sentences about passwords.
        let shown = format!("{:?}", Content { warnings: Vec::new(), ..content });
        assert!(!shown.contains("password"));
    }
    let one = spec(
        json!({"format": "BasicAuth", "users": [{"username": "carol", "secretRef": {"name": "carol"}}]}),
    );
    let content = draw(&one, &sources, None, 1).unwrap();
    assert_eq!(content.type_, "kubernetes.io/basic-auth");
    assert_eq!((text(&content, "username"), text(&content, "password")), ("carol", "carol-password"));
    assert!(content.warnings.is_empty());
}

#[test]
fn another_hash_comes_on_request() {
    let sources = sources("alice-password", "bob-password", "carol-password");
    for (hash, prefix) in [("Bcrypt", "$2y$10$"), ("Sha512Crypt", "$6$"), ("Sha1", "{SHA}")] {
        let spec = BasicAuthCredentialSpec {
            hash: serde_json::from_value(json!(hash)).unwrap(),
            ..team("Htpasswd")
        };
        let content = draw(&spec, &sources, None, 1).unwrap();
        assert!(text(&content, "auth").lines().all(|line| line.contains(&format!(":{prefix}"))));
    }
}

#[test]
fn a_single_user_has_its_name_from_the_spec_or_the_secret() {
    let with = secret("src", "Opaque", &[("username", b"from-secret\n"), ("password", b"0123456789\n")]);
    let without = secret("src", "Opaque", &[("login", b"elsewhere"), ("password", b"0123456789")]);
    let user = |extra: Value, secret: &SourceSecret| {
        let mut reference = json!({"format": "BasicAuth", "secretRef": {"name": "src"}});
        if let Some(key) = extra.get("usernameKey") {
            reference["secretRef"]["usernameKey"] = key.clone();
        } else if let Some(name) = extra.get("username") {
            reference["username"] = name.clone();
        }
        draw(&spec(reference), std::slice::from_ref(secret), None, 1)
    };
    assert_eq!(text(&user(json!({"username": "from-spec"}), &with).unwrap(), "username"), "from-spec");
    assert_eq!(text(&user(json!({"usernameKey": "login"}), &without).unwrap(), "username"), "elsewhere");
    let content = user(json!({}), &with).unwrap();
    assert_eq!(text(&content, "username"), "from-secret");
    assert_eq!(content.notes, ["a newline at the end of key 'password' of Secret 'src' was left out"]);
    assert_eq!(user(json!({}), &without).unwrap_err().reason, Reason::UsernameMissing);
    assert_eq!(user(json!({"usernameKey": "gone"}), &with).unwrap_err().reason, Reason::KeyMissing);
}

#[test]
fn an_unchanged_password_is_never_hashed_again() {
    for format in ["Htpasswd", "HtpasswdMap", "NginxOrg", "EnvoyGateway"] {
        let sources = sources("alice-password", "bob-password", "carol-password");
        let first = draw(&team(format), &sources, None, 1).unwrap();
        let again = draw(&team(format), &sources, Some(&first.data), 2).unwrap();
        assert_eq!(first, again, "{format}");
        // Nor when users are listed in another order.
        let mut turned = team(format);
        turned.users.reverse();
        assert_eq!(first, draw(&turned, &sources, Some(&first.data), 3).unwrap(), "{format}");
    }
}

#[test]
fn a_new_password_changes_its_user_only() {
    let first =
        draw(&team("Htpasswd"), &sources("alice-password", "bob-password", "carol-password"), None, 1);
    let first = first.unwrap();
    let changed = sources("alice-password", "another-password", "carol-password");
    let second = draw(&team("Htpasswd"), &changed, Some(&first.data), 2).unwrap();
    let differ: Vec<&str> = text(&first, "auth")
        .lines()
        .zip(text(&second, "auth").lines())
        .filter(|(old, new)| old != new)
        .map(|(_, new)| new.split_once(':').unwrap().0)
        .collect();
    assert_eq!(differ, ["bob"]);
}

#[test]
fn hashes_that_were_made_ahead_are_taken_as_they_are() {
    let sources = sources("alice-password", "bob-password", "carol-password");
    let existing =
        Data::from([("auth".into(), "alice:old\nbob:x\n".into()), ("zz".into(), "bob:stray\n".into())]);
    let hashes = Data::from(["alice", "bob", "carol"].map(|user| (user.to_owned(), SecretBytes::from(user))));
    for (format, hash, ahead) in [
        ("Htpasswd", None, 3),
        ("HtpasswdMap", Some(PasswordHash::Sha512Crypt), 3),
        ("Htpasswd", Some(PasswordHash::Sha1), 0),
        ("EnvoyGateway", None, 0),
    ] {
        let spec = BasicAuthCredentialSpec { hash, ..team(format) };
        let (existing, hashes) = (Some(&existing), &hashes);
        let inputs = Inputs { existing, hashes, ..Inputs::new(&sources, Timestamp::UNIX_EPOCH) };
        let passwords = spec.passwords(inputs).unwrap();
        assert_eq!(passwords.len(), ahead, "{format} {hash:?}");
        if format == "Htpasswd" && ahead > 0 {
            let existing: Vec<_> = passwords.iter().map(|password| password.existing).collect();
            assert_eq!(existing, [Some("old"), Some("x"), None]);
            let content = spec.render(inputs).unwrap();
            assert_eq!(text(&content, "auth"), "alice:alice\nbob:bob\ncarol:carol\n");
        }
    }
    // What is wrong with a source is told before anything is hashed.
    let long = sources_with_long();
    let inputs = Inputs { hashes: &hashes, ..Inputs::new(&long, Timestamp::UNIX_EPOCH) };
    assert_eq!(
        team("Htpasswd").passwords(inputs).err().map(|error| error.reason),
        Some(Reason::InvalidFormat)
    );
}

fn sources_with_long() -> [SourceSecret; 2] {
    sources("alice-password", &"x".repeat(73), "carol-password")
}

#[test]
fn what_was_tampered_with_is_made_anew() {
    let sources = sources("alice-password", "bob-password", "carol-password");
    let good = draw(&team("Htpasswd"), &sources, None, 1).unwrap();
    let file = text(&good, "auth");
    // The user's own hash, for another password; one that is known; and none at all.
    let swapped = file.replace("alice", "x").replace("bob", "alice").replace("x:", "bob:");
    let known = file.replace("alice:", "alice:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=");
    let added = format!("{file}mallory:{{SHA}}L55TUjtiq8FBorTWAZ0jy6g129A=\n");
    for (what, tampered, alice_stays) in [
        ("swapped", swapped.as_bytes(), false),
        ("known", known.as_bytes(), false),
        ("added", added.as_bytes(), true),
        ("empty", b"".as_slice(), false),
        ("no lines", b":\n:::\n\n\xe2\x98\x83".as_slice(), false),
        ("not text", b"\xff\xfe".as_slice(), false),
    ] {
        let existing = secret("copy", "Opaque", &[("auth", tampered)]);
        let healed = draw(&team("Htpasswd"), &sources, Some(&existing.data), 2).unwrap();
        let healed = text(&healed, "auth");
        assert_eq!(healed.lines().count(), 3, "{what}");
        assert!(!healed.contains("{SHA}") && !healed.contains("mallory"), "{what}");
        assert_eq!(healed == file, alice_stays, "{what}");
        for (line, password) in healed.lines().zip(["alice-password", "bob-password", "carol-password"]) {
            assert!(
                htpasswd::holds(PasswordHash::Bcrypt, password, line.split_once(':').unwrap().1),
                "{what}"
            );
        }
    }
    // A hash that holds but is weaker than what is wanted now.
    let weak = BasicAuthCredentialSpec { hash: Some(PasswordHash::Sha1), ..team("Htpasswd") };
    let weak = draw(&weak, &sources, None, 1).unwrap();
    let strong = draw(&team("Htpasswd"), &sources, Some(&weak.data), 2).unwrap();
    assert!(text(&strong, "auth").lines().all(|line| line.contains(":$2y$10$")));
}

#[test]
fn a_broken_source_is_reported_without_its_value() {
    let long = "hunter2".repeat(11);
    for (format, name, password, want) in [
        ("Htpasswd", "me", "", Reason::InvalidFormat),
        ("Htpasswd", "me", "hunter2\0", Reason::InvalidFormat),
        ("Htpasswd", "me", long.as_str(), Reason::InvalidFormat),
        ("Htpasswd", "hunter2:x", "hunter2", Reason::InvalidUsername),
        ("Htpasswd", "hunter2\nroot", "hunter2", Reason::InvalidUsername),
        ("Htpasswd", "hunter2\u{85}", "hunter2", Reason::InvalidUsername),
        ("Htpasswd", "#hunter2", "hunter2", Reason::InvalidUsername),
        ("NginxOrg", " hunter2", "hunter2", Reason::InvalidUsername),
        ("EnvoyGateway", "hunter2 ", "hunter2", Reason::InvalidUsername),
        ("HtpasswdMap", "hunter2@example.com", "hunter2", Reason::InvalidUsername),
        ("HtpasswdMap", "..hunter2", "hunter2", Reason::InvalidUsername),
        ("BasicAuth", "hunter2:x", "hunter2", Reason::InvalidUsername),
        ("BasicAuth", "", "hunter2", Reason::InvalidUsername),
    ] {
        let secret =
            secret("src", "Opaque", &[("username", name.as_bytes()), ("password", password.as_bytes())]);
        let error = draw(&spec(json!({"format": format, "secretRef": {"name": "src"}})), &[secret], None, 1);
        let error = error.unwrap_err();
        assert_eq!(error.reason, want, "{error}");
        assert!(!error.to_string().contains("hunter2"), "a value leaked: {error}");
    }
    // A name from the spec is judged the same, should the schema have let it through.
    let injected =
        spec(json!({"format": "Htpasswd", "username": "a:b\nroot", "secretRef": {"name": "carol"}}));
    let error = draw(&injected, &sources("a", "b", "carol-password"), None, 1).unwrap_err();
    assert_eq!(error.reason, Reason::InvalidUsername);
    for (secret, want) in [
        (secret("team", "kubernetes.io/tls", &[]), Reason::UnsupportedSecretType),
        (secret("team", "Opaque", &[("alice", b"hunter2hunter2")]), Reason::KeyMissing),
        (secret("other", "Opaque", &[]), Reason::SecretNotFound),
    ] {
        let error = draw(&team("Htpasswd"), &[secret], None, 1).unwrap_err();
        assert_eq!(error.reason, want, "{error}");
    }
}

#[test]
fn the_longest_password_of_each_hash_is_taken() {
    for (hash, most) in [("Bcrypt", 72), ("Sha512Crypt", 256), ("Sha1", 16_384)] {
        let one =
            json!({"format": "Htpasswd", "hash": hash, "username": "me", "secretRef": {"name": "carol"}});
        let try_with = |length| draw(&spec(one.clone()), &sources("a", "b", &"x".repeat(length)), None, 1);
        assert!(try_with(most).is_ok(), "{hash}");
        assert_eq!(try_with(most + 1).unwrap_err().reason, Reason::InvalidFormat, "{hash}");
    }
}

#[test]
fn a_short_password_is_a_warning() {
    let content = draw(&team("EnvoyGateway"), &sources("1234567", "bob-password", "carol-password"), None, 1);
    assert_eq!(content.unwrap().warnings, [Warning::WEAK_PASSWORD, Warning::WEAK_HASH]);
}

#[test]
fn every_source_is_named_once() {
    let team = team("Htpasswd");
    assert_eq!(team.source(), Source::Secrets(vec!["carol".into(), "team".into()]));
    assert_eq!(team.details(None, None, &Map::new())["basicAuth"], json!({"users": 3, "hash": "Bcrypt"}));
    let single = spec(json!({"format": "BasicAuth", "secretRef": {"name": "src"}}));
    assert_eq!(single.source(), Source::Secrets(vec!["src".into()]));
    assert_eq!(single.details(None, None, &Map::new())["basicAuth"], json!({"users": 1}));
}

proptest! {
    /// As many lines as users, whatever they are called and whatever their passwords hold.
    #[test]
    fn no_value_can_add_a_user(names in prop::collection::btree_set(".{1,12}", 1..4), password in ".{1,20}") {
        let users: Vec<Value> = names
            .iter()
            .map(|name| json!({"username": name, "secretRef": {"name": "carol"}}))
            .collect();
        let spec = spec(json!({"format": "EnvoyGateway", "users": users}));
        if let Ok(content) = draw(&spec, &sources("a", "b", &password), None, 1) {
            let read: Vec<&str> =
                text(&content, ".htpasswd").split('\n').filter_map(|line| Some(line.split_once(':')?.0)).collect();
            prop_assert_eq!(read, names.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
