//! Whose identity a token is minted by.

use std::sync::Arc;

use tokio::time::timeout;

use crate::{
    cluster::{Cluster, describe},
    domain::{
        reason::Reason,
        schedule::MINT_TIME,
        token::{Grant, Identity, MintError, Proof, Token},
    },
    provider::Minter,
};

/// The clouds, and the cluster whose ServiceAccounts have identities there.
pub(crate) struct Clouds {
    minter: Minter,
    /// Never a member.
    local: Arc<Cluster>,
}

impl Clouds {
    pub fn new(minter: Minter, local: Arc<Cluster>) -> Self {
        Self { minter, local }
    }

    /// What shows the identity.
    async fn proof(&self, grant: &Grant, namespace: &str) -> Result<Proof, MintError> {
        let account = match &grant.identity {
            Identity::AccessKey(key) => return Ok(Proof::AccessKey(key.clone())),
            Identity::Value(value) => return Ok(Proof::Value(value.clone())),
            Identity::Operator(cloud) => return self.minter.own_proof(*cloud).await,
            Identity::ServiceAccount(name) => name,
        };
        let failed = |error: kube::Error| match error {
            kube::Error::Api(status) if status.code == 404 => no_account(account),
            kube::Error::Api(status) if status.code == 403 => MintError::identity_missing(format!(
                "Claviger may not request tokens for ServiceAccount '{account}'; an administrator can set `serviceAccountTokens.enabled` of its chart: {}",
                describe(&kube::Error::Api(status))
            )),
            error => MintError::new(Reason::ServerError, describe(&error)),
        };
        let connection = &self.local.connection;
        let annotations = connection.service_account(namespace, account).await.map_err(failed)?;
        let annotations = annotations.ok_or_else(|| no_account(account))?;
        let token = connection.service_account_token(namespace, account, &grant.audience()).await;
        Ok(Proof::WebIdentity(grant.web_identity(token.map_err(failed)?, &annotations)))
    }

    /// Mints one token; ServiceAccounts are those of the namespace.
    pub async fn mint(&self, grant: Arc<Grant>, namespace: &str) -> Result<Token, MintError> {
        let late = || MintError::new(Reason::CloudUnreachable, "the cloud did not answer in time");
        let minted = async {
            let proof = self.proof(&grant, namespace).await?;
            self.minter.mint(grant.clone(), proof).await
        };
        timeout(MINT_TIME, minted).await.unwrap_or_else(|_| Err(late()))
    }
}

fn no_account(name: &str) -> MintError {
    MintError::identity_missing(format!(
        "ServiceAccount '{name}' does not exist in the namespace of the credential; create it, or fix `serviceAccountRef.name`"
    ))
}
