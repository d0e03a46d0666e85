//! From a kind of credential and its source Secrets to the content of the produced Secret.

mod basic_auth;
mod registry;
mod tls;
mod value;
