//! A credential that is being deleted.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{CredentialLoop, Memory, blank, validity};
use crate::{
    domain::{
        declared::Declared,
        desired::{DesiredState, SourceState},
        removal::{ClusterFacts, Removal, Request},
        token::{MintError, Minted},
    },
    queue::Next,
};

impl CredentialLoop {
    /// Decides how the deletion of a credential goes on.
    pub(super) fn finalize(&self, declared: &Declared, memory: &mut Memory) -> Next {
        let context = &self.context;
        let owner = declared.id.owner();
        self.stop_hashing(declared, memory);
        context.stores.verifications.forget(&owner);
        // What a Pod still uses stays as it is, to the end of its tokens.
        context.stores.minting.forget(&owner);
        let now = Timestamp::now();
        let before = context.stores.desired.get(&owner);
        let outcomes = context.stores.outcomes.of(&owner);
        let members = context.clusters.all();
        let deleting = before.as_ref().filter(|published| published.removal.is_some());
        let facts: Vec<ClusterFacts<'_>> = members
            .iter()
            .map(|member| ClusterFacts {
                name: member.name.clone(),
                up: member.up().is_some(),
                paused: member.settings.paused,
                down: member.down_since(),
                has_copies: member.seen().is_some_and(|cluster| {
                    let cache = cluster.read();
                    // What is attached where nobody answers is swept later; it holds nothing up.
                    cache.snapshot().copies.has(&owner)
                        || member.up().is_some() && cache.snapshot().accounts.has(&owner)
                }),
                outcome: outcomes.get(&member.name).map(|outcome| {
                    let current = deleting.is_some_and(|published| published.version == outcome.version);
                    (&**outcome, current)
                }),
                row: declared.row(&member.name),
            })
            .collect();
        let request = Request {
            policy: declared.deletion_policy,
            annotated: declared.is_forced(),
            namespace_terminating: context.own_namespace(&declared.id).is_none_or(|seen| seen.terminating),
            deleted: declared.meta.deletion_timestamp.as_ref().map_or(now, |time| time.0),
            grace: context.unreachable_grace,
        };
        let removal = Removal::decide(request, &facts, now);
        let next = removal.next();
        let mut state = match &before {
            Some(published) => DesiredState { sync_request: None, ..DesiredState::clone(published) },
            None => DesiredState { validity: validity(declared, memory), ..blank(declared) },
        };
        if let Ok(spec) = &declared.spec {
            // Only users of what is a target now hold the deletion, also after a restart.
            (state.clusters, state.policies_readable) = self.targets(declared, spec, &members);
            state.secret_name = declared.secret_name();
        }
        if matches!(state.source, SourceState::Hashing { .. }) {
            state.source = SourceState::NotRead;
        }
        state.distributed = declared.recorded_tokens();
        let ended = Minted { token: None, error: Some(MintError::deleting()) };
        state.tokens = state.distributed.keys().map(|key| (key.clone(), ended.clone())).collect();
        let state = DesiredState {
            generation: declared.generation(),
            uid: declared.uid().to_owned(),
            removal: Some(removal),
            unknown_clusters: Vec::new(),
            ..state
        };
        self.publish(state, false);
        match next {
            Some(until) => Next::After(Duration::try_from(until.duration_since(now)).unwrap_or_default()),
            None => self.resync(),
        }
    }
}
