use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::PULL;
use crate::{
    api::{CredentialKind, crds},
    domain::{
        SecretBytes,
        content::SourceSecret,
        import::{
            form::{Form, Former},
            secret::kind_of_type,
        },
    },
};

pub(super) fn schema(kind: CredentialKind) -> Value {
    let definition = crds().into_iter().find(|one| one.spec.names.kind == kind.name()).unwrap();
    serde_json::to_value(
        definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap(),
    )
    .unwrap()
}

fn formed(kind: CredentialKind, data: Value) -> Result<Form, String> {
    let data = data.as_object().unwrap().iter();
    let data = data.map(|(key, value)| (key.clone(), SecretBytes::from(value.as_str().unwrap()))).collect();
    let source =
        SourceSecret { name: "src".to_owned(), type_: kind_of_type(kind).to_owned(), data, version: None };
    let mut former = Former::new(BTreeMap::from([(kind, schema(kind))]));
    former.form(kind, "p", &source, Timestamp::UNIX_EPOCH)
}

pub(super) fn config(keys: &[&str]) -> Result<Form, String> {
    // As kubectl writes it.
    let login = r#"{"username":"u","password":"canary-password","auth":"dTpjYW5hcnktcGFzc3dvcmQ="}"#;
    let auths: Vec<String> = keys.iter().map(|key| format!("{}:{login}", json!(key))).collect();
    let text = format!(r#"{{"auths":{{{}}}}}"#, auths.join(","));
    formed(PULL, json!({".dockerconfigjson": text}))
}

#[test]
fn each_key_becomes_the_login_that_gives_it() {
    for (key, spec) in [
        ("https://index.docker.io/v1/", json!({"provider": "DockerHub"})),
        ("docker.io", json!({"provider": "DockerHub"})),
        ("ghcr.io", json!({"provider": "GitHub"})),
        ("ghcr.io/acme", json!({"provider": "GitHub", "server": "ghcr.io/acme", "keyScope": "Path"})),
        ("https://registry.gitlab.com", json!({"provider": "GitLab"})),
        ("quay.io", json!({"provider": "Custom", "server": "quay.io"})),
        ("quay.io/acme", json!({"provider": "Quay", "server": "quay.io/acme", "keyScope": "Path"})),
        ("reg.example.com:5000", json!({"provider": "Custom", "server": "reg.example.com:5000"})),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            json!({"provider": "ECR", "server": "123456789012.dkr.ecr.eu-west-1.amazonaws.com"}),
        ),
        ("acme.azurecr.io", json!({"provider": "ACR", "server": "acme.azurecr.io"})),
        ("eu.gcr.io", json!({"provider": "GoogleArtifactRegistry", "server": "eu.gcr.io"})),
        ("public.ecr.aws", json!({"provider": "ECRPublic"})),
        (
            "rg.fr-par.scw.cloud/acme",
            json!({"provider": "Scaleway", "scaleway": {"region": "fr-par", "namespace": "acme"}, "keyScope": "Path"}),
        ),
        ("registry.digitalocean.com", json!({"provider": "DigitalOcean"})),
        ("de.icr.io", json!({"provider": "IBM", "server": "de.icr.io"})),
        ("nvcr.io", json!({"provider": "NVIDIA"})),
        ("rg.xx-xxx.scw.cloud", json!({"provider": "Custom", "server": "rg.xx-xxx.scw.cloud"})),
    ] {
        let mut spec = spec;
        spec["secretRef"] = json!({"name": "src"});
        assert_eq!(config(&[key]).unwrap().spec, spec, "{key}");
    }
    let several = config(&["quay.io", "ghcr.io"]).unwrap();
    assert_eq!(several.spec["registries"].as_array().unwrap().len(), 2);
    assert_eq!(several.registries, ["ghcr.io", "quay.io"]);
}

#[test]
fn what_a_credential_would_change_is_told_or_refused() {
    let equal = config(&["quay.io"]).unwrap();
    assert!(equal.is_equal, "as `kubectl create secret docker-registry` writes it");
    assert!(!config(&["https://quay.io/"]).unwrap().is_equal);
    for keys in
        [&["*.example.com"][..], &["quay.io", "*.io"], &["Quay.io"], &["quay.io", "https://quay.io"], &[]]
    {
        let error = config(keys).unwrap_err();
        assert!(!error.contains("canary") && !error.contains("quay"), "{error}");
    }
    let many: Vec<String> = (0..33).map(|n| format!("r{n}.example.com")).collect();
    assert!(config(&many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    for text in [
        "{",
        r#"{"auths": {"quay.io": {"identitytoken": "canary"}}}"#,
        r#"{"auths": {"quay.io": {"auth": "canary"}}}"#,
    ] {
        let error = formed(PULL, json!({".dockerconfigjson": text})).unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }
    let basic = |data| formed(CredentialKind::BasicAuthCredential, data);
    assert!(basic(json!({"username": "u", "password": "canary-password"})).unwrap().is_equal);
    assert!(!basic(json!({"username": "u", "password": "canary-password\n"})).unwrap().is_equal);
    let more = basic(json!({"username": "u", "password": "canary-password", "ca": "canary"})).unwrap_err();
    assert!(more.contains("'ca'") && !more.contains("canary"), "{more}");
    assert!(basic(json!({"password": "canary-password"})).is_err());
    let tls = formed(CredentialKind::TlsCredential, json!({"tls.crt": "canary", "tls.key": "canary"}));
    assert!(!tls.unwrap_err().contains("canary"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn only_hosts_that_the_schema_takes_are_printed(key in "(https://)?([a-z:@.*\n -]{1,12}[.]io)(/.{0,8})?") {
        if let Ok(form) = config(&[&key]) {
            let server = form.spec["server"].as_str().unwrap_or_default();
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/[]".contains(&byte);
            prop_assert!(server.bytes().all(is_plain), "{server}");
        }
    }
}
