//! What the operator tells about itself: logs, metrics, health.

mod authentication;
mod credentials;
mod exposition;
pub mod freshness;
pub mod health;
pub mod logs;
pub mod metrics;
mod newest;
mod process;
pub mod requests;
mod server;
mod tracked;

pub(crate) use authentication::Authenticator;
pub(crate) use freshness::Watch;
pub use freshness::{Beat, Freshness};
pub use health::Health;
pub use logs::LogFormat;
pub use metrics::{AccountOperation, Metrics, Outcome, WriteOperation, WriteResult};
pub use requests::{RequestReport, is_watch};
pub(crate) use server::Server;
