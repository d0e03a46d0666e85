//! What a person has to do around the move, tool by tool.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    manifests::Planned,
    marks::{Owner, Tool},
};
use crate::domain::counted::counted;

/// Selects all copies, in every namespace.
const COPIES: &str = "--all-namespaces --selector app.kubernetes.io/managed-by=claviger";

/// What to do before the manifests are applied, and after the credentials are ready.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Advice {
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// What to do around a move.
pub(crate) fn advice(planned: &[Planned]) -> Advice {
    let copies = planned.iter().flat_map(|planned| &planned.copies);
    let tools: BTreeSet<Tool> = copies.clone().filter_map(|copy| copy.marks.made_by).collect();
    let mut owners: BTreeMap<&Owner, BTreeSet<&str>> = BTreeMap::new();
    for copy in copies {
        for owner in &copy.marks.owners {
            owners.entry(owner).or_default().insert(&copy.place.namespace);
        }
    }
    for planned in planned {
        for owner in &planned.source_owners {
            owners.entry(owner).or_default().insert(&planned.source.namespace);
        }
    }
    let mut advice = Advice::default();
    let running = tools.iter().filter(|tool| **tool != Tool::ExternalSecrets).map(|tool| tool.name());
    let running: Vec<&str> = running.collect();
    if !running.is_empty() {
        advice.before.push(format!(
            "Stop {} (scale the Deployment to 0): a running tool also writes the copies, and removes them when its source changes",
            running.join(", ")
        ));
    }
    for (owner, namespaces) in owners {
        advice.owner(owner, &namespaces);
    }
    for tool in tools {
        advice.tool(tool);
    }
    advice
}

impl Advice {
    fn tool(&mut self, tool: Tool) {
        let name = tool.name();
        match tool {
            Tool::Reflector => self.after.push(format!(
                "{name}: `kubectl annotate secrets {COPIES} {}`; the same for its annotations on the source (reflection-*). Only then start it again, if it has other work",
                minus("reflector.v1.k8s.emberstack.com", &["reflects", "auto-reflects", "reflected-version", "reflected-at"])
            )),
            Tool::Replicator => self.after.push(format!(
                "{name}: `kubectl annotate secrets {COPIES} {}`; the same for `replicate-to` and `replicate-to-matching` on the source. Only then start it again, if it has other work",
                minus(
                    "replicator.v1.mittwald.de",
                    &["replicate-from", "replicated-at", "replicated-from-version", "replicated-keys"]
                )
            )),
            Tool::Imps | Tool::RegistryCreds | Tool::ImagePullSecretPatcher => {
                self.after.push(format!("{name}: remove it"));
            }
            Tool::ExternalSecrets => self.before.push(format!(
                "{name}: it writes its Secrets again at each refresh, and they are deleted with their ExternalSecret. In the ExternalSecrets of the copies, or in the \
                 ClusterExternalSecret that makes them, set `creationPolicy: Orphan` and `deletionPolicy: Retain`, wait until the Secrets have no ownerReferences, then delete all but \
                 the one of the source"
            )),
        }
    }

    /// The garbage collector deletes a Secret when its last owner is gone, unless that was deleted with `--cascade=orphan`.
    fn owner(&mut self, owner: &Owner, namespaces: &BTreeSet<&str>) {
        let Owner { kind, name } = owner;
        let resource = match kind.as_str() {
            "ImagePullSecret" => "imagepullsecrets.images.banzaicloud.io",
            "ClusterPullSecret" => "clusterpullsecrets.ops.alexellis.io",
            // Told for all of them, as there is one in each namespace.
            "ExternalSecret" => return,
            _ => {
                let first = namespaces.first().copied().unwrap_or_default();
                let more = if namespaces.len() > 1 { ", ..." } else { "" };
                let text = format!(
                    "{kind} '{name}' owns Secrets in {} ('{first}'{more}): they are deleted with it, unless you use `--cascade=orphan`",
                    counted(namespaces.len(), "namespace")
                );
                self.before.push(text);
                return;
            }
        };
        self.after.push(format!(
            "{kind} '{name}', which owns Secrets in {}: `kubectl delete {resource} {name} --cascade=orphan`; without `--cascade=orphan` the Secrets are deleted with it",
            counted(namespaces.len(), "namespace")
        ));
    }
}

/// The arguments by which `kubectl annotate` takes annotations off.
fn minus(domain: &str, names: &[&str]) -> String {
    names.iter().map(|name| format!("{domain}/{name}-")).collect::<Vec<_>>().join(" ")
}
