//! What Argo CD keeps of a cluster: a Secret with `name`, `server` and `config`.

use serde::{Deserialize, de::IgnoredAny};

use super::{Access, AccessError, Fields, MAX_BYTES, Raw, refuse};
use crate::domain::{content::Data, sensitive::SecretBytes};

const FIELDS: Fields = Fields {
    insecure: "tlsClientConfig.insecure",
    ca: "tlsClientConfig.caData",
    token: "bearerToken",
    certificate: "tlsClientConfig.certData",
    key: "tlsClientConfig.keyData",
};

/// The address by which Argo CD means the cluster that it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    username: Option<String>,
    password: Option<SecretBytes>,
    bearer_token: Option<SecretBytes>,
    tls_client_config: Option<Tls>,
    aws_auth_config: Option<IgnoredAny>,
    exec_provider_config: Option<IgnoredAny>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Tls {
    insecure: bool,
    server_name: Option<String>,
    ca_data: Option<SecretBytes>,
    cert_data: Option<SecretBytes>,
    key_data: Option<SecretBytes>,
}

/// The address of the cluster, when it is text.
fn server(data: &Data) -> Result<&str, AccessError> {
    let server = data.get("server").map_or(&[][..], SecretBytes::expose);
    std::str::from_utf8(server.trim_ascii()).map_err(|_| AccessError::InvalidServer)
}

/// Whether a cluster Secret of Argo CD means the cluster that Argo CD runs in.
pub fn is_in_cluster(data: &Data) -> bool {
    server(data).is_ok_and(|server| server.trim_end_matches('/') == IN_CLUSTER)
}

/// Reads a cluster Secret of Argo CD.
///
/// # Errors
/// Why it is not used.
pub fn argocd(data: &Data, allow_insecure: bool) -> Result<Access, AccessError> {
    let server = server(data)?;
    if is_in_cluster(data) {
        return Err(AccessError::InCluster);
    }
    let config = match data.get("config").map(|config| config.expose().trim_ascii()) {
        None | Some([]) => Config::default(),
        Some(config) if config.len() > MAX_BYTES => return Err(AccessError::TooLarge),
        Some(config) => serde_json::from_slice(config).map_err(|error| AccessError::Malformed {
            expected: "what Argo CD writes there: an object in JSON",
            line: error.line() as u64,
        })?,
    };
    refuse([
        (config.exec_provider_config.is_some(), AccessError::Command { field: "execProviderConfig" }),
        (config.aws_auth_config.is_some(), AccessError::Provider { field: "awsAuthConfig" }),
        (config.proxy_url.is_some_and(|url| !url.is_empty()), AccessError::Proxy { field: "proxyUrl" }),
    ])?;
    let tls = config.tls_client_config.unwrap_or_default();
    let raw = Raw {
        server: server.to_owned(),
        insecure: tls.insecure,
        tls_server_name: tls.server_name,
        ca: tls.ca_data,
        token: config.bearer_token,
        username: config.username,
        password: config.password,
        certificate: tls.cert_data,
        key: tls.key_data,
    };
    raw.check(&FIELDS, allow_insecure)
}
