//! Which addresses a server may have that a tenant, or a registry, has named.
//!
//! A name can lead anywhere, and an address inside of another one, too; so what counts is the address that is
//! connected to, in its innermost form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far inside an address may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    Public,
    /// Also addresses of private networks.
    Private,
    /// And this machine's own.
    Loopback,
    /// Any at all: of servers that the environment of the operator names, and nobody else, such as a cloud's metadata.
    Machine,
}

impl Reach {
    /// Whether an address may be connected to.
    pub fn allows(self, address: IpAddr) -> bool {
        self == Self::Machine || needed(address).is_some_and(|needed| needed <= self)
    }
}

/// How far one must be let in for an address; `None` for those that no registry has: link-local ones, behind which
/// clouds keep their metadata, unspecified ones, multicast, and those reserved or for documentation.
fn needed(address: IpAddr) -> Option<Reach> {
    match address {
        IpAddr::V4(address) => needed_v4(address),
        IpAddr::V6(address) => needed_v6(address),
    }
}

fn needed_v4(address: Ipv4Addr) -> Option<Reach> {
    let [a, b, c, d] = address.octets();
    match (a, b, c) {
        // Where Azure has its services for machines.
        (168, 63, 129) if d == 16 => None,
        (127, ..) => Some(Reach::Loopback),
        // The metadata servers of Alibaba and Oracle clouds, in ranges that are private else.
        (100, 100, 100) | (192, 0, 0) => None,
        // Shared address space (RFC 6598), and what benchmarks use (RFC 2544), is inside of some network, too.
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (198, 18..=19, _) => {
            Some(Reach::Private)
        }
        (0, ..) | (169, 254, _) | (192, 0, 2) | (198, 51, 100) | (203, 0, 113) | (224.., ..) => None,
        _ => Some(Reach::Public),
    }
}

fn needed_v6(address: Ipv6Addr) -> Option<Reach> {
    if address.is_loopback() {
        return Some(Reach::Loopback);
    }
    let segments = address.segments();
    let [_, _, _, _, _, _, high, low] = segments;
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        needed_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // IPv4-mapped, the deprecated IPv4-compatible, and NAT64 (RFC 6052, RFC 8215).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => inner(high, low),
        [0x64, 0xff9b, 1, ..] | [0, 0, 0, 0, ..] => None,
        // 6to4, and Teredo, which has the address of the client inverted.
        [0x2002, high, low, ..] => inner(high, low),
        [0x2001, 0, ..] => inner(!high, !low),
        // The metadata servers of EC2 and of GCE.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] => None,
        [0xfc00..=0xfdff, ..] => Some(Reach::Private),
        // Link-local, the old site-local, multicast, documentation, and discard-only.
        [0xfe80..=0xfeff | 0xff00.., ..]
        | [0x2001, 0xdb8, ..]
        | [0x3fff, 0..=0xfff, ..]
        | [0x100, 0, 0, 0, ..] => None,
        [0x2000..=0x3fff, ..] => Some(Reach::Public),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_open_to_all() {
        for (text, wanted) in [
            ("1.1.1.1", Some(Reach::Public)),
            ("2606:4700::1111", Some(Reach::Public)),
            ("10.96.0.1", Some(Reach::Private)),
            ("172.16.0.1", Some(Reach::Private)),
            ("172.32.0.1", Some(Reach::Public)),
            ("192.168.1.1", Some(Reach::Private)),
            ("100.64.0.1", Some(Reach::Private)),
            ("fd12:3456::1", Some(Reach::Private)),
            ("127.0.0.1", Some(Reach::Loopback)),
            ("127.255.0.1", Some(Reach::Loopback)),
            ("::1", Some(Reach::Loopback)),
            ("169.254.169.254", None),
            ("169.254.170.23", None),
            ("100.100.100.200", None),
            ("192.0.0.192", None),
            ("168.63.129.16", None),
            ("168.63.129.17", Some(Reach::Public)),
            ("3fff::1", None),
            ("fd00:ec2::254", None),
            ("fd20:ce::254", None),
            ("fe80::1", None),
            ("fec0::1", None),
            ("0.0.0.0", None),
            ("0.1.2.3", None),
            ("::", None),
            ("255.255.255.255", None),
            ("224.0.0.1", None),
            ("ff02::1", None),
            ("240.0.0.1", None),
            // Of an address inside of another one, the inner one counts.
            ("::ffff:127.0.0.1", Some(Reach::Loopback)),
            ("::ffff:10.0.0.1", Some(Reach::Private)),
            ("::ffff:169.254.169.254", None),
            ("::ffff:1.1.1.1", Some(Reach::Public)),
            ("64:ff9b::a9fe:a9fe", None),
            ("64:ff9b::7f00:1", Some(Reach::Loopback)),
            ("64:ff9b:1::1", None),
            ("2002:7f00:1::", Some(Reach::Loopback)),
            ("2002:a9fe:a9fe::1", None),
            ("2001:0:1:2:3:4:5601:5601", None),
            ("::7f00:1", None),
        ] {
            assert_eq!(needed(text.parse().unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn who_may_reach_further_may_reach_what_is_nearer() {
        let private: IpAddr = "10.0.0.1".parse().unwrap();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        assert!(!Reach::Public.allows(private) && Reach::Private.allows(private));
        assert!(Reach::Loopback.allows(private) && Reach::Loopback.allows(loopback));
        assert!(!Reach::Private.allows(loopback));
        assert!(!Reach::Loopback.allows(metadata), "nobody asks a metadata server");
    }
}
