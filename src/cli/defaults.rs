//! Flags about defaults.

use clap::{ArgAction, Args};

/// Whether Secrets are attached to ServiceAccounts.
#[derive(Clone, Copy, Debug, Args)]
pub struct DefaultSettings {
    /// Attach Secrets to ServiceAccounts if `spec.default` of a credential is enabled; otherwise ServiceAccounts are
    /// never written
    #[arg(long, env = "CLAVIGER_DEFAULTS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = true)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub defaults: bool,
}
