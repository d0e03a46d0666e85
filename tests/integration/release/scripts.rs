//! The workflows and scripts of a release: what can be judged of them without publishing.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

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

/// A copy of what a release needs of the repository, to be changed.
struct Tree(TempDir);

impl Tree {
    fn new() -> Result<Self> {
        let tree = Self(tempfile::tempdir()?);
        for folder in ["hack", "charts", "deploy"] {
            copy_dir(&repository().join(folder), &tree.path(folder))?;
        }
        fs::create_dir(tree.path("docs"))?;
        for file in FILES {
            fs::copy(repository().join(file), tree.path(file)).context(file)?;
        }
        Ok(tree)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn text(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).context(path)
    }

    fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        Ok(fs::write(self.path(path), self.text(path)?.replace(from, to))?)
    }

    /// Puts an entry in the place of all that is under `Unreleased`: at a tag that is nothing.
    fn write_unreleased(&self, entry: &str) -> Result<()> {
        const HEADING: &str = "## [Unreleased]\n";
        let changelog = self.text("CHANGELOG.md")?;
        let (before, rest) =
            changelog.split_once(HEADING).ok_or_else(|| Error::new("CHANGELOG.md has no Unreleased"))?;
        let next = ["\n## [", "\n[Unreleased]: "].iter().filter_map(|next| rest.find(*next)).min();
        let next = next.ok_or_else(|| Error::new("CHANGELOG.md ends with Unreleased"))?;
        let changed = format!("{before}{HEADING}\n{entry}{}", &rest[next..]);
        Ok(fs::write(self.path("CHANGELOG.md"), changed)?)
    }

    async fn run(&self, script: &str, args: &[&str]) -> Result<String> {
        run(&self.path("hack").join(script), args).await
    }

    async fn refusal(&self, script: &str, args: &[&str]) -> String {
        refusal(&self.path("hack").join(script), args).await
    }

    /// Has `prepare-release` refuse, and nothing changed by it.
    async fn assert_not_prepared(&self, version: &str, why: &str) -> Result<()> {
        let texts = || PREPARED.iter().map(|path| self.text(path)).collect::<Result<Vec<_>>>();
        let before = texts()?;
        let refused = self.refusal("prepare-release", &[version]).await;
        assert!(refused.contains(why), "{refused}");
        assert!(before == texts()?, "something was edited before it was refused: {refused}");
        Ok(())
    }

    fn assert_has(&self, path: &str, part: &str) -> Result<()> {
        assert!(self.text(path)?.contains(part), "{path} has no {part:?}");
        Ok(())
    }
}

const FILES: [&str; 9] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "README.md",
    "docs/argocd.md",
    "docs/flux.md",
    "docs/get-started.md",
    "docs/install.md",
];

/// What preparing a release edits.
const PREPARED: [&str; 8] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "charts/claviger/Chart.yaml",
    "deploy/install.yaml",
    "docs/argocd.md",
    "docs/flux.md",
    "docs/install.md",
];

/// What no release may say.
const UNPUBLISHED: &str = "No image is published yet";

const ENTRY: &str = "### Added\n\n- The operator's *new* thing, see [docs/install.md](docs/install.md),\n  on two lines. And more of it.\n\n\
                     ### Security\n\n- **A hole**: it is closed.\n";

