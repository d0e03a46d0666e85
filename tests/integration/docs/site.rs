//! The site is built from the pages, and each link of it leads somewhere.

use std::{fs, path::Path, process::Command};

use super::page::folder;
use crate::support::{Error, Result, error::Context, python::python};

#[tokio::test]
async fn the_site_is_built_and_no_link_is_broken() -> Result<()> {
    let site = tempfile::tempdir()?;
    let python = tokio::task::spawn_blocking(|| python("docs")).await??;
    let mut mkdocs = Command::new(python);
    mkdocs
        .args(["-I", "-m", "mkdocs", "build", "--strict", "--site-dir"])
        .arg(site.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = tokio::task::spawn_blocking(move || mkdocs.output()).await?.context("mkdocs")?;
    if !output.status.success() {
        return Err(Error::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    // Each page is there, and loads nothing from elsewhere.
    let home = fs::read_to_string(site.path().join("index.html"))?;
    for attribute in ["src=\"http", "<link rel=\"stylesheet\" href=\"http", "@import"] {
        assert!(!home.contains(attribute), "{attribute}");
    }
    assert!(site.path().join("troubleshooting/SecretNameConflict/index.html").is_file());
    assert!(site.path().join("search/search_index.json").is_file());
    Ok(())
}

/// `status.conditions`, Events and alerts name reasons: each has a page.
#[test]
fn each_reason_has_a_page_and_each_page_a_reason() -> Result<()> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/reason.rs"))?;
    let (_, list) = source.split_once("    Reason {\n").ok_or_else(|| Error::new("no list of reasons"))?;
    let words =
        list.lines().take_while(|line| line.trim() != "}").filter_map(|line| line.trim().strip_suffix(','));
    let mut reasons: Vec<String> = words.filter(|word| !word.starts_with("//")).map(str::to_owned).collect();
    reasons.sort();
    assert!(reasons.len() > 90, "{reasons:?}");
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder().join("troubleshooting"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(name) =
            name.strip_suffix(".md").filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        else {
            continue;
        };
        let text = fs::read_to_string(folder().join("troubleshooting").join(format!("{name}.md")))?;
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        assert!(text.contains("\n## What it means\n"), "{name}");
        pages.push(name.to_owned());
    }
    pages.sort();
    assert_eq!(pages, reasons);
    // The index has a row for each.
    let index = fs::read_to_string(folder().join("troubleshooting/index.md"))?;
    for reason in reasons {
        assert!(index.contains(&format!("]({reason}.md)")), "troubleshooting/index.md has no {reason}");
    }
    Ok(())
}

/// A cell of the comparison names the test that shows it.
#[test]
fn each_test_that_the_comparison_names_is_there() -> Result<()> {
    let text = fs::read_to_string(folder().join("comparison.md"))?;
    let links: Vec<_> = text.split("[test](../").skip(1).collect();
    assert!(links.len() > 15, "{}", links.len());
    for link in links {
        let (path, rest) = link.split_once(" \"").ok_or_else(|| Error::new(link))?;
        let (name, _) = rest.split_once("\")").ok_or_else(|| Error::new(link))?;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let code = fs::read_to_string(&file).context(file.display())?;
        let module = path.trim_start_matches("tests/integration/").trim_end_matches(".rs").replace('/', "::");
        let test = name.strip_prefix(&module).ok_or_else(|| Error::new(name))?;
        let is_there = test.strip_prefix("::").is_none_or(|test| code.contains(&format!("fn {test}(")));
        assert!(is_there, "{path} has no test {name}");
    }
    Ok(())
}
