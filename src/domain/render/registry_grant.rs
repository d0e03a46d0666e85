//! RegistryCredential: what tokens are minted for it, by whose identity.

use super::{probe, value};
use crate::{
    api::{AccessKeyReference, GitHubRegistry, KeyReference, RegistryLogin, ServiceAccountReference},
    domain::{
        content::{Inputs, SourceError},
        registry::{api_server, registry},
        render::authorities::read_authorities,
        token::{AccessKey, Cloud, Flow, Grant, Identity},
        verification::Server,
    },
};

/// Where an identity comes from.
enum IdentitySource<'a> {
    AccessKey(&'a AccessKeyReference),
    /// With the key of the value, where the reference names none.
    Value(&'a KeyReference, &'static str),
    ServiceAccount(&'a ServiceAccountReference),
    Operator(Cloud),
}

/// The name of the Secret that the identity is from.
pub(super) fn secret(login: &RegistryLogin) -> Option<&str> {
    match auth(login)?.1 {
        IdentitySource::AccessKey(reference) => Some(&reference.name),
        IdentitySource::Value(reference, _) => Some(&reference.name),
        IdentitySource::ServiceAccount(_) | IdentitySource::Operator(_) => None,
    }
}

/// What is minted, where anything is.
pub(super) fn grant(login: &RegistryLogin, inputs: Inputs<'_>) -> Option<Result<Grant, SourceError>> {
    let (flow, source) = auth(login)?;
    let identity = match (source, &login.git_hub) {
        // A key of an enterprise is never shown to github.com.
        (_, Some(GitHubRegistry { api_server: Some(host), .. })) if Server::parse(host).is_none() => {
            Err(SourceError::bad_host("gitHub.apiServer"))
        }
        (IdentitySource::AccessKey(reference), _) => access_key(reference, inputs),
        (IdentitySource::Value(reference, usual), _) => value(reference, usual, inputs),
        (IdentitySource::ServiceAccount(account), _) => Ok(Identity::ServiceAccount(account.name.clone())),
        (IdentitySource::Operator(cloud), _) => Ok(Identity::Operator(cloud)),
    };
    let secret = secret(login).and_then(|name| inputs.source(name).ok());
    let secret_version = secret.and_then(|secret| secret.version.clone());
    // A server of the tenant's own is trusted as its registry is; those of clouds are not, as who names authorities
    // could answer for them.
    let authorities = match &flow {
        Flow::Quay { .. } | Flow::GitHub { api: Some(_), .. } => probe::authorities(login),
        _ => None,
    };
    let authorities = authorities.and_then(|place| read_authorities(place, inputs).ok());
    Some(identity.map(|identity| Grant { flow, identity, secret_version, authorities }))
}

/// What is minted, and whose identity the spec names for that.
fn auth(login: &RegistryLogin) -> Option<(Flow, IdentitySource<'_>)> {
    let aws = login.ecr.as_ref().and_then(|block| block.auth.as_ref());
    if let Some(auth) = aws.or(login.ecr_public.as_ref().map(|block| &block.auth)) {
        let (role, external_id) = (auth.role_arn.clone(), auth.external_id.clone());
        let flow = match &login.ecr {
            Some(block) => Flow::Ecr { region: block.region.clone(), role, external_id },
            None => Flow::EcrPublic { role, external_id },
        };
        let key = auth.secret_ref.as_ref().map(IdentitySource::AccessKey);
        return Some((flow, source(key, auth.service_account_ref.as_ref(), Cloud::Aws)));
    }
    if let Some(auth) = login.acr.as_ref().and_then(|block| block.auth.as_ref()) {
        let (tenant, client) = (auth.tenant_id.clone(), auth.client_id.clone());
        let flow = Flow::Acr { registry: server(login), tenant, client };
        let secret = auth.secret_ref.as_ref();
        let secret = secret.map(|reference| IdentitySource::Value(reference, "AZURE_CLIENT_SECRET"));
        return Some((flow, source(secret, auth.service_account_ref.as_ref(), Cloud::Azure)));
    }
    if let Some(auth) = login.google_artifact_registry.as_ref().and_then(|block| block.auth.as_ref()) {
        let provider = auth.workload_identity_provider.clone();
        let flow = Flow::Google { provider, impersonate: auth.impersonate.clone() };
        let key = auth.secret_ref.as_ref().map(|reference| IdentitySource::Value(reference, "key.json"));
        return Some((flow, source(key, auth.service_account_ref.as_ref(), Cloud::Google)));
    }
    if let Some(auth) = login.quay.as_ref().and_then(|block| block.auth.as_ref()) {
        let robot = login.username.clone().unwrap_or_default();
        let flow = Flow::Quay { registry: server(login), robot };
        return Some((flow, IdentitySource::ServiceAccount(&auth.service_account_ref)));
    }
    if let Some(block) = &login.digital_ocean
        && let Some(auth) = &block.auth
    {
        let flow = Flow::DigitalOcean { registry: block.registry.clone() };
        return Some((flow, IdentitySource::Value(&auth.secret_ref, "token")));
    }
    let GitHubRegistry { api_server, auth } = login.git_hub.as_ref()?;
    let api = api_server.as_deref().and_then(Server::parse);
    let flow = Flow::GitHub { api, app: auth.app_id, installation: auth.installation_id };
    Some((flow, IdentitySource::Value(&auth.secret_ref, "privateKey")))
}

/// The schema makes sure that it is the operator's where nothing is named.
fn source<'a>(
    secret: Option<IdentitySource<'a>>,
    account: Option<&'a ServiceAccountReference>,
    cloud: Cloud,
) -> IdentitySource<'a> {
    secret.or(account.map(IdentitySource::ServiceAccount)).unwrap_or(IdentitySource::Operator(cloud))
}

fn server(login: &RegistryLogin) -> Server {
    api_server(&registry(login))
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
