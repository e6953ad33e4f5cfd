//! `[[caches]]`: which there are, and how each behaves.

use landbridge_protocol::{frame::MAX_CACHES, name::CacheName, record::Merge, time::Millis};
use toml::de::DeValue;

use super::{
    error::Problem,
    reader::{Parsed, Reader, Section, Setting},
    units::ByteSize,
};

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Its name.
    pub name: CacheName,
    /// Which of two records of a key stands. All sites must agree on it.
    pub merge: Merge,
    /// Where its entries go.
    pub replicate: Replicate,
    /// Lifespan of entries that are written without one; without end where it is absent.
    pub lifespan: Option<Millis>,
    /// Whether its entries are messages: a listener to which one could not be told before it expired gets a gap.
    pub messages: bool,
    /// Key and value of an entry together, at most.
    pub max_entry_bytes: ByteSize,
}

/// Where a cache's entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicate {
    /// To every peer, after the write was answered.
    Async,
    /// Nowhere.
    Local,
}

impl Replicate {
    /// As a configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Replicate::Async => "async",
            Replicate::Local => "local",
        }
    }
}

impl CacheConfig {
    /// The caches of a configuration that names none: those of the scenario that Landbridge was made for.
    pub(super) fn defaults(max_entry_bytes: ByteSize) -> Vec<CacheConfig> {
        let cache = |name: &str, merge, lifespan| CacheConfig {
            name: CacheName::new(name).expect("the default caches have good names"),
            merge,
            replicate: Replicate::Async,
            lifespan,
            messages: false,
            max_entry_bytes,
        };
        vec![
            CacheConfig { messages: true, ..cache("work", Merge::Latest, Some(Millis::from_secs(120))) },
            cache("sessions", Merge::RemoveWins, None),
            cache("offlineSessions", Merge::RemoveWins, None),
            cache("actionTokens", Merge::Latest, None),
            cache("loginFailures", Merge::Latest, None),
        ]
    }
}

/// Reads `[[caches]]`, else the default ones.
pub(super) fn read_all(root: &mut Section<'_, '_>, reader: &Reader<'_>, max_entry_bytes: ByteSize) -> Vec<CacheConfig> {
    let Some(sections) = root.sections("caches") else { return CacheConfig::defaults(max_entry_bytes) };
    if sections.len() > MAX_CACHES {
        root.blame("caches", format!("there are {} caches; there may be {MAX_CACHES}", sections.len()));
    }
    let mut caches: Vec<CacheConfig> = Vec::new();
    for section in sections.into_iter().take(MAX_CACHES) {
        let line = section.line();
        let Some(cache) = read(section, max_entry_bytes) else { continue };
        if caches.iter().any(|earlier| earlier.name == cache.name) {
            reader.problem(Problem { line, text: format!("the cache {} is there twice", cache.name) });
        }
        caches.push(cache);
    }
    caches
}

fn read(mut section: Section<'_, '_>, max_entry_bytes: ByteSize) -> Option<CacheConfig> {
    let name = section.required::<Parsed<CacheName>>("name", "what nodes call the cache, such as \"sessions\"");
    let merge = section.or("merge", MergeSetting(Merge::Latest)).0;
    let replicate = section.or("replicate", Replicate::Async);
    let lifespan = section.optional("lifespan");
    if lifespan == Some(Millis::ZERO) {
        section.blame("lifespan", "a lifespan of nothing: leave it out for entries that live until they are removed");
    }
    let messages = section.or("messages", false);
    let max_entry_bytes = section.within("max_entry_bytes", max_entry_bytes, ByteSize::new(1)..=ByteSize::mib(8));
    section.or("atomic", AtomicSite);
    section
        .not_yet("sites", "leave it out, and the cache is at every site; `replicate = \"local\"` keeps it at this one");
    section.not_yet("max_idle", "use `lifespan`, and write entries anew while they are in use");
    section.not_yet("max_entries", "leave it out; `lifespan` bounds how long entries stay");
    section.not_yet("home_sites", "leave it out; conditional writes decide on this site's state");
    section.finish();
    Some(CacheConfig { name: name?.0, merge, replicate, lifespan, messages, max_entry_bytes })
}

fn word<'v>(value: &'v DeValue<'_>) -> &'v str {
    value.as_str().unwrap_or_default()
}

struct MergeSetting(Merge);

impl Setting for MergeSetting {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match word(value) {
            "latest" => Ok(Self(Merge::Latest)),
            "remove_wins" => Ok(Self(Merge::RemoveWins)),
            "counter" => Err("\"counter\" is not in this version: use \"latest\", and count with `update`".into()),
            _ => Err("a cache's merge is \"latest\" or \"remove_wins\"".into()),
        }
    }
}

impl Setting for Replicate {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match word(value) {
            "async" => Ok(Replicate::Async),
            "local" => Ok(Replicate::Local),
            "sync" => {
                Err("\"sync\" is not in this version: use \"async\"; writes are durable here when answered".into())
            }
            _ => Err("a cache replicates \"async\" or stays \"local\"".into()),
        }
    }
}

/// `atomic = "site"`, the only value so far.
struct AtomicSite;

impl Setting for AtomicSite {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match word(value) {
            "site" => Ok(Self),
            "home" => Err("\"home\" is not in this version: use \"site\"; conditional writes decide on this site's \
                 state, so two sites can both win within the lag"
                .into()),
            _ => Err("conditional writes are atomic per \"site\"".into()),
        }
    }
}
