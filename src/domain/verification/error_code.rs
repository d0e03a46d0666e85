//! Error codes that servers write into their answers. Any other is not passed on, as it would be foreign text.

use serde::Deserialize;

use super::xml::{self, Document};

macro_rules! error_codes {
    ($($(#[$about:meta])* $of:ident { $($code:ident),+ $(,)? })+) => {
        /// An error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::upper_case_acronyms, reason = "as in the specification")]
        #[allow(non_camel_case_types, reason = "as in the specification")]
        pub(crate) enum ErrorCode { $($($code),+),+ }

        impl ErrorCode {
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$code => stringify!($code)),+),+ }
            }

            $(
                $(#[$about])*
                fn $of(text: &str) -> Option<Self> {
                    match text { $(stringify!($code) => Some(Self::$code),)+ _ => None }
                }
            )+
        }
    };
}

error_codes! {
    /// Of the distribution specification.
    of_registry {
        UNAUTHORIZED,
        DENIED,
        UNSUPPORTED,
        TOOMANYREQUESTS,
        // As Harbor writes it.
        TOO_MANY_REQUEST,
        NAME_INVALID,
        NAME_UNKNOWN,
        MANIFEST_INVALID,
        MANIFEST_UNKNOWN,
        UNAVAILABLE,
        UNKNOWN,
    }
    /// Of object storage.
    of_storage {
        AccessDenied,
        AllAccessDisabled,
        InvalidAccessKeyId,
        InvalidToken,
        ExpiredToken,
        TokenRefreshRequired,
        // As Cloudflare writes it, also of access keys that it does not know.
        Unauthorized,
        SignatureDoesNotMatch,
        NoSuchBucket,
        InvalidBucketName,
        PermanentRedirect,
        TemporaryRedirect,
        IllegalLocationConstraintException,
        AuthorizationHeaderMalformed,
        // As Cloudflare writes it.
        InvalidRegionName,
        RequestTimeTooSkewed,
        RequestExpired,
        SlowDown,
        ThrottlingException,
        RequestLimitExceeded,
        InvalidArgument,
        InvalidRequest,
        MethodNotAllowed,
        NotImplemented,
        InternalError,
        ServiceUnavailable,
    }
}

impl ErrorCode {
    /// Reads one that was told.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_registry(text).or_else(|| Self::of_storage(text))
    }

    /// That of an answer: the first as the distribution specification has it, `{"errors":[{"code":".."}]}`, or that of
    /// object storage, which answers XML.
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<Error>,
        }
        #[derive(Deserialize)]
        struct Error {
            code: String,
        }
        if body.trim_ascii_start().first() == Some(&b'<') {
            return Self::of_document(&xml::read(body)?);
        }
        let read: Errors = serde_json::from_slice(body).ok()?;
        Self::of_registry(&read.errors.first()?.code)
    }

    /// That of an answer of object storage.
    pub(super) fn of_document(document: &Document) -> Option<Self> {
        Self::of_storage(document.code.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_are_read_each_where_it_belongs() {
        for (body, wanted) in [
            (r#"{"errors":[{"code":"DENIED"},{"code":"UNKNOWN"}]}"#, Some("DENIED")),
            (r#"{"errors":[{"code":"AccessDenied"}]}"#, None),
            (r#"{"errors":[]}"#, None),
            ("\n<Error>\n<Code> SlowDown\n</Code></Error>", Some("SlowDown")),
            ("<Error><Code>DENIED</Code></Error>", None),
            ("<Error><Code>Evil</Code></Error>", None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(ErrorCode::read(body.as_bytes()).map(ErrorCode::as_str), wanted, "{body}");
        }
        for code in ["DENIED", "AccessDenied"] {
            assert_eq!(ErrorCode::parse(code).map(ErrorCode::as_str), Some(code));
        }
        assert_eq!(ErrorCode::parse("Evil"), None);
    }
}
