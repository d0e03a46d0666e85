//! The layers stay apart: the pure middle names no client, clock, IO or logging.

use std::{fs, path::Path};

const FORBIDDEN: [&str; 9] = [
    "kube::Client",
    "Api<",
    "tokio",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "tracing",
    "std::fs",
    "rand::",
];

#[test]
fn the_pure_middle_is_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = 0;
    let mut found = Vec::new();
    for folder in ["api", "domain", "provider"] {
        walk(&root.join(folder), &mut |path, text| {
            files += 1;
            for word in FORBIDDEN.iter().filter(|word| text.contains(**word)) {
                found.push(format!("{}: {word}", path.display()));
            }
        });
    }
    assert!(files > 20, "only {files} files were looked at");
    assert!(found.is_empty(), "what decides must not touch the world:\n{}", found.join("\n"));
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
    assert!(long.is_empty(), "each perhaps two nouns in one room:\n{}", long.join("\n"));
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
