//! ObjectStorageCredential: where the bucket is.

use crate::{
    api::ObjectStorageCredentialSpec,
    domain::{
        content::SourceError,
        registry::aws_domain,
        verification::{Scheme, Server},
    },
};

/// The region that requests are signed for, where the spec names a server and no region.
const USUAL_REGION: &str = "us-east-1";

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub scheme: Scheme,
    /// Without the usual port: clients leave it out of the host that they sign, too.
    pub server: Server,
    pub region: String,
    /// Whether the bucket is in the path of a URL.
    pub path_style: bool,
}

impl Place {
    /// Works it out.
    ///
    /// # Errors
    /// When the endpoint is none: there are IPv6 addresses that only the schema takes for such.
    pub fn of(spec: &ObjectStorageCredentialSpec) -> Result<Self, SourceError> {
        let region = spec.region.as_deref().unwrap_or(USUAL_REGION);
        let of_aws = || format!("https://s3.{region}.{}", aws_domain(region));
        let endpoint = spec.endpoint.clone().unwrap_or_else(of_aws);
        let (scheme, server) = server(&endpoint).ok_or_else(|| SourceError::bad_endpoint("endpoint"))?;
        let path_style = spec.path_style.unwrap_or(spec.endpoint.is_some());
        Ok(Self { scheme, server, region: region.to_owned(), path_style })
    }

    /// The endpoint, as a URL without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.server)
    }

    /// The endpoint, as host[:port].
    pub fn host(&self) -> String {
        self.server.to_string()
    }
}

fn server(endpoint: &str) -> Option<(Scheme, Server)> {
    let (scheme, rest) = match endpoint.split_once("://")? {
        ("https", rest) => (Scheme::Https, rest),
        ("http", rest) => (Scheme::Http, rest),
        _ => return None,
    };
    let server = Server::parse(rest.strip_suffix('/').unwrap_or(rest))?;
    let port = server.port.filter(|port| *port != scheme.default_port());
    Some((scheme, Server { port, ..server }))
}
