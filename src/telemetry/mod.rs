//! What the operator tells about itself: logs, metrics, health.

mod credentials;
pub mod freshness;
pub mod health;
pub mod logs;
pub mod metrics;
mod process;
pub mod requests;
pub mod server;
mod tracked;

pub(crate) use freshness::Watch;
pub use freshness::{Beat, Freshness};
pub use health::Health;
pub use logs::LogFormat;
pub use metrics::{Metrics, Outcome, WriteOperation, WriteResult};
pub use requests::{RequestReport, is_watch};
