//! The watches of our own kinds: credentials, policies and members.

use std::sync::Arc;

use kube::{Api, Resource, ResourceExt, api::ListParams};

use crate::{
    api::{CredentialKind, DistributionPolicy, MemberCluster},
    cluster::{
        Guarded,
        dynamic::dynamic_resource,
        reflector::{self, Store, reflect},
    },
    controller::{Context, credentials::Difference, events::about, keys::Dirty, sweep},
    domain::{
        declared::Declared,
        event::{Action, Note},
        identity::{CredentialId, NamespacedName, OwnerId},
        reason::Reason,
    },
};

/// Follows credentials, policies and members of `local` from now on.
///
/// # Errors
/// When a client cannot be made.
pub(crate) fn watch(context: &Arc<Context>) -> Result<(), kube::Error> {
    let Context { connector, supervisor, .. } = &**context;
    let all = ListParams::default;
    let store = Policies { context: context.clone(), changed: false };
    let watch = reflect(connector, "distributionpolicies", Api::all, all(), store)?;
    supervisor.spawn_endless("watch of DistributionPolicy", watch);
    let store = Members { context: context.clone() };
    let watch = reflect(connector, "memberclusters", Api::all, all(), store)?;
    supervisor.spawn_endless("watch of MemberCluster", watch);
    for kind in CredentialKind::ALL {
        let resource = kind.resource();
        let store = Kind { context: context.clone(), kind: *kind };
        let name = resource.plural.clone();
        let watch = reflect(connector, &name, move |client| Api::all_with(client, &resource), all(), store)?;
        supervisor.spawn_endless(format!("watch of {}", kind.name()), watch);
    }
    Ok(())
}

dynamic_resource!(Declared, meta);

/// The credentials of one kind.
struct Kind {
    context: Arc<Context>,
    kind: CredentialKind,
}

impl Kind {
    fn declared(&self) -> Vec<Arc<Declared>> {
        self.context.stores.credentials.of_kind(self.kind)
    }

    fn count_unreadable(&self) {
        let unreadable = self.declared().iter().filter(|declared| declared.spec.is_err()).count();
        self.context.metrics.set_unreadable(self.kind.name(), unreadable);
    }

    fn gone(&self, owner: &OwnerId) {
        self.context.stores.credentials.remove(owner);
        self.context.stores.defaults.declare(owner, None);
        self.context.queues.credential(owner);
        self.count_permitted();
    }

    /// Policies tell how many credentials they are about.
    fn count_permitted(&self) {
        self.context.queues.policies(self.context.stores.policies.names());
    }
}

impl Store for Kind {
    type Object = Declared;

    fn upsert(&mut self, declared: Declared, listed: bool) {
        let owner = declared.id.owner();
        let unreadable = declared.spec.is_err();
        let default = declared.spec.as_ref().ok().and_then(|spec| spec.default());
        self.context.stores.defaults.declare(&owner, default.map(|default| default.accounts));
        match self.context.stores.credentials.set(declared) {
            Difference::Credential => {
                self.context.queues.credential(&owner);
                if !listed {
                    self.count_permitted();
                }
                if unreadable || !listed {
                    self.count_unreadable();
                }
            }
            Difference::Status => self.context.queues.status(&owner),
            Difference::Nothing => {}
        }
    }

