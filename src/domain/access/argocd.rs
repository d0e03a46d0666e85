//! What Argo CD keeps of a cluster: a Secret with `name`, `server` and `config`.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{Access, AccessError, Fields, MAX_BYTES, Raw, Tolerance, secret};
use crate::domain::sensitive::SecretBytes;

const FIELDS: Fields = Fields {
    server: "server",
    insecure: "tlsClientConfig.insecure",
    ca: "tlsClientConfig.caData",
    token: "bearerToken",
    username: "username",
    certificate: "tlsClientConfig.certData",
    key: "tlsClientConfig.keyData",
};

/// The address by which Argo CD means the cluster that it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    username: Option<String>,
    #[serde(deserialize_with = "secret")]
    password: Option<SecretBytes>,
    #[serde(deserialize_with = "secret")]
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
    #[serde(deserialize_with = "secret")]
    ca_data: Option<SecretBytes>,
    #[serde(deserialize_with = "secret")]
    cert_data: Option<SecretBytes>,
    #[serde(deserialize_with = "secret")]
    key_data: Option<SecretBytes>,
}

/// Whether a cluster Secret of Argo CD means the cluster that Argo CD runs in.
#[must_use]
pub fn is_in_cluster(data: &BTreeMap<String, SecretBytes>) -> bool {
    let server = data.get("server").map_or(&[][..], SecretBytes::expose).trim_ascii();
    std::str::from_utf8(server).is_ok_and(|server| server.trim_end_matches('/') == IN_CLUSTER)
}

/// Reads a cluster Secret of Argo CD.
///
/// # Errors
/// What speaks against using it.
pub fn argocd(data: &BTreeMap<String, SecretBytes>, tolerance: Tolerance) -> Result<Access, AccessError> {
    let server = data.get("server").map_or(&[][..], SecretBytes::expose).trim_ascii();
    let server = std::str::from_utf8(server).map_err(|_| AccessError::InvalidServer { field: "server" })?;
    if is_in_cluster(data) {
        return Err(AccessError::InCluster);
    }
    let config = match data.get("config").map(|config| config.expose().trim_ascii()) {
        None | Some([]) => Config::default(),
        Some(config) if config.len() > MAX_BYTES => return Err(AccessError::TooLarge),
        Some(config) => serde_json::from_slice(config)
            .map_err(|error| AccessError::MalformedConfig { line: error.line() as u64 })?,
    };
    if config.exec_provider_config.is_some() {
        return Err(AccessError::Command { field: "execProviderConfig" });
    }
    if config.aws_auth_config.is_some() {
        return Err(AccessError::Provider { field: "awsAuthConfig" });
    }
    if config.proxy_url.is_some_and(|url| !url.is_empty()) {
        return Err(AccessError::Proxy { field: "proxyUrl" });
    }
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
    raw.check(&FIELDS, tolerance)
}
