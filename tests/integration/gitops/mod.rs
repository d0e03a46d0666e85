//! What GitOps tools make of our objects: Argo CD, Flux and Helm, each by its own code.

mod folders;
mod judge;
mod life;
mod marks;
mod patch;
mod verdicts;
