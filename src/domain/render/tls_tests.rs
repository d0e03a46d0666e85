use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::domain::{
    SecretBytes,
    certificate::fixtures::{Authority, Pair, leaf_params, now, params},
    reason::Reason,
};

fn spec(secret_ref: Value) -> TlsCredentialSpec {
    serde_json::from_value(json!({"secretRef": secret_ref})).unwrap()
}

fn secret(type_: &str, data: &[(&str, &str)]) -> SourceSecret {
    SourceSecret {
        name: "src".into(),
        type_: type_.into(),
        data: data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect(),
        version: None,
    }
}

fn pair() -> (Pair, Authority) {
    let authority = Authority::root("root");
    (authority.leaf("a.example.com"), authority)
}

fn fails(spec: &TlsCredentialSpec, secret: &SourceSecret) -> (Reason, String) {
    let error = render(spec, secret, now()).unwrap_err();
    (error.reason, error.to_string())
}

#[test]
fn what_is_larger_than_certificates_are_is_refused() {
    let (pair, _) = pair();
    let padded = |bytes: usize| {
        format!("{}{}", pair.certificate, "#".repeat(bytes - pair.certificate.len() - pair.key.len()))
    };
    let of = |certificate: &str| secret("Opaque", &[("tls.crt", certificate), ("tls.key", &pair.key)]);
    assert!(render(&spec(json!({"name": "src"})), &of(&padded(MAX_BYTES)), now()).is_ok());
    let (reason, message) = fails(&spec(json!({"name": "src"})), &of(&padded(MAX_BYTES + 1)));
    assert!(reason == Reason::InvalidFormat && message.contains("may have 65536"), "{message}");
}

#[test]
fn the_pair_goes_on_from_any_keys_and_both_types_without_the_text_around_it() {
    let (pair, authority) = pair();
    let (certificate, key) = (format!("# ours\n{}after\n", pair.certificate), pair.key);
    let usual = secret("kubernetes.io/tls", &[("tls.crt", &certificate), ("tls.key", &key), ("other", "x")]);
    let named = secret("Opaque", &[("cert.pem", &certificate), ("key.pem", &key), ("chain", &authority.pem)]);
    let names =
        json!({"name": "src", "certificateKey": "cert.pem", "privateKeyKey": "key.pem", "caKey": "chain"});
    for (spec, secret, authorities) in
        [(spec(json!({"name": "src"})), usual, None), (spec(names), named, Some(authority.pem.as_bytes()))]
    {
        let content = render(&spec, &secret, now()).unwrap();
        assert_eq!(content.type_, "kubernetes.io/tls");
        assert_eq!(content.data["tls.crt"].expose(), pair.certificate.as_bytes());
        assert_eq!(content.data["tls.key"].expose(), key.as_bytes());
        assert_eq!(content.data.get("ca.crt").map(SecretBytes::expose), authorities);
        assert!(content.warnings.is_empty());
        assert_eq!(content.validity.unwrap().not_after.to_string(), "2120-01-01T00:00:00Z");
    }
}

#[test]
fn the_authorities_are_optional_unless_named_and_checked_when_there() {
    let (pair, authority) = pair();
    let with = |authorities: Option<&str>| {
        let mut data = vec![("tls.crt", pair.certificate.as_str()), ("tls.key", &pair.key)];
        data.extend(authorities.map(|text| ("ca.crt", text)));
        secret("kubernetes.io/tls", &data)
    };
    let (usual, named) = (spec(json!({"name": "src"})), spec(json!({"name": "src", "caKey": "ca.crt"})));
    let has =
        |spec, text: Option<&str>| render(spec, &with(text), now()).unwrap().data.contains_key("ca.crt");
    assert!(has(&usual, Some(&authority.pem)) && has(&named, Some(&authority.pem)));
    assert!(!has(&usual, None) && !has(&usual, Some("")), "cert-manager leaves it empty");
    let (reason, message) = fails(&named, &with(None));
    assert_eq!(reason, Reason::KeyMissing);
    assert!(message.contains("`secretRef.caKey`"), "{message}");
    for (text, want) in
        [("hunter2", Reason::InvalidFormat), (pair.key.as_str(), Reason::PrivateKeyInCertificate)]
    {
        let (reason, message) = fails(&usual, &with(Some(text)));
        assert_eq!(reason, want);
        assert!(message.starts_with("key 'ca.crt' of Secret 'src'"), "{message}");
    }
    assert_eq!(fails(&named, &with(Some(""))).0, Reason::InvalidFormat);
}

