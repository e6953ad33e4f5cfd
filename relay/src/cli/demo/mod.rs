//! `landbridge demo`: the main job on real input. Two relays as processes of this binary, four nodes, a story in six
//! steps; each step verifies what it claims.

mod layout;
mod load;
mod node;
mod steps;
mod story;

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use landbridge_client::{Profile, Version};
use landbridge_protocol::frame::admin::Request;
use tokio::task::JoinSet;

use self::{
    layout::{Layout, SITES},
    node::Node,
    story::{Story, took},
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
    /// The relays listen at N and N+1000: UDP for nodes and peers, TCP for HTTP
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
    relays: [Option<RelayProcess>; 2],
    nodes: Vec<Node>,
    _tasks: JoinSet<()>,
}

/// Runs the demo; Ctrl-C ends it at any time, and nothing is left running.
pub async fn demo(args: DemoArgs) -> Result<Exit, Failure> {
    let world = tokio::select! {
        biased;
        ended = asked_to_end() => {
            ended?;
            return Err(Failure::new(Exit::Failed, "interrupted; both relays are stopped"));
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
    let (layout, again) = Layout::prepare(&args.dir, args.base_port).map_err(|e| Failure::because(Exit::Usage, &e))?;
    let story = Story::new();
    story.line("Landbridge: two sites, each with a relay and two nodes. Everything here is real.");
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
        let mut world = Self { story, layout, relays: [None, None], nodes: Vec::new(), _tasks: JoinSet::new() };
        let begun = Instant::now();
        for at in 0..2 {
            world.relays[at] = Some(world.spawn_relay(at)?);
        }
        for (at, (site, _)) in SITES.into_iter().enumerate() {
            world.relay_mut(at)?.ready().await.map_err(StepError::of)?;
            let pid = world.relay_mut(at)?.pid();
            let http = world.layout.http(at);
            world
                .story
                .says(site, format_args!("relay at {http}, process {pid}, ready after {}", took(begun.elapsed())));
        }
        for (site, nodes) in SITES {
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
        steps::kill(self).await
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

    /// Changes the link of each relay to the other.
    async fn links(&self, request: impl Fn(landbridge_protocol::name::SiteName) -> Request) -> Result<(), StepError> {
        let profiles = [0, 1].map(|at| Profile::load(self.layout.profile(at)));
        let [first, second] = profiles;
        let (first, second) = (first.map_err(StepError::of)?, second.map_err(StepError::of)?);
        for (own, peer) in [(&first, second.site), (&second, first.site)] {
            let mut operator = Operator::connect(own).await.map_err(StepError::of)?;
            operator.link(request(peer)).await.map_err(StepError::of)?;
            operator.close().await;
        }
        Ok(())
    }

    async fn take_offline(&self) -> Result<(), StepError> {
        self.links(|peer| Request::TakeOffline { peer }).await
    }

    async fn bring_online(&self) -> Result<(), StepError> {
        self.links(|peer| Request::BringOnline { peer }).await
    }

    /// Waits until both relays hold equal entries: keys, values and versions. Tells how many.
    async fn equal_sessions(&self) -> Result<usize, StepError> {
        let until = Instant::now() + SETTLE_PATIENCE;
        loop {
            let (first, second) = (held(self.node("node11")).await?, held(self.node("node21")).await?);
            if first == second {
                return Ok(first.len());
            }
            if Instant::now() > until {
                let differ = first.iter().filter(|(k, v)| second.get(*k) != Some(v)).count();
                return Err(StepError::new(format!(
                    "the relays hold {} and {} entries, {differ} of the first differ, {SETTLE_PATIENCE:?} after the last write",
                    first.len(),
                    second.len()
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
        story.line("\nBoth sites stay up. In other terminals, try:\n");
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
        story.line(format_args!(
            "\n  http://{}/ and http://{}/, with /metrics and /health/ready",
            self.layout.http(0),
            self.layout.http(1)
        ));
        story.line("\nCtrl-C stops both.");
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
