//! Password hashes as they stand in htpasswd files.
//!
//! All of them say by themselves how they were made. So a hash holds for a password when making it
//! again, with its own salt, gives the very same text: that also tells the algorithm and the cost.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::api::PasswordHash;

/// The cost of bcrypt, as a power of two: about 60 ms. Consumers such as nginx check the password
/// anew with each request, so that a higher cost lets anybody at all keep their processors busy.
const BCRYPT_COST: u32 = 10;

/// What a bcrypt hash of ours begins with. `$2y$` is read by all: by libxcrypt, by Go, by Apache,
/// and by older copies of crypt_blowfish too, which do not know `$2b$`.
const BCRYPT_PREFIX: &str = "$2y$10$";

/// Of what is hashed by bcrypt, the rest of a password would simply not count.
const BCRYPT_MAX_BYTES: usize = 72;

/// How long a bcrypt salt is as text.
const BCRYPT_SALT_CHARS: usize = 22;

/// sha512-crypt with its usual 5000 rounds, which are not written out.
const SHA512_PREFIX: &str = "$6$";

/// musl refuses longer ones (libxcrypt takes 511).
const SHA512_MAX_BYTES: usize = 256;

/// The longest salt that sha512-crypt uses.
const SHA512_SALT_CHARS: usize = 16;

const SHA1_PREFIX: &str = "{SHA}";

/// Base64 of crypt(3), which has an order of its own.
const CRYPT_ALPHABET: [u8; 64] = *b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a password cannot be hashed so, as the end of a sentence about it.
pub fn problem(hash: PasswordHash, password: &str) -> Option<String> {
    let (name, limit) = match hash {
        PasswordHash::Bcrypt => ("bcrypt", BCRYPT_MAX_BYTES),
        PasswordHash::Sha512Crypt => ("sha512-crypt", SHA512_MAX_BYTES),
        PasswordHash::Sha1 => return None,
    };
    (password.len() > limit)
        .then(|| format!("has {} bytes; a password for {name} may have at most {limit}", password.len()))
}

/// Hashes a password for a user. The salt comes from `entropy`, and is another one for each user.
pub fn make(hash: PasswordHash, user: &str, password: &str, entropy: &[u8; 32]) -> Zeroizing<String> {
    let mut seed = Sha256::new();
    seed.update(entropy);
    seed.update(user.as_bytes());
    let seed = seed.finalize();
    match hash {
        PasswordHash::Bcrypt => {
            let mut salt = [0; 16];
            salt.iter_mut().zip(seed).for_each(|(to, from)| *to = from);
            bcrypt(password, salt)
        }
        PasswordHash::Sha512Crypt => {
            let salt: String =
                seed.iter().take(SHA512_SALT_CHARS).map(|byte| crypt_char(u32::from(*byte))).collect();
            sha512_crypt(password, &salt)
        }
        PasswordHash::Sha1 => sha1(password),
    }
}

/// Whether a text is a hash of the password, made as it would be made now.
pub fn holds(hash: PasswordHash, password: &str, text: &str) -> bool {
    let again = match hash {
        PasswordHash::Bcrypt => bcrypt_salt(text).map(|salt| bcrypt(password, salt)),
        PasswordHash::Sha512Crypt => sha512_salt(text).map(|salt| sha512_crypt(password, salt)),
        PasswordHash::Sha1 => Some(sha1(password)),
    };
    again.is_some_and(|again| *again == text)
}

fn bcrypt(password: &str, salt: [u8; 16]) -> Zeroizing<String> {
    // A NUL ends the password, unless it fills the space.
    let mut key = Zeroizing::new([0; BCRYPT_MAX_BYTES]);
    key.iter_mut().zip(password.bytes()).for_each(|(to, from)| *to = from);
    let used = key.get(..=password.len()).unwrap_or(key.as_slice());
    let digest = Zeroizing::new(bcrypt::bcrypt(BCRYPT_COST, salt, used));
    let mut text = Zeroizing::new(String::with_capacity(60));
    text.push_str(BCRYPT_PREFIX);
    bcrypt::BASE_64.encode_string(salt, &mut text);
    // The last byte is left out, as it always was.
    bcrypt::BASE_64.encode_string(digest.split_last().map_or(&[][..], |(_, most)| most), &mut text);
    text
}

fn bcrypt_salt(text: &str) -> Option<[u8; 16]> {
    let salt = text.strip_prefix(BCRYPT_PREFIX)?.get(..BCRYPT_SALT_CHARS)?;
    bcrypt::BASE_64.decode(salt).ok()?.try_into().ok()
}

fn sha512_crypt(password: &str, salt: &str) -> Zeroizing<String> {
    let rounds = sha_crypt::Params::RECOMMENDED;
    let digest = Zeroizing::new(sha_crypt::sha512_crypt(password.as_bytes(), salt.as_bytes(), rounds));
    let mut text = Zeroizing::new(String::with_capacity(SHA512_PREFIX.len() + salt.len() + 1 + 86));
    text.push_str(SHA512_PREFIX);
    text.push_str(salt);
    text.push('$');
    // Three bytes at a time, one from each third, whose order turns with each step.
    let byte = |at: usize| digest.get(at).copied().map_or(0, u32::from);
    let mut thirds = [0, 21, 42];
    for _ in 0..21 {
        let [high, middle, low] = thirds;
        let mut bits = (byte(high) << 16) | (byte(middle) << 8) | byte(low);
        for _ in 0..4 {
            text.push(crypt_char(bits));
            bits >>= 6;
        }
        thirds = [middle + 1, low + 1, high + 1];
    }
    text.push(crypt_char(byte(63)));
    text.push(crypt_char(byte(63) >> 6));
    text
}

/// The salt, where it is as long as ours are.
fn sha512_salt(text: &str) -> Option<&str> {
    let (salt, _) = text.strip_prefix(SHA512_PREFIX)?.split_once('$')?;
    (salt.len() == SHA512_SALT_CHARS && salt.bytes().all(|byte| CRYPT_ALPHABET.contains(&byte)))
        .then_some(salt)
}

/// The character for the lowest six bits.
fn crypt_char(bits: u32) -> char {
    CRYPT_ALPHABET.get((bits & 63) as usize).copied().map_or('.', char::from)
}

fn sha1(password: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(SHA1_PREFIX.len() + 28));
    text.push_str(SHA1_PREFIX);
    let digest: Zeroizing<[u8; 20]> = Zeroizing::new(Sha1::digest(password.as_bytes()).into());
    STANDARD.encode_string(digest.as_slice(), &mut text);
    text
}

#[cfg(test)]
#[path = "htpasswd_tests.rs"]
mod tests;
