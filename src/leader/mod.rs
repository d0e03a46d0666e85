//! Which of several operators acts: leader election by a `coordination.k8s.io/v1` Lease, with the
//! rules of client-go.

mod decision;
mod elector;
mod error;
mod leadership;
#[cfg(test)]
mod tests;
mod timing;

pub use elector::Elector;
pub use error::Error;
pub use leadership::Leadership;
pub use timing::Timing;
