//! Asking the API server itself who uses a Secret, before one is deleted.

use std::collections::HashSet;

use kube::{Api, Resource, ResourceExt, api::ListParams};

use super::{Cluster, PAGE, Trouble, object::SlimPod};
use crate::domain::{plan::Plan, references::is_finished, view::Key};

/// Up to this many namespaces are asked about one by one; beyond, it takes fewer requests to go through all Pods.
const FEW: usize = 32;

impl Cluster {
    /// Takes out of a plan the deletion of Secrets that a Pod uses of which no watch has told yet: two watches know
    /// nothing of each other, and the one of Pods may lag behind. kube-controller-manager asks likewise before it lets
    /// a PersistentVolumeClaim go. Returns whether any was taken out.
    ///
    /// # Errors
    /// The API server did not answer; then nothing is known, and nothing may be deleted.
    pub async fn spare_used(&self, plan: &mut Plan) -> Result<bool, Trouble> {
        let doomed: HashSet<&Key> = plan.delete.iter().map(|(key, _)| key).collect();
        let mut used = HashSet::new();
        let namespaces: HashSet<&str> = doomed.iter().map(|key| &*key.namespace).collect();
        if namespaces.len() <= FEW {
            for namespace in namespaces {
                self.find_used(Api::namespaced(self.client(), namespace), &doomed, &mut used).await?;
            }
        } else {
            self.find_used(Api::all(self.client()), &doomed, &mut used).await?;
        }
        let before = plan.delete.len();
        plan.delete.retain(|(key, _)| !used.contains(key));
        Ok(plan.delete.len() < before)
    }

    async fn find_used(
        &self,
        pods: Api<SlimPod>,
        doomed: &HashSet<&Key>,
        used: &mut HashSet<Key>,
    ) -> Result<(), Trouble> {
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = pods.list(&params).await.map_err(|error| {
                let trouble = Trouble::of(&error);
                self.strained(&trouble);
                trouble
            })?;
            for pod in &page.items {
                let namespace = pod.namespace().unwrap_or_default();
                if is_finished(pod.status.phase.as_deref(), pod.meta().deletion_timestamp.is_some()) {
                    continue;
                }
                pod.spec.visit(|name, _| {
                    let key = Key::new(namespace.as_str(), name);
                    if doomed.contains(&key) {
                        used.insert(key);
                    }
                });
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }
}
