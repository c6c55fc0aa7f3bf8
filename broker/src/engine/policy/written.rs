//! The forms in which values are written: strings that make something, lists of them, tables.
//!
//! What is wrong is said of the very string it is wrong with, and says what is expected.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;
use toml::Spanned;

/// Reads a string and makes a `T` of it.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    Parsed::deserialize(deserializer).map(|Parsed(value)| value)
}

/// A list of strings, at least one, each of which makes a `T`. One string is a list of one.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<Spanned<T>>);

impl<T> List<T> {
    /// What the strings made.
    pub(crate) fn values(self) -> Vec<T> {
        self.0.into_iter().map(Spanned::into_inner).collect()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Spanned::<OneOrMore<T>>::deserialize(deserializer)?;
        let at = written.span();
        let value = |one: Spanned<Parsed<T>>| Spanned::new(one.span(), one.into_inner().0);
        Ok(Self(match written.into_inner() {
            OneOrMore::One(one) => vec![Spanned::new(at, one)],
            OneOrMore::More(more) => more.into_iter().map(value).collect(),
        }))
    }
}

/// Reads a table, and nothing else: serde would fill a struct from a list as well.
pub(crate) fn table<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(TableVisitor(PhantomData))
}

/// Tables, at least one, under a key in double brackets.
#[derive(Debug)]
pub(crate) struct Tables<T>(pub(crate) Vec<Spanned<T>>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tables<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(TablesVisitor(PhantomData))
            .map(Self)
    }
}

struct TablesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TablesVisitor<T> {
    type Value = Vec<Spanned<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tables, each below the key in double brackets, `[[…]]`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Self::Value, A::Error> {
        let value = |one: Spanned<Table<T>>| Spanned::new(one.span(), one.into_inner().0);
        Ok(at_least_one(tables)?.into_iter().map(value).collect())
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Table<T>(#[serde(deserialize_with = "table")] T);

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, below its key in brackets, `[…]`")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries))
    }
}

struct Parsed<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(ParsedVisitor(PhantomData))
            .map(Self)
    }
}

struct ParsedVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for ParsedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

enum OneOrMore<T> {
    One(T),
    More(Vec<Spanned<Parsed<T>>>),
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor(PhantomData))
    }
}

struct OneOrMoreVisitor<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: Display>> Visitor<'de> for OneOrMoreVisitor<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings, `[\"…\"]`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMore<T>, E> {
        text.parse().map(OneOrMore::One).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, strings: A) -> Result<OneOrMore<T>, A::Error> {
        at_least_one(strings).map(OneOrMore::More)
    }
}

fn at_least_one<'de, T, A>(mut items: A) -> Result<Vec<T>, A::Error>
where
    T: Deserialize<'de>,
    A: SeqAccess<'de>,
{
    let mut list = Vec::new();
    while let Some(item) = items.next_element()? {
        list.push(item);
    }
    if list.is_empty() {
        return Err(A::Error::custom(
            "an empty list; fill it or leave the key out",
        ));
    }
    Ok(list)
}
