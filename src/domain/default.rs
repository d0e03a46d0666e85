//! Defaults: which credential may be attached to the ServiceAccounts of a namespace, and which of several is.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    attachment::AccountNames, identity::CredentialId, namespace::Namespace, targets::ClusterTargets,
};

/// That a credential is to be a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefaultWish {
    pub accounts: AccountNames,
    pub priority: i32,
    /// The registries that it is for, by their keys in `auths`.
    pub keys: BTreeSet<Arc<str>>,
    /// Whether Pods that were created too early are evicted.
    pub restart_stuck_pods: bool,
}

/// A default for one of the same registries, in one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Rival {
    pub id: CredentialId,
    pub wish: Arc<DefaultWish>,
    pub targets: Arc<ClusterTargets>,
    /// Whether it ever had a content. One that never had has no Secret to pull with, and takes nobody's place.
    pub has_content: bool,
}

/// How a default stands beside its rivals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the one.
    First,
    /// Another one has a higher priority.
    Outranked,
    /// Another one has the same.
    Tied(CredentialId),
    /// It is not known yet which others there are.
    Unknown,
}

/// How a default stands for one ServiceAccount. `rivals` is `None` while they are not known. Only what may be attached there
/// counts: nobody takes another's place where they have no consent.
pub(crate) fn standing(
    wish: &DefaultWish,
    account: &str,
    rivals: Option<&[Rival]>,
    namespace: (&str, &Namespace),
) -> Standing {
    let Some(rivals) = rivals else { return Standing::Unknown };
    let (name, seen) = namespace;
    let mut standing = Standing::First;
    for rival in rivals {
        let matters = rival.wish.priority >= wish.priority && rival.wish.accounts.contains(account);
        if !matters || !rival.targets.permits_default(name, seen) {
            continue;
        }
        if rival.wish.priority > wish.priority {
            if rival.has_content {
                return Standing::Outranked;
            }
            continue;
        }
        if standing == Standing::First {
            standing = Standing::Tied(rival.id.clone());
        }
    }
    standing
}
