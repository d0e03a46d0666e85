//! What is to be measured, and how large.

use crate::support::{Error, Result};

const USAGE: &str = "usage: cargo bench --bench scale -- [--long] [--only PART[,PART]] [--rounds R] \
    [--namespaces N[,N]] [--members N] [--credentials N]
PART: fan-out, events, members, copies, memory, references, hostile, logins, isolation";

/// A part of the measurements, with a control plane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Fan-out and rotation of one credential, and what an operator at rest uses.
    FanOut,
    /// A change of one namespace.
    Events,
    /// A change in one of many members.
    Members,
    /// Copies in many members.
    Copies,
    /// Memory per copy.
    Memory,
    /// Who uses the copies, in three clusters.
    References,
    /// Tenants, members and scrapers that mean harm.
    Hostile,
    /// Logins that are tried at registries.
    Logins,
    /// Many members at rest, and what one in trouble costs the others.
    Isolation,
}

impl Part {
    pub const ALL: [Self; 9] = [
        Self::FanOut,
        Self::Events,
        Self::Members,
        Self::Copies,
        Self::Memory,
        Self::References,
        Self::Hostile,
        Self::Logins,
        Self::Isolation,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::FanOut => "fan-out",
            Self::Events => "events",
            Self::Members => "members",
            Self::Copies => "copies",
            Self::Memory => "memory",
            Self::References => "references",
            Self::Hostile => "hostile",
            Self::Logins => "logins",
            Self::Isolation => "isolation",
        }
    }
}

/// The command line. What is not given has a default in each part.
#[derive(Default)]
pub struct Options {
    /// The sizes and repetitions that the budgets are about, instead of some minutes of work.
    pub long: bool,
    only: Vec<Part>,
    pub rounds: Option<usize>,
    pub namespaces: Option<Vec<usize>>,
    pub members: Option<usize>,
    pub credentials: Option<usize>,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| usage(&argument));
            match argument.as_str() {
                // Cargo gives it to every benchmark.
                "--bench" => {}
                "--long" => options.long = true,
                "--only" => options.only = value()?.split(',').map(part).collect::<Result<_>>()?,
                "--rounds" => options.rounds = Some(number(&value()?)?),
                "--namespaces" => {
                    options.namespaces = Some(value()?.split(',').map(number).collect::<Result<_>>()?);
                }
                "--members" => options.members = Some(number(&value()?)?),
                "--credentials" => options.credentials = Some(number(&value()?)?),
                unknown => return Err(usage(unknown)),
            }
        }
        Ok(options)
    }

    /// Whether a part is asked for; all are unless some are named, the longest only in a long run.
    pub fn includes(&self, part: Part) -> bool {
        if self.only.is_empty() { self.long || part != Part::Isolation } else { self.only.contains(&part) }
    }

    /// Whether the whole table is asked for.
    pub fn is_whole(&self) -> bool {
        self.only.is_empty()
    }

    /// One of two defaults.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// The first of `--namespaces`, or one of two defaults.
    pub fn namespaces(&self, short: usize, long: usize) -> usize {
        let given = self.namespaces.as_ref().and_then(|all| all.first().copied());
        given.unwrap_or_else(|| self.pick(short, long))
    }
}

fn part(name: &str) -> Result<Part> {
    Part::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| usage(name))
}

fn number(text: &str) -> Result<usize> {
    text.replace('_', "").parse().ok().filter(|number| *number > 0).ok_or_else(|| usage(text))
}

fn usage(culprit: &str) -> Error {
    Error::new(format!("{culprit:?}?\n{USAGE}"))
}
