//! The list of kinds of credential. CRDs, watches, metrics and rights follow from it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, core::ApiResource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BasicAuthCredential, ObjectStorageCredential, RegistryCredential, TlsCredential, columns};

/// Hands the names of all kinds to a macro. A new kind is one line here.
macro_rules! for_all_kinds {
    ($then:ident) => {
        $then! {
            RegistryCredential,
            BasicAuthCredential,
            TlsCredential,
            ObjectStorageCredential,
        }
    };
}
pub(crate) use for_all_kinds;

macro_rules! define {
    ($($kind:ident),+ $(,)?) => {
        /// A kind of credential.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[allow(missing_docs)]
        pub enum CredentialKind {
            $($kind),+
        }

        impl CredentialKind {
            /// All kinds that this version serves.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The name of the kind, as in a manifest.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind)),+
                }
            }

            /// Where the API server serves it.
            #[must_use]
            pub fn resource(self) -> ApiResource {
                match self {
                    $(Self::$kind => ApiResource::erase::<$kind>(&())),+
                }
            }

            pub(super) fn crd(self) -> CustomResourceDefinition {
                match self {
                    $(Self::$kind => columns::with($kind::crd(), &[$kind::COLUMNS, columns::SHARED].concat())),+
                }
            }
        }
    };
}

for_all_kinds!(define);

impl CredentialKind {
    /// The kind of this name, when this version serves it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}
