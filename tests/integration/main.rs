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
mod binaries;
mod certificates;
mod chart;
mod consent;
mod control_plane;
mod deletion;
mod distribution;
mod drift;
mod examples;
mod faults;
mod fleet;
mod generated;
mod in_cluster;
mod leadership;
mod member;
mod member_rbac;
mod nginx;
mod orphans;
mod outages;
mod ownership;
mod schema;
mod secrecy;
mod startup;
mod status_writes;
mod sync;
mod tls;
