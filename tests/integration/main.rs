//! Everything that needs a real API server, in one binary: each binary more would link kube once more.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod scenario;

mod architecture;
mod chart;
mod control_plane;
mod distribution;
mod generated;
mod schema;
