//! Whether a Pod has come to its end, and whether it waits for an image that cannot be pulled.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

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
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    /// As the spec has it, for as long as there was no container.
    image: Option<String>,
    state: Option<State>,
    last_state: Option<State>,
    restart_count: Option<i64>,
}

impl ContainerStatus {
    fn has_run(&self) -> bool {
        let began = |state: &State| state.running.is_some() || state.terminated.is_some();
        self.restart_count.is_some_and(|count| count > 0)
            || [&self.state, &self.last_state].into_iter().flatten().any(began)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
    running: Option<IgnoredAny>,
    terminated: Option<IgnoredAny>,
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

    /// Whether a container of it has run, be it for a moment: it does work that another Pod would have to do again. Init
    /// containers do not count.
    pub fn has_run(&self) -> bool {
        self.container_statuses.iter().any(ContainerStatus::has_run)
    }

    /// The images that containers wait for and that cannot be pulled, as registry and repository, with what kubelet says.
    /// Ephemeral containers do not count: the Pod works without them, and another one would not have them.
    pub fn failing_images(&self) -> impl Iterator<Item = (String, PullFailure)> {
        let statuses = [&self.init_container_statuses, &self.container_statuses];
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
            ["quay.io/acme/init ErrImagePull", "docker.io/library/app ImagePullBackOff"],
            "a container for debugging is none of the Pod's work"
        );
        assert!(failing(json!({"containerStatuses": null})).is_empty());
    }

    #[test]
    fn a_container_that_has_run_tells_of_work_that_is_done() {
        let has_run = |status: Value| serde_json::from_value::<PodStatus>(status).unwrap().has_run();
        let app = |status: Value| json!({"containerStatuses": [{"state": {"waiting": {}}, "restartCount": 0}, status]});
        assert!(!has_run(app(json!({}))) && !has_run(json!({})));
        assert!(has_run(app(json!({"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}))));
        assert!(has_run(app(json!({"state": {"terminated": {"exitCode": 0}}}))));
        assert!(has_run(app(
            json!({"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}})
        )));
        assert!(has_run(app(json!({"state": {"waiting": {}}, "lastState": {}, "restartCount": 1}))));
        let init = json!({"initContainerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]});
        assert!(!has_run(init));
    }
}
