//! A kubeconfig, as far as it is used.

use serde::{Deserialize, de::IgnoredAny};

use super::{Access, AccessError, Fields, MAX_BYTES, Raw, Tolerance, secret};
use crate::domain::sensitive::SecretBytes;

const FIELDS: Fields = Fields {
    server: "server",
    insecure: "insecure-skip-tls-verify",
    ca: "certificate-authority-data",
    token: "token",
    username: "username",
    certificate: "client-certificate-data",
    key: "client-key-data",
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: Option<String>,
    contexts: Option<Vec<NamedContext>>,
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    cluster: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    certificate_authority_data: Option<SecretBytes>,
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    #[serde(default, deserialize_with = "secret")]
    token: Option<SecretBytes>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    password: Option<SecretBytes>,
    client_certificate: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    client_certificate_data: Option<SecretBytes>,
    client_key: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    client_key_data: Option<SecretBytes>,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: Option<IgnoredAny>,
    as_uid: Option<IgnoredAny>,
    as_groups: Option<IgnoredAny>,
    as_user_extra: Option<IgnoredAny>,
}

/// Reads the current context of a kubeconfig.
///
/// # Errors
/// What speaks against using it.
pub fn kubeconfig(bytes: &[u8], tolerance: Tolerance) -> Result<Access, AccessError> {
    if bytes.len() > MAX_BYTES {
        return Err(AccessError::TooLarge);
    }
    let file: Kubeconfig = parse(bytes)?;
    let wanted = file.current_context.filter(|name| !name.is_empty()).ok_or(AccessError::NoContext)?;
    let dangling = |field, list| AccessError::Dangling { field, list };
    let context = file.contexts.into_iter().flatten().find(|context| context.name == wanted);
    let context = context.and_then(|found| found.context).ok_or(dangling("current-context", "contexts"))?;
    let wanted = context.cluster.unwrap_or_default();
    let cluster = file.clusters.into_iter().flatten().find(|cluster| cluster.name == wanted);
    let cluster = cluster.and_then(|found| found.cluster).ok_or(dangling("cluster", "clusters"))?;
    let wanted = context.user.unwrap_or_default();
    let user = file.users.into_iter().flatten().find(|user| user.name == wanted);
    let user = user.and_then(|found| found.user).ok_or(dangling("user", "users"))?;
    refuse(&cluster, &user)?;
    let raw = Raw {
        server: cluster.server.unwrap_or_default(),
        insecure: cluster.insecure_skip_tls_verify.unwrap_or_default(),
        tls_server_name: cluster.tls_server_name,
        ca: cluster.certificate_authority_data,
        token: user.token,
        username: user.username,
        password: user.password,
        certificate: user.client_certificate_data,
        key: user.client_key_data,
    };
    raw.check(&FIELDS, tolerance)
}

fn parse(bytes: &[u8]) -> Result<Kubeconfig, AccessError> {
    // Aliases are no part of any kubeconfig that a tool writes; a few that a person wrote may stand.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 100,
            max_anchors: 100,
            max_nodes: 50_000,
            max_events: 200_000,
            max_documents: 1,
            max_total_scalar_bytes: 4 * MAX_BYTES,
        },
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| AccessError::Malformed {
        line: error.location().map_or(0, |location| location.line()),
    })
}

/// What is never followed, whatever else stands there.
fn refuse(cluster: &Cluster, user: &User) -> Result<(), AccessError> {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if user.exec.is_some() {
        return Err(AccessError::Command { field: "exec" });
    }
    if user.auth_provider.is_some() {
        return Err(AccessError::Provider { field: "auth-provider" });
    }
    let files = [
        ("certificate-authority", FIELDS.ca, &cluster.certificate_authority),
        ("client-certificate", FIELDS.certificate, &user.client_certificate),
        ("client-key", FIELDS.key, &user.client_key),
        ("tokenFile", FIELDS.token, &user.token_file),
    ];
    for (field, inline, path) in files {
        if set(path) {
            return Err(AccessError::File { field, inline });
        }
    }
    let others = [
        ("as", &user.impersonate),
        ("as-uid", &user.as_uid),
        ("as-groups", &user.as_groups),
        ("as-user-extra", &user.as_user_extra),
    ];
    for (field, value) in others {
        if value.is_some() {
            return Err(AccessError::Impersonation { field });
        }
    }
    if set(&cluster.proxy_url) {
        return Err(AccessError::Proxy { field: "proxy-url" });
    }
    Ok(())
}
