//! Everything that needs a real API server, in one binary: each binary more would link kube once more.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod canary;
mod checks;
mod lab;
mod reached;
mod scenario;
mod scraper;

mod admission;
mod architecture;
mod bad_input;
mod basic_auth;
mod binaries;
mod chart;
mod consent;
mod control_plane;
mod defaults;
mod deletion;
mod demo;
mod distribution;
mod drift;
mod examples;
mod faults;
mod fleet;
mod foreign_status;
mod generated;
mod gitops;
mod hashing;
mod hostile_member;
mod hostile_tenant;
mod in_cluster;
mod last_good;
mod leadership;
mod member;
mod member_rbac;
mod metrics;
mod nginx;
mod orphans;
mod outages;
mod ownership;
mod plugin;
mod references;
mod registry;
mod schema;
mod secrecy;
mod secret_type;
mod self_test;
mod startup;
mod status_writes;
mod storm;
mod sweep;
mod sync;
mod takeover;
mod targets;
mod tls;
mod tokens;
mod turns;
mod uninstall;
mod unreadable;
mod verification;
mod watches;
mod withdrawal;
