//! Manifests from files, folders and stdin, as `kubectl -f` takes them.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;

use super::error::PluginError;
use crate::domain::{
    foreign_text::foreign_text,
    schedule::{MAX_ANSWER, MAX_MESSAGE},
};

/// Which manifests.
#[derive(Clone, Debug, Args)]
pub struct ManifestArgs {
    /// File, folder with *.yaml, *.yml and *.json files, or - for stdin; can be given several times
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,
}

/// A document, and the file that it is in.
pub(super) struct Manifest {
    pub file: String,
    pub object: Value,
}

impl ManifestArgs {
    /// Reads all documents; those of a List one by one.
    pub fn read(&self) -> Result<Vec<Manifest>, PluginError> {
        let mut manifests = Vec::new();
        for path in &self.filename {
            if path.is_dir() {
                let mut files: Vec<PathBuf> = fs::read_dir(path)
                    .map_err(wrong(path))?
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .collect();
                files.retain(|file| {
                    let extension = file.extension().and_then(|extension| extension.to_str());
                    file.is_file()
                        && extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
                });
                files.sort();
                for file in files {
                    read(&file, &mut manifests)?;
                }
            } else {
                read(path, &mut manifests)?;
            }
        }
        Ok(manifests)
    }
}

fn wrong(path: &Path) -> impl Fn(std::io::Error) -> PluginError {
    let path = shown(path);
    move |error| PluginError::Manifest(format!("{path}: {error}"))
}

fn shown(path: &Path) -> String {
    foreign_text(&path.display().to_string(), MAX_MESSAGE)
}

fn read(path: &Path, manifests: &mut Vec<Manifest>) -> Result<(), PluginError> {
    let limit = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX);
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(wrong(path))?;
    } else {
        fs::File::open(path)
            .map_err(wrong(path))?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(wrong(path))?;
    }
    let file = shown(path);
    let text = str::from_utf8(&bytes)
        .map_err(|_| PluginError::Manifest(format!("{file} is not a text in UTF-8")))?;
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        // What the parser says may quote a value.
        let line = error.location().map_or(0, |location| location.line());
        PluginError::Manifest(format!("{file} is not valid YAML or JSON (line {line})"))
    })?;
    for mut object in documents {
        match object.get("kind").and_then(Value::as_str) {
            _ if object.is_null() => {}
            Some("List") => {
                let items = object.get_mut("items").and_then(Value::as_array_mut);
                let items = items.map(std::mem::take).unwrap_or_default();
                manifests.extend(items.into_iter().map(|object| Manifest { file: file.clone(), object }));
            }
            Some(_) => manifests.push(Manifest { file: file.clone(), object }),
            None => return Err(PluginError::Manifest(format!("{file} has a document without `kind`"))),
        }
    }
    Ok(())
}
