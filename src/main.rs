//! The `claviger` binary: reads the command line and hands over to the library.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use claviger::cli::{Cli, Command, RunArgs, Settings, argocd, crds, member_rbac, plugin, self_test};
use claviger::{api, operator, telemetry};

fn main() -> ExitCode {
    // First of all: rustls cannot choose by itself when a dependency brings a second provider.
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The same program is a plugin of kubectl under another name.
    if let Some(code) = plugin::called(std::env::args_os().next().as_deref()) {
        return code;
    }
    let done = match Cli::parse().command {
        Command::Run(args) => run(*args),
        Command::Crds(args) => crds::run(&args, &api::crds()).map_err(Into::into),
        Command::ArgoCd(args) => argocd::run(&args).map_err(Into::into),
        Command::MemberRbac(args) => member_rbac::run(&args).map_err(Into::into),
        Command::SelfTest(args) => self_test::run(&args).map_err(Into::into),
        Command::Kubectl(args) => return plugin::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("claviger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: RunArgs) -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::try_from(args)
        .unwrap_or_else(|e| Cli::command().error(ErrorKind::ValueValidation, e).exit());
    telemetry::logs::init(settings.log_format, &settings.log_filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.worker_threads)
        .enable_all()
        .build()?;
    runtime.block_on(operator::run(settings))?;
    Ok(())
}
