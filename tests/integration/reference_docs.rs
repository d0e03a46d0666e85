//! `docs/reference/` is generated: from the types, the flags and the values of the chart. After a change:
//! `CLAVIGER_WRITE_TESTDATA=1 cargo test --test integration reference_docs::`.

mod chart_values;
mod flags;
mod kinds;
pub mod metrics;

use std::{fs, path::PathBuf};

use crate::support::{Result, error::Context};

/// Compares a page with what it is generated from, or writes it.
fn assert_generated(name: &str, page: &str) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if crate::checks::writes_testdata() {
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, page)?;
    }
    let found = fs::read_to_string(&path).context(path.display())?;
    assert!(
        found == page,
        "{} is out of date: see the first lines of tests/integration/reference_docs.rs",
        path.display()
    );
    Ok(())
}

/// Text in a cell of a table: a line, in which no `|` ends the cell and no `<` begins a tag.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // What is in backticks is taken as it is.
    let parts = line.split('`').enumerate().map(|(n, part)| match n % 2 {
        0 => part.replace('<', "&lt;"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

#[test]
fn a_cell_is_one_line_without_tags() {
    assert_eq!(cell("a\n  b | `<c>` <d>"), "a b \\| `<c>` &lt;d>");
}
