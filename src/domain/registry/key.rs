//! A key of `auths` as kubelet reads it: by Go's `url.Parse` (go1.26), as far as host and path go.

use std::net::Ipv6Addr;

/// Host, with its port, and path of a key or of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Location {
    pub host: Vec<u8>,
    pub path: Vec<u8>,
}

/// A key as the keyring files it: without scheme and user, with escapes resolved, and without the version of an API.
/// `None` for one that kubelet leaves out.
pub(crate) fn index(key: &str) -> Option<Vec<u8>> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let Location { host, mut path } = parse(rest.as_bytes())?;
    if path.starts_with(b"/v1/") || path.starts_with(b"/v2/") {
        path.drain(..3);
    }
    Some(if path == b"/" { host } else { [host, path].concat() })
}

/// What follows `https://` in a URL.
pub(crate) fn parse(text: &[u8]) -> Option<Location> {
    let (url, fragment) = cut(text, b'#');
    if url.iter().any(u8::is_ascii_control) || unescape(fragment, |_| true, |_| true).is_none() {
        return None;
    }
    let (url, _) = cut(url, b'?');
    let at = url.iter().position(|byte| *byte == b'/').unwrap_or(url.len());
    let (authority, path) = url.split_at_checked(at)?;
    let host = match authority.iter().rposition(|byte| *byte == b'@') {
        None => authority,
        Some(at) => {
            let (user, host) = authority.split_at_checked(at)?;
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
            let (name, password) = cut(user, b':');
            let is_escaped = |part| unescape(part, |_| true, |_| true).is_some();
            if !user.iter().all(allowed) || !is_escaped(name) || !is_escaped(password) {
                return None;
            }
            host.get(1..)?
        }
    };
    Some(Location { host: parse_host(host)?, path: unescape(path, |_| true, |_| true)? })
}

fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Only an IPv6 address stands in brackets, and only a port after a colon.
fn parse_host(host: &[u8]) -> Option<Vec<u8>> {
    match host.iter().rposition(|byte| *byte == b'[') {
        Some(0) => {
            let end = host.iter().rposition(|byte| *byte == b']')?;
            let (inside, port) = (host.get(1..end)?, host.get(end + 1..)?);
            if !is_optional_port(port) {
                return None;
            }
            let zone = inside.windows(3).position(|three| three == b"%25").unwrap_or(inside.len());
            let (address, zone) = inside.split_at_checked(zone)?;
            let zone = unescape(zone, is_host_byte, |byte| {
                byte.is_ascii() && (byte == b'%' || byte == b' ' || is_host_byte(byte))
            })?;
            let address = [unescape_host(address)?, zone].concat();
            is_ipv6(&address).then(|| [b"[", &*address, b"]", port].concat())
        }
        Some(_) => None,
        None => {
            let colon = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
            is_optional_port(host.get(colon..)?).then(|| unescape_host(host))?
        }
    }
}

fn is_optional_port(text: &[u8]) -> bool {
    text.split_first().is_none_or(|(colon, port)| *colon == b':' && port.iter().all(u8::is_ascii_digit))
}

fn is_ipv6(text: &[u8]) -> bool {
    let (address, zone) = cut(text, b'%');
    let has_zone = text.contains(&b'%');
    str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        && (!has_zone || !zone.is_empty())
}

/// What a host is written with. Beyond ASCII all goes.
fn is_host_byte(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~".contains(&byte)
}

fn unescape_host(text: &[u8]) -> Option<Vec<u8>> {
    unescape(text, is_host_byte, |byte| byte >= 0x80 || byte == b'%')
}

/// Resolves escapes; `None` for one that is not whole, or for bytes that may not stand there, plain or escaped.
fn unescape(text: &[u8], plain: impl Fn(u8) -> bool, escaped: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let digit =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut done, mut rest) = (Vec::with_capacity(text.len()), text.iter());
    while let Some(&byte) = rest.next() {
        let (byte, allowed) = if byte == b'%' {
            let byte = (digit(rest.next())? << 4) | digit(rest.next())?;
            (byte, escaped(byte))
        } else {
            (byte, plain(byte))
        };
        if !allowed {
            return None;
        }
        done.push(byte);
    }
    Some(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_filed_as_upstream_does() {
        for (key, wanted) in [
            ("quay.io", Some("quay.io")),
            ("http://quay.io/", Some("quay.io")),
            ("https://index.docker.io/v1/", Some("index.docker.io")),
            ("https://index.docker.io/v1", Some("index.docker.io/v1")),
            ("HTTPS://quay.io", Some("HTTPS://quay.io")),
            ("https://me:secret@quay.io/a?b#c", Some("quay.io/a")),
            ("quay.io/a%2Fb", Some("quay.io/a/b")),
            ("reg.io:", Some("reg.io:")),
            ("", Some("")),
            ("reg.io:80:80", None),
            ("reg.io:http", None),
            ("quay io", None),
            ("quay.io/%zz", None),
            ("quay.io#%", None),
            ("m/e@quay.io", Some("m/e@quay.io")),
            ("m e@quay.io", None),
            ("quay.io/\u{1b}[2J", None),
            ("[fd00::1]:5000", Some("[fd00::1]:5000")),
            ("[fd00::1%25eth0]", Some("[fd00::1%eth0]")),
            ("[1.2.3.4]", None),
            ("[fd00::1", None),
            ("a[fd00::1]", None),
            ("%41.io", None),
        ] {
            let found = index(key).map(|index| String::from_utf8(index).unwrap());
            assert_eq!(found.as_deref(), wanted, "{key}");
        }
    }
}
