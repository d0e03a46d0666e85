//! How members are reached: kubeconfigs, and the cluster Secrets of Argo CD.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CANARY, check, generate, grows_with_its_input, tells_no_secret};
use crate::{
    api::ClusterTool,
    cluster::configuration,
    domain::{
        SecretBytes,
        access::{Access, AccessError, Login, argocd, is_in_cluster, kubeconfig},
        adoption::{Adopt, dns_label},
        certificate::{certificates, fixtures::Authority, private_key},
        labels::is_dns_label,
    },
};

const STRICT: bool = false;

/// Base64 of an authority, and of the certificate and the key of a client.
static IDENTITY: LazyLock<[String; 3]> = LazyLock::new(|| {
    let authority = Authority::root("ca");
    let client = authority.leaf("client");
    [authority.pem, client.certificate, client.key].map(|pem| STANDARD.encode(pem))
});

fn kubeconfigs() -> Vec<Value> {
    let [ca, certificate, key] = &*IDENTITY;
    let file = |cluster: Value, user: Value| {
        json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "a", "user": "a", "namespace": "x"}}],
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": user}],
        })
    };
    let cluster = json!({"server": "https://10.0.0.1:6443", "certificate-authority-data": ca});
    vec![
        // As kind writes it, EKS, Argo CD's own users, and a person.
        file(cluster.clone(), json!({"client-certificate-data": certificate, "client-key-data": key})),
        file(
            cluster.clone(),
            json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": ["eks", "get-token"], "env": null}}),
        ),
        file(cluster, json!({"token": CANARY})),
        file(
            json!({"server": "https://[::1]:6443/k8s/", "tls-server-name": "api.example.com", "insecure-skip-tls-verify": false, "proxy-url": "", "certificate-authority": ""}),
            json!({"username": "me", "password": CANARY, "tokenFile": "", "auth-provider": null, "as": null}),
        ),
        file(
            json!({"server": "http://10.0.0.1", "insecure-skip-tls-verify": true}),
            json!({"tokenFile": "/etc/passwd", "as-groups": [CANARY]}),
        ),
    ]
}

