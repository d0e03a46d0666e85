//! The Helm chart, as people install it: with the real Helm, on a real API server, and the operator under the
//! rights that the chart gives it.

mod accepted;
mod alerts;
mod attached;
mod breakout;
mod cluster_api;
mod consent;
mod dashboards;
mod default_admission;
pub mod documented;
mod examples;
mod fence;
mod fence_accounts;
mod guard;
mod guard_kinds;
pub mod helm;
mod life;
mod member;
mod objects;
mod pods;
mod rbac;
pub mod release;
mod render;
mod roles;
mod self_test;
mod upgrade;
mod values;
