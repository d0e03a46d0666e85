//! RegistryCredential: what tokens are minted for it, by whose identity.

use super::value;
use crate::{
    api::{AccessKeyReference, AwsAuth, KeyReference, RegistryLogin, ServiceAccountReference},
    domain::{
        content::{Inputs, SourceError},
        registry::{api_server, registry},
        token::{AccessKey, Cloud, Flow, Grant, Identity},
        verification::Server,
    },
};

/// The names of the Secrets with keys of identities.
pub(super) fn secret(login: &RegistryLogin) -> Option<&str> {
    fn named(reference: &KeyReference) -> &str {
        &reference.name
    }
    if let Some(auth) = aws_auth(login) {
        return auth.secret_ref.as_ref().map(|reference| reference.name.as_str());
    }
    if let Some(auth) = login.acr.as_ref().and_then(|block| block.auth.as_ref()) {
        return auth.secret_ref.as_ref().map(named);
    }
    if let Some(auth) = login.google_artifact_registry.as_ref().and_then(|block| block.auth.as_ref()) {
        return auth.secret_ref.as_ref().map(named);
    }
    if let Some(auth) = login.digital_ocean.as_ref().and_then(|block| block.auth.as_ref()) {
        return Some(named(&auth.secret_ref));
    }
    login.git_hub.as_ref().map(|block| named(&block.auth.secret_ref))
}

/// What is minted, where anything is.
pub(super) fn grant(login: &RegistryLogin, inputs: Inputs<'_>) -> Option<Result<Grant, SourceError>> {
    let secret_version =
        secret(login).and_then(|name| inputs.source(name).ok()).and_then(|secret| secret.version.clone());
    let (flow, identity) = flow(login, inputs)?;
    Some(identity.map(|identity| Grant { flow, identity, secret_version }))
}

fn aws_auth(login: &RegistryLogin) -> Option<&AwsAuth> {
    let private = login.ecr.as_ref().and_then(|block| block.auth.as_ref());
    private.or(login.ecr_public.as_ref().map(|block| &block.auth))
}

fn flow(login: &RegistryLogin, inputs: Inputs<'_>) -> Option<(Flow, Result<Identity, SourceError>)> {
    if let Some(auth) = aws_auth(login) {
        let (role, external_id) = (auth.role_arn.clone(), auth.external_id.clone());
        let flow = match &login.ecr {
            Some(block) => Flow::Ecr { region: block.region.clone(), role, external_id },
            None => Flow::EcrPublic { role, external_id },
        };
        let key = auth.secret_ref.as_ref().map(|reference| access_key(reference, inputs));
        return Some((flow, key.unwrap_or_else(|| other(auth.service_account_ref.as_ref(), Cloud::Aws))));
    }
    if let Some(auth) = login.acr.as_ref().and_then(|block| block.auth.as_ref()) {
        let (tenant, client) = (auth.tenant_id.clone(), auth.client_id.clone());
        let flow = Flow::Acr { registry: server(login), tenant, client };
        let secret =
            auth.secret_ref.as_ref().map(|reference| value(reference, "AZURE_CLIENT_SECRET", inputs));
        return Some((
            flow,
            secret.unwrap_or_else(|| other(auth.service_account_ref.as_ref(), Cloud::Azure)),
        ));
    }
    if let Some(auth) = login.google_artifact_registry.as_ref().and_then(|block| block.auth.as_ref()) {
        let provider = auth.workload_identity_provider.clone();
        let flow = Flow::Google { provider, impersonate: auth.impersonate.clone() };
        let key = auth.secret_ref.as_ref().map(|reference| value(reference, "key.json", inputs));
        return Some((flow, key.unwrap_or_else(|| other(auth.service_account_ref.as_ref(), Cloud::Google))));
    }
    if let Some(auth) = login.quay.as_ref().and_then(|block| block.auth.as_ref()) {
        let robot = login.username.clone().unwrap_or_default();
        let identity = Identity::ServiceAccount(auth.service_account_ref.name.clone());
        return Some((Flow::Quay { registry: server(login), robot }, Ok(identity)));
    }
    if let Some(block) = &login.digital_ocean
        && let Some(auth) = &block.auth
    {
        let flow = Flow::DigitalOcean { registry: block.registry.clone() };
        return Some((flow, value(&auth.secret_ref, "token", inputs)));
    }
    login.git_hub.as_ref().map(|block| {
        let auth = &block.auth;
        let host = block.api_server.as_deref();
        let api = host.and_then(Server::parse);
        let flow = Flow::GitHub { api: api.clone(), app: auth.app_id, installation: auth.installation_id };
        // A key of an enterprise is never shown to github.com.
        let key = match (host, api) {
            (Some(_), None) => Err(SourceError::bad_host("gitHub.apiServer")),
            _ => value(&auth.secret_ref, "privateKey", inputs),
        };
        (flow, key)
    })
}

fn server(login: &RegistryLogin) -> Server {
    api_server(&registry(login))
}

/// The identity of a ServiceAccount; the schema makes sure that else it is the operator's.
fn other(account: Option<&ServiceAccountReference>, cloud: Cloud) -> Result<Identity, SourceError> {
    Ok(account.map_or(Identity::Operator(cloud), |account| Identity::ServiceAccount(account.name.clone())))
}

fn access_key(reference: &AccessKeyReference, inputs: Inputs<'_>) -> Result<Identity, SourceError> {
    let secret = inputs.source(&reference.name)?;
    let read = |key: Option<&str>, usual: &'static str, field: &str| {
        value::secret(secret, key.unwrap_or(usual), field)
    };
    let session_key = reference.session_token_key.as_deref();
    let has_session = session_key.is_some() || secret.data.contains_key("AWS_SESSION_TOKEN");
    let session =
        has_session.then(|| read(session_key, "AWS_SESSION_TOKEN", "sessionTokenKey")).transpose()?;
    let id = read(reference.access_key_id_key.as_deref(), "AWS_ACCESS_KEY_ID", "accessKeyIdKey")?;
    let key =
        read(reference.secret_access_key_key.as_deref(), "AWS_SECRET_ACCESS_KEY", "secretAccessKeyKey")?;
    Ok(Identity::AccessKey(AccessKey { id, secret: key, session }))
}

fn value(reference: &KeyReference, usual: &str, inputs: Inputs<'_>) -> Result<Identity, SourceError> {
    let secret = inputs.source(&reference.name)?;
    value::secret(secret, reference.key.as_deref().unwrap_or(usual), "key").map(Identity::Value)
}
