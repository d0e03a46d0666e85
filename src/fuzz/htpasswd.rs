//! Basic auth: passwords of source Secrets, and the hashes that stand in a copy already.

use std::time::{Duration, Instant};

use proptest::{prelude::*, sample::select};
use serde_json::json;

use super::{CANARY, check, generate, grows_with_its_input, tells_no_secret};
use crate::{
    api::{BasicAuthCredentialSpec, PasswordHash},
    domain::{
        SecretBytes,
        certificate::fixtures::now,
        content::{Content, Data, Inputs, SourceError, SourceSecret},
        credential::CredentialSpec,
        htpasswd::{holds, make},
    },
};

/// Hashes of all programs that write such files, some of which would take hours to make again.
const HASHES: [&str; 14] = [
    "$2y$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu",
    "$2y$31$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu",
    "$2b$31$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu",
    "$2a$99$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu",
    "$6$rounds=999999999$0123456789abcdef$lDHzA5IdO41viXIs6llkDKq4Uh2VG9JXIYJ.taq2zlNFqBnKQ0/fOUW0Zoz49ZnOpe2ACY.PoF6wosL.jL3Af0",
    "$6$rounds=999999999$x$x",
    "$5$rounds=999999999$0123456789abcdef$x",
    "$apr1$abcdefgh$aaaaaaaaaaaaaaaaaaaaaa",
    "$y$jFT$abcdefgh$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "$argon2id$v=19$m=4194304,t=999999,p=64$c29tZXNhbHQ$aaaa",
    "$scrypt$ln=63,r=99,p=99$aaaa$bbbb",
    "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
    "{SSHA512}aaaa",
    "{PLAIN}canary7f3a9c51canary",
];

fn spec(format: &str, hash: Option<&str>) -> BasicAuthCredentialSpec {
    let spec = json!({"format": format, "hash": hash, "users": [
        {"username": "alice", "secretRef": {"name": "team", "passwordKey": "alice"}},
        {"username": "bob", "secretRef": {"name": "team", "passwordKey": "bob"}},
    ]});
    serde_json::from_value(spec).unwrap()
}

fn render(
    spec: &BasicAuthCredentialSpec,
    passwords: [&[u8]; 2],
    existing: Option<&Data>,
) -> Result<Content, SourceError> {
    let [alice, bob] = passwords.map(|password| SecretBytes::new(password.to_vec()));
    let data = Data::from([("alice".into(), alice), ("bob".into(), bob)]);
    let team = SourceSecret { name: "team".into(), type_: "Opaque".into(), data, version: None };
    spec.render(Inputs { existing, entropy: &[7; 32], ..Inputs::new(&[team], now()) })
}

/// Two lines, one for each user, whatever the copy and the passwords are.
#[test]
fn a_forged_file_changes_no_line_but_gives_way() {
    let spec = spec("EnvoyGateway", None);
    let sound = render(&spec, [CANARY.as_bytes(), b"bob-password"], None).unwrap();
    let sound = &sound.data[".htpasswd"];
    let mut files = vec![sound.expose().to_vec()];
    files.extend(HASHES.map(|hash| format!("bob:{hash}\nalice:{hash}\r\nmallory:{hash}\n").into_bytes()));
    check(generate::from(files), |input| {
        let existing = Data::from([(".htpasswd".to_owned(), SecretBytes::new(input.to_vec()))]);
        let rendered = render(&spec, [CANARY.as_bytes(), b"bob-password"], Some(&existing)).unwrap();
        prop_assert_eq!(&rendered.data[".htpasswd"], sound);
        Ok(())
    });
}

#[test]
fn passwords_become_lines_or_are_refused() {
    let spec = spec("EnvoyGateway", None);
    let passwords = [format!("{CANARY}\0{CANARY}\n"), format!("{CANARY}\r\n\0a:b"), "\u{202e}\0#".into()];
    check(generate::from(passwords.map(String::into_bytes).into()), |input| {
        let mut parts = input.splitn(2, |byte| *byte == 0);
        let passwords = [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()];
        match render(&spec, passwords, None) {
            Ok(content) => {
                let file = str::from_utf8(content.data[".htpasswd"].expose()).unwrap();
                let names: Vec<&str> =
                    file.lines().filter_map(|line| Some(line.split_once(":{SHA}")?.0)).collect();
                prop_assert_eq!((names, file.len()), (vec!["alice", "bob"], "alice:bob:\n\n".len() + 2 * 33));
                Ok(())
            }
            Err(error) => tells_no_secret(&error),
        }
    });
}

/// A hash that a copy has is never made again at its own cost, which whoever edits the copy chooses.
#[test]
fn a_hash_with_an_absurd_cost_is_not_worked_out() {
    for text in HASHES.iter().skip(1) {
        for hash in [PasswordHash::Bcrypt, PasswordHash::Sha512Crypt, PasswordHash::Sha1] {
            let began = Instant::now();
            assert!(!holds(hash, CANARY, text), "{text}");
            assert!(began.elapsed() < Duration::from_secs(5), "{text}");
        }
    }
}

/// As above, for whatever it says. Hashes that begin as ours do are left out of most cases: each takes its time.
#[test]
fn any_text_is_no_hash_of_the_password() {
    let ours = make(PasswordHash::Sha512Crypt, "alice", CANARY, &[1; 32]);
    let texts: Vec<Vec<u8>> = HASHES.iter().skip(1).map(|hash| hash.as_bytes().to_vec()).collect();
    let rare = select(vec![HASHES[0].as_bytes().to_vec(), ours.as_bytes().to_vec()]);
    let texts = prop_oneof![2000 => generate::from(texts), 1 => generate::damaged(rare)];
    check(texts, |input| {
        let text = String::from_utf8_lossy(input);
        for hash in [PasswordHash::Bcrypt, PasswordHash::Sha512Crypt, PasswordHash::Sha1] {
            prop_assert!(!holds(hash, CANARY, &text) || *text == **ours);
        }
        Ok(())
    });
}

#[test]
fn a_large_copy_costs_what_it_weighs() {
    let spec = spec("EnvoyGateway", None);
    let read = |value: &[u8]| {
        let existing = Data::from([(".htpasswd".to_owned(), SecretBytes::new(value.to_vec()))]);
        render(&spec, [b"alice-password", b"bob-password"], Some(&existing)).unwrap();
    };
    grows_with_its_input(
        "lines",
        1 << 20,
        |size| (0..size / 7).map(|n| format!("{n:05x}:\n")).collect::<String>().into_bytes(),
        read,
    );
    grows_with_its_input("one line", 1 << 20, |size| b"alice:".repeat(size / 6), read);
}
