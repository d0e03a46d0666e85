//! Whether a Pod has come to its end, and whether it waits for an image that cannot be pulled.

use serde::{Deserialize, Deserializer};

use super::{bounded, pod_secrets::is_finished, registry::keyring::repository, schedule::MAX_PARTS};

/// The part of a Pod's status that tells.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    phase: Option<String>,
    #[serde(deserialize_with = "list")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "list")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "list")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    /// As the spec has it, for as long as there was no container.
    image: Option<String>,
    state: Option<State>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
}

/// What kubelet calls that an image cannot be pulled; it goes back and forth between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullFailure {
    ErrImagePull,
    ImagePullBackOff,
}

impl PullFailure {
    fn parse(reason: &str) -> Option<Self> {
        [Self::ErrImagePull, Self::ImagePullBackOff].into_iter().find(|failure| failure.as_str() == reason)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::ImagePullBackOff => "ImagePullBackOff",
        }
    }
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    bounded::list::<_, _, MAX_PARTS>(deserializer)
}

impl PodStatus {
    /// Whether the Pod uses nothing any more.
    pub fn is_finished(&self, terminating: bool) -> bool {
        is_finished(self.phase.as_deref(), terminating)
    }

    /// The images that containers wait for and that cannot be pulled, as registry and repository, with what kubelet says.
    pub fn failing_images(&self) -> impl Iterator<Item = (String, PullFailure)> {
        let statuses =
            [&self.init_container_statuses, &self.container_statuses, &self.ephemeral_container_statuses];
        statuses.into_iter().flatten().filter_map(|status| {
            let waiting = status.state.as_ref()?.waiting.as_ref()?;
            let failure = PullFailure::parse(waiting.reason.as_deref()?)?;
            Some((repository(status.image.as_deref()?)?, failure))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn failing(status: Value) -> Vec<String> {
        let status: PodStatus = serde_json::from_value(status).unwrap();
        status.failing_images().map(|(image, failure)| format!("{image} {}", failure.as_str())).collect()
    }

    #[test]
    fn containers_of_all_sorts_wait_for_images() {
        let waiting =
            |image: &str, reason: &str| json!({"image": image, "state": {"waiting": {"reason": reason}}});
        let status = json!({
            "phase": "Pending",
            "initContainerStatuses": [waiting("quay.io/acme/init:1", "ErrImagePull")],
            "containerStatuses": [
                waiting("app", "ImagePullBackOff"), waiting("b", "ContainerCreating"), waiting("c", "InvalidImageName"),
                {"image": "d", "state": {"running": {}}}, {"image": "e", "state": null}, {"state": {"waiting": {}}}, {},
                waiting("quay.io/Not/valid", "ErrImagePull"),
            ],
            "ephemeralContainerStatuses": [waiting("ghcr.io/acme/debug@sha256:", "ErrImagePull"), waiting("ghcr.io/acme/debug", "ErrImagePull")],
        });
        assert_eq!(
            failing(status),
            [
                "quay.io/acme/init ErrImagePull",
                "docker.io/library/app ImagePullBackOff",
                "ghcr.io/acme/debug ErrImagePull"
            ]
        );
        assert!(failing(json!({"containerStatuses": null})).is_empty());
    }
}
