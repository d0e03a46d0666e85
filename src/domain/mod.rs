//! The pure middle: every decision is a function from values to values.
//!
//! Nothing here knows a client, a clock, IO or logging; a test of the module graph keeps it so. What is observed
//! comes in as a [`snapshot`], what shall be done goes out as a [`plan`], and how that ended comes back as an
//! [`outcome`].

pub(crate) mod access;
pub(crate) mod account_counts;
pub(crate) mod account_failure;
pub(crate) mod account_plan;
pub(crate) mod account_state;
pub(crate) mod adoption;
pub(crate) mod attachment;
pub(crate) mod backoff;
pub(crate) mod bounded;
pub(crate) mod certificate;
pub(crate) mod checkup;
pub(crate) mod cluster_condition;
pub(crate) mod condition;
pub(crate) mod connectivity;
pub(crate) mod consent;
pub(crate) mod content;
pub(crate) mod credential;
pub(crate) mod declared;
pub(crate) mod default;
pub(crate) mod desired;
pub(crate) mod event;
pub(crate) mod eviction_limiter;
pub(crate) mod failure;
pub(crate) mod fingerprint;
pub(crate) mod foreign_text;
pub(crate) mod grants;
pub(crate) mod hashes;
pub(crate) mod htpasswd;
pub(crate) mod identity;
pub(crate) mod labels;
pub(crate) mod manifest;
pub(crate) mod marks;
pub(crate) mod member;
pub(crate) mod meta;
pub(crate) mod namespace;
pub(crate) mod outcome;
pub(crate) mod ownership;
pub(crate) mod plan;
pub(crate) mod pod_secrets;
pub(crate) mod pod_status;
pub(crate) mod pull;
pub(crate) mod quotation;
pub(crate) mod read_back;
pub(crate) mod reason;
pub(crate) mod reference_fields;
pub(crate) mod reference_kind;
pub(crate) mod references;
pub(crate) mod registry;
pub(crate) mod removal;
pub(crate) mod render;
pub(crate) mod rendered;
pub(crate) mod repair_limiter;
pub(crate) mod repair_pace;
pub(crate) mod review;
pub(crate) mod revision;
pub(crate) mod schedule;
pub(crate) mod selection;
pub(crate) mod sensitive;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod stuck;
pub(crate) mod stuck_plan;
pub(crate) mod sweep_plan;
pub(crate) mod sync_state;
pub(crate) mod targets;
pub(crate) mod token;
pub(crate) mod validity;
pub(crate) mod verification;
pub(crate) mod withdrawal;
pub(crate) mod workload;

pub(crate) use sensitive::SecretBytes;
