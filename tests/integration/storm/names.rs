//! What things are called.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cluster {
    Hub,
    Member,
}

impl Cluster {
    pub const ALL: [Self; 2] = [Self::Hub, Self::Member];

    /// As selectors name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "local",
            Self::Member => "east",
        }
    }
}

/// A namespace of a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamespaceName {
    pub cluster: Cluster,
    pub name: String,
}

/// Where a Secret stands, or could.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub namespace: NamespaceName,
    pub name: String,
}

impl Place {
    pub fn new(cluster: Cluster, namespace: &str, name: &str) -> Self {
        Self { namespace: NamespaceName { cluster, name: namespace.to_owned() }, name: name.to_owned() }
    }

    pub fn cluster(&self) -> Cluster {
        self.namespace.cluster
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Registry,
    BasicAuth,
    Tls,
    ObjectStorage,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Registry, Self::BasicAuth, Self::Tls, Self::ObjectStorage];

    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "RegistryCredential",
            Self::BasicAuth => "BasicAuthCredential",
            Self::Tls => "TlsCredential",
            Self::ObjectStorage => "ObjectStorageCredential",
        }
    }
}

/// A credential.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl Id {
    /// Reads what stands in the annotation `claviger.dev/source`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let kind = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        let (namespace, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        parts.next().is_none().then_some(Self { kind, namespace, name })
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cluster.name(), self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// Names are read by people, in the journal too.
macro_rules! debug_as_display {
    ($($type:ty),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

debug_as_display!(NamespaceName, Place, Id);
