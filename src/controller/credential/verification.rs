//! Whether the value that the source gives works, and whether it may be distributed.

use std::sync::Arc;

use super::{CredentialLoop, Memory};
use crate::{
    api::VerificationMode,
    domain::{
        credential::CredentialSpec,
        declared::Declared,
        revision::CopyDigest,
        verification::{Found, Gate, Probe, Rules, Verification, gate},
    },
};

impl CredentialLoop {
    /// Has the value of the source tried, and says what is known of it. `anew`: a person wants to know.
    pub(super) fn verify(
        &self,
        declared: &Declared,
        spec: &Arc<dyn CredentialSpec>,
        memory: &Memory,
        copies: &[CopyDigest],
        anew: bool,
    ) -> (Option<Verification>, Gate) {
        let (context, id) = (&self.context, &declared.id);
        let verifications = &context.stores.verifications;
        let by_operator = verifications.is_off();
        let candidate = memory.candidate.as_ref();
        let content = candidate.and_then(|candidate| Some((candidate, candidate.result.as_ref().ok()?)));
        let (rules, (candidate, content)) = match (spec.verification(), content) {
            (None, _) => return (None, Gate::Open),
            (Some(rules), Some(content)) if rules.mode != VerificationMode::Off && !by_operator => {
                (rules, content)
            }
            (Some(_), content) => {
                verifications.forget(&id.owner());
                return (content.map(|_| Verification::Off { by_operator }), Gate::Open);
            }
        };
        let Rules { mode, interval } = rules;
        let print = context.fingerprints.of(content.type_, &content.data);
        let status = declared.status();
        // What was found out before a restart is about the revision that has this very content.
        let told = status.and_then(|status| Some((status, status.revision?)));
        let told = told.filter(|(_, revision)| copies.iter().any(|copy| copy.has(Some(*revision), print)));
        let found = verifications.look(
            id,
            &spec.provider(),
            &candidate.logins,
            interval,
            |login| {
                let (status, revision) = told?;
                Found::recorded(status, declared.generation(), revision, &login.key)
            },
            anew,
        );
        let keys = candidate.logins.iter().map(|login| login.key.clone());
        let probes: Vec<Probe> = keys.zip(found).map(|(key, found)| Probe { key, found }).collect();
        let is_distributed = memory.last_good.as_ref().is_some_and(|good| good.data == content.data)
            || copies.iter().any(|copy| copy.content == print);
        let gate = gate(mode, is_distributed, &probes);
        (Some(Verification::On { mode, probes, is_held: gate != Gate::Open }), gate)
    }
}
