//! Claviger: a Kubernetes operator that puts a credential, declared once as a custom resource, into every namespace of
//! every cluster that should have it, and keeps it there.
//!
//! The flow, in one line: **triggers -> observe -> plan -> apply -> status**, in small level-triggered loops.
//!
//! | module | holds |
//! | --- | --- |
//! | [`api`] | the custom resources: types, CEL rules, printer columns; no logic |
//! | `domain` | the pure middle: values in, values out; no client, clock, IO or logging |
//! | `queue` | the work queue; nothing of Kubernetes |
//! | `cluster` | one live cluster: connection, cache, connectivity, writer |
//! | `provider` | registries, object storage and clouds: verification, tokens |
//! | `controller` | the shell: the router, the loops, members, the sweep |
//! | [`operator`] | starts and stops all of it in one process |
//! | `leader`, `supervisor` | which of several operators acts; the end of a task is noticed |
//! | `lock` | a lock that a panic does not poison |
//! | [`telemetry`], [`cli`] | logs, metrics, health; flags |

#![warn(missing_docs)]
// What decides over credentials must not stop halfway, and has nothing to say on stdout.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

pub mod api;
pub mod cli;
mod cluster;
mod controller;
mod domain;
#[cfg(test)]
mod fuzz;
mod leader;
mod lock;
pub mod operator;
mod provider;
mod queue;
mod supervisor;
pub mod telemetry;
