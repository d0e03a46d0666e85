//! `import`: on a cluster of its own, as it looks at all Secrets, with the real kubectl, as people apply what it prints.

mod abuse;
mod desk;
mod forms;
mod tools;
