//! Real registries with real clients: the parts that tests of registry credentials are made of, and one credential
//! from its source to an image.

mod credential;
mod faulty;
mod parts;
