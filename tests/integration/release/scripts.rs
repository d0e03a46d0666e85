//! The workflows and scripts of a release: what can be judged of them without publishing.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{
    dockerfile::Dockerfile,
    hack::{hack, refusal, repository, run},
};
use crate::support::{Error, Result, error::Context, kubernetes, workdir::copy_dir};

fn read(path: &str) -> Result<String> {
    fs::read_to_string(repository().join(path)).context(path)
}

fn yaml(path: &str) -> Result<Value> {
    Ok(serde_saphyr::from_str(&read(path)?)?)
}

#[tokio::test]
async fn workflows_scripts_dockerfile_and_chart_are_linted() -> Result<()> {
    hack("lint", &[]).await.map(drop)
}

/// What a release needs of the repository, to be changed.
fn copy() -> Result<tempfile::TempDir> {
    let copy = tempfile::tempdir()?;
    for folder in ["hack", "charts", "deploy"] {
        copy_dir(&repository().join(folder), &copy.path().join(folder))?;
    }
    fs::create_dir(copy.path().join("docs"))?;
    for file in ["CHANGELOG.md", "Cargo.lock", "Cargo.toml", "Dockerfile", "docs/install.md"] {
        fs::copy(repository().join(file), copy.path().join(file)).context(file)?;
    }
    Ok(copy)
}

#[tokio::test]
async fn a_release_is_prepared_checked_and_told_from_the_changelog() -> Result<()> {
    let copy = copy()?;
    let script = |name: &str| copy.path().join("hack").join(name);
    let text = |path: &str| fs::read_to_string(copy.path().join(path)).context(path);
    let refused = refusal(&script("prepare-release"), &["1.2"]).await;
    assert!(refused.contains("'1.2' is not a version"), "{refused}");
    let refused = refusal(&script("check-release"), &["v98.7.6"]).await;
    assert!(refused.contains("Cargo.toml says"), "{refused}");

    run(&script("prepare-release"), &["98.7.6"]).await?;
    run(&script("check-release"), &["v98.7.6"]).await?;
    for (path, part) in [
        ("Cargo.toml", "\nversion = \"98.7.6\"\n"),
        ("charts/claviger/Chart.yaml", "\nversion: 98.7.6\nappVersion: \"98.7.6\"\n"),
        ("charts/claviger/Chart.yaml", "image: ghcr.io/claviger/claviger:98.7.6\n"),
        ("deploy/install.yaml", "image: ghcr.io/claviger/claviger:98.7.6\n"),
        ("docs/install.md", "cosign verify ghcr.io/claviger/claviger:98.7.6 "),
        ("docs/install.md", "//deploy?ref=v98.7.6\n"),
        ("CHANGELOG.md", "\n## [Unreleased]\n\n## [98.7.6] - 20"),
        (
            "CHANGELOG.md",
            "\n[Unreleased]: https://github.com/claviger/claviger/compare/v98.7.6...main\n[98.7.6]: ",
        ),
    ] {
        assert!(text(path)?.contains(part), "{path} has no {part:?}");
    }

    // One line for each change, with links that lead somewhere, and nothing of other sections.
    let notes = run(&script("release-notes"), &["98.7.6"]).await?;
    assert!(notes.trim_start().starts_with("### Added\n"), "{notes}");
    assert!(notes.contains("\n- "), "{notes}");
    for line in notes.lines() {
        assert!(!line.starts_with("## ") && !line.starts_with(' ') && !line.contains("](docs/"), "{line}");
    }
    let link = "https://github.com/claviger/claviger/blob/v98.7.6/docs/install.md";
    assert!(notes.contains(link), "{notes}");

    // What is forgotten is told.
    let refused = refusal(&script("release-notes"), &["98.7.7"]).await;
    assert!(refused.contains("no section for 98.7.7"), "{refused}");
    let refused = refusal(&script("check-release"), &["98.7.6"]).await;
    assert!(refused.contains("is no tag of a release"), "{refused}");
    let manifest = copy.path().join("deploy/install.yaml");
    fs::write(&manifest, text("deploy/install.yaml")?.replace("kind: Service\n", "kind: Servant\n"))?;
    let refused = refusal(&script("check-release"), &["v98.7.6"]).await;
    assert!(refused.contains("deploy/install.yaml is out of date"), "{refused}");
    assert!(!text("docs/install.md")?.contains(env!("CARGO_PKG_VERSION")), "an old version is documented");
    Ok(())
}

