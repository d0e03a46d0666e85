//! The pages of `docs/`: manifests are taken by a real API server, commands run, links lead somewhere. CONTRIBUTING.md has the
//! rules for who writes them.

mod followed;
mod page;
mod site;
mod terminal;
