//! What users, tenants and fate do, as values.

use super::{
    content::{BucketFormat, Format, Source},
    names::{Id, NamespaceName, Place},
    selector::{Labels, Selector},
};

#[derive(Clone, Debug)]
pub enum Operation {
    CreateNamespace {
        at: NamespaceName,
        labels: Labels,
    },
    DeleteNamespace {
        at: NamespaceName,
    },
    LabelNamespace {
        at: NamespaceName,
        key: &'static str,
        value: Option<&'static str>,
    },
    /// Makes or changes a source Secret.
    WriteSource {
        namespace: String,
        name: &'static str,
        source: Source,
    },
    DeleteSource {
        namespace: String,
        name: &'static str,
    },
    EditCopy {
        at: Place,
        edit: Edit,
    },
    DeleteCopy {
        at: Place,
    },
    /// Somebody else's Secret; with `usurp`, in the place of a copy that is deleted for it.
    CreateForeign {
        at: Place,
        variant: Variant,
        usurp: bool,
    },
    EditForeign {
        at: Place,
    },
    DeleteForeign {
        at: Place,
    },
    CreateUser {
        at: Place,
        uses: String,
        by: Reference,
    },
    /// A Pod comes to its end.
    FinishPod {
        at: Place,
        phase: &'static str,
    },
    DeleteUser {
        at: Place,
        by: Reference,
    },
    WritePolicy {
        name: String,
        policy: Policy,
    },
    DeletePolicy {
        name: String,
    },
    CreateCredential {
        id: Id,
        spec: Spec,
    },
    ChangeCredential {
        id: Id,
        spec: Spec,
    },
    DeleteCredential {
        id: Id,
    },
    /// The annotation by which a person says not to wait, on a credential that is being deleted.
    ForceDeletion {
        id: Id,
    },
    /// A hand takes our finalizer off.
    TakeFinalizer {
        id: Id,
    },
    /// A hand writes into the status.
    ForgeStatus {
        id: Id,
        ready: &'static str,
    },
    Fate(Fate),
}

/// What a hand does to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    ChangeValue,
    AddKey,
    RemoveKeys,
    /// Another number in the annotation of the revision.
    Revision(usize),
    DropLabels,
    DropAnnotations,
    DropAllMarks,
}

/// Kinds of Secrets that are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Plain,
    ManagedByHelm,
    /// A copy of another hub's credential, with all marks.
    OfAnotherHub,
}

/// How an object names a Secret: a Pod, in three ways, and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    ImagePullSecret,
    Volume,
    Environment,
    /// An Ingress, in `spec.tls`.
    Ingress,
    /// A Deployment without Pods.
    Deployment,
}

impl Reference {
    pub fn is_pod(self) -> bool {
        !matches!(self, Self::Ingress | Self::Deployment)
    }

    /// Whether an object that names a Secret like this holds it, as far as it is not finished.
    pub fn holds(self) -> bool {
        self != Self::Deployment
    }

    /// How the names of such objects begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Deployment => "deployment",
            Self::ImagePullSecret | Self::Volume | Self::Environment => "pod",
        }
    }
}

/// What happens to the operator and to the ways to the clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// SIGKILL, and a new process after a while.
    Kill {
        rest: u64,
        grace: &'static str,
    },
    /// SIGSTOP, and SIGCONT after a while.
    Stop {
        rest: u64,
    },
    /// All connections to the hub break.
    ResetHub,
    /// The hub answers nothing for a while.
    FreezeHub {
        rest: u64,
    },
    ResetMember,
    /// The member does not answer any more: it refuses connections, or says nothing.
    CutMember {
        silent: bool,
    },
    /// It answers again.
    RejoinMember,
    PauseMember {
        paused: bool,
    },
    LabelMember {
        value: &'static str,
    },
}

/// Consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub from: Selector,
    pub to: Selector,
    pub clusters: Option<Selector>,
    pub kinds: Vec<super::names::Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    Protect,
    Orphan,
    Force,
}

/// What is made of which source Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipe {
    Registry {
        server: &'static str,
        username: Option<&'static str>,
        source: &'static str,
    },
    /// One user from the first source, and another from the second where there is one.
    Users {
        format: Format,
        first: &'static str,
        second: Option<&'static str>,
    },
    Tls {
        source: &'static str,
    },
    Bucket {
        format: BucketFormat,
        source: &'static str,
    },
}

impl Recipe {
    /// The names of its source Secrets.
    pub fn sources(&self) -> (&'static str, Option<&'static str>) {
        match *self {
            Self::Registry { source, .. } | Self::Tls { source } | Self::Bucket { source, .. } => {
                (source, None)
            }
            Self::Users { first, second, .. } => (first, second),
        }
    }
}

/// Names of the users of a [`Recipe::Users`] with two sources.
pub const TWO_USERS: [&str; 2] = ["carol", "dave"];

/// A credential's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub recipe: Recipe,
    pub target: Target,
    pub deletion: DeletionPolicy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub secret_name: Option<String>,
    pub namespaces: Option<Selector>,
    pub clusters: Option<Selector>,
    pub labels: Labels,
}

impl Spec {
    /// What the copies are called.
    pub fn secret_name<'a>(&'a self, id: &'a Id) -> &'a str {
        self.target.secret_name.as_deref().unwrap_or(&id.name)
    }
}

/// An object exactly as it was when somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact {
    pub uid: String,
    pub version: String,
}

/// What became of an operation.
#[derive(Clone, Debug)]
pub enum Outcome {
    Done,
    /// It wrote a Secret.
    Wrote(Exact),
    /// Things were not as they had to be for it, and nothing was changed.
    Nothing,
}