/// The folders of `tests/` that have a file of this name.
fn folders_with(file: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(repository().join("tests"))? {
        let path = entry?.path();
        if path.join(file).is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(format!("/tests/{name}"));
        }
    }
    Ok(found)
}

#[test]
fn every_pinned_module_is_kept_up_to_date() -> Result<()> {
    let config = yaml(".github/dependabot.yml")?;
    let updates = config["updates"].as_array().cloned().unwrap_or_default();
    let folders = |ecosystem: &str| -> BTreeSet<String> {
        let own = updates.iter().filter(|update| update["package-ecosystem"] == ecosystem);
        let named = own.flat_map(|update| {
            let many = update["directories"].as_array().cloned().unwrap_or_default();
            many.into_iter().chain(update.get("directory").cloned())
        });
        named.filter_map(|folder| folder.as_str().map(str::to_owned)).collect()
    };
    assert_eq!(folders("gomod"), folders_with("go.mod")?);
    assert_eq!(folders("pip"), folders_with("requirements.txt")?);
    for ecosystem in ["cargo", "docker", "github-actions"] {
        assert_eq!(folders(ecosystem), BTreeSet::from(["/".to_owned()]), "{ecosystem}");
    }
    Ok(())
}

#[test]
fn versions_that_stand_in_several_places_are_the_same() -> Result<()> {
    let test = yaml(".github/workflows/test.yml")?;
    let release = yaml(".github/workflows/release.yml")?;
    let rust = test["env"]["RUST"].as_str().ok_or_else(|| Error::new("no version of Rust"))?;
    assert_eq!(release["env"]["RUST"], rust);
    assert_eq!(Dockerfile::read()?.base, format!("docker.io/library/rust:{rust}-alpine"));

    let auditable = |path: &str| -> Result<String> {
        let text = read(path)?;
        let (_, rest) = text
            .split_once("cargo install cargo-auditable --version ")
            .ok_or_else(|| Error::new(format!("{path} installs no cargo-auditable")))?;
        Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
    };
    assert_eq!(auditable("Dockerfile")?, auditable(".github/workflows/release.yml")?);

    // What is said to be tested is what is tested.
    let matrix = &test["jobs"]["test"]["strategy"]["matrix"]["kubernetes"];
    let tested: BTreeSet<String> =
        matrix.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let documented = read("docs/install.md")?;
    let rows = documented.lines().filter(|line| line.starts_with("| 1."));
    let told: BTreeSet<String> = rows
        .filter_map(|row| row.split('|').nth(3).map(|cell| cell.trim().to_owned()))
        .filter(|cell| cell != "no")
        .collect();
    assert_eq!(tested, told);
    assert!(tested.contains(&kubernetes::pinned()?.to_string()), "{tested:?}");
    Ok(())
}

/// The lines that README and docs/install.md have people type name scripts that are there.
#[test]
fn scripts_that_are_documented_exist() -> Result<()> {
    let mut known = 0;
    for path in ["README.md", "docs/install.md", "CONTRIBUTING.md"] {
        let text = read(path)?;
        for part in text.split("hack/").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            // `target/hack/image.tar` is what a script makes.
            if name.is_empty() || part.starts_with("image.tar") {
                continue;
            }
            assert!(repository().join("hack").join(&name).is_file(), "{path} tells of hack/{name}");
            known += 1;
        }
    }
    assert!(known > 3);
    Ok(())
}
