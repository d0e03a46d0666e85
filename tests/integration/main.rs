//! Everything that needs a real API server, in one binary: each binary more would link kube once more.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod canary;
mod lab;
mod looks;
mod reached;
mod scenario;

mod admission;
mod architecture;
mod bad_input;
mod basic_auth;
mod binaries;
mod chart;
mod consent;
mod control_plane;
mod deletion;
mod distribution;
mod drift;
mod examples;
mod faults;
mod fleet;
mod foreign_status;
mod generated;
mod in_cluster;
mod leadership;
mod last_good;
mod member;
mod member_rbac;
mod nginx;
mod orphans;
mod outages;
mod ownership;
mod references;
mod schema;
mod secrecy;
mod startup;
mod status_writes;
mod sweep;
mod storm;
mod sync;
mod takeover;
mod targets;
mod tls;
mod turns;
mod uninstall;
mod unreadable;
mod withdrawal;
mod watches;
