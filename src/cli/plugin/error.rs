//! Why a command of the plugin has no answer, and the exit code that says so.

use std::{borrow::Cow, time::Duration};

use thiserror::Error;

use crate::{cli::yaml::ManifestError, cluster::describe, domain::foreign_text::foreign_text};

/// How much of what others say an error passes on, in characters.
const LONGEST: usize = 600;

/// A right that a request needs.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    pub verb: &'static str,
    pub resource: Cow<'static, str>,
    pub namespace: Option<String>,
}

impl Right {
    pub fn new(
        verb: &'static str,
        resource: impl Into<Cow<'static, str>>,
        namespace: impl Into<Option<String>>,
    ) -> Self {
        Self { verb, resource: resource.into(), namespace: namespace.into() }
    }

    fn place(&self) -> String {
        let own = |namespace| format!("in namespace '{namespace}'");
        self.namespace.as_ref().map_or_else(|| "in the whole cluster".to_owned(), own)
    }
}

/// Why a command of the plugin has no answer.
#[derive(Debug, Error)]
pub enum PluginError {
    /// The kubeconfig cannot be read, or does not have what was asked for.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// A right is missing.
    #[error("you may not {verb} {resource} {place}: {message}")]
    Forbidden {
        /// The verb of the right.
        verb: &'static str,
        /// The resource of the right.
        resource: Cow<'static, str>,
        /// Where it is needed.
        place: String,
        /// What the API server says.
        message: String,
    },
    /// The API server does not know who asks.
    #[error("the API server does not accept the credentials of the kubeconfig: {0}")]
    Unauthorized(String),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// No answer came in time.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
    /// The operator has not done it yet.
    #[error("the operator did not do it within {0:?}; `kubectl claviger doctor` checks whether it runs")]
    NotHandled(Duration),
    /// There is no connection.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// It answered something else.
    #[error("the API server refuses the request: {0}")]
    Refused(String),
    /// The command line asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
    /// A manifest cannot be read.
    #[error("{0}")]
    Manifest(String),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] ManifestError),
    /// The system gives no threads or files.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl PluginError {
    /// A stable word for it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Kubeconfig(_) => "InvalidKubeconfig",
            Self::Forbidden { .. } => "Forbidden",
            Self::Unauthorized(_) => "Unauthorized",
            Self::NotFound(_) => "NotFound",
            Self::Timeout(_) => "Timeout",
            Self::NotHandled(_) => "NotHandled",
            Self::Unreachable(_) => "Unreachable",
            Self::Refused(_) => "Refused",
            Self::Usage(_) => "InvalidUsage",
            Self::Manifest(_) => "InvalidManifest",
            Self::Output(_) => "OutputFailed",
            Self::System(_) => "SystemError",
        }
    }

    /// The exit code, as `docs/kubectl-claviger.md` has it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Forbidden { .. } | Self::Unauthorized(_) => 4,
            Self::NotFound(_) => 5,
            Self::Timeout(_) | Self::NotHandled(_) | Self::Unreachable(_) => 6,
            _ => 1,
        }
    }

    pub(super) fn of(error: &kube::Error, right: &Right) -> Self {
        let kube::Error::Api(status) = error else {
            let text = describe(error);
            return match error {
                kube::Error::SerdeError(_) => Self::Refused(text),
                kube::Error::Auth(_) => Self::Unauthorized(text),
                _ => Self::Unreachable(text),
            };
        };
        let message = foreign_text(&status.message, LONGEST);
        match status.code {
            401 => Self::Unauthorized(message),
            403 => {
                let resource = right.resource.clone();
                Self::Forbidden { verb: right.verb, resource, place: right.place(), message }
            }
            404 => Self::NotFound(message),
            _ => Self::Refused(format!("{message} ({} {})", status.code, foreign_text(&status.reason, 64))),
        }
    }

    /// Whether a right is what is missing.
    pub(super) const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}
