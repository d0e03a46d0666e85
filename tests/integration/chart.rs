//! The Helm chart, as people install it: with the real Helm, on a real API server, and the operator under the
//! rights that the chart gives it.

mod attached;
mod breakout;
mod cluster_api;
mod consent;
mod default_admission;
mod examples;
mod fence;
mod fence_accounts;
mod guard;
mod guard_kinds;
mod helm;
mod life;
mod member;
mod rbac;
mod release;
mod render;
mod roles;
mod upgrade;
mod values;
