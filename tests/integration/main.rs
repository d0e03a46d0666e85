//! Everything that needs a real API server, in one binary: each binary more would link kube once more.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod lab;
mod looks;
mod scenario;

mod architecture;
mod bad_input;
mod consent;
mod control_plane;
mod deletion;
mod distribution;
mod faults;
mod outages;
mod ownership;
mod secrecy;
mod startup;
mod sync;
