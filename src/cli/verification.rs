//! Which servers are asked whether they take a credential.

use std::{fs, io, path::PathBuf, sync::Arc};

use clap::{ArgAction, Args};

use crate::{
    domain::verification::{RegistryAccess, ServerPatterns},
    provider::{Outbound, Roots},
};

/// Which servers are asked whether they take a credential, and how.
#[derive(Clone, Debug, Args)]
pub struct VerificationSettings {
    /// Do not test credentials at registries and at endpoints of object storage
    #[arg(long, env = "CLAVIGER_NO_VERIFICATION", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub no_verification: bool,

    /// Contact only these registries, token servers and endpoints of object storage:
    /// quay.io,*.example.com,registry.internal:5000; a host without a port means all of its ports [default: all]
    #[arg(long, env = "CLAVIGER_ALLOWED_REGISTRIES", value_name = "HOST[:PORT],..")]
    #[arg(default_value = "", hide_default_value = true)]
    pub allowed_registries: ServerPatterns,

    /// Contact these registries and endpoints without TLS: anybody on the network path can read the credential
    #[arg(long, env = "CLAVIGER_PLAIN_HTTP_REGISTRIES", value_name = "HOST[:PORT],..")]
    #[arg(default_value = "", hide_default_value = true)]
    pub plain_http_registries: ServerPatterns,

    /// Contact these registries and endpoints even if they have private or loopback addresses; any tenant can make the
    /// operator send requests to them
    #[arg(long, env = "CLAVIGER_PRIVATE_REGISTRIES", value_name = "HOST[:PORT],..")]
    #[arg(default_value = "", hide_default_value = true)]
    pub private_registries: ServerPatterns,

    /// File with CA certificates (PEM) to trust for registries and endpoints, in addition to those of the system
    #[arg(long, env = "CLAVIGER_REGISTRY_CA", value_name = "FILE")]
    pub registry_ca: Option<PathBuf>,
}

/// The file with authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct RegistryCaError {
    path: PathBuf,
    source: io::Error,
}

impl VerificationSettings {
    /// What goes out to registries, object storage and clouds.
    pub(crate) fn outbound(&self) -> Result<Arc<Outbound>, RegistryCaError> {
        let roots = match &self.registry_ca {
            None => Roots::default(),
            Some(path) => fs::read(path)
                .and_then(|pem| Roots::from_pem(&pem).map_err(io::Error::other))
                .map_err(|source| RegistryCaError { path: path.clone(), source })?,
        };
        let access = RegistryAccess {
            allowed: self.allowed_registries.clone(),
            plain_http: self.plain_http_registries.clone(),
            private: self.private_registries.clone(),
        };
        Ok(Arc::new(Outbound::new(access, roots)))
    }
}
