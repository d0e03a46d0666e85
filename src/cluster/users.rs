//! Who uses which Secrets of a cluster, as watches show it.

use kube::Resource;

use super::{
    cache::Cache,
    changes::Changes,
    referrer::{GrantObject, Refers},
    reflector::name_of,
};
use crate::domain::{
    identity::NamespacedName,
    labels::{is_dns_label, is_dns_subdomain},
    reference_kind::{GrantKind, ReferenceKind},
    references::{Use, User},
    snapshot::Snapshot,
};

impl Cache {
    /// Puts in what an object uses.
    pub(super) fn set_user(&mut self, kind: ReferenceKind, object: &impl Refers) -> Changes {
        let namespace = self.texts.text(object.meta().namespace.as_deref().unwrap_or_default());
        let mut uses = Vec::new();
        object.visit(kind, &mut |of, name, field| {
            // There can be no Secret, and no namespace, of any other name.
            if is_dns_subdomain(name) && of.is_none_or(is_dns_label) {
                let of = of.filter(|of| **of != *namespace).map(|of| self.texts.text(of));
                uses.push(Use { namespace: of, name: self.texts.text(name), field });
            }
        });
        let name = object.meta().name.as_deref().unwrap_or_default().into();
        let mut changes = self.set_uses(&User { kind, name: NamespacedName { namespace, name } }, uses);
        if let Some(pod) = object.pod() {
            changes.add(self.set_stuck(pod));
        }
        changes
    }

    /// All objects of a kind of which something is known.
    pub(super) fn known_users(&self, kind: ReferenceKind) -> Vec<NamespacedName> {
        let Snapshot { references, stuck, .. } = &self.snapshot;
        let is_new = |name: &NamespacedName| !references.has(&User { kind, name: name.clone() });
        let stuck = (kind == ReferenceKind::Pod).then(|| stuck.names().filter(is_new));
        references.names(kind).cloned().chain(stuck.into_iter().flatten()).collect()
    }

    pub(super) fn set_uses(&mut self, user: &User, uses: Vec<Use>) -> Changes {
        let Snapshot { references, copies, .. } = &mut self.snapshot;
        let secrets = references.set(user, uses, |secret| copies.get(secret).is_some());
        self.touched(secrets)
    }

    /// Puts in what an object lets those of other namespaces use.
    pub(super) fn set_grants(&mut self, kind: GrantKind, object: &GrantObject) -> Changes {
        let secrets =
            self.snapshot.references.set_grants(kind, &name_of(object.meta()), object.spec.grants(kind));
        self.touched(secrets)
    }

    /// The users of these Secrets have changed.
    pub(super) fn touched(&self, secrets: Vec<NamespacedName>) -> Changes {
        let copies = &self.snapshot.copies;
        let touched = secrets
            .into_iter()
            .filter_map(|secret| copies.get(&secret).map(|copy| (copy.owner, secret.namespace)));
        Changes { touched: touched.collect(), ..Changes::default() }
    }
}
