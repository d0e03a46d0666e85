//! `kubectl claviger`: for the person on call. Every command works with the rights of the person who calls it.

mod completion;
mod connect;
mod credentials;
mod doctor;
mod error;
mod explain_pull;
mod import;
mod import_reader;
mod manifests;
mod news;
mod output;
mod references;
mod render;
mod set_default;
mod status;
mod sync;
mod users;
mod verify;

use std::{ffi::OsStr, path::Path, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::{
    completion::NAME,
    connect::{Cluster, ConnectionArgs},
    news::{News, tell},
    output::OutputArgs,
};
pub use self::{
    error::PluginError,
    explain_pull::{Lookup, lookup},
    verify::manifest_errors,
};

/// The name under which kubectl asks for completions.
const COMPLETE: &str = "kubectl_complete-claviger";
/// The exit code of a command that did what it should and has bad news.
const BAD_NEWS: u8 = 3;

/// Inspects and operates Claviger's credentials.
#[derive(Clone, Debug, Parser)]
#[command(
    name = NAME,
    bin_name = "kubectl claviger",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 no problem, 1 an error, 2 wrong usage, 3 a problem was found, \
                  4 a permission is missing, 5 no such object, 6 no answer from the API server or the operator"
)]
pub struct Plugin {
    #[command(flatten)]
    args: PluginArgs,
}

/// The command line of the plugin.
#[derive(Clone, Debug, Args)]
pub struct PluginArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show for each image of a Pod which pull Secrets kubelet tries, and why others do not match
    ExplainPull(explain_pull::ExplainPullArgs),
    /// Show credentials, their clusters and the namespaces that fail, with reason and time
    Status(status::StatusArgs),
    /// List the objects that use the Secrets of a credential
    References(references::ReferencesArgs),
    /// Ask the operator to bring all copies of a credential in line now
    Sync(sync::SyncArgs),
    /// Ask the operator to read the source and test the login now, and show the result
    Rotate(sync::RotateArgs),
    /// Make a credential the default for Pods that name no pull Secret themselves
    SetDefault(set_default::SetDefaultArgs),
    /// Check whether the operator runs, sees the clusters and has the same version everywhere
    Doctor(doctor::DoctorArgs),
    /// Check manifests without a cluster: schema, rules, keys, and which images they are for
    Verify(verify::VerifyArgs),
    /// Print the Secrets that the credentials in manifests would produce, without their values
    Render(render::RenderArgs),
    /// Print manifests of credentials that take over existing Secrets of the cluster in place
    Import(import_reader::ImportArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
}

/// Whether the program was called as the plugin: then its command line is read here.
#[must_use]
pub fn called(program: Option<&OsStr>) -> Option<ExitCode> {
    let name = Path::new(program?).file_name()?.to_str()?;
    match name.trim_end_matches(".exe") {
        NAME => Some(run(&Plugin::parse().args)),
        COMPLETE => Some(completion::answer(&Plugin::command())),
        _ => None,
    }
}

/// Carries out a command of the plugin.
#[must_use]
pub fn run(args: &PluginArgs) -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(PluginError::from)
        .and_then(|runtime| runtime.block_on(carry_out(args)));
    match done {
        Ok(News::Good) => ExitCode::SUCCESS,
        Ok(News::Bad) => ExitCode::from(BAD_NEWS),
        Err(error) => {
            tell(&format!("error: {error} ({})", error.reason()));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn carry_out(args: &PluginArgs) -> Result<News, PluginError> {
    let connect = || Cluster::connect(&args.connection);
    match &args.command {
        Command::ExplainPull(command) => explain_pull::run(command, &connect().await?, args.output).await,
        Command::Status(command) => status::run(command, &connect().await?, args.output).await,
        Command::References(command) => {
            references::run(command, &args.connection, &connect().await?, args.output).await
        }
        Command::Sync(command) => sync::sync(command, &connect().await?, args.output).await,
        Command::Rotate(command) => sync::rotate(command, &connect().await?, args.output).await,
        Command::SetDefault(command) => set_default::run(command, &connect().await?, args.output).await,
        Command::Doctor(command) => doctor::run(command, &connect().await?, args.output).await,
        Command::Import(command) => {
            import::run(command, args.connection.namespace(), &connect().await?, args.output).await
        }
        // These two need no cluster.
        Command::Verify(command) => verify::run(command, args.connection.offline_namespace(), args.output),
        Command::Render(command) => render::run(command, args.connection.offline_namespace(), args.output),
        Command::Completion(command) => completion::run(*command, Plugin::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Plugin::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_help_text() {
        let command = Plugin::command();
        for subcommand in command.get_subcommands().chain([&command]) {
            for flag in subcommand.get_arguments() {
                assert!(flag.get_help().is_some(), "{} {}", subcommand.get_name(), flag.get_id());
            }
        }
    }

    #[test]
    fn only_under_its_own_name_it_is_the_plugin() {
        assert!(called(None).is_none());
        assert!(called(Some(OsStr::new("/usr/bin/claviger"))).is_none());
    }
}
