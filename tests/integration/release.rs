//! What a release is made of, as far as it goes without publishing: the image, the chart in a registry, the manifest, the kustomize base,
//! the archives of the plugin, and the notes. The scripts of `hack/` make them, as the release workflow does.

mod dockerfile;
mod documented;
mod hack;
mod helm;
mod image;
pub mod install;
mod kustomize;
mod manifest;
mod plugin;
mod scripts;
