//! The modules of a crate, and what each file of it uses.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{self, Scope, Written};

/// Texts of files by their path from the folder with `lib.rs`.
pub type Texts = BTreeMap<String, String>;

/// One use of something, by one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The file that uses it, and in which line.
    pub file: String,
    pub line: usize,
    /// What is used: `crate::domain::plan::Plan` as it was written, or `tokio::spawn` of another crate.
    pub path: String,
    /// The file of ours that defines it; `None` for another crate's, or a module as such.
    pub target: Option<String>,
    /// Only handed on: `pub use`.
    pub reexport: bool,
}

#[derive(Default)]
struct Module {
    file: String,
    parent: Option<usize>,
    path: Vec<String>,
    children: BTreeMap<String, usize>,
    scope: Scope,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Something that this module defines.
    Item(usize),
    Module(usize),
    /// Of another crate.
    Other(Vec<String>),
}

pub struct Modules {
    all: Vec<Module>,
    lines: BTreeMap<String, usize>,
}

/// A chain of re-exports is no longer than this; what is longer goes in a circle.
const MAX_STEPS: usize = 32;

impl Modules {
    /// Reads `lib.rs`, `main.rs` where there is one, and all files that they lead to.
    pub fn read(texts: &Texts) -> Result<Self, String> {
        let mut modules = Self { all: Vec::new(), lines: BTreeMap::new() };
        modules.file(texts, "lib.rs", Vec::new(), None)?;
        if texts.contains_key("main.rs") {
            modules.file(texts, "main.rs", Vec::new(), None)?;
        }
        Ok(modules)
    }

    /// Files that are not for tests only, and how many lines of code each has.
    pub fn code_lines(&self) -> &BTreeMap<String, usize> {
        &self.lines
    }