    fn remove(&mut self, declared: Declared) {
        let owner = declared.id.owner();
        let known = self.context.stores.credentials.get(&owner);
        // The end of an older object of this name says nothing of the one that is there now.
        if known.is_none_or(|known| known.uid() == declared.uid()) {
            self.gone(&owner);
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.declared().iter().map(|declared| reflector::name_of(&declared.meta)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for NamespacedName { namespace, name } in vanished {
            self.gone(&CredentialId { kind: self.kind, namespace, name }.owner());
        }
        self.context.stores.credentials.listed(self.kind);
        if self.kind == CredentialKind::RegistryCredential {
            self.context.stores.defaults.listed();
        }
        self.count_unreadable();
        self.context.queues.credentials(self.declared().iter().map(|declared| declared.id.owner()));
        self.count_permitted();
        sweep::wake_all(&self.context);
    }
}

struct Policies {
    context: Arc<Context>,
    /// Whether the list in progress has shown anything new.
    changed: bool,
}

impl Policies {
    fn changed(&self) {
        let unreadable = self.context.stores.policies.unreadable();
        self.context.metrics.set_unreadable("DistributionPolicy", unreadable);
        self.context.queues.credentials(self.context.stores.credentials.owners());
        // What waits for policies to be readable again.
        for (owner, cluster) in self.context.stores.outcomes.deferred() {
            self.context.queues.sync(&owner, &cluster, Dirty::default());
        }
    }

    fn tell_unreadable(&self, object: &Guarded<DistributionPolicy>, error: &str) {
        let text = format!(
            "this version of Claviger cannot read the policy, so it allows nothing; meanwhile no copies are removed for lack of consent: {error}; upgrade Claviger, or fix the spec"
        );
        let note = Note::warning(Reason::UnsupportedSpec, Action::Read, text);
        let about = about(object, &());
        let events = self.context.events.clone();
        self.context.supervisor.spawn("event of an unreadable policy", async move {
            events.publish(&about, &note).await;
        });
    }
}

impl Store for Policies {
    type Object = Guarded<DistributionPolicy>;

    fn upsert(&mut self, object: Self::Object, listed: bool) {
        let policies = &self.context.stores.policies;
        let spec = object.0.as_ref().ok().map(|policy| &policy.spec);
        let name = object.name_any();
        let changed = policies.set(&name, spec);
        if let (Err(bad), true) = (&object.0, changed) {
            self.tell_unreadable(&object, &bad.error);
        }
        policies.set_object(&name, object.0.ok());
        self.context.queues.policy(&name);
        self.changed |= changed;
        if changed && !listed {
            self.changed();
        }
    }

    fn remove(&mut self, object: Self::Object) {
        if self.context.stores.policies.remove(&object.name_any()) {
            self.changed();
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        let names = self.context.stores.policies.names();
        names.into_iter().map(|name| NamespacedName::new("", name)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for policy in vanished {
            self.changed |= self.context.stores.policies.remove(&policy.name);
        }
        // Once is enough.
        let _ = self.context.stores.policies.listed.set(());
        if std::mem::take(&mut self.changed) {
            self.changed();
        }
    }
}

struct Members {
    context: Arc<Context>,
}

impl Members {
    fn gone(&self, name: &str) {
        self.context.stores.members.remove(name);
        self.context.clusters.remove(name);
        self.context.queues.member(name);
    }
}

impl Store for Members {
    type Object = Guarded<MemberCluster>;

    fn upsert(&mut self, object: Self::Object, listed: bool) {
        let name = object.name_any();
        // Here rather than in the loop, which comes later than that of a credential may.
        if let Ok(member) = &object.0
            && member.metadata.deletion_timestamp.is_none()
        {
            self.context.clusters.announce(&name, member.labels());
        }
        if self.context.stores.members.set(object) {
            self.context.queues.member(&name);
        }
        if !listed {
            self.context.metrics.set_unreadable("MemberCluster", self.context.stores.members.unreadable());
        }
    }

    fn remove(&mut self, object: Self::Object) {
        let name = object.name_any();
        let known = self.context.stores.members.get(&name);
        // The end of an older object of this name says nothing of the one that is there now.
        if known.is_none_or(|known| Some(known.uid()) == object.meta().uid.as_deref()) {
            self.gone(&name);
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.context.stores.members.names().into_iter().map(|name| NamespacedName::new("", name)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for member in vanished {
            self.gone(&member.name);
        }
        self.context.metrics.set_unreadable("MemberCluster", self.context.stores.members.unreadable());
        self.context.queues.members(self.context.stores.members.names());
        self.context.stores.members.listed();
    }
}
