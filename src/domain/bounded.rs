//! Reading maps and lists of objects that others made, up to a bound: in memory one entry can be a hundred times larger
//! than in JSON.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

struct Bounded<T, const MOST: usize>(PhantomData<T>);

impl<T, const MOST: usize> Bounded<T, MOST> {
    fn check<E: Error>(len: usize) -> Result<(), E> {
        if len < MOST { Ok(()) } else { Err(E::custom(format_args!("more than {MOST} entries"))) }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<Vec<T>, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            Self::check(list.len())?;
            list.push(entry);
        }
        Ok(list)
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<BTreeMap<String, T>, MOST> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            Self::check(map.len())?;
            map.insert(key, value);
        }
        Ok(map)
    }
}

/// Reads a list, with null as an empty one.
pub(crate) fn list<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Bounded::<Vec<T>, MOST>(PhantomData))
}

/// Reads a map, with null as an empty one.
pub(crate) fn map<'de, D, T, const MOST: usize>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Bounded::<BTreeMap<String, T>, MOST>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Object {
        #[serde(default, deserialize_with = "list::<_, _, 2>")]
        list: Vec<u8>,
        #[serde(default, deserialize_with = "map::<_, _, 2>")]
        map: BTreeMap<String, u8>,
    }

    #[test]
    fn as_many_entries_as_the_bound_allows_are_read_and_no_more() {
        let read = |text: &str| serde_json::from_str::<Object>(text).map(|o| (o.list.len(), o.map.len()));
        assert_eq!(read(r#"{"list":[1,2],"map":{"a":1,"b":2}}"#).unwrap(), (2, 2));
        assert_eq!(read(r#"{"list":null,"map":null}"#).unwrap(), (0, 0));
        assert!(read(r#"{"list":[1,2,3]}"#).is_err() && read(r#"{"map":{"a":1,"b":2,"c":3}}"#).is_err());
    }
}
