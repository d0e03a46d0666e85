//! Generated files: written into a directory, or compared with what is there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::yaml::ManifestError;

/// Writes all, by their paths below the directory.
pub(super) fn write(directory: &Path, files: &BTreeMap<String, String>) -> Result<(), ManifestError> {
    for (name, content) in files {
        let path = directory.join(name);
        let folder = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(folder).map_err(ManifestError::io(folder))?;
        std::fs::write(&path, content).map_err(ManifestError::io(&path))?;
    }
    Ok(())
}

/// The files that are missing or not as they are made.
pub(super) fn differences(
    directory: &Path,
    files: &BTreeMap<String, String>,
) -> Result<Vec<String>, ManifestError> {
    let mut differences = Vec::new();
    for (name, wanted) in files {
        let path = directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(found) if found == *wanted => {}
            Ok(found) => {
                let line = found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count() + 1;
                differences.push(format!("{name} (from line {line})"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                differences.push(format!("{name} (missing)"));
            }
            Err(error) => return Err(ManifestError::io(&path)(error)),
        }
    }
    Ok(differences)
}

/// An error when there are differences, with the command that ends them.
pub(super) fn agree(
    command: &'static str,
    directory: &Path,
    differences: Vec<String>,
) -> Result<(), ManifestError> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(ManifestError::Differ { command, directory: directory.to_owned(), differences })
}
