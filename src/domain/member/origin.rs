//! Where it stands how to reach a member.

use std::fmt;

use crate::{
    api::{AdoptedFrom, KubeconfigReference, MemberCluster},
    domain::{
        adoption::{adopted_from, adoption_mark},
        identity::NamespacedName,
    },
};

/// The Secret that says how to reach a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// One with a kubeconfig, in the namespace of the operator.
    Kubeconfig { operator_namespace: String, reference: KubeconfigReference },
    /// One of another tool.
    Adopted(AdoptedFrom),
}

impl Origin {
    /// As the MemberCluster says: a kubeconfig that people name comes before what the operator has noted.
    pub fn of(member: &MemberCluster, operator_namespace: &str) -> Option<Self> {
        match &member.spec.kubeconfig_secret_ref {
            Some(reference) => Some(Self::Kubeconfig {
                operator_namespace: operator_namespace.to_owned(),
                reference: reference.clone(),
            }),
            None => adopted_from(member).map(Self::Adopted),
        }
    }

    pub fn secret(&self) -> NamespacedName {
        match self {
            Self::Kubeconfig { operator_namespace, reference } => {
                NamespacedName::new(operator_namespace.as_str(), reference.name.as_str())
            }
            Self::Adopted(from) => NamespacedName::new(from.namespace.as_str(), from.name.as_str()),
        }
    }

    /// The Secret of another tool.
    pub fn adopted(&self) -> Option<&AdoptedFrom> {
        match self {
            Self::Adopted(from) => Some(from),
            Self::Kubeconfig { .. } => None,
        }
    }
}

/// As `status.source` has it: kind, namespace and name.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig { .. } => write!(f, "Kubeconfig/{}", self.secret()),
            Self::Adopted(from) => f.write_str(&adoption_mark(from)),
        }
    }
}
