//! DER that is damaged by its structure: the lengths around the damage are right again.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// A value with its tag. One that is constructed has values in it.
#[derive(Clone, Debug)]
enum Node {
    Primitive(u8, Vec<u8>),
    Constructed(u8, Vec<Node>),
}

/// What happens to one value.
#[derive(Clone, Debug)]
enum Damage {
    Drop,
    Tag(u8),
    Content(Vec<u8>),
    /// As many times as this in a row.
    Repeat(usize),
    /// In as many sequences, or sets, as this.
    Nest(usize, u8),
    Reverse,
}

fn read(mut bytes: &[u8]) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    while let [tag, length, rest @ ..] = bytes {
        let (length, rest) = match *length {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (digits.iter().fold(0, |all, digit| all << 8 | usize::from(*digit)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        nodes.push(match read(content) {
            Some(inner) if tag & 0x20 != 0 => Node::Constructed(*tag, inner),
            _ => Node::Primitive(*tag, content.to_vec()),
        });
        bytes = rest;
    }
    bytes.is_empty().then_some(nodes)
}

fn write(nodes: &[Node]) -> Vec<u8> {
    nodes
        .iter()
        .flat_map(|node| match node {
            Node::Primitive(tag, content) => tlv(*tag, content),
            Node::Constructed(tag, inner) => tlv(*tag, &write(inner)),
        })
        .collect()
}

/// A value as DER writes it.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        0x100..0x1_0000 => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        _ => vec![tag, 0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8],
    };
    [head.as_slice(), content].concat()
}

/// A value of which the part at a path, by positions, is another one.
pub fn replaced(der: &[u8], path: &[usize], by: &[u8]) -> Vec<u8> {
    let mut nodes = read(der).expect("DER");
    let (last, above) = path.split_last().expect("a path");
    let mut inner = &mut nodes;
    for at in above {
        let Node::Constructed(_, found) = &mut inner[*at] else { panic!("nothing is in it") };
        inner = found;
    }
    inner[*last] = read(by).expect("DER").swap_remove(0);
    write(&nodes)
}

fn count(nodes: &[Node]) -> usize {
    let inside = |node: &Node| match node {
        Node::Primitive(..) => 1,
        Node::Constructed(_, inner) => 1 + count(inner),
    };
    nodes.iter().map(inside).sum()
}

fn hit(nodes: &mut Vec<Node>, mut at: usize, damage: &Damage) {
    for place in 0..nodes.len() {
        if at == 0 {
            let node = nodes[place].clone();
            let replaced = match (damage, node) {
                (Damage::Drop, _) => Vec::new(),
                (Damage::Tag(tag), Node::Primitive(_, content)) => vec![Node::Primitive(*tag, content)],
                (Damage::Tag(tag), Node::Constructed(_, inner)) => vec![Node::Constructed(*tag, inner)],
                (Damage::Content(content), Node::Primitive(tag, _) | Node::Constructed(tag, _)) => {
                    vec![Node::Primitive(tag, content.clone())]
                }
                (Damage::Repeat(times), node) => vec![node; *times],
                (Damage::Nest(depth, tag), node) => {
                    vec![(0..*depth).fold(node, |inner, _| Node::Constructed(*tag, vec![inner]))]
                }
                (Damage::Reverse, Node::Constructed(tag, inner)) => {
                    vec![Node::Constructed(tag, inner.into_iter().rev().collect())]
                }
                (Damage::Reverse, node) => vec![node],
            };
            nodes.splice(place..=place, replaced);
            return;
        }
        at -= 1;
        if let Node::Constructed(_, inner) = &mut nodes[place] {
            let inside = count(inner);
            if at < inside {
                return hit(inner, at, damage);
            }
            at -= inside;
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let tags = [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31, 0x80, 0xa0, 0xa3,
        0x1f, 0xff,
    ];
    let contents = vec![
        vec![],
        vec![0],
        vec![0xff; 9],
        vec![0x80; 300],
        vec![0x7f; 5000],
        b"99991231235959Z".to_vec(),
        b"20260229000000Z".to_vec(),
        b"991332256161Z".to_vec(),
        b"00000000000000Z".to_vec(),
        b"\x1b[2J\0\xe2\x80\xae".to_vec(),
        [vec![0x88; 400], vec![0x01]].concat(),
    ];
    prop_oneof![
        2 => Just(Damage::Drop),
        2 => select(tags.to_vec()).prop_map(Damage::Tag),
        2 => prop_oneof![select(contents), vec(any::<u8>(), 0..40)].prop_map(Damage::Content),
        2 => (2..200_usize).prop_map(Damage::Repeat),
        1 => (1..100_usize, select(vec![0x30, 0x31, 0xa0])).prop_map(|(depth, tag)| Damage::Nest(depth, tag)),
        1 => Just(Damage::Reverse),
    ]
}

/// Values of DER with some of the values in them damaged.
pub fn damaged(values: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let values: Vec<Vec<Node>> = values.iter().map(|value| read(value).expect("DER")).collect();
    (select(values), vec((any::<Index>(), damage()), 1..4)).prop_map(|(mut nodes, damages)| {
        for (at, damage) in damages {
            let all = count(&nodes);
            if all > 0 {
                hit(&mut nodes, at.index(all), &damage);
            }
        }
        let mut der = write(&nodes);
        der.truncate(40 << 10);
        der
    })
}
