//! What a token is minted for, and by whose identity.

use std::{collections::BTreeMap, time::Duration};

use sha2::{Digest, Sha256};

use crate::domain::{
    SecretBytes,
    fingerprint::{Fingerprint, FingerprintKey, encode},
    verification::{Authorities, Scheme, Server},
};

pub(crate) use crate::domain::sigv4::AccessKey;

/// The longest annotation that is of use, in bytes.
const MAX_ANNOTATION: usize = 2_048;

/// What a token is minted for, and by whose identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub flow: Flow,
    pub identity: Identity,
    /// The resourceVersion of the Secret that the identity is from.
    pub secret_version: Option<String>,
    /// Certificates by which the server is trusted besides those of the operator.
    pub authorities: Option<Authorities>,
}

/// Who mints, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Ecr { region: String, role: Option<String>, external_id: Option<String> },
    EcrPublic { role: Option<String>, external_id: Option<String> },
    Acr { registry: Server, tenant: Option<String>, client: Option<String> },
    Google { provider: Option<String>, impersonate: Option<String> },
    GitHub { api: Option<Server>, app: i64, installation: i64 },
    Quay { registry: Server, robot: String },
    DigitalOcean { registry: Option<String> },
}

/// A cloud in which the operator itself may have an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    Aws,
    Azure,
    Google,
}

/// Whose identity is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    AccessKey(AccessKey),
    /// A value of a Secret: a client secret, a private key, an API token.
    Value(SecretBytes),
    /// A ServiceAccount in the namespace of the credential.
    ServiceAccount(String),
    /// The operator's own.
    Operator(Cloud),
}

/// What shows a cloud whose identity is used.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    AccessKey(AccessKey),
    Value(SecretBytes),
    WebIdentity(WebIdentity),
    /// The agent of EKS Pod Identity, or whatever else the environment names, and what it wants to see.
    PodIdentity {
        scheme: Scheme,
        server: Server,
        path: String,
        authorization: Option<SecretBytes>,
    },
    /// Google's metadata server.
    Metadata(Server),
}

/// A token that an API server has signed, and what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct WebIdentity {
    pub token: SecretBytes,
    pub role: Option<String>,
    pub client: Option<String>,
    pub tenant: Option<String>,
}

impl Grant {
    /// Whether it is by the operator's own identity.
    pub fn is_operators(&self) -> bool {
        matches!(self.identity, Identity::Operator(_))
    }

    /// Whose identity it is, and what for, as a hash of names; nothing of it is secret. A token that was minted for other
    /// ones is not good for this.
    pub fn subject(&self) -> String {
        let who = match &self.identity {
            Identity::AccessKey(_) | Identity::Value(_) => "secret",
            Identity::ServiceAccount(name) => name,
            Identity::Operator(_) => "",
        };
        let digest = Sha256::digest(format!("{:?} {who}", self.flow));
        digest.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// The longest life that a token has, as documented.
    pub fn longest_life(&self) -> Duration {
        match &self.flow {
            Flow::Ecr { .. } | Flow::EcrPublic { .. } | Flow::DigitalOcean { .. } => {
                Duration::from_secs(12 * 3_600)
            }
            Flow::Acr { .. } => Duration::from_secs(3 * 3_600),
            Flow::Google { .. } | Flow::GitHub { .. } | Flow::Quay { .. } => Duration::from_secs(3_600),
        }
    }

    /// Tells what is minted: of equal ones there is one token, whoever wants it in a namespace; the operator's own identity
    /// is the same in all.
    pub fn id(&self, key: &FingerprintKey, namespace: &str) -> Fingerprint {
        let (kind, values) = match &self.identity {
            Identity::AccessKey(AccessKey { id, secret, session }) => {
                let session = session.as_ref().map_or(&[][..], SecretBytes::expose);
                ("access key", vec![id.expose(), secret.expose(), session])
            }
            Identity::Value(value) => ("value", vec![value.expose()]),
            Identity::ServiceAccount(name) => ("service account", vec![name.as_bytes()]),
            Identity::Operator(_) => ("operator", Vec::new()),
        };
        let flow = format!("{:?}", self.flow);
        let namespace = if self.is_operators() { "" } else { namespace };
        let authorities = self.authorities.as_ref().map(|all| encode(&all.concat())).unwrap_or_default();
        let parts = [
            ("flow", flow.as_str()),
            ("namespace", namespace),
            ("authorities", &authorities),
            ("identity", kind),
        ];
        let values: Vec<_> = values.into_iter().map(encode).collect();
        let parts = parts.into_iter().chain(values.iter().map(|value| ("value", value.as_str())));
        key.fingerprint("grant", parts)
    }

    /// What shows that it is a ServiceAccount, of which annotations say who it is in the cloud. What the spec says goes
    /// first.
    pub fn web_identity(&self, token: SecretBytes, annotations: &BTreeMap<String, String>) -> WebIdentity {
        let of = |key: &str| annotations.get(key).filter(|value| value.len() <= MAX_ANNOTATION).cloned();
        let is_chosen =
            matches!(&self.flow, Flow::Ecr { role, .. } | Flow::EcrPublic { role, .. } if role.is_some());
        WebIdentity {
            token,
            role: if is_chosen { None } else { of("eks.amazonaws.com/role-arn") },
            client: of("azure.workload.identity/client-id"),
            tenant: of("azure.workload.identity/tenant-id"),
        }
    }

    /// Who must be asked to show that a ServiceAccount is what it says: no token for it is good for anybody else.
    pub fn audience(&self) -> String {
        match &self.flow {
            Flow::Ecr { .. } | Flow::EcrPublic { .. } => "sts.amazonaws.com".to_owned(),
            Flow::Acr { .. } => "api://AzureADTokenExchange".to_owned(),
            // Per "Configure Workload Identity Federation": the provider's full name, unless it has others.
            Flow::Google { provider, .. } => {
                format!("//iam.googleapis.com/{}", provider.as_deref().unwrap_or_default())
            }
            Flow::Quay { registry, .. } => registry.to_string(),
            Flow::GitHub { .. } | Flow::DigitalOcean { .. } => String::new(),
        }
    }

    /// Who mints, as one word with few values; a metric's label.
    pub fn provider(&self) -> &'static str {
        match &self.flow {
            Flow::Ecr { .. } => "ECR",
            Flow::EcrPublic { .. } => "ECRPublic",
            Flow::Acr { .. } => "ACR",
            Flow::Google { .. } => "GoogleArtifactRegistry",
            Flow::GitHub { .. } => "GitHub",
            Flow::Quay { .. } => "Quay",
            Flow::DigitalOcean { .. } => "DigitalOcean",
        }
    }
}
