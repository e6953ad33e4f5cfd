//! Reads a TOML document setting by setting, and keeps account: of what was asked for, of what is wrong, and of what
//! stands in the document without anybody having asked for it. Nothing stops at the first problem.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    str::FromStr,
};

use landbridge_protocol::time::Millis;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::Problem,
    units::{ByteSize, OrOff, parse_size, parse_span, show_span},
};

/// A value that a setting can have.
pub(super) trait Setting: Sized {
    /// Takes it from the document, or says in a sentence what is wrong with it.
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

/// A [`Setting`] that has a range.
pub(super) trait Bounded: Setting + PartialOrd {
    /// As it is written in a document.
    fn show(&self) -> String;
}

/// The account of one document.
pub(super) struct Reader<'t> {
    text: &'t str,
    dir: &'t Path,
    problems: RefCell<Vec<Problem>>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'t> Reader<'t> {
    /// Of this text; relative paths are relative to `dir`.
    pub(super) fn new(text: &'t str, dir: &'t Path) -> Self {
        Self { text, dir, problems: RefCell::default(), asked: RefCell::default() }
    }

    /// The whole document as a section.
    pub(super) fn root<'r>(&'r self, table: &'r DeTable<'t>) -> Section<'r, 't> {
        Section { reader: self, path: String::new(), table: Some(table), line: None, asked: Vec::new() }
    }

    /// Notes a problem.
    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Line, from 1, where this range of bytes begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Everything that is wrong, by line, and every setting that was asked for, as `section.key`.
    pub(super) fn close(self) -> (Vec<Problem>, BTreeSet<String>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        (problems, self.asked.into_inner())
    }
}

/// One table of the document, or one that is not there and whose settings all have their defaults.
pub(super) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    table: Option<&'r DeTable<'t>>,
    line: Option<usize>,
    asked: Vec<&'static str>,
}

impl<'r, 't> Section<'r, 't> {
    /// Line of its heading, where it stands in the document under one.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// Line of that key, else of the section.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        self.find(key).map(|(line, _)| line).or(self.line)
    }

    /// Notes a problem with that key.
    pub(super) fn blame(&self, key: &str, text: impl Into<String>) {
        self.reader.problem(Problem { line: self.line_of(key), text: text.into() });
    }

    /// The setting, if it is there and good.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let (line, value) = self.ask(key)?;
        match T::read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(text) => {
                self.reader.problem(Problem::at(line, format!("`{}`: {text}", self.name(key))));
                None
            }
        }
    }

    /// The setting, else its default.
    pub(super) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The setting, that must be there. `what` goes on from "it is" for the one who left it out.
    pub(super) fn required<T: Setting>(&mut self, key: &'static str, what: &str) -> Option<T> {
        self.demand(key, what);
        self.optional(key)
    }

    /// Notes a problem where that key is not there.
    pub(super) fn demand(&self, key: &str, what: &str) {
        if self.find(key).is_none() {
            let text = format!("`{}` is missing: it is {what}", self.name(key));
            self.reader.problem(Problem { line: self.line, text });
        }
    }

    /// The setting within its range, else its default.
    pub(super) fn within<T: Bounded>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T {
        match self.optional::<T>(key) {
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                let (least, most) = (range.start().show(), range.end().show());
                let text = format!("`{}` is {}; it may be {least} to {most}", self.name(key), value.show());
                self.blame(key, text);
                default
            }
            None => default,
        }
    }

    /// A path, relative to the file.
    pub(super) fn file(&mut self, key: &'static str, what: &str) -> Option<PathBuf> {
        self.required::<String>(key, what).map(|path| self.reader.dir.join(path))
    }

    /// A path or a list of paths, relative to the file.
    pub(super) fn files(&mut self, key: &'static str) -> Option<Vec<PathBuf>> {
        let dir = self.reader.dir;
        self.optional::<OneOrMore>(key).map(|OneOrMore(paths)| paths.iter().map(|path| dir.join(path)).collect())
    }

    /// The table of that key; one of defaults where there is none.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'r, 't> {
        let path = self.name(key);
        let found = self.ask(key).map(|(line, value)| (line, value.get_ref().as_table()));
        if let Some((line, None)) = found {
            self.reader
                .problem(Problem::at(line, format!("`{path}` is a section: write [{path}] on a line by itself")));
        }
        let line = found.map(|(line, _)| line);
        Section { reader: self.reader, path, table: found.and_then(|(_, table)| table), line, asked: Vec::new() }
    }

    /// The tables of that key, written `[[key]]`; `None` where there is no such key at all.
    pub(super) fn sections(&mut self, key: &'static str) -> Option<Vec<Section<'r, 't>>> {
        let path = self.name(key);
        let (line, value) = self.ask(key)?;
        let items = value.get_ref().as_array().map(|items| items.iter()).into_iter().flatten();
        let mut sections = Vec::new();
        for item in items {
            let line = Some(self.reader.line(&item.span()));
            let (reader, path) = (self.reader, path.clone());
            let Some(table) = item.get_ref().as_table() else { continue };
            sections.push(Section { reader, path, table: Some(table), line, asked: Vec::new() });
        }
        let whole = value.get_ref().as_array().is_some_and(|items| items.len() == sections.len());
        if !whole {
            self.reader.problem(Problem::at(line, format!("`{path}` is a list: write [[{path}]] above each of them")));
        }
        Some(sections)
    }

    /// Refuses a setting of a later version, with what to do instead.
    pub(super) fn not_yet(&mut self, key: &'static str, instead: &str) {
        if let Some((line, _)) = self.find(key) {
            let text = format!("`{}` is not in this version: {instead}", self.name(key));
            self.reader.problem(Problem::at(line, text));
        }
        self.asked.push(key);
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let word = key.get_ref().as_ref();
            if self.asked.contains(&word) {
                continue;
            }
            let place = if self.path.is_empty() { "at the top" } else { &format!("in [{}]", self.path) };
            let hint = match nearest(word, &self.asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known there: {}", self.asked.join(", ")),
            };
            let line = self.reader.line(&key.span());
            self.reader.problem(Problem::at(line, format!("unknown key `{word}` {place}; {hint}")));
        }
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    fn ask(&mut self, key: &'static str) -> Option<(usize, &'r Spanned<DeValue<'t>>)> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.reader.asked.borrow_mut().insert(self.name(key));
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<(usize, &'r Spanned<DeValue<'t>>)> {
        let (key, value) = self.table?.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some((self.reader.line(&key.span()), value))
    }
}

