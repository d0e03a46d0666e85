//! Everything that needs a real API server, in one binary: each binary more would link kube once more.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod lab;
mod looks;
mod scenario;

mod architecture;
mod bad_input;
mod basic_auth;
mod certificates;
mod chart;
mod consent;
mod control_plane;
mod deletion;
mod distribution;
mod examples;
mod faults;
mod fleet;
mod generated;
mod member;
mod member_rbac;
mod nginx;
mod outages;
mod ownership;
mod schema;
mod secrecy;
mod startup;
mod storm;
mod sync;
mod tls;
