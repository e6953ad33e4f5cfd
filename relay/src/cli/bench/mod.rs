//! `landbridge bench`: a load generator. Against a relay that runs, or against relays that it starts itself as processes
//! and removes afterwards.

mod figures;
mod figures_text;
mod load;
mod pace;
mod relays;
mod usage;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use landbridge_client::{Client, Profile, RawCache};
use landbridge_protocol::name::CacheName;
use serde::Serialize;
use tokio::task::JoinSet;

use self::{
    figures::{Figures, RelayFigures},
    load::{Load, Span},
    relays::Relays,
    usage::Usage,
};
use super::{Exit, Failure, connect, output, signals::asked_to_end};

/// The cache of own relays.
const CACHE: &str = "bench";
/// Below what a relay lets a session have by default.
const SUBSCRIPTIONS_PER_SESSION: u32 = 100;
/// Sessions that are opened at once: with many more, some wait too long on a busy machine.
const OPENING: u32 = 16;
/// How long an operation may take until it counts as an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Workload {
    /// Puts over random keys
    Put,
    /// Gets of random keys, all of which are there
    Get,
    /// Half puts, half gets
    Mixed,
    /// Puts; measured until a listener has the event, at another site where there is one
    Event,
}

/// What `landbridge bench` takes.
#[derive(Debug, Clone, Args, Serialize)]
pub(super) struct BenchArgs {
    /// What to measure
    workload: Workload,
    /// Requests under way at any time, in all sessions together
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// Sessions that the requests are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Entries in one request; each counts as an operation
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=512))]
    batch: u32,
    /// Bytes of a value
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=8_388_608))]
    value_bytes: u32,
    /// Different keys, of 16 bytes; each has an entry before the measurement begins
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    keys: u32,
    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// How long to run before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=3600))]
    warmup: u32,
    /// Operations a second to begin, whatever the answers take; latencies count from when each should have begun. Without
    /// it a request begins when one before it has ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Of `event`: subscriptions that each hear every event; each event in each of them counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    subscriptions: u32,
    /// How many own relays, one a site; the load is at the first, a listener at the last
    #[arg(long, value_name = "N", default_value_t = 2, conflicts_with = "profile", value_parser = clap::value_parser!(u8).range(1..=5))]
    sites: u8,
    /// Where own relays keep their stores for the while: the disk to be measured
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "profile")]
    #[serde(skip)]
    dir: PathBuf,
    /// Measure the relay of this profile instead of own ones
    #[arg(long, value_name = "FILE", requires = "cache")]
    #[serde(skip)]
    profile: Option<PathBuf>,
    /// With --profile: the cache to write keys `bench-…` to, which are removed at the end
    #[arg(long, value_name = "NAME", requires = "profile")]
    cache: Option<CacheName>,
    /// With --profile: leave those keys there
    #[arg(long, requires = "profile")]
    #[serde(skip)]
    keep: bool,
    /// With --profile: where the events of `event` are heard; at the same relay unless told otherwise
    #[arg(long, value_name = "FILE", requires = "profile")]
    #[serde(skip)]
    listen_profile: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

impl BenchArgs {
    /// Sessions that the subscriptions are spread over.
    fn hearing_sessions(&self) -> u32 {
        match self.workload {
            Workload::Event => self.subscriptions.div_ceil(SUBSCRIPTIONS_PER_SESSION),
            _ => 0,
        }
    }
}

/// Runs the measurement; Ctrl-C ends it at any time, and nothing is left running.
pub(super) async fn bench(args: BenchArgs) -> Result<Exit, Failure> {
    let mut own = match &args.profile {
        None => Some(Relays::prepare(&args)?),
        Some(_) => None,
    };
    let measured = tokio::select! {
        biased;
        ended = asked_to_end() => ended.and_then(|()| Err(Failure::new(Exit::Failed, "interrupted; nothing is left running"))),
        measured = measure(&args, own.as_mut()) => measured,
    };
    if let Some(own) = own {
        own.remove().await?;
    }
    let figures = measured?;
    match args.json {
        true => output::json(&figures)?,
        false => figures_text::print(&figures),
    }
    Ok(if figures.errors == 0 { Exit::Done } else { Exit::Failed })
}

async fn measure(args: &BenchArgs, mut own: Option<&mut Relays>) -> Result<Figures, Failure> {
    let load = |path: &PathBuf| Profile::load(path).map_err(|e| Failure::because(Exit::Usage, &e));
    let (here, there) = match (&mut own, &args.profile) {
        (Some(own), _) => {
            own.start().await?;
            (load(&own.profile(0))?, load(&own.profile(usize::from(args.sites) - 1))?)
        }
        (None, Some(profile)) => (load(profile)?, load(args.listen_profile.as_ref().unwrap_or(profile))?),
        (None, None) => return Err(Failure::new(Exit::Usage, "no relay to measure")),
    };
    let cache = args.cache.as_ref().map_or(CACHE, CacheName::as_str);
    let load = Load::new(args, open_all(&here, cache, args.sessions).await?, Instant::now());
    load.fill().await?;
    if here != there {
        // What the other site still has to take in is no part of what is measured.
        load.until_filled(&open(&there, cache).await?.1).await?;
    }
    let hearers = open_all(&there, cache, args.hearing_sessions()).await?;
    let heard = match args.workload {
        Workload::Event => {
            let subscriptions = hearers.iter().cycle().take(args.subscriptions as usize);
            Some(load.listen(subscriptions.map(|(_, cache)| cache.clone())).await?)
        }
        _ => None,
    };
    let span = Span::from_now(args);
    let usage = || own.as_ref().map_or_else(Vec::new, |own| own.usage());
    let (before, after, counts) = tokio::join!(
        async {
            tokio::time::sleep_until(span.begin.into()).await;
            (usage(), Usage::of(std::process::id()))
        },
        async {
            tokio::time::sleep_until(span.end.into()).await;
            (usage(), Usage::of(std::process::id()))
        },
        load.run(span),
    );
    let counts = match heard {
        Some(heard) => heard.end(counts, span).await?,
        None => counts,
    };
    if args.profile.is_some() && !args.keep {
        load.remove_all().await?;
    }
    let mut figures = Figures::new(args, counts, span);
    figures.load_cpu_seconds = Usage::between(before.1, after.1);
    let sites = before.0.into_iter().zip(after.0).enumerate();
    figures.relays =
        sites.map(|(at, (before, after))| RelayFigures::new(at, before, after, figures.operations)).collect();
    load.close().await;
    Ok(figures)
}

/// So many sessions.
async fn open_all(profile: &Profile, cache: &str, count: u32) -> Result<Vec<(Client, RawCache)>, Failure> {
    let mut lanes = JoinSet::new();
    for lane in 0..count.min(OPENING) {
        let (profile, cache) = (profile.clone(), cache.to_owned());
        lanes.spawn(async move {
            let mut opened = Vec::new();
            for _ in (lane..count).step_by(OPENING as usize) {
                opened.push(open(&profile, &cache).await?);
            }
            Ok::<_, Failure>(opened)
        });
    }
    let mut sessions = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        match lane {
            Ok(opened) => sessions.extend(opened?),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
    Ok(sessions)
}

async fn open(profile: &Profile, cache: &str) -> Result<(Client, RawCache), Failure> {
    let client = connect::session(profile.clone(), PATIENCE).await?;
    let cache = client.raw(cache).map_err(|e| connect::failed(&e))?;
    Ok((client, cache))
}
