use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::{
    chain::Checked,
    fixtures::{Authority, Pair, leaf_params, now, params},
    x509::X509,
    *,
};
use crate::domain::reason::Reason;

fn judge(chain: &str, key: &str) -> Result<Checked, CertificateError> {
    check(&certificates(chain.as_bytes())?, &private_key(key.as_bytes())?)
}

fn refused(chain: &str, key: &str) -> (Reason, String) {
    let problem = judge(chain, key).unwrap_err();
    (problem.reason, problem.to_string())
}

/// Leaf, two intermediates and the root, in the right order.
fn long_chain() -> (Vec<String>, String) {
    let root = Authority::root("root");
    let upper = root.intermediate("upper");
    let lower = upper.intermediate("lower");
    let Pair { certificate, key } = lower.leaf("a.example.com");
    (vec![certificate, lower.pem, upper.pem, root.pem], key)
}

#[test]
fn every_kind_of_key_is_known_from_both_sides() {
    let root = Authority::root("root");
    for (kind, name) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "ECDSA-P256"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "ECDSA-P384"),
        (&rcgen::PKCS_ED25519, "Ed25519"),
    ] {
        let pair = root.issue(leaf_params("a.example.com", 2020, 2120), kind);
        let checked = judge(&pair.certificate, &pair.key).unwrap();
        assert!(checked.notes.is_empty());
        assert_eq!(private_key(pair.key.as_bytes()).unwrap().algorithm, name);
        let other = root.issue(leaf_params("a.example.com", 2020, 2120), kind);
        let (reason, message) = refused(&pair.certificate, &other.key);
        assert_eq!(reason, Reason::KeyMismatch);
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_chain_has_one_right_order_which_the_message_names() {
    let (chain, key) = long_chain();
    for length in 1..=4 {
        assert!(judge(&chain[..length].concat(), &key).is_ok(), "{length} of the chain");
    }
    let (reason, message) = refused(&[&*chain[0], &chain[2], &chain[1]].concat(), &key);
    assert_eq!(reason, Reason::ChainOutOfOrder);
    assert!(message.ends_with("the right one is 1. CN=a.example.com, 2. CN=lower, 3. CN=upper"), "{message}");
    // The usual slip: the server's own certificate comes last.
    let (reason, message) = refused(&[&*chain[1], &chain[0]].concat(), &key);
    assert_eq!(reason, Reason::ChainOutOfOrder);
    assert!(message.contains("1. CN=a.example.com, 2. CN=lower"), "{message}");
}

#[test]
fn a_gap_or_an_unrelated_certificate_is_not_a_wrong_order() {
    let (chain, key) = long_chain();
    let (reason, message) = refused(&[&*chain[0], &chain[2]].concat(), &key);
    assert_eq!(reason, Reason::ChainBroken);
    assert!(
        message.contains("certificate 2 (CN=upper)") && message.contains("issuer is CN=lower"),
        "{message}"
    );
    let stranger = Authority::root("stranger").pem;
    assert_eq!(refused(&[&*chain[0], &chain[1], &stranger].concat(), &key).0, Reason::ChainBroken);
    // A name alone is no proof.
    let forged = Authority::root("root").intermediate("upper").intermediate("lower").pem;
    let (reason, message) = refused(&[&*chain[0], &forged].concat(), &key);
    assert_eq!(reason, Reason::ChainBroken);
    assert!(message.contains("did not sign"), "{message}");
}

#[test]
fn what_is_superfluous_is_noted() {
    let (chain, key) = long_chain();
    assert!(judge(&chain.concat(), &key).unwrap().notes[0].contains("root CN=root"));
    let twice = [&*chain[0], &chain[1], &chain[1]].concat();
    assert!(judge(&twice, &key).unwrap().notes[0].contains("CN=lower is in the chain twice"));
    let mut bundle = chain[0].clone();
    (0..20).for_each(|n| bundle.push_str(&Authority::root(&format!("r{n}")).pem));
    assert!(refused(&bundle, &key).1.contains("21 certificates"));
}

#[test]
fn a_chain_is_valid_while_all_of_it_is() {
    let root = Authority::root("root");
    let short = root.intermediate_until("short", 2025);
    let Pair { certificate, key } = short.leaf("a.example.com");
    let checked = judge(&(certificate + &short.pem), &key).unwrap();
    assert_eq!(checked.validity.not_after.to_string(), "2025-01-01T00:00:00Z");
    assert_eq!(checked.to_blame(now()), Some("CN=short"));
    assert!(checked.notes[0].contains("CN=short in its chain expires before it"), "{:?}", checked.notes);
    let old = root.issue(leaf_params("a.example.com", 2019, 2021), &rcgen::PKCS_ED25519);
    let checked = judge(&old.certificate, &old.key).unwrap();
    assert!(!checked.validity.is_usable(now()));
    assert_eq!(checked.to_blame(now()), None, "it has expired itself");
}

#[test]
fn a_certificate_without_end_does_not_overflow() {
    let mut endless = leaf_params("a.example.com", 2020, 2120);
    endless.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let pair = Authority::root("root").issue(endless, &rcgen::PKCS_ED25519);
    let checked = judge(&pair.certificate, &pair.key).unwrap();
    assert!(checked.validity.not_after > Timestamp::from_second(250_000_000_000).unwrap());
    assert!(checked.validity.next_change(now()).is_some());
}

#[test]
fn bundles_as_they_are_found_are_read() {
    let (chain, key) = long_chain();
    let plain = chain[..3].concat();
    let commented: String = chain[..3]
        .iter()
        .enumerate()
        .map(|(n, pem)| format!("# CN = n\u{e9}mo {n}: issued\nsubject=/CN={n}\n{pem}\n\n"))
        .collect();
    for text in [
        plain.clone(),
        plain.replace('\n', "\r\n"),
        commented.clone(),
        format!("{commented}\ntrailing words, and -- dashes --\n"),
        plain.trim_end().to_owned(),
        plain.lines().map(|line| format!("{line}  \t\n")).collect(),
    ] {
        assert!(judge(&text, &key).is_ok(), "{text}");
        assert!(judge(&text, &key.replace('\n', "\r\n")).is_ok());
    }
    // Comments of old bundles are not UTF-8.
    let latin = [b"# F\xf6tan\xfas\xedtv\xe1ny\n".as_slice(), plain.as_bytes()].concat();
    assert_eq!(certificates(&latin).unwrap().len(), 3);
}

#[test]
fn what_cannot_be_a_chain_says_what_to_do() {
    let (chain, key) = long_chain();
    let good = &chain[0];
    let cut = &good[..good.len() - 40];
    let indented: String = good.lines().map(|line| format!("  {line}\n")).collect();
    let damaged = good.replacen("MI", "M*", 1);
    let relabelled = |label: &str| good.replace("CERTIFICATE", label);
    let garbled = good.replacen("MIIB", "MIIC", 1);
    for (text, reason, word) in [
        ("", Reason::InvalidFormat, "is empty"),
        (" \r\n\n", Reason::InvalidFormat, "is empty"),
        ("hunter2", Reason::InvalidFormat, "no line begins"),
        (cut, Reason::InvalidFormat, "cut off"),
        (&indented, Reason::InvalidFormat, "without indentation"),
        (&damaged, Reason::InvalidFormat, "not base64"),
        (&garbled, Reason::InvalidFormat, "cannot be read"),
        (&format!("{}{good}", good.trim_end()), Reason::InvalidFormat, "line break"),
        (
            &format!("{good}-----BEGIN CERTIFICATE-----\n{good}"),
            Reason::InvalidFormat,
            "without its -----END",
        ),
        (&relabelled("TRUSTED CERTIFICATE"), Reason::UnsupportedFormat, "openssl x509"),
        (&relabelled("PKCS7"), Reason::UnsupportedFormat, "openssl pkcs7"),
        (&relabelled("CERTIFICATE REQUEST"), Reason::InvalidFormat, "signing request"),
        (&relabelled("DH PARAMETERS"), Reason::InvalidFormat, "DH PARAMETERS"),
        (&relabelled("hunter2"), Reason::InvalidFormat, "unknown type"),
        ("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1J", Reason::InvalidFormat, "encoded twice"),
        ("MIIBszCCAVmgAwIBAgIUQ", Reason::InvalidFormat, "-----BEGIN"),
        (&format!("{good}{key}"), Reason::PrivateKeyInCertificate, "remove it"),
        (&format!("{good}  -----BEGIN RSA PRIVATE KEY-----\n"), Reason::PrivateKeyInCertificate, "remove it"),
    ] {
        let (found, message) = refused(text, &key);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(word), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    for (bytes, word) in [
        (&b"\x30\x82\x01\x0a\x30\x82\x01\x00\x02\x01\x02"[..], "binary (DER)"),
        (b"\x30\x82\x0a\x0a\x02\x01\x03\x30\x82", "PKCS#12"),
        (b"\x30\x80\x02\x01\x03\x30\x80", "PKCS#12"),
        (b"\xfe\xed\xfe\xed\x00\x00", "Java keystore"),
    ] {
        for problem in [certificates(bytes).map(drop).unwrap_err(), private_key(bytes).map(drop).unwrap_err()]
        {
            assert_eq!(problem.reason, Reason::UnsupportedFormat);
            assert!(problem.to_string().contains(word), "{problem}");
        }
    }
}

#[test]
fn what_cannot_be_a_key_says_what_to_do() {
    let (chain, key) = long_chain();
    let relabelled = |label: &str| key.replace("PRIVATE KEY", label);
    let legacy = relabelled("EC PRIVATE KEY").replacen(
        "-----\n",
        "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00FF\n\n",
        1,
    );
    for (text, reason, word) in [
        ("", Reason::InvalidFormat, "is empty"),
        ("hunter2", Reason::InvalidFormat, "no line begins"),
        (&*chain[0], Reason::InvalidFormat, "nothing but the private key"),
        (&format!("{key}{key}"), Reason::InvalidFormat, "more than one"),
        (&format!("{key}{}", chain[0]), Reason::InvalidFormat, "CERTIFICATE"),
        (&relabelled("ENCRYPTED PRIVATE KEY"), Reason::EncryptedKey, "openssl pkey"),
        (&legacy, Reason::EncryptedKey, "openssl pkey"),
        (&relabelled("RSA PRIVATE KEY"), Reason::InvalidFormat, "PKCS#1"),
        (&relabelled("EC PRIVATE KEY"), Reason::InvalidFormat, "SEC1"),
        (&relabelled("DSA PRIVATE KEY"), Reason::UnsupportedKey, "use RSA"),
        (&relabelled("OPENSSH PRIVATE KEY"), Reason::UnsupportedFormat, "ssh-keygen"),
        (&relabelled("PUBLIC KEY"), Reason::InvalidFormat, "public key"),
        (&relabelled("EC PARAMETERS"), Reason::InvalidFormat, "no private key"),
        (&key[..key.len() - 30], Reason::InvalidFormat, "cut off"),
    ] {
        let (found, message) = refused(&chain[0], text);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(word), "{message}");
        for line in text.lines().filter(|line| !line.starts_with("-----") && line.len() > 5) {
            assert!(!message.contains(line), "a value leaked: {message}");
        }
    }
}

#[test]
fn a_status_is_bounded_and_harmless() {
    let mut many = params("evil\u{1b}[31m\nname", 2020, 2120);
    many.subject_alt_names =
        (0..150).map(|n| rcgen::SanType::DnsName(format!("n{n}.example.com").try_into().unwrap())).collect();
    let root = Authority::root("root");
    let pair = root.issue(many, &rcgen::PKCS_ECDSA_P256_SHA256);
    let told = describe(&certificates(pair.certificate.as_bytes()).unwrap()[0]);
    assert_eq!((told.name.as_str(), told.dns_names.len()), ("n0.example.com", 100));
    assert!(!told.subject.contains(char::is_control), "{:?}", told.subject);
    assert_eq!((told.issuer.as_str(), told.key_algorithm.as_str()), ("CN=root", "ECDSA-P256"));

    let nameless = root.issue(params("just a name", 2020, 2120), &rcgen::PKCS_ECDSA_P256_SHA256);
    let certificate = &certificates(nameless.certificate.as_bytes()).unwrap()[0];
    assert!(alternative_names(certificate).is_none());
    assert_eq!(describe(certificate).name, "CN=just a name");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Only one order of a chain is taken, and of any other the right one is told.
    #[test]
    fn only_the_right_order_is_taken(order in Just(vec![0_usize, 1, 2]).prop_shuffle()) {
        let (chain, key) = long_chain();
        let text: String = order.iter().map(|at| chain[*at].as_str()).collect();
        match judge(&text, &key) {
            Ok(_) => prop_assert_eq!(order, [0, 1, 2]),
            Err(problem) => {
                prop_assert_ne!(order, [0, 1, 2]);
                prop_assert_eq!(problem.reason, Reason::ChainOutOfOrder);
                let told = problem.to_string();
                prop_assert!(told.ends_with(" is 1. CN=a.example.com, 2. CN=lower, 3. CN=upper"), "{}", told);
            }
        }
    }

    /// Nothing makes the readers panic, and a private key that was damaged is no longer taken for the
    /// certificate's: whatever is still read has the same public key, or does not belong.
    #[test]
    fn damage_is_seen(at: proptest::sample::Index, byte: u8, cut: bool) {
        let (chain, key) = long_chain();
        let damaged = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            bytes
        };
        let leaf = certificates(chain[0].as_bytes()).unwrap();
        if let Ok(found) = private_key(&damaged(&key)) {
            let same = found == private_key(key.as_bytes()).unwrap();
            prop_assert_eq!(check(&leaf, &found).is_ok(), same);
        }
        // Of a certificate only its issuer's key can tell, which may not be at hand.
        if let Ok(found) = certificates(&damaged(&chain[1])) {
            let key = private_key(key.as_bytes()).unwrap();
            let same = found[0].der == certificates(chain[1].as_bytes()).unwrap()[0].der;
            let above = X509::read(&certificates(chain[2].as_bytes()).unwrap()[0].der).unwrap();
            prop_assert_eq!(found[0].is_issued_by(&above), same);
            prop_assert!(check(&found, &key).is_err());
        }
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(certificates(&bytes).is_err());
        prop_assert!(private_key(&bytes).is_err());
        let wrapped = |label: &str| {
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD.encode(&bytes);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
        };
        prop_assert!(certificates(&wrapped("CERTIFICATE")).is_err());
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            prop_assert!(private_key(&wrapped(label)).is_err());
        }
    }
}
