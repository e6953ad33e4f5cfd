//! Arrays with a bound, where they are read from bytes: one that says or brings more is refused before memory goes into it.
//! A few bytes on the wire may be many in memory.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

/// Places that are set aside before the elements have arrived.
const EAGER: usize = 64;

/// An array of at most `MOST`.
pub(crate) struct Bounded<T, const MOST: usize>(pub(crate) Vec<T>);

/// For `#[serde(deserialize_with = "bounded::vec::<_, _, MOST>")]` on fields of type [`Vec`].
pub(crate) fn vec<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(d: D) -> Result<Vec<T>, D::Error> {
    Bounded::<T, MOST>::deserialize(d).map(|Bounded(elements)| elements)
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_seq(Visit(PhantomData))
    }
}

struct Visit<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> de::Visitor<'de> for Visit<T, MOST> {
    type Value = Bounded<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MOST}")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let said = seq.size_hint().unwrap_or(0);
        if said > MOST {
            return Err(de::Error::invalid_length(said, &self));
        }
        let mut elements = Vec::with_capacity(said.min(EAGER));
        while let Some(element) = seq.next_element()? {
            if elements.len() == MOST {
                return Err(de::Error::invalid_length(MOST + 1, &self));
            }
            elements.push(element);
        }
        Ok(Bounded(elements))
    }
}
