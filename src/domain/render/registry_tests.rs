use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    api::VerificationMode,
    domain::{certificate::fixtures::Authority, content::Data, reason::Reason},
};

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
        version: None,
    }
}

fn config(content: &Content) -> Value {
    serde_json::from_slice(content.data[OUTPUT_KEY].expose()).unwrap()
}

fn rendered(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> Result<Content, SourceError> {
    render(spec, inputs(std::slice::from_ref(secret)))
}

fn inputs(sources: &[SourceSecret]) -> Inputs<'_> {
    Inputs::new(sources, k8s_openapi::jiff::Timestamp::UNIX_EPOCH)
}

fn reason(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> (Reason, String) {
    let error = rendered(spec, secret).unwrap_err();
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
        let content = rendered(&spec(json!({})), &secret).unwrap();
        assert_eq!(config(&content), want);
        assert_eq!(content.type_, "kubernetes.io/dockerconfigjson");
    }
}

#[test]
fn the_user_name_comes_from_the_spec_then_the_secret_then_the_provider() {
    let with = secret("Opaque", &[("username", b"from-secret"), ("password", b"0123456789")]);
    let without = secret("Opaque", &[("password", b"0123456789")]);
    let user = |spec: Value, secret: &SourceSecret| {
        let content = rendered(&self::spec(spec), secret).unwrap();
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
        rendered(&spec(json!({})), &secret("kubernetes.io/dockerconfigjson", &[(OUTPUT_KEY, text)])).unwrap();
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
    assert!(told.contains("it has 1 in all") && !told.contains("ghcr.io"), "{told}");
}

#[test]
fn a_short_password_is_a_warning() {
    let content =
        rendered(&spec(json!({"username": "me"})), &secret("Opaque", &[("password", b"1234567")])).unwrap();
    assert_eq!(content.warnings, [Warning::WEAK_PASSWORD]);
}

proptest! {
    /// Whatever can be rendered, kubelet reads back as it was: `auth` splits at the first colon.
    #[test]
    fn what_is_rendered_reads_back(username in "[^:\\p{Cc}]{1,40}", password in "[^\0\r\n]{1,200}") {
        let source = secret("Opaque", &[("username", username.as_bytes()), ("password", password.as_bytes())]);
        let content = rendered(&spec(json!({})), &source).unwrap();
        let file = config(&content);
        let entry = &file["auths"]["reg.example.com"];
        let (user, pass) = decode_auth(entry["auth"].as_str().unwrap()).unwrap();
        prop_assert_eq!(&user, &username);
        prop_assert_eq!(pass.as_str(), password.as_str());
        prop_assert_eq!(entry["username"].as_str(), Some(username.as_str()));
        prop_assert_eq!(entry["password"].as_str(), Some(password.as_str()));

        // And as a source of its own it gives the same file again.
        let again = secret(OUTPUT_TYPE, &[(OUTPUT_KEY, content.data[OUTPUT_KEY].expose())]);
        prop_assert_eq!(config(&rendered(&spec(json!({})), &again).unwrap()), file);
    }
}

/// Three registries, and who logs in there.
fn several() -> RegistryCredentialSpec {
    let entry = |server: &str, source: &str| json!({"provider": "Custom", "server": server, "secretRef": {"name": source}});
    let registries = [entry("a.example.com", "a"), entry("b.example.com", "b"), entry("c.example.com", "c")];
    serde_json::from_value(json!({"registries": registries})).unwrap()
}

fn login(name: &str, password: &str) -> SourceSecret {
    let pair: &[(&str, &[u8])] = &[("username", b"me"), ("password", password.as_bytes())];
    SourceSecret { name: name.to_owned(), ..secret("Opaque", pair) }
}

fn passwords(content: &Content) -> BTreeMap<String, String> {
    let auths = config(content)["auths"].clone();
    let auths = auths.as_object().unwrap().iter();
    auths.map(|(key, entry)| (key.clone(), entry["password"].as_str().unwrap().to_owned())).collect()
}

fn is(content: &Content, wanted: &[(&str, &str)]) {
    let wanted = wanted.iter().map(|(key, password)| (format!("{key}.example.com"), (*password).to_owned()));
    assert_eq!(passwords(content), wanted.collect());
}

#[test]
fn several_registries_stand_in_one_file_and_a_bad_one_holds_back_itself_only() {
    let spec = several();
    let good = [login("a", "password-a"), login("b", "password-b"), login("c", "password-c")];
    let first = spec.render(inputs(&good)).unwrap();
    is(&first, &[("a", "password-a"), ("b", "password-b"), ("c", "password-c")]);
    assert_eq!(spec.logins(inputs(&good)).len(), 3);
    assert_eq!(spec.source(), Source::Secrets(vec!["a".into(), "b".into(), "c".into()]));

    // One is gone, another one was changed: what was distributed of the first stays, and the other one is new.
    let lost = [login("a", "password-a"), login("c", "another-c")];
    let second = spec.render(inputs(&lost)).unwrap();
    assert_eq!(second.missing.keys().collect::<Vec<_>>(), ["b.example.com"]);
    let error = second.missing["b.example.com"].to_string();
    assert!(error.starts_with("`spec.registries[1]`: Secret 'b' does not exist"), "{error}");
    let kept = BTreeSet::from(["b.example.com"]);
    let composed = spec.compose(&second, &kept, &first).unwrap();
    is(&composed, &[("a", "password-a"), ("b", "password-b"), ("c", "another-c")]);
    // Nothing was distributed yet: it is left out.
    let nothing = Content { data: Data::new(), ..first.clone() };
    is(&spec.compose(&second, &kept, &nothing).unwrap(), &[("a", "password-a"), ("c", "another-c")]);
    assert_eq!(spec.logins(inputs(&lost)).len(), 2);

    // What is refused stays as it was, too; and nothing is left of a content that is refused as a whole.
    let third =
        spec.render(inputs(&[login("a", "wrong-a"), login("b", "new-b"), login("c", "wrong-c")])).unwrap();
    let refused = BTreeSet::from(["a.example.com", "c.example.com"]);
    let composed = spec.compose(&third, &refused, &first).unwrap();
    is(&composed, &[("a", "password-a"), ("b", "new-b"), ("c", "password-c")]);
    let all = BTreeSet::from(["a.example.com", "b.example.com", "c.example.com"]);
    assert_eq!(spec.compose(&third, &all, &first), None);
    // An entry that is not wanted any more does not come back with those that are kept.
    let two: RegistryCredentialSpec =
        RegistryCredentialSpec { registries: spec.registries[..2].to_vec(), ..spec.clone() };
    let fewer = two.render(inputs(&[login("a", "new-a")])).unwrap();
    is(&two.compose(&fewer, &kept, &first).unwrap(), &[("a", "new-a"), ("b", "password-b")]);
    // What is put together is what would have been rendered.
    assert_eq!(spec.compose(&first, &kept, &first).unwrap().data, first.data);
    assert_eq!(spec.parts(&first).len(), 3);
}

#[test]
fn where_no_registry_can_be_used_the_first_error_is_told() {
    let error = several().render(inputs(&[])).unwrap_err();
    assert_eq!(error.reason, Reason::SecretNotFound);
    assert!(error.is_partial && error.to_string().contains("registries[0]"), "{error}");
}

#[test]
fn two_entries_with_one_key_are_told_apart() {
    let mut spec = several();
    spec.registries[1] = spec.registries[0].clone();
    let sources = [login("a", "password-a"), login("c", "password-c")];
    let content = spec.render(inputs(&sources)).unwrap();
    is(&content, &[("a", "password-a"), ("c", "password-c")]);
    let [(_, error)] = content.missing.iter().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(error.reason, Reason::InvalidFormat);
    assert!(
        error.to_string().contains("registries[1]") && error.to_string().contains("given twice"),
        "{error}"
    );
    assert_eq!(spec.provider(), "Custom");
    spec.registries[0].provider = Some(Provider::Quay);
    assert_eq!(spec.provider(), "Several");
}

#[test]
fn authorities_are_read_once_for_all_entries_and_are_not_large() {
    let mut spec = several();
    for entry in &mut spec.registries {
        entry.verification =
            serde_json::from_value(json!({"caSecretRef": {"name": "ca", "key": "root.pem"}})).unwrap();
    }
    let of = |pem: &str| {
        let ca = SourceSecret { name: "ca".to_owned(), ..secret("Opaque", &[("root.pem", pem.as_bytes())]) };
        let sources = [login("a", "password-a"), login("b", "password-b"), login("c", "password-c"), ca];
        let logins = spec.logins(inputs(&sources));
        logins.into_iter().map(|login| login.authorities.unwrap()).collect::<Vec<_>>()
    };
    let pem = Authority::root("root").pem;
    let all: Vec<_> = of(&pem).into_iter().map(Result::unwrap).collect();
    assert!(all.len() == 3 && all.iter().all(|one| one.len() == 1 && std::sync::Arc::ptr_eq(one, &all[0])));
    assert!(of(&pem.repeat((16 << 10) / pem.len() + 1)).iter().all(Result::is_err));
    assert!(of(&pem.repeat((16 << 10) / pem.len())).iter().all(Result::is_ok));
}

#[test]
fn what_a_login_was_read_from_is_told_by_the_versions_of_its_secrets() {
    let mut spec = several();
    spec.registries[1].verification = serde_json::from_value(json!({"caSecretRef": {"name": "ca"}})).unwrap();
    spec.registries[2].verification =
        serde_json::from_value(json!({"caSecretRef": {"name": "none"}})).unwrap();
    let of =
        |secret: SourceSecret, version: &str| SourceSecret { version: Some(version.to_owned()), ..secret };
    let ca = SourceSecret { name: "ca".to_owned(), ..secret("Opaque", &[]) };
    let long = "9".repeat(64);
    let sources = [
        of(login("a", "password-a"), "11"),
        of(login("b", "password-b"), "12"),
        of(login("c", "password-c"), "13"),
        of(ca, "14"),
    ];
    let versions = |sources: &[SourceSecret]| {
        let logins = spec.logins(inputs(sources)).into_iter();
        logins.map(|login| login.version.unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(versions(&sources), ["11", "12,14", "13,"]);
    let sources = [of(login("a", "password-a"), &long), login("b", "password-b")];
    assert_eq!(versions(&sources), ["", ""]);
}

#[test]
fn an_official_image_of_docker_hub_has_its_whole_name() {
    let of = |server: &str, repository: &str| {
        let spec = spec(json!({"server": server, "verification": {"repository": repository}}));
        match spec.logins(inputs(&[login("src", "password")])).remove(0).subject {
            verification::Subject::Registry(login) => login.repository.unwrap(),
            verification::Subject::Bucket(_) => panic!("a registry"),
        }
    };
    let whole = |name: &str, tag: &str| (name.to_owned(), tag.to_owned());
    assert_eq!(of("docker.io", "alpine:3"), whole("library/alpine", "3"));
    assert_eq!(of("registry-1.docker.io", "alpine"), whole("library/alpine", "latest"));
    assert_eq!(of("docker.io", "acme/alpine"), whole("acme/alpine", "latest"));
    assert_eq!(of("r.example.com", "alpine"), whole("alpine", "latest"));
}

#[test]
fn a_refusal_is_told_alone_but_for_scaleway() {
    let rules = |extra: Value| {
        let login = spec(extra).logins(inputs(&[login("src", "password")])).remove(0);
        (login.rules.mode, login.rules.interval.as_secs() / 3_600)
    };
    let scaleway = |more: Value| {
        let mut spec = json!({"provider": "Scaleway", "server": null, "scaleway": {"region": "fr-par"}});
        spec["verification"] = more;
        rules(spec)
    };
    assert_eq!(rules(json!({})), (VerificationMode::Warn, 6));
    assert_eq!(scaleway(Value::Null), (VerificationMode::Enforce, 6));
    assert_eq!(scaleway(json!({"interval": "1h"})), (VerificationMode::Enforce, 1));
    assert_eq!(scaleway(json!({"mode": "Warn"})), (VerificationMode::Warn, 6));
}

#[test]
fn only_a_server_of_the_tenants_own_is_trusted_by_its_authorities() {
    let pem = Authority::root("root").pem;
    let ca = SourceSecret { name: "ca".to_owned(), ..secret("Opaque", &[("ca.crt", pem.as_bytes())]) };
    let trusted = |mut spec: Value| {
        spec["verification"] = json!({"caSecretRef": {"name": "ca"}});
        let spec: RegistryCredentialSpec = serde_json::from_value(spec).unwrap();
        let (_, grant) = spec.grants(inputs(std::slice::from_ref(&ca))).pop_first().unwrap();
        grant.unwrap().authorities.map(|all| all.len())
    };
    let auth = json!({"serviceAccountRef": {"name": "puller"}});
    let quay =
        json!({"provider": "Quay", "username": "acme+ci", "quay": {"namespace": "acme", "auth": auth}});
    assert_eq!(trusted(quay), Some(1));
    let ecr = json!({"accountId": "123456789012", "region": "eu-central-1", "auth": auth});
    assert_eq!(trusted(json!({"provider": "ECR", "ecr": ecr})), None);
}
