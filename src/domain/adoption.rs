//! Clusters that other tools know, taken over as members.

/// Whose clusters become members by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopt {
    /// The namespace of Argo CD.
    pub argocd: Option<String>,
    /// Where the clusters of Cluster API are.
    pub cluster_api: Option<Scope>,
}

/// Which namespaces are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// This one.
    Namespace(String),
}

impl Scope {
    /// Reads a flag: a name, or `*`; nothing when it is empty.
    #[must_use]
    pub fn of(flag: &str) -> Option<Self> {
        match flag {
            "" => None,
            "*" => Some(Self::All),
            name => Some(Self::Namespace(name.to_owned())),
        }
    }

    /// Whether a namespace is looked at.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => name == namespace,
        }
    }
}
