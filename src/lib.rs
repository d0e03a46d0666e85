//! Claviger, "keeper of the keys": a Kubernetes operator that puts a credential, declared once as
//! a custom resource, into every namespace of every cluster that should have it, and keeps it there.
//!
//! The flow, in one line: **triggers -> observe -> plan -> apply -> status**.
//!
//! | module | holds |
//! | --- | --- |
//! | [`api`] | the custom resources: types, CEL rules, printer columns; no logic |
//! | [`domain`] | the pure middle: values in, values out; no client, clock, IO or logging |
//! | [`provider`] | what is known of each registry: its key, its user name, its format rules |
//! | [`cluster`] | one live cluster: client, caches, carrying out a plan |
//! | [`controller`] | the shell: wires triggers to the middle and the plan to clusters |
//! | [`operator`] | starts and stops all of it in one process |
//! | [`leader`] | who of several operators acts |
//! | [`telemetry`], [`cli`] | logs, metrics, health; flags |

#![warn(missing_docs)]
// What decides over credentials must not stop halfway, and has nothing to say on stdout.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod domain;
pub mod leader;
pub mod operator;
pub mod provider;
pub mod telemetry;
