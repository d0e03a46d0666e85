//! What the API server has, for tests of what came with a later version of Kubernetes.

use kube::Client;

use super::{
    error::{Error, Result},
    skips::told,
};

/// The second number of the server's version: 36 of `v1.36.3`.
pub async fn minor(client: &Client) -> Result<u32> {
    let version = client.apiserver_version().await?;
    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .map_err(|_| Error::new(format!("no number in the server's minor version '{}'", version.minor)))
}

/// Whether the API server serves a kind. Where it does not, says that a test is skipped.
async fn serves(client: &Client, group_version: &str, kind: &str, test: &str) -> Result<bool> {
    let resources = match client.list_api_group_resources(group_version).await {
        Ok(list) => list.resources,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if resources.iter().any(|resource| resource.kind == kind) {
        return Ok(true);
    }
    let version = client.apiserver_version().await?.git_version;
    told(test, &format!("the API server {version} has no {kind} in {group_version}"))?;
    Ok(false)
}

/// Whether there are the policies of Kubernetes 1.36 by which an API server changes objects. Says so when they are missing.
pub async fn serves_mutating_policies(client: &Client, test: &str) -> Result<bool> {
    serves(client, "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy", test).await
}
