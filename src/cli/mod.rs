//! The command line. Every flag can be set by an environment variable too.

pub mod argocd;
pub mod crds;
mod defaults;
mod duration;
mod files;
pub mod member_rbac;
pub mod plugin;
mod references;
pub mod self_test;
mod settings;
mod verification;
mod words;
mod yaml;

use clap::{Parser, Subcommand};

pub use crate::domain::reference_kind::{Family, Kinds};
pub use settings::{LeaderElection, RunArgs, Settings, SettingsError};
pub use yaml::ManifestError;

/// Keeps credentials that are declared once (registry, basic-auth, TLS, object storage) in every
/// namespace of every cluster that should have them.
#[derive(Clone, Debug, Parser)]
#[command(name = "claviger", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the operator
    Run(Box<RunArgs>),
    /// Print, write or check the custom resource definitions
    Crds(crds::CrdsArgs),
    /// Print, write or check the Argo CD configuration for the custom resources: health checks and a sync action
    ///
    /// Merge it into the ConfigMap of Argo CD: claviger argocd > patch.yaml, and then
    /// kubectl -n argocd patch configmap argocd-cm --patch-file patch.yaml
    #[command(name = "argocd")]
    ArgoCd(argocd::ArgoCdArgs),
    /// Print the service account, permissions and token that the operator needs in a member cluster
    ///
    /// Apply them in the member: claviger member-rbac | kubectl --context MEMBER apply -f -
    ///
    /// Then make a kubeconfig from the token in the Secret there, and put it into a Secret in the operator's
    /// namespace; <https://github.com/claviger/claviger/blob/main/docs/members.md> shows how.
    MemberRbac(member_rbac::MemberRbacArgs),
    /// Apply a credential, wait until it is ready, read its copy and delete everything again
    ///
    /// Uses the permissions of the caller, or of its Pod, as in helm test. Objects that an interrupted test leaves
    /// behind are deleted by the next one.
    SelfTest(self_test::SelfTestArgs),
    /// Inspect and operate credentials; the same as kubectl claviger
    Kubectl(Box<plugin::PluginArgs>),
}

#[cfg(test)]
#[path = "../fuzz/flags.rs"]
mod fuzz;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_and_a_help_text() {
        let command = Cli::command();
        for name in ["run", "crds", "argocd", "member-rbac", "self-test"] {
            let subcommand = command.find_subcommand(name).unwrap();
            for flag in subcommand.get_arguments().filter(|a| a.get_id() != "help") {
                let id = flag.get_id();
                assert!(flag.get_help().is_some(), "{id} has no help");
                assert!(flag.get_env().is_some(), "{id} has no variable");
            }
        }
    }
}
