//! PEM: blocks of base64 between BEGIN and END, with any text around them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::error::{CertificateError, malformed, unsupported_format};
use crate::domain::sensitive::SecretBytes;

/// What stands between a BEGIN and its END. It may be a private key, so it cannot be printed.
pub struct Block {
    /// Such as `CERTIFICATE`.
    pub label: String,
    /// Whether a header says that the content is encrypted, as OpenSSL once did it.
    pub encrypted: bool,
    /// The content.
    pub der: Zeroizing<Vec<u8>>,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Characters of base64 on a line.
const LINE: usize = 64;

/// All blocks of a value, at least one. Text around them is left alone, as in every bundle of a
/// distribution; within them only the headers of RFC 1421 are known.
pub fn blocks(value: &[u8]) -> Result<Vec<Block>, CertificateError> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, bool, Zeroizing<Vec<u8>>)> = None;
    let mut rest_of_value = value;
    for line in value.split_inclusive(|byte| *byte == b'\n') {
        rest_of_value = rest_of_value.get(line.len()..).unwrap_or_default();
        let line = line.trim_ascii_end();
        if let Some(rest) = line.strip_prefix(BEGIN) {
            if let Some((label, ..)) = open {
                return Err(malformed(format!("has a block {label} without its -----END {label}-----")));
            }
            let label = rest.strip_suffix(DASHES).map(name).ok_or_else(|| {
                malformed("has a line that begins with -----BEGIN but does not end in -----")
            })?;
            // As large as it can get, so that growing leaves no copies of a key behind.
            let size = rest_of_value.windows(END.len()).position(|bytes| bytes == END);
            open =
                Some((label, false, Zeroizing::new(Vec::with_capacity(size.unwrap_or(rest_of_value.len())))));
        } else if let Some(rest) = line.strip_prefix(END) {
            let Some((label, encrypted, body)) = open.take() else {
                return Err(malformed(
                    "has an -----END line without its -----BEGIN line; there may be nothing before the dashes",
                ));
            };
            if rest.strip_suffix(DASHES).map(name).as_deref() != Some(label.as_str()) {
                return Err(malformed(format!(
                    "has a block {label} whose END line is not just -----END {label}-----; a line break may be missing after it"
                )));
            }
            let der = STANDARD
                .decode(body.as_slice())
                .map_err(|_| malformed(format!("has a block {label} that is not base64; it was damaged")))?;
            blocks.push(Block { label, encrypted, der: Zeroizing::new(der) });
        } else if let Some((_, encrypted, body)) = &mut open {
            // No base64 holds a colon.
            if line.contains(&b':') {
                *encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
            } else {
                body.extend_from_slice(line.trim_ascii_start());
            }
        } else if line.trim_ascii_start().starts_with(BEGIN) {
            return Err(malformed(
                "has a -----BEGIN line with spaces before it; write it without indentation",
            ));
        }
    }
    match open {
        Some((label, ..)) => {
            Err(malformed(format!("is cut off: a block {label} has no -----END {label}-----")))
        }
        None if blocks.is_empty() => Err(not_pem(value)),
        None => Ok(blocks),
    }
}

/// The blocks of a value as RFC 7468 writes them, and nothing of the text around them.
///
/// # Errors
/// As [`blocks`].
pub fn plain(value: &[u8]) -> Result<SecretBytes, CertificateError> {
    // Room for a line break in each line, so that growing leaves no copy of a key behind.
    let mut plain = Vec::with_capacity(value.len() + value.len() / LINE + 2 * LINE);
    for block in blocks(value)? {
        let mut body = Zeroizing::new(String::with_capacity(block.der.len().div_ceil(3) * 4));
        STANDARD.encode_string(&block.der, &mut body);
        let (begin, end) =
            (format!("-----BEGIN {}-----\n", block.label), format!("-----END {}-----\n", block.label));
        plain.extend_from_slice(begin.as_bytes());
        for line in body.as_bytes().chunks(LINE) {
            plain.extend_from_slice(line);
            plain.push(b'\n');
        }
        plain.extend_from_slice(end.as_bytes());
    }
    Ok(SecretBytes::new(plain))
}

/// A label for a message: text that is not a label is not repeated.
fn name(label: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    if label.len() <= 40 && label.iter().all(plain) {
        String::from_utf8_lossy(label).into_owned()
    } else {
        "of an unknown type".to_owned()
    }
}

/// What a value is that has no block, as far as it can be told.
fn not_pem(value: &[u8]) -> CertificateError {
    let text = value.trim_ascii();
    let problem = if text.is_empty() {
        "is empty"
    } else if let [0x30, rest @ ..] = value {
        // A PFX begins with its version, which is 3.
        return unsupported_format(
            if rest.iter().take(8).collect::<Vec<_>>().windows(3).any(|three| three == [&2, &1, &3]) {
                "is PKCS#12, not PEM; take it apart: openssl pkcs12 -in <file> -nokeys -out tls.crt, and openssl pkcs12 -in <file> -nocerts -nodes -out tls.key"
            } else {
                "is binary (DER), not PEM; convert it: openssl x509 -inform der -in <file> -out tls.crt, or openssl pkey -inform der -in <file> -out tls.key"
            },
        );
    } else if value.starts_with(&[0xFE, 0xED, 0xFE, 0xED]) {
        return unsupported_format(
            "is a Java keystore, not PEM; export it with keytool -importkeystore -deststoretype pkcs12, and take that apart with openssl pkcs12",
        );
    } else if text.starts_with(b"LS0tLS1") {
        "is base64 of PEM: it was encoded twice; `data` of a Secret needs base64 once, `stringData` the plain text"
    } else if text.starts_with(b"MI") {
        "is base64 without the lines -----BEGIN ...----- and -----END ...----- that PEM needs"
    } else {
        "is not PEM: no line begins with -----BEGIN"
    };
    malformed(problem)
}