/// How alike two words must be, by Jaro and Winkler's measure, for one to be offered in place of the other.
const ALIKE: f64 = 0.75;

fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let scored = known.iter().map(|key| (strsim::jaro_winkler(word, key), *key));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
}

fn text_of<'v>(value: &'v DeValue<'_>, such_as: &str) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("{} where text belongs, such as {such_as}", a_type(value)))
}

fn a_type(value: &DeValue<'_>) -> String {
    format!("this is of type {}", value.type_str())
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Setting for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("{} where true or false belongs", a_type(value)))
    }
}

impl Setting for String {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text_of(value, "\"...\"").map(str::to_string)
    }
}

impl Setting for usize {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let number = integer(value).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| match value.as_integer() {
            Some(given) => format!("this is {} where a whole number from 0 belongs", given.as_str()),
            None => format!("{} where a whole number from 0 belongs", a_type(value)),
        })
    }
}

impl Bounded for usize {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for Millis {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        parse_span(text_of(value, "\"10s\"")?)
    }
}

impl Bounded for Millis {
    fn show(&self) -> String {
        show_span(*self)
    }
}

impl Setting for ByteSize {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match integer(value) {
            Some(bytes) => Ok(ByteSize::new(bytes)),
            None => parse_size(text_of(value, "\"64KiB\"")?),
        }
    }
}

impl Bounded for ByteSize {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Setting> Setting for OrOff<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        if value.as_str() == Some("off") {
            return Ok(OrOff::Off);
        }
        T::read(value).map(OrOff::On).map_err(|error| format!("{error}, or \"off\""))
    }
}

impl<T: Bounded> Bounded for OrOff<T> {
    fn show(&self) -> String {
        match self {
            OrOff::On(value) => value.show(),
            OrOff::Off => "\"off\"".into(),
        }
    }
}

impl Setting for SocketAddr {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = text_of(value, "\"127.0.0.1:12232\"")?;
        text.parse().map_err(|_| {
            format!(
                "{text:?} is no address to listen at; write IP:PORT, such as \"127.0.0.1:12232\" or \"[::1]:12232\""
            )
        })
    }
}

struct OneOrMore(Vec<String>);

impl Setting for OneOrMore {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let Some(items) = value.as_array() else { return String::read(value).map(|path| OneOrMore(vec![path])) };
        let paths = items.iter().map(|item| String::read(item.get_ref())).collect::<Result<Vec<_>, _>>()?;
        if paths.is_empty() { Err("the list is empty".into()) } else { Ok(OneOrMore(paths)) }
    }
}

/// A list of what parses from text; it may be empty.
pub(super) struct Listed<T>(pub(super) Vec<T>);

impl<T: FromStr<Err: std::fmt::Display>> Setting for Listed<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let items = value.as_array().ok_or_else(|| format!("{} where a list of texts belongs", a_type(value)))?;
        let parsed = items.iter().map(|item| Parsed::read(item.get_ref()).map(|Parsed(value)| value));
        parsed.collect::<Result<_, _>>().map(Listed)
    }
}

/// What parses from text and says itself what is wrong with it.
pub(super) struct Parsed<T>(pub(super) T);

impl<T: FromStr<Err: std::fmt::Display>> Setting for Parsed<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text_of(value, "\"...\"")?.parse().map(Parsed).map_err(|error: T::Err| error.to_string())
    }
}
