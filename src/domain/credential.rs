//! What the engine needs to know of a kind of credential.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value};

use super::{
    SecretBytes,
    content::{Content, Grants, Inputs, SourceError},
    default::DefaultWish,
    hashes::Password,
    validity::Validity,
    verification::{Login, Verification},
};
use crate::api::{CredentialStatus, Target, TokenStatus};

/// The spec of a kind of credential. A new kind implements this and stands in the list of kinds; targets, consent,
/// ownership, deletion and status are the engine's.
pub(crate) trait CredentialSpec: fmt::Debug + Send + Sync {
    /// Where the Secret goes.
    fn target(&self) -> &Target;

    /// Where the content comes from.
    fn source(&self) -> Source;

    /// Whether the content is made with an eye on a copy that exists, so that what still holds, such as a salted hash,
    /// is kept rather than made anew.
    fn keeps_existing(&self) -> bool {
        false
    }

    /// The passwords whose hashes take so long that they are made ahead of rendering.
    ///
    /// # Errors
    /// As [`CredentialSpec::render`].
    fn passwords<'a>(&'a self, _inputs: Inputs<'a>) -> Result<Vec<Password<'a>>, SourceError> {
        Ok(Vec::new())
    }

    /// Makes the produced content from the source.
    ///
    /// # Errors
    /// Says what is wrong with which source Secret, without ever quoting a value of it.
    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError>;

    /// The tokens to mint, by the keys in `auths` that they are for.
    fn grants(&self, _inputs: Inputs<'_>) -> Grants {
        Grants::new()
    }

    /// What a status tells of the minted tokens that were distributed last, by their keys in `auths`.
    fn recorded_tokens(&self, _details: &Map<String, Value>) -> BTreeMap<String, TokenStatus> {
        BTreeMap::new()
    }

    /// User name and password of a part of a content.
    fn pair(&self, _content: &Content, _key: &str) -> Option<(SecretBytes, SecretBytes)> {
        None
    }

    /// The logins to try, of the parts that the source gives; none for kinds that nothing can be tried of.
    fn logins(&self, _inputs: Inputs<'_>) -> Vec<Login> {
        Vec::new()
    }

    /// The parts of a content that are accepted or held back each by itself, by their names; none for kinds whose content
    /// is one.
    fn parts(&self, _content: &Content) -> BTreeMap<String, SecretBytes> {
        BTreeMap::new()
    }

    /// A content of which some parts are those of another one, or left out where that has none; `None` when nothing is
    /// left of it, or it has no parts.
    fn compose(&self, _content: &Content, _kept: &BTreeSet<&str>, _of: &Content) -> Option<Content> {
        None
    }

    /// What it wants of ServiceAccounts, where it is to be a default.
    fn default(&self) -> Option<DefaultWish> {
        None
    }

    /// Fields of the status that only this kind has. `content` is what was accepted last, if anything was, and
    /// `recorded` what the status says now.
    fn details(
        &self,
        content: Option<&Content>,
        verification: Option<&Verification>,
        recorded: &Map<String, Value>,
    ) -> Map<String, Value>;

    /// When the content that was distributed last is valid, as the status tells, where it is for a time only. It
    /// counts while the source gives nothing better.
    fn recorded_validity(
        &self,
        _status: &CredentialStatus,
        _details: &Map<String, Value>,
    ) -> Option<Validity> {
        None
    }

    /// Who it is a credential for, as one word with few values; a metric's label.
    fn provider(&self) -> String;
}

/// Where the content of a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Secrets in the namespace of the credential, by name. They are read again when a watch shows a change.
    Secrets(Vec<String>),
}
