use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::certificate::fixtures::Authority;

const STRICT: bool = false;
const LAX: bool = true;
const CANARY: &str = "canary-7f3a";

/// A kubeconfig of two contexts; `cluster` and `user` are those of the current one.
fn file(cluster: Value, user: Value) -> Vec<u8> {
    let value = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here", "preferences": {},
        "contexts": [
            {"name": "there", "context": {"cluster": "b", "user": "b"}},
            {"name": "here", "context": {"cluster": "a", "user": "a", "namespace": "x"}},
        ],
        "clusters": [
            {"name": "b", "cluster": {"server": "https://other.example.com", "insecure-skip-tls-verify": true}},
            {"name": "a", "cluster": cluster},
        ],
        "users": [{"name": "b", "user": {"exec": {"command": "sh"}}}, {"name": "a", "user": user}],
    });
    serde_saphyr::to_string(&value).unwrap().into_bytes()
}

fn server() -> Value {
    json!({"server": "https://10.0.0.1:6443"})
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn refused(cluster: Value, user: Value, reason: &str, words: &[&str]) {
    let problem = kubeconfig(&file(cluster, user), STRICT).unwrap_err();
    assert_reason(&problem, reason, words);
}

fn assert_reason(problem: &AccessError, reason: &str, words: &[&str]) {
    let text = problem.to_string();
    assert_eq!(problem.reason(), reason, "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
    assert!(!text.contains(CANARY), "{text}");
}

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

#[test]
fn the_current_context_is_taken_whatever_the_others_hold() {
    let authority = Authority::root("ca");
    let cluster = json!({"server": "https://10.0.0.1:6443/", "certificate-authority-data": encoded(&authority.pem), "tls-server-name": "api.example.com"});
    let access = kubeconfig(&file(cluster, json!({"token": CANARY})), STRICT).unwrap();
    assert_eq!(access.server.to_string(), "https://10.0.0.1:6443/");
    assert_eq!(access.ca.as_ref().unwrap().len(), 1);
    assert_eq!(access.tls_server_name.as_deref(), Some("api.example.com"));
    assert_eq!(access.login, Some(Login::Token(CANARY.into())));
    assert!(!access.insecure && access.certificate.is_none());
    assert!(!format!("{access:?}").contains(CANARY));
}

#[test]
fn users_may_have_a_password_or_a_certificate() {
    let basic = kubeconfig(&file(server(), json!({"username": "me", "password": CANARY})), STRICT).unwrap();
    assert_eq!(basic.login, Some(Login::Basic { username: "me".into(), password: CANARY.into() }));
    assert!(!format!("{basic:?}").contains(CANARY));
    let pair = Authority::root("ca").leaf("client");
    let user =
        json!({"client-certificate-data": encoded(&pair.certificate), "client-key-data": encoded(&pair.key)});
    let access = kubeconfig(&file(server(), user), STRICT).unwrap();
    assert_eq!(access.certificate.as_ref().unwrap().key.expose(), pair.key.as_bytes());
    assert!(!format!("{access:?}").contains("PRIVATE"));
}

#[test]
fn what_would_act_in_the_pod_is_refused() {
    let token = json!({"token": CANARY});
    refused(
        server(),
        with(token.clone(), "exec", json!({"command": CANARY})),
        "ExecNotAllowed",
        &["`exec`", "token"],
    );
    refused(
        server(),
        with(token.clone(), "auth-provider", json!({"name": CANARY})),
        "AuthProviderNotAllowed",
        &["`auth-provider`"],
    );
    for (field, inline) in [
        ("client-certificate", "client-certificate-data"),
        ("client-key", "client-key-data"),
        ("tokenFile", "`token`"),
    ] {
        refused(
            server(),
            with(token.clone(), field, json!(CANARY)),
            "FileNotAllowed",
            &[field, inline, "--flatten"],
        );
    }
    let cluster = with(server(), "certificate-authority", json!(CANARY));
    refused(cluster, token.clone(), "FileNotAllowed", &["certificate-authority-data"]);
    for field in ["as", "as-uid"] {
        refused(server(), with(token.clone(), field, json!(CANARY)), "ImpersonationNotAllowed", &[field]);
    }
    refused(
        server(),
        with(token.clone(), "as-groups", json!([CANARY])),
        "ImpersonationNotAllowed",
        &["as-groups"],
    );
    refused(
        with(server(), "proxy-url", json!("http://canary-7f3a")),
        token,
        "ProxyNotSupported",
        &["proxy-url"],
    );
}

#[test]
fn whoever_answers_must_be_known() {
    let token = json!({"token": CANARY});
    let insecure = with(server(), "insecure-skip-tls-verify", json!(true));
    refused(
        insecure.clone(),
        token.clone(),
        "InsecureNotAllowed",
        &["insecure-skip-tls-verify", "--allow-insecure-members"],
    );
    let plain = json!({"server": "http://10.0.0.1:8080"});
    refused(plain.clone(), token.clone(), "PlainHttpNotAllowed", &["https://", "--allow-insecure-members"]);
    assert!(kubeconfig(&file(insecure, token.clone()), LAX).unwrap().insecure);
    assert!(kubeconfig(&file(plain, token.clone()), LAX).is_ok());
    for (address, reason) in [
        ("", "ServerMissing"),
        ("10.0.0.1:6443", "InvalidServer"),
        ("ftp://a", "InvalidServer"),
        ("https://", "InvalidServer"),
        ("https://a?b=canary-7f3a", "InvalidServer"),
        ("https://me:canary-7f3a@a", "CredentialsInServer"),
        ("https://me/canary-7f3a@a", "CredentialsInServer"),
        ("https://a:99999", "InvalidServer"),
    ] {
        refused(json!({"server": address}), token.clone(), reason, &["`server`"]);
    }
    for address in
        ["https://127.0.0.1:6443", "https://[::1]:6443", "https://rancher.example.com/k8s/clusters/c-1"]
    {
        assert!(kubeconfig(&file(json!({"server": address}), token.clone()), STRICT).is_ok(), "{address}");
    }
    refused(
        with(server(), "tls-server-name", json!("not a name")),
        token,
        "InvalidServer",
        &["tls-server-name"],
    );
}

#[test]
fn what_is_incomplete_or_damaged_is_named() {
    refused(server(), json!({}), "NoCredentials", &["`token`", "`client-certificate-data`"]);
    refused(server(), json!({"token": " "}), "NoCredentials", &[]);
    refused(server(), json!({"username": "me"}), "NoCredentials", &["password"]);
    refused(
        server(),
        json!({"username": "me", "password": "p", "token": CANARY}),
        "TwoIdentities",
        &["`token`", "`username`"],
    );
    refused(server(), json!({"token": "canary-7f3a second"}), "InvalidToken", &["`token`"]);
    let pair = Authority::root("ca").leaf("client");
    let other = Authority::root("ca").leaf("client");
    let user = |certificate: &str, key: &str| json!({"client-certificate-data": certificate, "client-key-data": key});
    refused(server(), user(&encoded(&pair.certificate), ""), "IncompletePair", &["`client-key-data`"]);
    refused(server(), user("", &encoded(&pair.key)), "IncompletePair", &["`client-certificate-data`"]);
    refused(
        server(),
        user(&encoded(&pair.certificate), &encoded(&other.key)),
        "InvalidCertificate",
        &["does not belong"],
    );
    refused(
        server(),
        user(&pair.certificate, &encoded(&pair.key)),
        "InvalidBase64",
        &["`client-certificate-data`"],
    );
    refused(
        server(),
        user(&encoded(CANARY), &encoded(&pair.key)),
        "InvalidCertificate",
        &["`client-certificate-data`"],
    );
    let cluster = with(server(), "certificate-authority-data", json!(encoded(CANARY)));
    refused(cluster, json!({"token": CANARY}), "InvalidCertificate", &["`certificate-authority-data`"]);
}

#[test]
fn what_is_no_kubeconfig_is_not_quoted() {
    let read = |text: &str| kubeconfig(text.as_bytes(), STRICT).unwrap_err();
    assert_reason(&read(""), "NoCurrentContext", &[]);
    assert_reason(&read("current-context: {a: canary-7f3a"), "Malformed", &[]);
    assert_reason(&read("users: [{name: a, user: {token: [canary-7f3a]}}]"), "Malformed", &["line 1"]);
    assert_reason(&read("canary-7f3a"), "Malformed", &["YAML"]);
    assert_reason(&read("apiVersion: v1"), "NoCurrentContext", &["current-context"]);
    assert_reason(&read("current-context: canary-7f3a"), "UnknownContext", &["`contexts`"]);
    let context = "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: canary-7f3a}}]\n";
    assert_reason(&read(context), "UnknownCluster", &["`clusters`"]);
    let context = format!("{context}clusters: [{{name: c, cluster: {{server: 'https://a'}}}}]\n");
    assert_reason(&read(&context), "UnknownUser", &["`users`"]);
    assert_reason(&kubeconfig(&vec![b' '; MAX_BYTES + 1], STRICT).unwrap_err(), "TooLarge", &["--minify"]);
}

#[test]
fn a_file_that_grows_by_aliases_is_refused_before_it_has_grown() {
    // Were it not, this would take all memory there is.
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..30 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    text.push_str("current-context: a\n");
    assert_reason(&kubeconfig(text.as_bytes(), STRICT).unwrap_err(), "Malformed", &[]);
}

fn argo(server: &str, config: &Value) -> Result<Access, AccessError> {
    let data: BTreeMap<String, SecretBytes> =
        [("name", "east".to_owned()), ("server", server.to_owned()), ("config", config.to_string())]
            .map(|(key, value)| (key.to_owned(), SecretBytes::from(value.as_str())))
            .into();
    argocd(&data, STRICT)
}

#[test]
fn clusters_of_argo_cd_are_read_as_argo_cd_reads_them() {
    let authority = Authority::root("ca");
    let config = json!({"bearerToken": CANARY, "tlsClientConfig": {"insecure": false, "caData": encoded(&authority.pem), "serverName": "api"}});
    let access = argo("https://10.0.0.1:6443", &config).unwrap();
    assert_eq!(access.login, Some(Login::Token(CANARY.into())));
    assert_eq!((access.tls_server_name.as_deref(), access.ca.map(|ca| ca.len())), (Some("api"), Some(1)));
    let basic = argo("https://10.0.0.1", &json!({"username": "me", "password": CANARY})).unwrap();
    assert!(matches!(basic.login, Some(Login::Basic { .. })));
    let pair = authority.leaf("client");
    let config =
        json!({"tlsClientConfig": {"certData": encoded(&pair.certificate), "keyData": encoded(&pair.key)}});
    assert!(argo("https://10.0.0.1", &config).unwrap().certificate.is_some());
}

#[test]
fn of_argo_cd_too_only_what_is_inline_and_safe_is_taken() {
    let refused = |config: Value, reason: &str, word: &str| {
        assert_reason(&argo("https://10.0.0.1", &config).unwrap_err(), reason, &[word]);
    };
    refused(json!({"execProviderConfig": {"command": CANARY}}), "ExecNotAllowed", "`execProviderConfig`");
    refused(json!({"awsAuthConfig": {"clusterName": CANARY}}), "AuthProviderNotAllowed", "`awsAuthConfig`");
    refused(json!({"bearerToken": "x", "proxyUrl": "http://canary-7f3a"}), "ProxyNotSupported", "`proxyUrl`");
    refused(
        json!({"bearerToken": "x", "tlsClientConfig": {"insecure": true}}),
        "InsecureNotAllowed",
        "tlsClientConfig.insecure",
    );
    refused(json!({}), "NoCredentials", "`bearerToken`");
    refused(json!(CANARY), "Malformed", "line 1");
    for address in ["https://kubernetes.default.svc", "https://kubernetes.default.svc/"] {
        assert_reason(&argo(address, &json!({})).unwrap_err(), "InCluster", &["`local`"]);
    }
    assert_reason(&argocd(&BTreeMap::new(), STRICT).unwrap_err(), "ServerMissing", &["`server`"]);
}

fn piece() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(CANARY)),
        Just(json!([CANARY])),
        Just(json!({"a": CANARY})),
        Just(json!(true)),
        Just(json!(7)),
        "[ -~]{0,8}".prop_map(|text| json!(format!("{text}{CANARY}"))),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = kubeconfig(&bytes, LAX);
        let _ = argocd(&BTreeMap::from([("config".to_owned(), SecretBytes::new(bytes.clone())), ("server".to_owned(), SecretBytes::new(bytes))]), LAX);
    }

    #[test]
    fn no_text_like_yaml_makes_it_panic(text in "[a-c:\\-{}\\[\\]&*!|>'\"\n ,#?%@]{0,120}") {
        let _ = kubeconfig(text.as_bytes(), LAX);
    }

    #[test]
    fn no_field_gets_into_what_is_shown(
        names in prop::collection::vec(prop::sample::select(vec![
            "certificate-authority-data", "certificate-authority", "insecure-skip-tls-verify", "proxy-url", "token",
            "tokenFile", "password", "client-certificate", "client-certificate-data", "client-key", "client-key-data",
            "exec", "auth-provider", "as", "as-groups", "bearerToken", "tlsClientConfig", "execProviderConfig", "proxyUrl",
        ]), 1..5),
        values in prop::collection::vec(piece(), 5),
    ) {
        let mut object = json!({"username": "me"});
        for (name, value) in names.iter().zip(values) {
            object[*name] = value;
        }
        let cluster = with(object.clone(), "server", json!("https://10.0.0.1"));
        for result in [kubeconfig(&file(cluster, object.clone()), LAX), argo("https://10.0.0.1", &object)] {
            let shown = match &result {
                Ok(access) => format!("{access:?}"),
                Err(problem) => format!("{problem:?} {problem}"),
            };
            prop_assert!(!shown.contains(CANARY), "{}", shown);
        }
    }
}
