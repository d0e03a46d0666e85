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

/// Keeps registry, basic-auth and TLS credentials, declared once, in every namespace of every
/// cluster that should have them.
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
    /// Print, write or check what makes Argo CD understand the custom resources: health and a button
    ///
    /// To be merged into its ConfigMap: claviger argocd > patch.yaml, and then
    /// kubectl -n argocd patch configmap argocd-cm --patch-file patch.yaml
    #[command(name = "argocd")]
    ArgoCd(argocd::ArgoCdArgs),
    /// Print what a member cluster gives to the operator: service account, rights and token
    ///
    /// To be applied in the member: claviger member-rbac | kubectl --context MEMBER apply -f -
    /// The token that then stands in a Secret there becomes a kubeconfig, which the operator reads from a
    /// Secret in its own namespace; docs/members.md shows how.
    MemberRbac(member_rbac::MemberRbacArgs),
    /// Apply a credential, wait until it is ready, read its copy and take everything away again
    ///
    /// With the rights of whoever calls it, or of the Pod that it runs in; helm test does that. What an interrupted
    /// one leaves behind, the next one takes away.
    SelfTest(self_test::SelfTestArgs),
    /// Answer what the person on call asks; the same as kubectl claviger
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
