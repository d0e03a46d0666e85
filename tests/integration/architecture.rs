//! The shape of the code that design.md draws, by what each file uses, not by what its text contains.

mod graph;
mod modules;
mod rules;
mod source;
mod tiny;

use std::{collections::BTreeSet, fs, path::Path};

use self::{
    graph::{circles, graph},
    modules::{Modules, Texts, Use},
    rules::{crosses_layers, goes_against_the_flow, missing_steps, top, touches_the_world},
};

/// Lines of code, with no tests, comments and blanks: where it stands, so that it grows no further unnoticed. The engine alone
/// has 14,050; bounds on hostile input, fences, fair hashing, logins and tokens took it to 21,400, and of the rest half is
/// `kubectl claviger`, the other half who uses Secrets, and defaults. `claviger self-test`, for `helm test`, has 300; what policies tell of
/// themselves, and meanings and defaults in `kubectl explain`, 150. Object storage, with its formats, its signatures and how its
/// access keys are tried, has 1,300.
const MAX_LINES: usize = 33_200;

fn modules() -> Modules {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = Texts::new();
    walk(&root, &mut |path, text| {
        let inside = path.strip_prefix(&root).expect("inside");
        texts.insert(inside.display().to_string(), text.to_owned());
    });
    let modules = Modules::read(&texts).unwrap_or_else(|error| panic!("{error}"));
    let files = modules.code_lines().len();
    assert!(files > 50, "only {files} files were looked at");
    modules
}

fn uses() -> BTreeSet<Use> {
    let uses = modules().uses();
    let ours = uses.iter().filter(|used| used.target.is_some()).count();
    assert!(ours > 300, "only {ours} uses were found");
    uses
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn the_pure_middle_is_pure() {
    assert_none("what decides must not touch the world", &touches_the_world(&uses()));
}

#[test]
fn no_layer_uses_one_above_it() {
    assert_none("uses across layers", &crosses_layers(&uses()));
}

#[test]
fn no_two_files_use_each_other() {
    assert_none("circular imports", &circles(&graph(&uses(), |file| Some(file.to_owned()))));
}

#[test]
fn no_two_modules_use_each_other() {
    let module =
        |file: &str| Some(top(file).to_owned()).filter(|top| !["lib", "main"].contains(&top.as_str()));
    assert_none("circular imports", &circles(&graph(&uses(), module)));
}

#[test]
fn the_controller_uses_nothing_against_the_flow() {
    assert_none("uses against the flow", &goes_against_the_flow(&uses()));
    let modules = modules();
    let missing = missing_steps(modules.code_lines().keys());
    assert!(missing.is_empty(), "no file of src/controller is named after {missing:?}");
}

#[test]
fn there_is_no_more_code_than_agreed() {
    let modules = modules();
    let lines: usize = modules.code_lines().values().sum();
    assert!(lines < MAX_LINES, "{lines} lines of code in src");
}

#[test]
fn no_file_is_much_longer_than_400_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut long = Vec::new();
    for folder in ["src", "tests", "examples"] {
        walk(&root.join(folder), &mut |path, text| {
            let lines = text.lines().count();
            if lines > 450 {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        });
    }
    assert_none("each perhaps two nouns in one room", &long);
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &fs::read_to_string(&path).expect("text"));
        }
    }
}
