//! Whether the value that the source gives works, and whether it may be distributed.

use std::{collections::BTreeMap, sync::Arc};

use super::{CredentialLoop, Memory};
use crate::{
    api::VerificationMode,
    domain::{
        credential::CredentialSpec,
        declared::Declared,
        read_back,
        revision::CopyDigest,
        verification::{Found, KnownLogin, Login, Probe, Verification, held},
    },
};

impl CredentialLoop {
    /// Has the values of the source tried, and says what is known of them, and which are held back. `anew`: a person wants
    /// to know.
    pub(super) fn verify(
        &self,
        declared: &Declared,
        spec: &Arc<dyn CredentialSpec>,
        memory: &Memory,
        copies: &[CopyDigest],
        anew: bool,
    ) -> Option<Verification> {
        let (context, id) = (&self.context, &declared.id);
        let verifications = &context.stores.verifications;
        let candidate = memory.candidate.as_ref();
        let candidate = candidate.filter(|candidate| !candidate.logins.is_empty());
        let content = candidate.and_then(|candidate| candidate.result.as_ref().ok());
        let (Some(candidate), Some(content)) = (candidate, content) else {
            verifications.forget(&id.owner());
            return None;
        };
        let by_operator = verifications.is_off();
        let is_tried = |known: &&KnownLogin| known.login.rules.mode != VerificationMode::Off && !by_operator;
        let tried: Vec<&KnownLogin> = candidate.logins.iter().filter(is_tried).collect();
        if tried.is_empty() {
            verifications.forget(&id.owner());
            return Some(Verification::Off { by_operator });
        }
        let print = context.fingerprints.of(content.type_, &content.data);
        let status = declared.status();
        // What was found out of a minted token before a restart is about the revision that has this very content.
        let distributed = status.and_then(|status| status.revision);
        let revision =
            distributed.filter(|revision| copies.iter().any(|copy| copy.has(Some(*revision), print)));
        let recorded = |login: &Login| {
            let version = login.version.as_deref();
            Found::recorded(status?, declared.generation(), revision, &login.key, version)
        };
        let found = verifications.look(id, &tried, recorded, anew);
        let mut found: BTreeMap<&str, Option<Found>> =
            tried.iter().map(|known| known.login.key.as_str()).zip(found).collect();
        let probe = |KnownLogin { login, .. }: &KnownLogin| {
            let found = found.remove(login.key.as_str()).flatten();
            Probe { key: login.key.clone(), mode: login.rules.mode, version: login.version.clone(), found }
        };
        let probes: Vec<Probe> = candidate.logins.iter().map(probe).collect();
        // Mostly all of it is in place, and nothing needs to be looked into.
        let all = match &memory.last_good {
            Some(good) => good.data == content.data,
            None => read_back::is_newest(copies, distributed, print),
        };
        let (now, before) = match &memory.last_good {
            Some(good) if !all => (spec.parts(content), spec.parts(good)),
            _ => Default::default(),
        };
        let is_same = |key: &str| now.get(key).is_some_and(|value| before.get(key) == Some(value));
        let held = held(&probes, |key| all || is_same(key));
        Some(Verification::On { probes, held })
    }
}
