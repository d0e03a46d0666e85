//! Which vendor is asked for what.

use super::{
    super::registry::Answer,
    aws, azure, github, google,
    request::{Refusal, Request, oauth_error, refuse, told},
    robots,
    shared::Shared,
};

/// One thing that a vendor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Ecr,
    EcrPublic,
    Sts,
    PodIdentity,
    Entra,
    Acr,
    GoogleToken,
    GoogleSts,
    IamCredentials,
    Metadata,
    GitHub,
    Quay,
    DigitalOcean,
}

impl Service {
    /// By the name and the path that are asked for.
    pub fn of(request: &Request) -> Option<Self> {
        let is = |start: &str| request.path.starts_with(start);
        match request.host.as_str() {
            host if host.starts_with("api.ecr-public.") => Some(Self::EcrPublic),
            host if host.starts_with("api.ecr.") => Some(Self::Ecr),
            host if host.starts_with("sts.") && host.ends_with(".amazonaws.com") => Some(Self::Sts),
            "login.microsoftonline.com" => Some(Self::Entra),
            "acmeimages.azurecr.io" if is("/oauth2/exchange") => Some(Self::Acr),
            "oauth2.googleapis.com" => Some(Self::GoogleToken),
            "sts.googleapis.com" => Some(Self::GoogleSts),
            "iamcredentials.googleapis.com" => Some(Self::IamCredentials),
            "api.github.com" => Some(Self::GitHub),
            "api.digitalocean.com" => Some(Self::DigitalOcean),
            "quay.io" if is("/oauth2/federation/") => Some(Self::Quay),
            _ if is("/computeMetadata/") => Some(Self::Metadata),
            _ if is("/v1/credentials") => Some(Self::PodIdentity),
            _ => None,
        }
    }

    pub async fn answer(self, shared: &Shared, request: &Request) -> Answer {
        let answer = match self {
            Self::Ecr => aws::ecr(shared, request).await,
            Self::EcrPublic => aws::ecr_public(shared, request),
            Self::Sts => aws::sts(shared, request).await,
            Self::PodIdentity => aws::pod_identity(shared, request).await,
            Self::Entra => azure::entra(shared, request),
            Self::Acr => azure::exchange(shared, request),
            Self::GoogleToken => google::token(shared, request),
            Self::GoogleSts => google::federation(shared, request),
            Self::IamCredentials => google::impersonation(shared, request),
            Self::Metadata => google::metadata(shared, request),
            Self::GitHub => github::installation_token(shared, request),
            Self::Quay => robots::quay(shared, request),
            Self::DigitalOcean => robots::digital_ocean(shared, request),
        };
        answer.unwrap_or_else(|refusal| self.refused(&refusal))
    }

    /// What somebody is told who has no right to anything.
    pub fn refusal(self) -> Answer {
        let message = "not you, as the test says";
        self.refused(&match self {
            Self::Ecr | Self::EcrPublic => refuse(400, "AccessDeniedException", message),
            Self::Sts => refuse(403, "AccessDenied", message),
            Self::PodIdentity => refuse(403, "AccessDeniedException", message),
            Self::Entra => azure::unknown_secret(),
            Self::Acr => refuse(401, "UNAUTHORIZED", message),
            Self::GoogleToken => refuse(400, "invalid_grant", "Invalid grant: account not found"),
            Self::GoogleSts => refuse(400, "unauthorized_client", message),
            Self::IamCredentials => refuse(403, "PERMISSION_DENIED", message),
            Self::Metadata => refuse(403, "", message),
            Self::GitHub => refuse(401, "", "A JSON web token could not be decoded"),
            Self::Quay => refuse(401, "", "Token does not match robot"),
            Self::DigitalOcean => refuse(401, "unauthorized", "Unable to authenticate you"),
        })
    }

    /// As the vendor writes it.
    fn refused(self, refusal: &Refusal) -> Answer {
        match self {
            Self::Ecr | Self::EcrPublic => aws::json_error(refusal),
            Self::Sts => aws::query_error(refusal),
            Self::PodIdentity | Self::Metadata => {
                Answer::status(refusal.status).body(refusal.message.clone())
            }
            Self::Entra => azure::entra_error(refusal),
            Self::Acr => azure::acr_error(refusal),
            Self::GoogleToken | Self::GoogleSts => oauth_error(refusal),
            Self::IamCredentials => google::api_error(refusal),
            Self::GitHub => github::error(refusal),
            Self::Quay => told(refusal.status, &serde_json::json!({"error": refusal.message})),
            Self::DigitalOcean => robots::digital_ocean_error(refusal),
        }
    }
}