    fn file(
        &mut self,
        texts: &Texts,
        file: &str,
        path: Vec<String>,
        parent: Option<usize>,
    ) -> Result<usize, String> {
        let text = texts.get(file).ok_or_else(|| format!("there is no {file}"))?;
        let code = source::code(text).map_err(|error| format!("{file}: {error}"))?;
        self.lines.insert(file.to_owned(), source::code_lines(&code));
        let scope = source::read(code).map_err(|error| format!("{file}: {error}"))?;
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        let own = match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => file.trim_end_matches(".rs").to_owned(),
        };
        self.module(texts, file, &own, folder, path, parent, scope)
    }

    /// `own` is where files of its modules are, `beside` where those of a `#[path]` are.
    #[allow(clippy::too_many_arguments, reason = "a walk's state")]
    fn module(
        &mut self,
        texts: &Texts,
        file: &str,
        own: &str,
        beside: &str,
        path: Vec<String>,
        parent: Option<usize>,
        mut scope: Scope,
    ) -> Result<usize, String> {
        let id = self.all.len();
        let (files, inline) = (std::mem::take(&mut scope.files), std::mem::take(&mut scope.inline));
        self.all.push(Module {
            file: file.to_owned(),
            parent,
            path: path.clone(),
            children: BTreeMap::new(),
            scope,
        });
        let below = |name: &str| [path.as_slice(), &[name.to_owned()]].concat();
        for (name, given) in files {
            let candidates = match given {
                Some(given) => vec![join(beside, &given)],
                None => vec![join(own, &format!("{name}.rs")), join(own, &format!("{name}/mod.rs"))],
            };
            let found = candidates.iter().find(|candidate| texts.contains_key(*candidate));
            let found = found.ok_or_else(|| format!("{file}: no file for `mod {name}`: {candidates:?}"))?;
            let child = self.file(texts, found, below(&name), Some(id))?;
            self.all[id].children.insert(name, child);
        }
        for (name, inner) in inline {
            let folder = join(own, &name);
            let child = self.module(texts, file, &folder, &folder, below(&name), Some(id), inner)?;
            self.all[id].children.insert(name, child);
        }
        Ok(id)
    }

    /// Everything that any file uses of another one, or of another crate.
    pub fn uses(&self) -> BTreeSet<Use> {
        let mut uses = BTreeSet::new();
        for (id, module) in self.all.iter().enumerate() {
            let scope = &module.scope;
            for (all, reexport) in [(&scope.imports, false), (&scope.reexports, true), (&scope.paths, false)]
            {
                uses.extend(all.iter().filter_map(|written| self.used(id, written, reexport)));
            }
            for glob in &scope.globs {
                let Some(mut used) = self.used(id, glob, false) else { continue };
                // Whoever imports all of a module imports its file.
                if let Some(Found::Module(of)) = self.find(id, &glob.segments, MAX_STEPS) {
                    used.target = Some(self.all[of].file.clone()).filter(|file| *file != module.file);
                }
                uses.insert(used);
            }
            for method in &scope.methods {
                let path = format!(".{}()", method.segments.join(""));
                uses.insert(Use {
                    file: module.file.clone(),
                    line: method.line,
                    path,
                    target: None,
                    reexport: false,
                });
            }
        }
        uses
    }

    fn used(&self, from: usize, written: &Written, reexport: bool) -> Option<Use> {
        let file = &self.all[from].file;
        let (path, target) = match self.find(from, &written.segments, MAX_STEPS)? {
            Found::Item(at) if self.all[at].file == *file => return None,
            Found::Item(at) => {
                let mut path = self.all[at].path.clone();
                path.extend(written.segments.last().cloned());
                (inside(&path), Some(self.all[at].file.clone()))
            }
            Found::Module(at) => (inside(&self.all[at].path), None),
            Found::Other(path) => (path.join("::"), None),
        };
        Some(Use { file: file.clone(), line: written.line, path, target, reexport })
    }

    /// What a path that is written in a module leads to; nothing for a local name.
    fn find(&self, from: usize, segments: &[String], steps: usize) -> Option<Found> {
        let first = segments.first()?;
        let steps = steps.checked_sub(1)?;
        match first.as_str() {
            "crate" => self.down(self.root(from), &segments[1..], steps),
            // The binary names the library as any other crate would.
            "claviger" if self.root(from) != 0 => self.down(0, &segments[1..], steps),
            "self" => self.down(from, &segments[1..], steps),
            "super" => self.down(self.all[from].parent?, &segments[1..], steps),
            "Self" => None,
            _ => match self.lookup(from, segments, steps) {
                Some(found) => Some(found),
                // A name alone is a variable, or of the prelude.
                None if segments.len() == 1 => None,
                None => Some(Found::Other(segments.to_vec())),
            },
        }
    }

    /// The rest of a path, from a module on.
    fn down(&self, at: usize, rest: &[String], steps: usize) -> Option<Found> {
        match rest.first().map(String::as_str) {
            None => Some(Found::Module(at)),
            Some("super") => self.down(self.all[at].parent?, &rest[1..], steps.checked_sub(1)?),
            // What no text shows, such as what a macro defines, is the module's.
            Some(_) => Some(self.lookup(at, rest, steps).unwrap_or(Found::Item(at))),
        }
    }

    fn lookup(&self, at: usize, segments: &[String], steps: usize) -> Option<Found> {
        let (first, rest) = segments.split_first()?;
        let module = &self.all[at];
        let steps = steps.checked_sub(1)?;
        let child = module.children.get(first).copied();
        if let Some(child) = child.filter(|_| !rest.is_empty()) {
            return self.down(child, rest, steps);
        }
        if module.scope.items.contains(first) {
            return Some(Found::Item(at));
        }
        for stands_for in module.scope.names.get(first).into_iter().flatten() {
            // `use name;` in the module that has it would go in a circle.
            if stands_for.len() == 1 && stands_for[0] == *first {
                return Some(Found::Other(segments.to_vec()));
            }
            let whole = [stands_for, rest].concat();
            match self.find(at, &whole, steps) {
                // A name may stand for a function and a module of that name.
                Some(Found::Module(_)) if !rest.is_empty() => {}
                Some(found) => return Some(found),
                None => {}
            }
        }
        if let Some(child) = child {
            return Some(Found::Module(child));
        }
        for glob in &module.scope.globs {
            if let Some(Found::Module(of)) = self.find(at, &glob.segments, steps)
                && of != at
                && let Some(found) = self.lookup(of, segments, steps)
            {
                return Some(found);
            }
        }
        None
    }

    fn root(&self, mut at: usize) -> usize {
        while let Some(parent) = self.all[at].parent {
            at = parent;
        }
        at
    }
}

fn join(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}

fn inside(path: &[String]) -> String {
    std::iter::once("crate").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("::")
}
