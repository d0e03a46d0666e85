//! Values out of source Secrets: read, checked, trimmed.

use crate::domain::{content::SourceError, content::SourceSecret};

/// The longest password or token, in bytes; ECR's tokens have about 2 KiB and no stated maximum.
pub const MAX_PASSWORD_BYTES: usize = 16_384;

/// The longest user name, in characters.
pub const MAX_USERNAME_CHARS: usize = 255;

/// Below this many characters a password is called weak.
const WEAK_PASSWORD_CHARS: usize = 8;

/// A text value, and whether a newline at its end was left out.
pub struct Text<'a> {
    /// The text, without the newline.
    pub text: &'a str,
    /// Whether there was one.
    pub trimmed: bool,
}

/// Reads a text. One newline at the end is left out: `kubectl create secret --from-file` and
/// `echo` put it there, and no registry's token ends in one.
///
/// # Errors
/// When the key is missing or its value is not UTF-8.
pub fn text<'a>(secret: &'a SourceSecret, key: &str, field: &'static str) -> Result<Text<'a>, SourceError> {
    let bytes = secret.data.get(key).ok_or_else(|| SourceError::KeyMissing {
        secret: secret.name.clone(),
        key: key.to_owned(),
        field,
    })?;
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| {
        invalid(secret, key, "is not UTF-8 text; it may have been encoded twice, or be a binary file")
    })?;
    let rest = text.strip_suffix('\n').map(|rest| rest.strip_suffix('\r').unwrap_or(rest));
    Ok(Text { text: rest.unwrap_or(text), trimmed: rest.is_some() })
}

/// Reads a password or token.
///
/// # Errors
/// When it is missing, not UTF-8, empty, too long, or cannot be sent as it is.
pub fn password<'a>(
    secret: &'a SourceSecret,
    key: &str,
    field: &'static str,
) -> Result<Text<'a>, SourceError> {
    let value = text(secret, key, field)?;
    let problem = match value.text {
        "" => Some("is empty".to_owned()),
        text if text.len() > MAX_PASSWORD_BYTES => Some(format!(
            "has {} bytes; a password or token may have at most {MAX_PASSWORD_BYTES}",
            text.len()
        )),
        text if text.contains('\0') => Some("holds a NUL byte".to_owned()),
        text if text.starts_with(['\n', '\r']) || text.ends_with(['\n', '\r']) => {
            Some("begins or ends with line breaks; write the bare value".to_owned())
        }
        _ => None,
    };
    match problem {
        Some(problem) => Err(invalid(secret, key, &problem)),
        None => Ok(value),
    }
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
        "holds a ':', which ends the user name on the wire"
    } else if name.chars().any(char::is_control) {
        "holds control characters"
    } else {
        return Ok(());
    };
    Err(SourceError::InvalidUsername { secret: secret.name.clone(), problem: problem.to_owned() })
}

/// An [`SourceError::InvalidFormat`].
pub fn invalid(secret: &SourceSecret, key: &str, problem: &str) -> SourceError {
    SourceError::InvalidFormat {
        secret: secret.name.clone(),
        key: key.to_owned(),
        problem: problem.to_owned(),
    }
}
