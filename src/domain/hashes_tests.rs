use super::*;

const KEY: [u8; 32] = [3; 32];

fn password<'a>(user: &'a str, password: &'a str) -> Password<'a> {
    Password { hash: PasswordHash::Sha512Crypt, user, password, existing: None }
}

fn plan(hashes: &mut Hashes, passwords: &[Password<'_>]) -> Vec<Unhashed> {
    hashes.plan(&FingerprintKey::new(KEY), passwords, &[1; 32])
}

fn users(unhashed: &[Unhashed]) -> Vec<&str> {
    unhashed.iter().map(|unhashed| &*unhashed.user).collect()
}

/// A tenant who changes one password of a hundred, again and again, would have a hundred hashed each time.
#[test]
fn one_new_password_of_a_hundred_is_one_hash() {
    let names: Vec<String> = (0..100).map(|n| format!("user-{n:02}")).collect();
    let mut team: Vec<_> = names.iter().map(|name| password(name, "first-password")).collect();
    let mut hashes = Hashes::default();
    let unhashed = plan(&mut hashes, &team);
    assert_eq!(unhashed.len(), 100);
    for (n, hashed) in unhashed.iter().enumerate() {
        // What they are does not matter here, and a real one takes its time.
        let text = format!("hash-{n}").as_str().into();
        hashes.add(Hashed { user: hashed.user.clone(), fingerprint: hashed.fingerprint, text });
    }
    assert!(plan(&mut hashes, &team).is_empty());
    team[42].password = "second-password";
    let unhashed = plan(&mut hashes, &team);
    assert_eq!(users(&unhashed), ["user-42"]);
    hashes.add(unhashed[0].hashed());
    assert!(plan(&mut hashes, &team).is_empty());
    assert_eq!(hashes.texts().len(), 100);
    assert!(htpasswd::holds(PasswordHash::Sha512Crypt, "second-password", hashes.texts()["user-42"].text()));
}

/// Whoever changes passwords, or renames users, faster than they are hashed would have the memory grow.
#[test]
fn only_hashes_of_present_passwords_are_kept() {
    let mut hashes = Hashes::default();
    for round in 0..3 {
        let (name, text) = (format!("user-{round}"), format!("password-{round}"));
        let team = [password("alice", &text), password(&name, &text)];
        for unhashed in plan(&mut hashes, &team) {
            hashes.add(unhashed.hashed());
        }
        assert_eq!(hashes.texts().keys().collect::<Vec<_>>(), ["alice", &name]);
    }
    let other = Password { hash: PasswordHash::Bcrypt, ..password("alice", "password-2") };
    assert_eq!(users(&plan(&mut hashes, &[other])), ["alice"], "another algorithm");
    assert!(hashes.texts().is_empty());
}

#[test]
fn a_hash_that_stands_and_holds_is_kept_and_nothing_is_shown() {
    let made = password("alice", "canary-password").hashed(&[7; 32]);
    let stands = Password { existing: Some(made.text()), ..password("alice", "canary-password") };
    let changed = Password { password: "another-password", ..stands };
    let (kept, new) = (plan(&mut Hashes::default(), &[stands]), plan(&mut Hashes::default(), &[changed]));
    assert!(kept[0].hashed().text == made && new[0].hashed().text != made);
    assert!(!new[0].hashed().is_of(&kept[0]), "it is of another password");
    let mut hashes = Hashes::default();
    plan(&mut hashes, &[stands]);
    hashes.add(kept[0].hashed());
    assert!(plan(&mut hashes, &[changed])[0].existing.is_none(), "it is not tried: that takes as long");
    assert!(!format!("{kept:?}").contains("canary"));
}
