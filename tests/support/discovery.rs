//! What the API server has, for tests of what came with a later version of Kubernetes.

use std::env;

use kube::Client;

use super::{
    error::{Error, Result},
    progress::say,
};

/// When it is set, a test that is skipped fails: for a machine that has all that any test needs.
const NO_SKIPS: &str = "CLAVIGER_NO_SKIPS";

/// What says by itself that it needs a later version of Kubernetes, which no machine can help.
const NEEDS_A_LATER_VERSION: [&str; 1] = ["explain-pull of image volumes"];

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

/// Says that a test, or a part of one, did not run, and why. An error where `CLAVIGER_NO_SKIPS` is set, unless all that is
/// missing is a later version of Kubernetes.
pub fn skipped(test: &str, why: &str) -> Result<()> {
    let strict = env::var_os(NO_SKIPS).is_some_and(|value| !value.is_empty());
    if may_be_skipped(test, strict) {
        told(test, why)
    } else {
        Err(Error::new(format!("{NO_SKIPS} is set, and this cannot run: {test}: {why}")))
    }
}

fn may_be_skipped(test: &str, strict: bool) -> bool {
    !strict || NEEDS_A_LATER_VERSION.contains(&test)
}

fn told(test: &str, why: &str) -> Result<()> {
    say(&format!("skipped: {test}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::may_be_skipped;

    #[test]
    fn only_what_needs_a_later_version_is_skipped_where_nothing_may_be() {
        assert!(may_be_skipped("the program in its image", false));
        assert!(!may_be_skipped("the program in its image", true));
        assert!(may_be_skipped("explain-pull of image volumes", true));
    }
}
