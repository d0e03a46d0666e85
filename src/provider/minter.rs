//! Minting tokens.

use std::{env, fs::File, io::Read, path::PathBuf, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use ring::rand::SystemRandom;
use tokio::task::spawn_blocking;
use tracing::warn;
use zeroize::Zeroizing;

use super::Outbound;
use crate::domain::{
    SecretBytes,
    reason::Reason,
    schedule::{MAX_REGISTRY_ANSWER, MAX_REGISTRY_REQUESTS},
    token::{Cloud, Environment, Exchange, Grant, MintError, Proof, Step, Token, WebIdentity},
};

/// Mints tokens.
#[derive(Clone)]
pub(crate) struct Minter(Arc<Outbound>);

impl Minter {
    pub fn new(outbound: Arc<Outbound>) -> Self {
        Self(outbound)
    }

    /// Mints one token.
    pub async fn mint(&self, grant: Arc<Grant>, proof: Proof) -> Result<Token, MintError> {
        let Outbound { access, http, pace } = &*self.0;
        let mut session = http.session(None, grant.authorities.clone());
        let (mut exchange, mut step) =
            Exchange::begin(grant, proof, access.clone(), Arc::new(SystemRandom::new()), Timestamp::now());
        for _ in 0..MAX_REGISTRY_REQUESTS {
            let request = match step {
                Step::Done(minted) => return minted,
                Step::Ask(request) => request,
            };
            pace.turn(&request).await;
            step = exchange.answered(session.ask(&request).await, Timestamp::now());
        }
        Err(MintError::new(Reason::Internal, "too many requests for one token"))
    }

    /// What shows the identity that the operator itself has in a cloud. Files are read anew each time, as kubelet renews
    /// them.
    pub async fn own_proof(&self, cloud: Cloud) -> Result<Proof, MintError> {
        Ok(match Environment::of(cloud, |name| env::var(name).ok())? {
            Environment::WebIdentity { file, role, client, tenant } => {
                Proof::WebIdentity(WebIdentity { token: read(file).await?, role, client, tenant })
            }
            Environment::Agent { scheme, server, path, file } => {
                let authorization = match file {
                    Some(file) => Some(read(file).await?),
                    None => None,
                };
                Proof::PodIdentity { scheme, server, path, authorization }
            }
            Environment::Metadata(server) => Proof::Metadata(server),
        })
    }
}

async fn read(path: PathBuf) -> Result<SecretBytes, MintError> {
    let name = path.display().to_string();
    let bytes = spawn_blocking(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_REGISTRY_ANSWER));
        let limit = u64::try_from(MAX_REGISTRY_ANSWER).unwrap_or(u64::MAX);
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(SecretBytes::concat(&[bytes.trim_ascii()]))
    });
    match bytes.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            // Tenants are told no more than that.
            warn!("the token of this process in {name} cannot be read: {error}");
            Err(MintError::identity_missing("the token of Claviger itself cannot be read; its log says why"))
        }
        Err(error) => Err(MintError::new(Reason::Internal, error.to_string())),
    }
}
