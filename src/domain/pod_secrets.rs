//! Which Secrets a Pod names: the fields of upstream's `VisitPodSecretNames`
//! (`k8s.io/kubernetes/pkg/api/v1/pod/util.go`, v1.36), and only these.

use serde::{Deserialize, Deserializer};

use super::{bounded, schedule::MAX_PARTS};

/// The part of a Pod's spec that can name a Secret, and its ServiceAccount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecrets {
    service_account_name: Option<String>,
    #[serde(deserialize_with = "list")]
    image_pull_secrets: Vec<Reference>,
    #[serde(deserialize_with = "list")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "list")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "list")]
    ephemeral_containers: Vec<Container>,
    #[serde(deserialize_with = "list")]
    volumes: Vec<Volume>,
}

/// A reference to a Secret by its name; volumes of kind `secret` and `azureFile` call it `secretName`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Reference {
    #[serde(alias = "secretName")]
    name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    #[serde(deserialize_with = "list")]
    env: Vec<EnvVar>,
    #[serde(deserialize_with = "list")]
    env_from: Vec<Source>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EnvVar {
    value_from: Option<Source>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    secret: Option<Box<Reference>>,
    azure_file: Option<Box<Reference>>,
    projected: Option<Box<Projected>>,
    csi: Option<Box<Source>>,
    cephfs: Option<Box<Source>>,
    cinder: Option<Box<Source>>,
    flex_volume: Option<Box<Source>>,
    rbd: Option<Box<Source>>,
    #[serde(rename = "scaleIO")]
    scale_io: Option<Box<Source>>,
    iscsi: Option<Box<Source>>,
    storageos: Option<Box<Source>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Projected {
    #[serde(deserialize_with = "list")]
    sources: Vec<Source>,
}

/// Anything that may refer to a Secret, under whatever name its kind of source has for that.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Source {
    #[serde(rename = "secretRef", alias = "secretKeyRef", alias = "nodePublishSecretRef", alias = "secret")]
    secret: Option<Reference>,
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    bounded::list::<_, _, MAX_PARTS>(deserializer)
}

impl PodSecrets {
    /// The ServiceAccount that the Pod runs under.
    pub fn service_account(&self) -> &str {
        self.service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default")
    }

    /// The names of its pull Secrets.
    pub fn pull_secrets(&self) -> impl Iterator<Item = &str> + Clone {
        self.image_pull_secrets.iter().filter_map(|reference| reference.name.as_deref())
    }

    /// Every Secret that is named, with the field that does.
    pub fn visit<'a>(&'a self, mut visit: impl FnMut(&'a str, &'static str)) {
        let mut name = |reference: Option<&'a Reference>, field| {
            if let Some(name) = reference.and_then(|r| r.name.as_deref()).filter(|name| !name.is_empty()) {
                visit(name, field);
            }
        };
        for reference in &self.image_pull_secrets {
            name(Some(reference), "spec.imagePullSecrets");
        }
        for (containers, env, env_from) in [
            (&self.init_containers, "spec.initContainers.env", "spec.initContainers.envFrom"),
            (&self.containers, "spec.containers.env", "spec.containers.envFrom"),
            (&self.ephemeral_containers, "spec.ephemeralContainers.env", "spec.ephemeralContainers.envFrom"),
        ] {
            for container in containers {
                for source in &container.env_from {
                    name(source.secret.as_ref(), env_from);
                }
                for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
                    name(source.secret.as_ref(), env);
                }
            }
        }
        for volume in &self.volumes {
            for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
                name(source.secret.as_ref(), "spec.volumes.projected");
            }
            for (source, field) in [
                (&volume.csi, "spec.volumes.csi"),
                (&volume.cephfs, "spec.volumes.cephfs"),
                (&volume.cinder, "spec.volumes.cinder"),
                (&volume.flex_volume, "spec.volumes.flexVolume"),
                (&volume.rbd, "spec.volumes.rbd"),
                (&volume.scale_io, "spec.volumes.scaleIO"),
                (&volume.iscsi, "spec.volumes.iscsi"),
                (&volume.storageos, "spec.volumes.storageos"),
            ] {
                name(source.as_ref().and_then(|source| source.secret.as_ref()), field);
            }
        }
        for volume in &self.volumes {
            name(volume.secret.as_deref(), "spec.volumes.secret");
            name(volume.azure_file.as_deref(), "spec.volumes.azureFile");
        }
    }
}

/// Whether a Pod has come to its end and uses nothing any more.
pub fn is_finished(phase: Option<&str>, terminating: bool) -> bool {
    terminating || matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
#[path = "pod_secrets_tests.rs"]
mod tests;
