//! From a kind of credential and its source Secrets to the content of the produced Secret.

mod authorities;
mod basic_auth;
mod object_storage;
mod registry;
mod tls;
mod value;