/// Nothing that was refused is in what was accepted, and all of it can be used.
fn is_safe(access: &Access) -> Result<(), TestCaseError> {
    prop_assert!(!access.insecure && access.server.scheme_str() == Some("https"));
    prop_assert!(
        access.server.host().is_some_and(|host| !host.is_empty()) && !access.server.to_string().contains('@')
    );
    prop_assert!(access.login.is_some() || access.certificate.is_some());
    let username = match &access.login {
        Some(Login::Basic { username, .. }) => username.as_str(),
        _ => "",
    };
    if let Some(Login::Token(token)) = &access.login {
        prop_assert!(!token.expose().is_empty() && token.expose().iter().all(u8::is_ascii_graphic));
    }
    if let Some(client) = &access.certificate {
        let key = private_key(client.key.expose()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let chain =
            certificates(client.chain.expose()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let of = chain.first().map(|leaf| leaf.public_key());
        prop_assert!(!matches!(of, Some(Ok(of)) if of != key));
    }
    let (shown, address) = (format!("{access:?}"), access.server.to_string());
    let named = [address.as_str(), access.tls_server_name.as_deref().unwrap_or_default(), username];
    prop_assert!(!shown.contains(CANARY) || named.iter().any(|name| name.contains(CANARY)), "{}", shown);
    let (config, _) = configuration(access);
    prop_assert!(
        config.root_cert_file.is_none() && !config.accept_invalid_certs && config.proxy_url.is_none()
    );
    let auth = &config.auth_info;
    prop_assert!(auth.exec.is_none() && auth.auth_provider.is_none() && auth.impersonate.is_none());
    prop_assert!(auth.token_file.is_none() && auth.client_certificate.is_none() && auth.client_key.is_none());
    Ok(())
}

fn judge(result: &Result<Access, AccessError>) -> Result<(), TestCaseError> {
    match result {
        Ok(access) => is_safe(access),
        Err(error) => {
            prop_assert!(!error.reason().is_empty() && error.to_string().len() < 1024);
            tells_no_secret(error)
        }
    }
}

#[test]
fn kubeconfigs_are_read_or_refused() {
    let yaml = |file: &Value| serde_saphyr::to_string(file).unwrap().into_bytes();
    let in_json = generate::json(kubeconfigs());
    let in_yaml = generate::rearranged(kubeconfigs()).prop_map(move |file| yaml(&file)).boxed();
    let texts = prop_oneof![1 => in_json, 2 => in_yaml.clone(), 3 => generate::damaged(in_yaml)];
    check(texts, |input| {
        let _ = kubeconfig(input, true);
        judge(&kubeconfig(input, STRICT))
    });
}

fn argo_configs() -> Vec<Value> {
    let [ca, certificate, key] = &*IDENTITY;
    vec![
        json!({"bearerToken": CANARY, "tlsClientConfig": {"insecure": false, "caData": ca, "serverName": "api"}}),
        json!({"username": "me", "password": CANARY, "tlsClientConfig": {"insecure": true}}),
        json!({"tlsClientConfig": {"certData": certificate, "keyData": key}, "disableCompression": true}),
        json!({"execProviderConfig": {"command": CANARY, "args": [], "env": {}}, "awsAuthConfig": {"clusterName": CANARY}, "proxyUrl": "http://a"}),
    ]
}

#[test]
fn clusters_of_argo_cd_are_read_or_refused() {
    check(generate::json(argo_configs()), |input| {
        let config = SecretBytes::new(input.to_vec());
        let with = |server: &[u8]| {
            BTreeMap::from([
                ("server".to_owned(), SecretBytes::new(server.to_vec())),
                ("config".to_owned(), config.clone()),
            ])
        };
        let _ = argocd(&with(b"https://10.0.0.1"), true);
        judge(&argocd(&with(b"https://10.0.0.1"), STRICT))?;
        // The same text where an address should be.
        judge(&argocd(&with(input), STRICT))
    });
}

#[test]
fn addresses_names_and_labels_of_clusters_are_read_or_refused() {
    let texts = [
        "https://10.0.0.1:6443",
        "https://kubernetes.default.svc/",
        " https://a.example.com/b?c#d ",
        "https://me:pw@[::1]:0",
        "East_1.example.com",
        "in-cluster",
        "local",
    ];
    check(generate::from(texts.map(|text| text.as_bytes().to_vec()).into()), |input| {
        let data = |config: &[u8]| {
            [("server", input), ("config", config)]
                .map(|(key, value)| (key.to_owned(), SecretBytes::new(value.to_vec())))
                .into()
        };
        let _ = is_in_cluster(&data(b""));
        judge(&argocd(&data(br#"{"bearerToken": "t"}"#), STRICT))?;
        let text = String::from_utf8_lossy(input).trim().to_owned();
        prop_assert!(is_dns_label(&dns_label(&text)));
        let labels = Adopt::default().member_labels(ClusterTool::ArgoCD, &[(text, String::new())].into());
        prop_assert!(labels.unwrap_or_default().len() <= 2);
        Ok(())
    });
}

/// What a kubeconfig of the largest size may be made of, so that reading it would take much longer than it should.
#[test]
fn large_kubeconfigs_cost_what_they_weigh() {
    let read = |value: &[u8]| drop(kubeconfig(value, STRICT));
    for piece in [
        "[",
        "{",
        "{a: ",
        "- ",
        "? ",
        "a: ",
        "a:\n",
        " ",
        "\n",
        "# \n",
        "\"",
        "'",
        "|\n",
        "&a ",
        "*a ",
        "!a ",
        "---\n",
        "...\n",
        "%A\n",
        "\t",
        "- a\n",
        "a, ",
        "[a, ",
        "[]",
        "\\",
        "\"\\x41",
        "- - - - - - - -\n",
        "? a\n",
        "? a\n: b\n",
        "a b ",
        "a\n\n",
        "0",
        "\u{e9}",
        "\0",
        "- >\n a\n",
        "- &a a\n",
        "\r",
    ] {
        for start in ["", "a: ", "users: [", "users: \"", "users: |\n "] {
            grows_with_its_input(
                &format!("{start:?}, {piece:?}"),
                200 << 10,
                |size| format!("{start}{}", piece.repeat(size / piece.len())).into_bytes(),
                read,
            );
        }
    }
    let number = |piece: fn(usize) -> String| {
        move |size: usize| (0..size / 24).map(piece).collect::<String>().into_bytes()
    };
    grows_with_its_input("keys", 1 << 20, number(|n| format!("key-{n:08}: value\n")), read);
    grows_with_its_input(
        "deeper and deeper",
        200 << 10,
        |size| {
            (0..)
                .scan(0, |all, depth| {
                    *all += depth + 3;
                    (*all < size).then(|| format!("{}a:\n", " ".repeat(depth)))
                })
                .collect::<String>()
                .into_bytes()
        },
        read,
    );
    grows_with_its_input(
        "users",
        1 << 20,
        |size| format!("users:\n{}", "- {name: a, user: {}}\n".repeat(size / 22)).into_bytes(),
        read,
    );
    grows_with_its_input(
        "merges",
        1 << 20,
        |size| format!("a: &a {{b: c}}\nusers:\n{}", "- {<<: *a}\n".repeat(size / 11)).into_bytes(),
        read,
    );
    // One large text a hundred times.
    grows_with_its_input(
        "aliases",
        900 << 10,
        |size| format!("a: &a '{}'\nb: [{}]\n", "x".repeat(size - 500), "*a, ".repeat(100)).into_bytes(),
        read,
    );
    grows_with_its_input(
        "texts as names",
        1 << 20,
        |size| {
            format!("users:\n- name: &a '{}'\n{}", "x".repeat(size / 2), "- name: *a\n".repeat(90))
                .into_bytes()
        },
        read,
    );
}
