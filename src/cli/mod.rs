//! The command line. Every flag can be set by an environment variable too.

pub mod crds;
mod duration;
mod run;
mod settings;
mod words;

use clap::{Parser, Subcommand};

pub use run::RunArgs;
pub use settings::{LeaderElection, Settings, SettingsError};

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
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_has_a_variable_and_a_help_text() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for flag in run.get_arguments().filter(|a| a.get_id() != "help") {
            let id = flag.get_id();
            assert!(flag.get_help().is_some(), "{id} has no help");
            assert!(flag.get_env().is_some(), "{id} has no variable");
        }
    }
}
