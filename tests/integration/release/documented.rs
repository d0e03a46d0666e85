//! What docs/install.md tells people to type and to look for, so that it is what the tests do.

use std::fs;

use super::hack::repository;
use crate::support::{Error, Result, error::Context};

fn text() -> Result<String> {
    let path = repository().join("docs/install.md");
    fs::read_to_string(&path).context(path.display())
}

/// The blocks of a language in a section.
pub fn blocks(heading: &str, language: &str) -> Result<Vec<String>> {
    let text = text()?;
    let (_, section) = text
        .split_once(&format!("\n## {heading}\n"))
        .ok_or_else(|| Error::new(format!("docs/install.md has no section '{heading}'")))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let fence = format!("```{language}\n");
    let blocks = section.split(&fence).skip(1);
    Ok(blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect())
}

/// The one block of a language in a section.
pub fn block(heading: &str, language: &str) -> Result<String> {
    match <[String; 1]>::try_from(blocks(heading, language)?) {
        Ok([block]) => Ok(block),
        Err(found) => Err(Error::new(format!("one block is expected in '{heading}': {found:#?}"))),
    }
}

/// What the table of refusals has people look for.
pub fn refusal(part: &str) -> Result<String> {
    let text = text()?;
    let row = text.lines().find(|line| line.starts_with("| `") && line.contains(part));
    let said = row.and_then(|row| row.split('`').nth(1)).map(str::to_owned);
    said.ok_or_else(|| Error::new(format!("docs/install.md does not tell of '{part}'")))
}
