//! A login that is being tried, whatever it is for.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::{
    bucket::BucketHandshake,
    handshake::RegistryHandshake,
    login::{Login, Subject},
    outcome::{Answer, NoAnswer},
    server::RegistryAccess,
    step::Step,
};

/// A login that is being tried.
pub(crate) enum Attempt {
    Registry(RegistryHandshake),
    Bucket(BucketHandshake),
}

impl Attempt {
    /// With its first request.
    pub fn begin(login: Arc<Login>, access: Arc<RegistryAccess>, now: Timestamp) -> (Self, Step) {
        match &login.subject {
            Subject::Registry(registry) => {
                let (handshake, first) = RegistryHandshake::begin(login.clone(), registry, access);
                (Self::Registry(handshake), first)
            }
            Subject::Bucket(bucket) => {
                let (handshake, first) = BucketHandshake::begin(login.clone(), bucket, access, now);
                (Self::Bucket(handshake), first)
            }
        }
    }

    /// What follows from the answer to the last request.
    pub fn answered(&mut self, answer: Result<Answer, NoAnswer>, now: Timestamp) -> Step {
        match self {
            Self::Registry(handshake) => handshake.answered(answer),
            Self::Bucket(handshake) => handshake.answered(answer, now),
        }
    }
}