#[tokio::test]
async fn a_release_is_prepared_checked_and_told_from_the_changelog() -> Result<()> {
    let tree = Tree::new()?;
    tree.assert_not_prepared("1.2", "'1.2' is not a version").await?;
    tree.write_unreleased("")?;
    tree.assert_not_prepared("98.7.6", "CHANGELOG.md has no change under Unreleased").await?;
    let refused = tree.refusal("check-release", &["v98.7.6"]).await;
    assert!(refused.contains("Cargo.toml says"), "{refused}");

    // What it says of itself is for a person to write anew, and is missed before the tag counts.
    tree.write_unreleased(ENTRY)?;
    fs::write(tree.path("README.md"), format!("# Claviger\n\n{UNPUBLISHED}: build it.\n"))?;
    tree.run("prepare-release", &["98.7.6"]).await?;
    let refused = tree.refusal("check-release", &["v98.7.6"]).await;
    assert!(refused.contains(&format!("README.md says '{UNPUBLISHED}'")), "{refused}");
    for path in ["README.md", "docs/get-started.md", "docs/install.md"] {
        tree.replace(path, UNPUBLISHED, "Images are published")?;
    }
    tree.run("check-release", &["v98.7.6"]).await?;
    for (path, part) in [
        ("Cargo.toml", "\nversion = \"98.7.6\"\n"),
        ("charts/claviger/Chart.yaml", "\nversion: 98.7.6\nappVersion: \"98.7.6\"\n"),
        ("charts/claviger/Chart.yaml", "image: ghcr.io/claviger/claviger:98.7.6\n"),
        ("charts/claviger/Chart.yaml", "\n  artifacthub.io/prerelease: \"false\"\n"),
        ("deploy/install.yaml", "image: ghcr.io/claviger/claviger:98.7.6\n"),
        ("docs/install.md", "cosign verify ghcr.io/claviger/claviger:98.7.6 "),
        ("docs/install.md", "//deploy?ref=v98.7.6\n"),
        ("docs/argocd.md", "\n    targetRevision: 98.7.*\n"),
        ("docs/flux.md", "\n      version: 98.7.x\n"),
        ("docs/install.md", "/releases/download/v98.7.6/claviger_98.7.6_linux_amd64.tar.gz\n"),
        ("CHANGELOG.md", "\n## [Unreleased]\n\n## [98.7.6] - 20"),
        (
            "CHANGELOG.md",
            "\n[Unreleased]: https://github.com/claviger/claviger/compare/v98.7.6...main\n[98.7.6]: ",
        ),
    ] {
        tree.assert_has(path, part)?;
    }
    let chart: Value = serde_saphyr::from_str(&tree.text("charts/claviger/Chart.yaml")?)?;
    let changes = chart["annotations"]["artifacthub.io/changes"].as_str().unwrap_or_default();
    let changes: Value = serde_saphyr::from_str(changes)?;
    let added = "The operator's *new* thing, see docs/install.md, on two lines";
    let expected = json!([
        {"kind": "added", "description": added},
        {"kind": "security", "description": "A hole: it is closed"},
    ]);
    assert_eq!(changes, expected);

    // One line for each change, with links that lead somewhere, and nothing of other sections.
    let notes = tree.run("release-notes", &["98.7.6"]).await?;
    let link = "https://github.com/claviger/claviger/blob/v98.7.6/docs/install.md";
    let line =
        format!("- The operator's *new* thing, see [docs/install.md]({link}), on two lines. And more of it.");
    assert!(notes.trim_start().starts_with(&format!("### Added\n\n{line}\n\n### Security\n\n- ")), "{notes}");
    assert!(!notes.contains("## [") && !notes.contains("](docs/"), "{notes}");

    // What is forgotten is told.
    let refused = tree.refusal("release-notes", &["98.7.7"]).await;
    assert!(refused.contains("no section for 98.7.7"), "{refused}");
    let refused = tree.refusal("check-release", &["98.7.6"]).await;
    assert!(refused.contains("is no tag of a release"), "{refused}");
    tree.replace("deploy/install.yaml", "kind: Service\n", "kind: Servant\n")?;
    let refused = tree.refusal("check-release", &["v98.7.6"]).await;
    assert!(refused.contains("deploy/install.yaml is out of date"), "{refused}");
    let documented = tree.text("docs/install.md")?;
    assert!(!documented.contains(env!("CARGO_PKG_VERSION")), "an old version is documented");

    // A tree that was released: the same version is over, and the next needs changes of its own.
    tree.assert_not_prepared("98.7.6", "CHANGELOG.md has a section for 98.7.6 already").await?;
    tree.assert_not_prepared("98.8.0-rc.1", "CHANGELOG.md has no change under Unreleased").await?;
    tree.write_unreleased(ENTRY)?;
    tree.run("prepare-release", &["98.8.0-rc.1"]).await?;
    tree.run("check-release", &["v98.8.0-rc.1"]).await?;
    tree.assert_has("charts/claviger/Chart.yaml", "\n  artifacthub.io/prerelease: \"true\"\n")?;
    tree.assert_has("CHANGELOG.md", "\n## [Unreleased]\n\n## [98.8.0-rc.1] - 20")?;
    tree.assert_has(
        "CHANGELOG.md",
        "\n[98.8.0-rc.1]: https://github.com/claviger/claviger/compare/v98.7.6...v98.8.0-rc.1\n",
    )
}

/// One approval is enough, and nothing is published without it.
#[test]
fn all_that_publishes_waits_for_the_approval() -> Result<()> {
    let workflow = yaml(".github/workflows/release.yml")?;
    let jobs = workflow["jobs"].as_object().ok_or_else(|| Error::new("no jobs"))?;
    let needs = |job: &str| -> Vec<String> {
        let needs = &jobs[job]["needs"];
        let many = needs.as_array().cloned().unwrap_or_else(|| vec![needs.clone()]);
        many.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let mut publishing = 0;
    for (name, job) in jobs {
        assert_eq!(job.get("environment").is_some(), name == "approve", "{name}");
        let writes = job["permissions"].as_object().into_iter().flatten().any(|(_, right)| right == "write");
        if !writes {
            continue;
        }
        publishing += 1;
        let mut before = needs(name);
        let mut next = 0;
        while let Some(job) = before.get(next).cloned() {
            before.extend(needs(&job));
            next += 1;
        }
        assert!(before.iter().any(|job| job == "approve"), "{name} does not wait for the approval");
    }
    assert!(publishing > 2, "{publishing} jobs publish");
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
    let base = Dockerfile::read()?.base;
    assert_eq!(base.split('@').next(), Some(format!("docker.io/library/rust:{rust}-alpine").as_str()));

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