#[test]
fn an_error_names_the_key_that_has_it() {
    let (pair, authority) = pair();
    let other = authority.leaf("a.example.com");
    let spec = spec(json!({"name": "src"}));
    for (certificate, key, reason, begins) in [
        (&*pair.certificate, "hunter2", Reason::InvalidFormat, "key 'tls.key' of Secret 'src' is not PEM"),
        ("hunter2", &pair.key, Reason::InvalidFormat, "key 'tls.crt' of Secret 'src' is not PEM"),
        (&pair.certificate, &other.key, Reason::KeyMismatch, "key 'tls.key' of Secret 'src' does not belong"),
        (
            &pair.key,
            &pair.key,
            Reason::PrivateKeyInCertificate,
            "key 'tls.crt' of Secret 'src' holds a private key",
        ),
    ] {
        let (found, message) = fails(&spec, &secret("Opaque", &[("tls.crt", certificate), ("tls.key", key)]));
        assert_eq!(found, reason);
        assert!(message.starts_with(begins) && !message.contains("hunter2"), "{message}");
    }
    assert_eq!(fails(&spec, &secret("Opaque", &[("tls.crt", &pair.certificate)])).0, Reason::KeyMissing);
    let dockerconfig = secret("kubernetes.io/dockerconfigjson", &[]);
    assert_eq!(fails(&spec, &dockerconfig).0, Reason::UnsupportedSecretType);
}

#[test]
fn time_alone_makes_it_bad_and_good() {
    let authority = Authority::root("root");
    let short = authority.intermediate_until("short", 2025);
    let of = |pair: &Pair, chain: &str| {
        secret("Opaque", &[("tls.crt", &format!("{}{chain}", pair.certificate)), ("tls.key", &pair.key)])
    };
    let kind = &rcgen::PKCS_ECDSA_P256_SHA256;
    let old = of(&authority.issue(leaf_params("a.example.com", 2020, 2024), kind), "");
    let early = of(&authority.issue(leaf_params("a.example.com", 2030, 2040), kind), "");
    let above = of(&short.leaf("a.example.com"), &short.pem);
    let spec = spec(json!({"name": "src"}));
    for (secret, reason, words, waits) in [
        (
            &old,
            Reason::Expired,
            "key 'tls.crt' of Secret 'src' expired at 2024-01-01T00:00:00Z; renew it",
            false,
        ),
        (&early, Reason::NotYetValid, "is not valid before 2030-01-01T00:00:00Z", true),
        (&above, Reason::Expired, "has CN=short in its chain, which expired at 2025-01-01T00:00:00Z", false),
    ] {
        let error = render(&spec, secret, now()).unwrap_err();
        assert_eq!(error.reason, reason);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.is_waiting(), waits);
        let in_time = error.validity.unwrap().not_before;
        assert!(render(&spec, secret, in_time).is_ok());
    }
}

#[test]
fn a_certificate_without_alternative_names_is_a_warning() {
    let pair = Authority::root("root").issue(params("client", 2020, 2120), &rcgen::PKCS_ED25519);
    let secret = secret("Opaque", &[("tls.crt", &pair.certificate), ("tls.key", &pair.key)]);
    let content = render(&spec(json!({"name": "src"})), &secret, now()).unwrap();
    assert_eq!(content.warnings, [Warning::NO_ALTERNATIVE_NAME]);
}

#[test]
fn the_status_keeps_the_last_good_certificate() {
    let (pair, _) = pair();
    let source = secret("Opaque", &[("tls.crt", &pair.certificate), ("tls.key", &pair.key)]);
    let spec = spec(json!({"name": "src"}));
    let mut status = CredentialStatus::default();
    assert!(spec.details(None, None, &Map::new()).is_empty());
    assert_eq!(spec.recorded_validity(&status, &Map::new()), None);

    let sources = [source];
    let inputs = Inputs::new(&sources, now());
    let details = spec.details(Some(&spec.render(inputs).unwrap()), None, &Map::new());
    assert_eq!(details["certificate"]["name"], "a.example.com");
    assert_eq!(details["certificate"]["notAfter"], "2120-01-01T00:00:00Z");

    // What the status says stays while there is no content.
    assert_eq!(spec.details(None, None, &details), details);
    let ends = |status: &CredentialStatus| {
        spec.recorded_validity(status, &details).map(|validity| validity.not_after.to_string())
    };
    assert_eq!(ends(&status).as_deref(), Some("2120-01-01T00:00:00Z"));
    status.expiration_time = Some(Time("2100-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(ends(&status).as_deref(), Some("2100-01-01T00:00:00Z"), "the chain may end earlier");
}
