//! `landbridge demo`: the main job on real input. Two relays as processes of this binary, four nodes, a story in six
//! steps; each step verifies what it claims. With a third site there is a seventh.

mod layout;
mod load;
mod node;
mod steps;
mod story;
mod words;

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use landbridge_client::{Profile, Version};
use landbridge_protocol::{frame::admin::Request, name::SiteName};
use tokio::task::JoinSet;

use self::{
    layout::{Layout, SITES},
    node::Node,
    story::{Story, took},
    words::sites_in_words,
};
use super::{Exit, Failure, admin::Operator, relay_process::RelayProcess, signals::asked_to_end};

/// How long the two stores may take to be equal once nothing is written any more.
const SETTLE_PATIENCE: Duration = Duration::from_secs(15);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What `landbridge demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the story, with status 0 if every step has verified what it claims
    #[arg(long)]
    once: bool,
    /// Where certificates, configurations, profiles, stores and logs go
    #[arg(long, value_name = "DIR", default_value = "landbridge-demo")]
    dir: PathBuf,
    /// How many sites, each with a relay and two nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=3))]
    sites: u16,
    /// The relays listen at N, N+1000, and with three sites N+2000: UDP for nodes and peers, TCP for HTTP
    #[arg(long, value_name = "N", default_value_t = 12232, value_parser = clap::value_parser!(u16).range(1..=64535))]
    base_port: u16,
}

/// A step that has not verified what it claims.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StepError(String);

impl StepError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn of(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

impl From<landbridge_client::Error> for StepError {
    fn from(error: landbridge_client::Error) -> Self {
        Self::of(error)
    }
}

/// Everything that runs.
struct World {
    story: Story,
    layout: Layout,
    relays: Vec<Option<RelayProcess>>,
    nodes: Vec<Node>,
    _tasks: JoinSet<()>,
}

/// Runs the demo; Ctrl-C ends it at any time, and nothing is left running.
pub async fn demo(args: DemoArgs) -> Result<Exit, Failure> {
    let world = tokio::select! {
        biased;
        ended = asked_to_end() => {
            ended?;
            return Err(Failure::new(Exit::Failed, "interrupted; all relays are stopped"));
        }
        told = tell(&args) => told?,
    };
    if !args.once {
        world.invite();
        asked_to_end().await?;
        world.story.line("\nStopping.");
    }
    world.stop().await.map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    Ok(Exit::Done)
}

/// Starts everything and tells the story.
async fn tell(args: &DemoArgs) -> Result<World, Failure> {
    let begun = Instant::now();
    let (layout, again) =
        Layout::prepare(&args.dir, args.base_port, args.sites).map_err(|e| Failure::because(Exit::Usage, &e))?;
    let story = Story::new();
    let sites = sites_in_words(&layout);
    story.line(format_args!("Landbridge: {sites} sites, each with a relay and two nodes. Everything here is real."));
    if again {
        story.line(format_args!(
            "{} is an earlier demo's: its certificates are kept, its stores begun anew.",
            args.dir.display()
        ));
    }
    let mut world = World::start(story, layout)
        .await
        .map_err(|e| Failure::new(Exit::Failed, format!("the demo could not begin: {e}")))?;
    if let Err(error) = world.steps().await {
        let step = world.story.number();
        return Err(Failure::new(Exit::Failed, format!("step {step} has not verified what it claims: {error}")));
    }
    world.story.line(format_args!("\nAll steps verified, in {}.", took(begun.elapsed())));
    Ok(world)
}

impl World {
    async fn start(story: Story, layout: Layout) -> Result<Self, StepError> {
        let sites = layout.sites();
        let mut world = Self { story, layout, relays: Vec::new(), nodes: Vec::new(), _tasks: JoinSet::new() };
        let begun = Instant::now();
        for at in 0..sites.len() {
            world.relays.push(Some(world.spawn_relay(at)?));
        }
        for (at, (site, _)) in sites.iter().enumerate() {
            world.relay_mut(at)?.ready().await.map_err(StepError::of)?;
            let pid = world.relay_mut(at)?.pid();
            let http = world.layout.http(at);
            world
                .story
                .says(site, format_args!("relay at {http}, process {pid}, ready after {}", took(begun.elapsed())));
        }
        for (site, nodes) in sites {
            for name in nodes {
                let node = Node::join(&world.layout, name, &mut world._tasks).await?;
                world.nodes.push(node);
            }
            let last = world.nodes.last().ok_or_else(|| StepError::new("a site without nodes"))?;
            world
                .story
                .says(site, format_args!("Received new site view: {}", super::output::view(&last.client.site_view())));
        }
        Ok(world)
    }

    async fn steps(&mut self) -> Result<(), StepError> {
        steps::login(self).await?;
        steps::refresh(self).await?;
        steps::logout(self).await?;
        steps::lifespan(self).await?;
        steps::cut(self).await?;
        steps::kill(self).await?;
        if self.relays.len() > 2 { steps::detour(self).await } else { Ok(()) }
    }

    /// The first node of each site.
    fn first_nodes(&self) -> impl Iterator<Item = &Node> {
        self.layout.sites().iter().map(|(_, nodes)| self.node(nodes[0]))
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).expect("a name of this file's own list")
    }

    fn spawn_relay(&self, at: usize) -> Result<RelayProcess, StepError> {
        RelayProcess::spawn(self.layout.relay_config(at), self.layout.relay_log(at)).map_err(StepError::of)
    }

    fn relay_mut(&mut self, at: usize) -> Result<&mut RelayProcess, StepError> {
        self.relays[at].as_mut().ok_or_else(|| StepError::new(format!("the relay of {} does not run", SITES[at].0)))
    }

    async fn kill_relay(&mut self, at: usize) -> Result<(), StepError> {
        match self.relays[at].take() {
            Some(relay) => relay.kill().await.map_err(StepError::of),
            None => Err(StepError::new("the relay was not running")),
        }
    }

    async fn start_relay(&mut self, at: usize) -> Result<(), StepError> {
        self.relays[at] = Some(self.spawn_relay(at)?);
        self.relay_mut(at)?.ready().await.map_err(StepError::of)
    }

    /// Changes the link of the `one`-th relay to the `other`-th, and that one's.
    async fn link(&self, one: usize, other: usize, online: bool) -> Result<(), StepError> {
        for (own, peer) in [(one, other), (other, one)] {
            let profile = Profile::load(self.layout.profile(own)).map_err(StepError::of)?;
            let peer = SiteName::new(SITES[peer].0).map_err(StepError::of)?;
            let request = if online { Request::BringOnline { peer } } else { Request::TakeOffline { peer } };
            let mut operator = Operator::connect(&profile).await.map_err(StepError::of)?;
            operator.link(request).await.map_err(StepError::of)?;
            operator.close().await;
        }
        Ok(())
    }

    /// The state of the `own`-th relay's link to the `peer`-th.
    async fn link_state(&self, own: usize, peer: usize) -> Result<String, StepError> {
        let profile = Profile::load(self.layout.profile(own)).map_err(StepError::of)?;
        let mut operator = Operator::connect(&profile).await.map_err(StepError::of)?;
        let status = operator.status().await.map_err(StepError::of)?;
        operator.close().await;
        let link = status.links.into_iter().find(|link| link.peer.as_str() == SITES[peer].0);
        link.map(|link| link.state).ok_or_else(|| StepError::new("a relay does not know its peer"))
    }

    /// Changes all links.
    async fn links(&self, online: bool) -> Result<(), StepError> {
        for other in 1..self.relays.len() {
            for one in 0..other {
                self.link(one, other, online).await?;
            }
        }
        Ok(())
    }

    /// Waits until all relays hold equal entries: keys, values and versions. Tells how many.
    async fn equal_sessions(&self) -> Result<usize, StepError> {
        let until = Instant::now() + SETTLE_PATIENCE;
        loop {
            let mut relays = Vec::new();
            for node in self.first_nodes() {
                relays.push(held(node).await?);
            }
            let Some((first, others)) = relays.split_first() else { return Ok(0) };
            if others.iter().all(|other| other == first) {
                return Ok(first.len());
            }
            if Instant::now() > until {
                let counts: Vec<String> = relays.iter().map(|held| held.len().to_string()).collect();
                let differ =
                    others.iter().map(|other| first.iter().filter(|(k, v)| other.get(*k) != Some(v)).count()).max();
                return Err(StepError::new(format!(
                    "the relays hold {} entries, up to {} of the first differ, {SETTLE_PATIENCE:?} after the last write",
                    counts.join(" and "),
                    differ.unwrap_or_default()
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What to try in another terminal.
    fn invite(&self) {
        let program = quoted(&std::env::args().next().unwrap_or_else(|| "landbridge".into()));
        let [one, two] = [0, 1].map(|at| quoted(&self.layout.profile(at).display().to_string()));
        let story = &self.story;
        story.line("\nAll sites stay up. In other terminals, try:\n");
        if let Ok(here) = std::env::current_dir() {
            // program and profiles may be named relative to it
            story.line(format_args!("  cd {}", quoted(&here.display().to_string())));
        }
        story.line(format_args!("  {program} watch sessions --profile {two}"));
        story.line(format_args!("  {program} put sessions erin-1 hello --lifespan 10m --profile {one}"));
        story.line(format_args!("  {program} get sessions erin-1 --profile {two}"));
        story.line(format_args!("  {program} ls sessions --prefix node11- --limit 5 --profile {one}"));
        story.line(format_args!("  {program} status --profile {one}"));
        story.line(format_args!("  {program} take-offline site2 --profile {one}"));
        story.line(format_args!("  {program} bring-online site2 --profile {one}"));
        let pages = (0..self.relays.len()).map(|at| format!("http://{}/", self.layout.http(at)));
        let pages = pages.collect::<Vec<_>>().join(" and ");
        story.line(format_args!("\n  {pages}, with /metrics and /health/ready"));
        story.line("\nCtrl-C stops all.");
    }

    async fn stop(mut self) -> Result<(), StepError> {
        for node in &self.nodes {
            node.client.close().await;
        }
        for relay in self.relays.iter_mut().filter_map(Option::take) {
            relay.stop().await.map_err(StepError::of)?;
        }
        Ok(())
    }
}

/// A word of a command line as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What the relay of a node holds.
async fn held(node: &Node) -> Result<BTreeMap<String, (Version, node::Session)>, StepError> {
    let mut entries = node.sessions.entries();
    let mut held = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        held.insert(entry.key, (entry.version, entry.value));
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(quoted("target/release/landbridge"), "target/release/landbridge");
        assert_eq!(quoted("my demo"), "'my demo'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
