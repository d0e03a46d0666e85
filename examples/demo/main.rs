//! Claviger at its main job, live in a terminal: `cargo run --example demo`, or with `-- --keep` to go on with kubectl.
//!
//! Nothing here is simulated: a real API server, the real operator as a process, and times that are those of the
//! server's own watch events. A step that fails ends the demo with exit code 1.

#[path = "../../tests/support/mod.rs"]
mod support;

mod kubectl;
mod member;
mod programme;
mod protection;
mod screen;
mod sight;
mod spread;
mod stage;
mod upkeep;
mod verification;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;

use crate::{programme::Programme, screen::Screen, stage::Stage, support::Result};

/// Shows Claviger at work on a real control plane, on this machine
#[derive(Parser)]
#[command(name = "demo")]
struct Options {
    /// Keep everything running at the end, for you and kubectl, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// Number of namespaces that get the company's registry credentials
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = clap::value_parser!(u16).range(5..=2000))]
    namespaces: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let screen = Arc::new(Screen::of_stdout());
    let code = tokio::select! {
        code = show(&options, screen.clone()) => code,
        signal = interrupted() => {
            screen.line("");
            screen.line("Stopped; nothing is left behind.");
            128 + signal
        }
    };
    // Not by returning: that would wait for a build that may still run. What was started ends with us.
    std::process::exit(code.into())
}

async fn show(options: &Options, screen: Arc<Screen>) -> u8 {
    let mut programme = Programme::new(screen.clone());
    let mut stage = None;
    let played = play(&mut programme, &mut stage, options).await;
    if let Err(error) = played {
        screen.failed(&error.to_string());
        if let Some(stage) = &stage {
            screen.line("");
            screen.line("    The last lines of the operator's log:");
            let log = stage.operator.logs();
            let lines: Vec<_> = log.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(10)) {
                screen.line(&format!("    {line}"));
            }
        }
        return 1;
    }
    programme.summary();
    if options.keep
        && let Some(stage) = &stage
    {
        protection::leave_running(&screen, stage).await;
    }
    0
}

async fn play(programme: &mut Programme, stage: &mut Option<Stage>, options: &Options) -> Result<()> {
    programme.screen.title(
        "Claviger",
        "You declare a credential once, and Claviger keeps the right Secret in every namespace that should have it. \
         This demo uses a real API server on this machine. A time is measured from the request to the watch event \
         that shows its last effect.",
    );
    let stage = stage.insert(Stage::raise(programme).await?);
    let mut namespaces = spread::namespaces(programme, stage, options.namespaces.into()).await?;
    spread::examples(programme, stage, &namespaces).await?;
    spread::table(programme, stage).await?;
    spread::late_comer(programme, stage, &mut namespaces).await?;
    upkeep::rotation(programme, stage, &namespaces).await?;
    verification::wrong_password(programme, stage, &namespaces).await?;
    upkeep::drift(programme, stage, &namespaces).await?;
    upkeep::foreign_secret(programme, stage, &mut namespaces).await?;
    upkeep::no_consent(programme, stage).await?;
    member::second_cluster(programme, stage, namespaces.len()).await?;
    member::cut_off(programme, stage, &namespaces).await?;
    member::back(programme, stage).await?;
    protection::deletion(programme, stage, &namespaces).await?;
    protection::events(programme, stage).await
}

/// Waits for a signal that ends a program, and returns its number.
async fn interrupted() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => 2,
        () = wait(SignalKind::terminate()) => 15,
        () = wait(SignalKind::hangup()) => 1,
    }
}
