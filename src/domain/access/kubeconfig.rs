//! A kubeconfig, as far as it is used.

use serde::{Deserialize, de::IgnoredAny};

use super::{Access, AccessError, Fields, MAX_BYTES, Raw, refuse};
use crate::domain::sensitive::SecretBytes;

const FIELDS: Fields = Fields {
    insecure: "insecure-skip-tls-verify",
    ca: "certificate-authority-data",
    token: "token",
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
    token: Option<SecretBytes>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    password: Option<SecretBytes>,
    client_certificate: Option<String>,
    client_certificate_data: Option<SecretBytes>,
    client_key: Option<String>,
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
/// Why it is not used.
pub fn kubeconfig(bytes: &[u8], allow_insecure: bool) -> Result<Access, AccessError> {
    if bytes.len() > MAX_BYTES {
        return Err(AccessError::TooLarge);
    }
    let file: Kubeconfig = parse(bytes)?;
    let wanted = file.current_context.filter(|name| !name.is_empty()).ok_or(AccessError::NoContext)?;
    let dangling = |reason, field, list| AccessError::Dangling { reason, field, list };
    let context = file.contexts.into_iter().flatten().find(|context| context.name == wanted);
    let unknown = dangling("UnknownContext", "current-context", "contexts");
    let context = context.and_then(|found| found.context).ok_or(unknown)?;
    let wanted = context.cluster.unwrap_or_default();
    let cluster = file.clusters.into_iter().flatten().find(|cluster| cluster.name == wanted);
    let unknown = dangling("UnknownCluster", "cluster", "clusters");
    let cluster = cluster.and_then(|found| found.cluster).ok_or(unknown)?;
    let wanted = context.user.unwrap_or_default();
    let user = file.users.into_iter().flatten().find(|user| user.name == wanted);
    let unknown = dangling("UnknownUser", "user", "users");
    let user = user.and_then(|found| found.user).ok_or(unknown)?;
    refuse_unsafe(&cluster, &user)?;
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
    raw.check(&FIELDS, allow_insecure)
}

fn parse(bytes: &[u8]) -> Result<Kubeconfig, AccessError> {
    // No tool writes aliases into a kubeconfig; a few that a person wrote are accepted.
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
        expected: "a kubeconfig in YAML",
        line: error.location().map_or(0, |location| location.line()),
    })
}

/// Refuses what is never followed, whatever else the kubeconfig holds.
fn refuse_unsafe(cluster: &Cluster, user: &User) -> Result<(), AccessError> {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let file = |field, inline| AccessError::File { field, inline };
    let impersonation = |field| AccessError::Impersonation { field };
    refuse([
        (user.exec.is_some(), AccessError::Command { field: "exec" }),
        (user.auth_provider.is_some(), AccessError::Provider { field: "auth-provider" }),
        (set(&cluster.certificate_authority), file("certificate-authority", FIELDS.ca)),
        (set(&user.client_certificate), file("client-certificate", FIELDS.certificate)),
        (set(&user.client_key), file("client-key", FIELDS.key)),
        (set(&user.token_file), file("tokenFile", FIELDS.token)),
        (user.impersonate.is_some(), impersonation("as")),
        (user.as_uid.is_some(), impersonation("as-uid")),
        (user.as_groups.is_some(), impersonation("as-groups")),
        (user.as_user_extra.is_some(), impersonation("as-user-extra")),
        (set(&cluster.proxy_url), AccessError::Proxy { field: "proxy-url" }),
    ])
}
