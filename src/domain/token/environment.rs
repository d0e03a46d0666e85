//! The identity that the operator itself has in a cloud, as its environment tells: by the variables that the webhooks of
//! the clouds set in Pods.
//!
//! Nothing falls through to the identity of the node, which every Pod there would have.

use std::{net::IpAddr, path::PathBuf};

use http::Uri;

use super::{grant::Cloud, outcome::MintError};
use crate::domain::verification::{Scheme, Server};

/// The identity that the operator has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    /// A ServiceAccount's token, in a file that kubelet renews.
    WebIdentity {
        file: PathBuf,
        role: Option<String>,
        client: Option<String>,
        tenant: Option<String>,
    },
    /// An agent that gives access keys to whoever shows the token in a file.
    Agent {
        scheme: Scheme,
        server: Server,
        path: String,
        file: Option<PathBuf>,
    },
    Metadata(Server),
}

/// Google's own name of its metadata server, and the variable of its libraries that names another one.
const METADATA: &str = "metadata.google.internal";
const METADATA_HOST: &str = "GCE_METADATA_HOST";

impl Environment {
    /// What the environment says of a cloud.
    ///
    /// # Errors
    /// When it says nothing of it.
    pub fn of(cloud: Cloud, variable: impl Fn(&str) -> Option<String>) -> Result<Self, MintError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        match cloud {
            Cloud::Aws => match (variable("AWS_ROLE_ARN"), variable("AWS_WEB_IDENTITY_TOKEN_FILE")) {
                (Some(role), Some(file)) => {
                    let (file, role) = (file.into(), Some(role));
                    Ok(Self::WebIdentity { file, role, client: None, tenant: None })
                }
                _ => {
                    let url = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
                    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
                    url.and_then(|url| agent(&url, file)).ok_or_else(|| {
                        missing("AWS: give its ServiceAccount a role, by IAM roles for service accounts or EKS Pod Identity")
                    })
                }
            },
            Cloud::Azure => {
                let file = variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from);
                let (client, tenant) = (variable("AZURE_CLIENT_ID"), variable("AZURE_TENANT_ID"));
                let file = file.ok_or_else(|| {
                    missing("Azure: set up Microsoft Entra Workload ID for its ServiceAccount and its Pods")
                })?;
                Ok(Self::WebIdentity { file, role: None, client, tenant })
            }
            Cloud::Google => {
                let host = variable(METADATA_HOST).unwrap_or_else(|| METADATA.to_owned());
                let server = Server::parse(&host);
                server
                    .map(Self::Metadata)
                    .ok_or_else(|| missing("Google: GCE_METADATA_HOST is not a host[:port]"))
            }
        }
    }
}

fn agent(url: &str, file: Option<PathBuf>) -> Option<Environment> {
    let uri: Uri = url.parse().ok()?;
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let server = Server::parse(uri.authority()?.as_str())?;
    if scheme == Scheme::Http && !is_of_this_machine(&server.host) {
        return None;
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Some(Environment::Agent { scheme, server, path, file })
}

/// Where the SDKs of AWS show a token without TLS: this machine, and the agents of ECS and EKS.
fn is_of_this_machine(host: &str) -> bool {
    let agents = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
    host == "localhost"
        || agents.contains(&host)
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn missing(what: &str) -> MintError {
    MintError::identity_missing(format!("Claviger itself has no identity in {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cloud: Cloud, variables: &[(&str, &str)]) -> Result<Environment, MintError> {
        let found =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Environment::of(cloud, found)
    }

    #[test]
    fn the_variables_of_each_cloud_are_known() {
        let role = [("AWS_ROLE_ARN", "arn:r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")];
        let agent = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/p"),
        ];
        let wanted = Environment::WebIdentity {
            file: "/t".into(),
            role: Some("arn:r".to_owned()),
            client: None,
            tenant: None,
        };
        assert_eq!(of(Cloud::Aws, &[role, agent].concat()), Ok(wanted));
        let Ok(Environment::Agent { scheme, server, path, file }) = of(Cloud::Aws, &agent) else { panic!() };
        assert_eq!((scheme, server.to_string().as_str()), (Scheme::Http, "[fd00:ec2::23]"));
        assert_eq!((path.as_str(), file), ("/v1/credentials", Some("/p".into())));
        let azure =
            [("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t"), ("AZURE_FEDERATED_TOKEN_FILE", "/f")];
        assert!(matches!(
            of(Cloud::Azure, &azure),
            Ok(Environment::WebIdentity { client: Some(_), tenant: Some(_), role: None, .. })
        ));
        assert!(
            matches!(of(Cloud::Google, &[]), Ok(Environment::Metadata(server)) if server.host == METADATA)
        );
    }

    #[test]
    fn without_them_there_is_no_identity_and_that_of_the_node_is_never_used() {
        for variables in [
            &[][..],
            &[("AWS_ROLE_ARN", "arn:r")],
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "")],
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "file:///etc/passwd")],
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://agent.example.com/")],
            &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2")],
        ] {
            let error = of(Cloud::Aws, variables).unwrap_err();
            assert_eq!(error.reason, crate::domain::reason::Reason::IdentityMissing, "{variables:?}");
        }
        assert!(of(Cloud::Azure, &[("AZURE_CLIENT_ID", "c")]).is_err());
    }
}
