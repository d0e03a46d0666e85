//! Credentials by the names that people type.

use clap::Args;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};

use super::{
    connect::Cluster,
    error::{PluginError, Right},
};
use crate::{
    api::{CredentialKind, CredentialStatus, StuckPods, crds},
    domain::{foreign_text::foreign_text, identity::CredentialId},
};

/// Which credential.
#[derive(Clone, Debug, Args)]
pub struct CredentialArgs {
    /// Name of the credential, or KIND/NAME if several kinds have that name, such as regcred/quay
    #[arg(value_name = "NAME")]
    name: String,
}

impl CredentialArgs {
    /// The same of a name that was read elsewhere.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

/// A credential of the cluster.
pub(super) struct Credential {
    pub kind: CredentialKind,
    pub api: Api<DynamicObject>,
    pub object: DynamicObject,
}

impl Credential {
    /// The one of this name, which may have its kind before a slash.
    pub async fn find(cluster: &Cluster, args: &CredentialArgs) -> Result<Self, PluginError> {
        let (kinds, name) = named(&args.name)?;
        let mut found = Vec::new();
        let mut refused = None;
        for &kind in &kinds {
            let api = Api::<DynamicObject>::namespaced_with(
                cluster.client.clone(),
                &cluster.namespace,
                &kind.resource(),
            );
            let right = Right::new("get", plural(kind), cluster.namespace.clone());
            match cluster.ask(right, api.get(name)).await {
                Ok(object) => found.push(Self { kind, api, object }),
                Err(PluginError::NotFound(_)) => {}
                Err(error) if error.is_forbidden() && kinds.len() > 1 => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        if found.len() > 1 {
            let all: Vec<String> = found.iter().map(|one| format!("{}/{name}", one.kind.name())).collect();
            let message = format!("several credentials have that name; write one of {}", all.join(", "));
            return Err(PluginError::Usage(message));
        }
        found.pop().ok_or_else(|| {
            refused.unwrap_or_else(|| {
                let name = foreign_text(name, 253);
                PluginError::NotFound(format!(
                    "there is no credential '{name}' in namespace '{}'",
                    cluster.namespace
                ))
            })
        })
    }

    /// All credentials of the namespace, or of all of them.
    pub async fn all(cluster: &Cluster, everywhere: bool) -> Result<Vec<Self>, PluginError> {
        let mut all = Vec::new();
        for &kind in CredentialKind::ALL {
            let (client, resource) = (cluster.client.clone(), kind.resource());
            let (api, namespace) = if everywhere {
                (Api::<DynamicObject>::all_with(client, &resource), None)
            } else {
                let namespace = cluster.namespace.clone();
                (Api::namespaced_with(client, &namespace, &resource), Some(namespace))
            };
            let right = Right::new("list", plural(kind), namespace);
            let listed = cluster.list(&right, &api, ListParams::default()).await?;
            all.extend(listed.into_iter().map(|object| Self { kind, api: api.clone(), object }));
        }
        Ok(all)
    }

    /// Reads it again.
    pub async fn read(&mut self, cluster: &Cluster) -> Result<(), PluginError> {
        let right = Right::new("get", plural(self.kind), cluster.namespace.clone());
        self.object = cluster.ask(right, self.api.get(&self.name())).await?;
        Ok(())
    }

    pub fn name(&self) -> String {
        self.object.metadata.name.clone().unwrap_or_default()
    }

    pub fn namespace(&self) -> String {
        self.object.metadata.namespace.clone().unwrap_or_default()
    }

    /// What identifies it.
    pub fn id(&self) -> CredentialId {
        CredentialId { kind: self.kind, namespace: self.namespace().into(), name: self.name().into() }
    }

    /// Kind, namespace and name.
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind.name(), self.namespace(), self.name())
    }

    /// The name of its Secrets.
    pub fn secret(&self) -> String {
        let chosen = self.object.data.pointer("/spec/target/secretName").and_then(|name| name.as_str());
        chosen.map_or_else(|| self.name(), str::to_owned)
    }

    /// Pods that were created before it was a default, and cannot pull.
    pub fn stuck(&self) -> Option<StuckPods> {
        let stuck = self.object.data.pointer("/status/default/stuck")?;
        serde_json::from_value(stuck.clone()).ok()
    }

    /// What could be read of its status.
    pub fn status(&self) -> CredentialStatus {
        let status = self.object.data.get("status").cloned().unwrap_or_default();
        serde_json::from_value(status).unwrap_or_default()
    }
}

/// The resource as a role names it.
pub(super) const fn plural(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::RegistryCredential => "registrycredentials.claviger.dev",
        CredentialKind::BasicAuthCredential => "basicauthcredentials.claviger.dev",
        CredentialKind::TlsCredential => "tlscredentials.claviger.dev",
        CredentialKind::ObjectStorageCredential => "objectstoragecredentials.claviger.dev",
    }
}

/// The kinds that are meant, and the name.
fn named(text: &str) -> Result<(Vec<CredentialKind>, &str), PluginError> {
    let Some((kind, name)) = text.split_once('/') else {
        return Ok((CredentialKind::ALL.to_vec(), checked(text)?));
    };
    let wanted = kind.split('.').next().unwrap_or_default().to_lowercase();
    let is_meant = |kind: &&CredentialKind| {
        let definitions = crds();
        let definition = definitions.iter().find(|definition| definition.spec.names.kind == kind.name());
        definition.is_some_and(|definition| {
            let names = &definition.spec.names;
            let short = names.short_names.iter().flatten().chain(&names.singular);
            names.plural == wanted
                || kind.name().to_lowercase() == wanted
                || short.into_iter().any(|short| *short == wanted)
        })
    };
    let kinds: Vec<CredentialKind> = CredentialKind::ALL.iter().filter(is_meant).copied().collect();
    if kinds.is_empty() {
        let kind = foreign_text(kind, 64);
        return Err(PluginError::Usage(format!("'{kind}' is not a kind of credential")));
    }
    Ok((kinds, checked(name)?))
}

/// A name goes into the path of a request.
fn checked(name: &str) -> Result<&str, PluginError> {
    if crate::domain::labels::is_dns_subdomain(name) {
        return Ok(name);
    }
    Err(PluginError::Usage(format!("'{}' is not a valid name", foreign_text(name, 253))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_as_for_kubectl() {
        for text in [
            "regcred/a",
            "registrycredential/a",
            "RegistryCredentials/a",
            "registrycredentials.claviger.dev/a",
        ] {
            assert_eq!(named(text).unwrap(), (vec![CredentialKind::RegistryCredential], "a"), "{text}");
        }
        assert_eq!(named("a").unwrap().0, CredentialKind::ALL);
        for text in ["pod/a", "regcred/", "regcred/a/b", "..", "a?b"] {
            assert!(matches!(named(text), Err(PluginError::Usage(_))), "{text}");
        }
    }

    #[test]
    fn rights_are_named_as_the_definitions_name_resources() {
        for definition in crds() {
            let Some(kind) = CredentialKind::parse(&definition.spec.names.kind) else { continue };
            assert_eq!(Some(plural(kind)), definition.metadata.name.as_deref());
        }
    }
}
