//! What lets objects of other namespaces use a Secret: ReferenceGrants of the Gateway API, and TLSCertificateDelegations of
//! Contour. They stand in the namespace of the Secret.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Deserializer};

use super::{
    bounded,
    identity::NamespacedName,
    reference_kind::{GrantKind, Kinds, ReferenceKind},
    schedule::{MAX_GRANTS, MAX_PARTS},
};

/// The spec of a grant, of whatever kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GrantSpec {
    #[serde(deserialize_with = "list")]
    from: Vec<From>,
    #[serde(deserialize_with = "list")]
    to: Vec<To>,
    #[serde(deserialize_with = "list")]
    delegations: Vec<Delegation>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct From {
    group: String,
    kind: String,
    namespace: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct To {
    group: String,
    kind: String,
    name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Delegation {
    secret_name: String,
    #[serde(deserialize_with = "list")]
    target_namespaces: Vec<String>,
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    bounded::list::<_, _, MAX_PARTS>(deserializer)
}

/// What one object lets others use: Secrets of its namespace, to objects of these kinds in that namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    kinds: Kinds,
    /// `None` for all.
    from: Option<Box<str>>,
    /// `None` for all.
    secret: Option<Box<str>>,
}

impl GrantSpec {
    /// What an object of a kind with this spec lets others use. Of countless, a few are heeded.
    pub fn grants(&self, kind: GrantKind) -> Vec<Grant> {
        let named = |name: &Option<String>| name.as_deref().filter(|name| !name.is_empty()).map(Into::into);
        let mut grants: Vec<Grant> = match kind {
            GrantKind::ReferenceGrant => {
                let secrets = self.to.iter().filter(|to| to.group.is_empty() && to.kind == "Secret");
                let grants = secrets.flat_map(|to| {
                    self.from.iter().map(|from| Grant {
                        kinds: from.kinds(),
                        from: Some(from.namespace.as_str().into()),
                        secret: named(&to.name),
                    })
                });
                grants.filter(|grant| grant.kinds != Kinds::NONE).take(MAX_GRANTS).collect()
            }
            GrantKind::TlsCertificateDelegation => {
                let kinds = ReferenceKind::ALL.into_iter().filter(|of| of.grant() == Some(kind)).collect();
                let grants = self.delegations.iter().flat_map(|delegation| {
                    delegation.target_namespaces.iter().map(move |namespace| Grant {
                        kinds,
                        from: Some(namespace.as_str()).filter(|name| *name != "*").map(Into::into),
                        secret: Some(delegation.secret_name.as_str().into()),
                    })
                });
                grants.take(MAX_GRANTS).collect()
            }
        };
        grants.shrink_to_fit();
        grants
    }
}

impl From {
    fn kinds(&self) -> Kinds {
        let is = |of: &ReferenceKind| {
            of.grant() == Some(GrantKind::ReferenceGrant)
                && of.api().group == self.group
                && of.name() == self.kind
        };
        ReferenceKind::ALL.into_iter().filter(is).collect()
    }
}

/// All grants of a cluster, by the namespace that gives.
#[derive(Debug, Default)]
pub(crate) struct Grants(HashMap<Arc<str>, GrantsOfNamespace>);

/// By kind and name of the object.
type GrantsOfNamespace = BTreeMap<(GrantKind, Arc<str>), Vec<Grant>>;

impl Grants {
    /// Replaces what one object lets others use. Returns whether that is news.
    pub fn set(&mut self, kind: GrantKind, object: &NamespacedName, grants: Vec<Grant>) -> bool {
        let key = (kind, object.name.clone());
        if grants.is_empty() {
            let Some(here) = self.0.get_mut(&object.namespace) else { return false };
            let gone = here.remove(&key).is_some();
            if here.is_empty() {
                self.0.remove(&object.namespace);
            }
            return gone;
        }
        let here = self.0.entry(object.namespace.clone()).or_default();
        // Whoever writes these without end only lacks what the last of them would allow.
        if here.get(&key) == Some(&grants) || here.len() >= MAX_GRANTS && !here.contains_key(&key) {
            return false;
        }
        here.insert(key, grants);
        true
    }

    /// Whether objects of a kind in a namespace may use a Secret of another one.
    pub fn allow(&self, kind: ReferenceKind, from: &str, secret: &NamespacedName) -> bool {
        let allows = |grant: &Grant| {
            grant.kinds.contains(kind)
                && grant.from.as_deref().is_none_or(|allowed| allowed == from)
                && grant.secret.as_deref().is_none_or(|name| name == &*secret.name)
        };
        let here = self.0.get(&secret.namespace);
        here.is_some_and(|here| here.values().flatten().any(allows))
    }

    /// Whether a namespace lets any other use a Secret of it.
    pub fn has(&self, namespace: &str) -> bool {
        self.0.contains_key(namespace)
    }

    /// The objects of a kind, by name.
    pub fn objects(&self, kind: GrantKind) -> impl Iterator<Item = NamespacedName> {
        self.0.iter().flat_map(move |(namespace, here)| {
            let names = here.keys().filter(move |(of, _)| *of == kind);
            names.map(|(_, name)| NamespacedName { namespace: namespace.clone(), name: name.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn grants(kind: GrantKind, spec: Value) -> Vec<Grant> {
        serde_json::from_value::<GrantSpec>(spec).unwrap().grants(kind)
    }

    fn only(kind: GrantKind, spec: Value) -> Grants {
        let mut all = Grants::default();
        all.set(kind, &NamespacedName::new("certs", "allow"), grants(kind, spec));
        all
    }

    #[test]
    fn a_reference_grant_allows_kinds_of_a_namespace_what_it_names() {
        let from = json!([
            {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "edge"},
            {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "web"},
        ]);
        let to = json!([{"group": "", "kind": "Service"}, {"group": "", "kind": "Secret", "name": "tls"}]);
        let named = only(GrantKind::ReferenceGrant, json!({"from": from, "to": to}));
        let tls = NamespacedName::new("certs", "tls");
        assert!(named.allow(ReferenceKind::Gateway, "edge", &tls));
        assert!(
            !named.allow(ReferenceKind::Gateway, "web", &tls)
                && !named.allow(ReferenceKind::ListenerSet, "edge", &tls)
        );
        assert!(!named.allow(ReferenceKind::Gateway, "edge", &NamespacedName::new("certs", "other")));
        assert!(!named.allow(ReferenceKind::Gateway, "edge", &NamespacedName::new("other", "tls")));
        let all =
            only(GrantKind::ReferenceGrant, json!({"from": from, "to": [{"group": "", "kind": "Secret"}]}));
        assert!(all.allow(ReferenceKind::Gateway, "edge", &NamespacedName::new("certs", "other")));
        assert!(
            grants(
                GrantKind::ReferenceGrant,
                json!({"from": from, "to": [{"group": "x", "kind": "Secret"}]})
            )
            .is_empty()
        );
    }

    #[test]
    fn a_delegation_allows_contours_kinds_only() {
        let to = |namespaces: Value| json!({"delegations": [{"secretName": "tls", "targetNamespaces": namespaces}]});
        let tls = NamespacedName::new("certs", "tls");
        let kind = GrantKind::TlsCertificateDelegation;
        for (namespaces, allowed) in
            [(json!(["web"]), true), (json!(["*"]), true), (json!(["db"]), false), (json!([]), false)]
        {
            let all = only(kind, to(namespaces.clone()));
            assert_eq!(all.allow(ReferenceKind::HttpProxy, "web", &tls), allowed, "{namespaces}");
            assert!(!all.allow(ReferenceKind::Gateway, "web", &tls));
        }
    }

    /// Whoever can write grants could fill the memory, and take what others have allowed.
    #[test]
    fn of_countless_grants_a_few_are_kept_and_each_can_be_taken_back() {
        let delegations: Vec<_> = (0..2 * MAX_GRANTS)
            .map(|n| json!({"secretName": n.to_string(), "targetNamespaces": ["a", "b"]}))
            .collect();
        let kind = GrantKind::TlsCertificateDelegation;
        let many = grants(kind, json!({"delegations": delegations}));
        assert_eq!(many.len(), MAX_GRANTS);
        let mut all = Grants::default();
        let object = |n: usize| NamespacedName::new("certs", format!("allow-{n}").as_str());
        for n in 0..2 * MAX_GRANTS {
            assert_eq!(all.set(kind, &object(n), many[..1].to_vec()), n < MAX_GRANTS);
        }
        assert!(!all.set(kind, &object(0), many[..1].to_vec()), "nothing new");
        assert!(all.set(kind, &object(0), many[..2].to_vec()));
        for object in all.objects(kind).collect::<Vec<_>>() {
            assert!(all.set(kind, &object, Vec::new()));
        }
        assert!(!all.has("certs"));
    }
}
