use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::reason::Reason;

fn spec(extra: Value) -> RegistryCredentialSpec {
    let mut full = json!({"provider": "Custom", "server": "reg.example.com", "secretRef": {"name": "src"}});
    if let (Value::Object(full), Value::Object(extra)) = (&mut full, extra) {
        full.extend(extra);
    }
    serde_json::from_value(full).unwrap()
}

fn secret(type_: &str, data: &[(&str, &[u8])]) -> SourceSecret {
    SourceSecret {
        name: "src".into(),
        type_: type_.into(),
        data: data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.to_vec()))).collect(),
    }
}

fn config(content: &Content) -> Value {
    serde_json::from_slice(content.data[OUTPUT_KEY].expose()).unwrap()
}

fn reason(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> (Reason, String) {
    let error = render(spec, secret).unwrap_err();
    (error.reason, error.to_string())
}

#[test]
fn all_three_shapes_give_the_same_file() {
    let want = json!({"auths": {"reg.example.com": {"username": "me", "password": "hunter2hunter2", "auth": "bWU6aHVudGVyMmh1bnRlcjI="}}});
    let pair: &[(&str, &[u8])] = &[("username", b"me"), ("password", b"hunter2hunter2\n")];
    let docker = br#"{"auths":{"https://reg.example.com":{"auth":"bWU6aHVudGVyMmh1bnRlcjI"},"ghcr.io":{}}}"#;
    for secret in [
        secret("Opaque", pair),
        secret("kubernetes.io/basic-auth", pair),
        secret("kubernetes.io/dockerconfigjson", &[(OUTPUT_KEY, docker)]),
    ] {
        let content = render(&spec(json!({})), &secret).unwrap();
        assert_eq!(config(&content), want);
        assert_eq!(content.type_, "kubernetes.io/dockerconfigjson");
    }
}

#[test]
fn the_user_name_comes_from_the_spec_then_the_secret_then_the_provider() {
    let with = secret("Opaque", &[("username", b"from-secret"), ("password", b"0123456789")]);
    let without = secret("Opaque", &[("password", b"0123456789")]);
    let user = |spec: Value, secret: &SourceSecret| {
        let content = render(&self::spec(spec), secret).unwrap();
        config(&content)["auths"].as_object().unwrap().values().next().unwrap()["username"].clone()
    };
    assert_eq!(user(json!({"username": "from-spec"}), &with), "from-spec");
    assert_eq!(user(json!({}), &with), "from-secret");
    let scaleway = json!({"provider": "Scaleway", "server": null, "scaleway": {"region": "fr-par"}});
    assert_eq!(user(scaleway, &without), "nologin");
    assert_eq!(reason(&spec(json!({})), &without).0, Reason::UsernameMissing);
}

#[test]
fn an_email_of_a_docker_config_may_be_escaped() {
    let text = br#"{"auths":{"reg.example.com":{"username":"me","password":"hunter2hunter2","email":"me\u0040example.com"}}}"#;
    let content =
        render(&spec(json!({})), &secret("kubernetes.io/dockerconfigjson", &[(OUTPUT_KEY, text)])).unwrap();
    assert_eq!(config(&content)["auths"]["reg.example.com"]["email"], "me@example.com");
}

#[test]
fn a_broken_source_is_reported_without_its_value() {
    let long = vec![b'x'; 1024 * 1024];
    let docker =
        |text: &'static str| secret("kubernetes.io/dockerconfigjson", &[(OUTPUT_KEY, text.as_bytes())]);
    for (secret, want) in [
        (secret("Opaque", &[("username", b"me")]), Reason::KeyMissing),
        (secret("kubernetes.io/tls", &[("password", b"hunter2")]), Reason::UnsupportedSecretType),
        (secret("Opaque", &[("username", b"me"), ("password", b"hunter2\xff")]), Reason::InvalidFormat),
        (secret("Opaque", &[("username", b"me"), ("password", b"")]), Reason::InvalidFormat),
        (secret("Opaque", &[("username", b"me"), ("password", b"\n")]), Reason::InvalidFormat),
        (secret("Opaque", &[("username", b"me"), ("password", b"hunter2\n\n")]), Reason::InvalidFormat),
        (secret("Opaque", &[("username", b"me"), ("password", b"hunter2\0")]), Reason::InvalidFormat),
        (secret("Opaque", &[("username", b"me"), ("password", &long)]), Reason::InvalidFormat),
        (secret("Opaque", &[("username", b"hunter2:x"), ("password", b"hunter2")]), Reason::InvalidUsername),
        (
            secret("Opaque", &[("username", b"hunter2\x07"), ("password", b"hunter2")]),
            Reason::InvalidUsername,
        ),
        (docker("hunter2"), Reason::InvalidFormat),
        (docker(r#"{"auths":{"reg.example.com":{"auth":"hunter2!"}}}"#), Reason::InvalidFormat),
        (docker(r#"{"auths":{"reg.example.com":{"auth":"aHVudGVyMg=="}}}"#), Reason::InvalidFormat),
        (docker(r#"{"auths":{"reg.example.com":{"username":"me"}}}"#), Reason::InvalidFormat),
        (
            docker(r#"{"auths":{"reg.example.com":{"username":"me","password":["hunter2"]}}}"#),
            Reason::InvalidFormat,
        ),
        (docker(r#"{"auths":{"ghcr.io":{"username":"me","password":"hunter2"}}}"#), Reason::InvalidFormat),
        (docker(r#"{"auths":{}}"#), Reason::InvalidFormat),
        (docker(r#"{}"#), Reason::InvalidFormat),
    ] {
        let (found, message) = reason(&spec(json!({})), &secret);
        assert_eq!(found, want, "{message}");
        assert!(!message.contains("hunter2"), "a value leaked: {message}");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}

#[test]
fn a_missing_entry_names_what_there_is() {
    let secret = secret(
        "kubernetes.io/dockerconfigjson",
        &[(OUTPUT_KEY, br#"{"auths":{"ghcr.io":{"auth":"eDp5"}}}"#)],
    );
    let told = reason(&spec(json!({})), &secret).1;
    assert!(told.contains("among 1 in all") && !told.contains("ghcr.io"), "{told}");
}

#[test]
fn a_short_password_is_a_warning() {
    let content =
        render(&spec(json!({"username": "me"})), &secret("Opaque", &[("password", b"1234567")])).unwrap();
    assert_eq!(content.warnings, [Warning::WEAK_PASSWORD]);
}

proptest! {
    /// Whatever can be rendered, kubelet reads back as it was: `auth` splits at the first colon.
    #[test]
    fn what_is_rendered_reads_back(username in "[^:\\p{Cc}]{1,40}", password in "[^\0\r\n]{1,200}") {
        let source = secret("Opaque", &[("username", username.as_bytes()), ("password", password.as_bytes())]);
        let content = render(&spec(json!({})), &source).unwrap();
        let file = config(&content);
        let entry = &file["auths"]["reg.example.com"];
        let (user, pass) = decode_auth(entry["auth"].as_str().unwrap()).unwrap();
        prop_assert_eq!(&user, &username);
        prop_assert_eq!(pass.as_str(), password.as_str());
        prop_assert_eq!(entry["username"].as_str(), Some(username.as_str()));
        prop_assert_eq!(entry["password"].as_str(), Some(password.as_str()));

        // And as a source of its own it gives the same file again.
        let again = secret(OUTPUT_TYPE, &[(OUTPUT_KEY, content.data[OUTPUT_KEY].expose())]);
        prop_assert_eq!(config(&render(&spec(json!({})), &again).unwrap()), file);
    }
}
