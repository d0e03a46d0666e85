//! Values out of source Secrets: read, checked, trimmed.

use crate::{
    api::SecretReference,
    domain::{
        content::{SourceError, SourceSecret},
        reason::Reason,
        schedule::{MAX_PASSWORD_BYTES, MAX_USERNAME_CHARS},
        sensitive::SecretBytes,
    },
};

/// Below this many characters a password is called weak.
const WEAK_PASSWORD_CHARS: usize = 8;

/// A text value, and whether a newline at its end was left out.
pub struct Text<'a> {
    /// The key that it stands under.
    pub key: &'a str,
    /// The text, without the newline.
    pub text: &'a str,
    /// Whether there was one.
    pub trimmed: bool,
}

/// The value of a key, which a field of the spec chooses.
///
/// # Errors
/// When the key is missing.
pub fn bytes<'a>(secret: &'a SourceSecret, key: &str, field: &str) -> Result<&'a SecretBytes, SourceError> {
    secret.data.get(key).ok_or_else(|| SourceError::key_missing(&secret.name, key, field))
}

/// A text without the one newline at its end, if there is one.
pub fn strip_newline(text: &str) -> Option<&str> {
    text.strip_suffix('\n').map(|rest| rest.strip_suffix('\r').unwrap_or(rest))
}

/// Reads a text. One newline at the end is left out: `kubectl create secret --from-file` and
/// `echo` put it there, and no registry's token ends in one.
///
/// # Errors
/// When the key is missing or its value is not UTF-8.
pub fn text<'a>(secret: &'a SourceSecret, key: &'a str, field: &str) -> Result<Text<'a>, SourceError> {
    let text = std::str::from_utf8(bytes(secret, key, field)?.expose()).map_err(|_| {
        invalid(secret, key, "is not UTF-8 text; it may have been encoded twice, or be a binary file")
    })?;
    let rest = strip_newline(text);
    Ok(Text { key, text: rest.unwrap_or(text), trimmed: rest.is_some() })
}

/// Reads a password or token.
///
/// # Errors
/// When it is missing, not UTF-8, empty, too long, or cannot be sent as it is.
pub fn password<'a>(secret: &'a SourceSecret, key: &'a str) -> Result<Text<'a>, SourceError> {
    let value = text(secret, key, "passwordKey")?;
    check_password(secret, key, value.text)?;
    Ok(value)
}

/// Reads a password, token or key that the field of the spec chooses.
///
/// # Errors
/// As [`password`].
pub fn secret(secret: &SourceSecret, key: &str, field: &str) -> Result<SecretBytes, SourceError> {
    let value = text(secret, key, field)?.text;
    let value = value.trim_end_matches(['\r', '\n']);
    check_password(secret, key, value)?;
    Ok(value.into())
}

/// Checks a password or token.
///
/// # Errors
/// When it is empty, too long, or cannot be sent as it is.
pub fn check_password(secret: &SourceSecret, key: &str, password: &str) -> Result<(), SourceError> {
    let problem = if password.is_empty() {
        "is empty"
    } else if password.len() > MAX_PASSWORD_BYTES {
        let length = password.len();
        &format!("has {length} bytes; a password or token may have at most {MAX_PASSWORD_BYTES}")
    } else if password.contains('\0') {
        "holds a NUL byte"
    } else if password.starts_with(['\n', '\r']) || password.ends_with(['\n', '\r']) {
        "begins or ends with line breaks; write only the value"
    } else {
        return Ok(());
    };
    Err(invalid(secret, key, problem))
}

/// The key of the user name.
pub fn username_key(reference: &SecretReference) -> &str {
    reference.username_key.as_deref().unwrap_or("username")
}

/// Reads a user name. A key that was named must be there; the default one may be missing.
///
/// # Errors
/// When the key is missing or its value is not UTF-8.
pub fn username<'a>(
    secret: &'a SourceSecret,
    reference: &'a SecretReference,
) -> Result<Option<Text<'a>>, SourceError> {
    let key = username_key(reference);
    if reference.username_key.is_none() && !secret.data.contains_key(key) {
        return Ok(None);
    }
    text(secret, key, "usernameKey").map(Some)
}

/// Whether a password is so short that people are warned.
pub fn is_weak(password: &str) -> bool {
    password.chars().count() < WEAK_PASSWORD_CHARS
}

/// Checks a user name from a Secret, by the rules that the schema has for the one in a spec.
///
/// # Errors
/// When it is empty, too long, or holds what cannot be sent.
pub fn check_username(secret: &SourceSecret, name: &str) -> Result<(), SourceError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.chars().count() > MAX_USERNAME_CHARS {
        "has more than 255 characters"
    } else if name.contains(':') {
        "holds a ':', which separates the user name from the password"
    } else if name.chars().any(char::is_control) {
        "holds control characters"
    } else {
        return Ok(());
    };
    Err(SourceError::invalid_username(&secret.name, problem))
}

/// A value that cannot be used as it is.
pub fn invalid(secret: &SourceSecret, key: &str, problem: &str) -> SourceError {
    SourceError::invalid_value(&secret.name, key, Reason::InvalidFormat, problem)
}
