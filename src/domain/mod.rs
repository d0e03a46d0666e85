//! The pure middle: every decision is a function from values to values.
//!
//! Nothing here knows a client, a clock, IO or logging; `tests/integration/architecture.rs` keeps it so.
//! What is observed comes in as [`view`] values, what shall be done goes out as a [`plan::Plan`].

pub mod access;
pub mod adoption;
pub mod certificate;
pub mod consent;
pub mod content;
pub mod contest;
pub mod credential;
pub mod deletion;
pub mod event;
pub mod fingerprint;
pub mod htpasswd;
pub mod labels;
pub mod member;
pub mod ownership;
pub mod plan;
pub mod references;
pub mod render;
pub mod retry;
pub mod revision;
pub mod selection;
pub mod sensitive;
pub mod status;
pub mod trouble;
pub mod validity;
pub mod view;

pub use content::{Content, Inputs, SourceError, SourceSecret, Sources};
pub use credential::{Credential, CredentialId};
pub use sensitive::SecretBytes;
