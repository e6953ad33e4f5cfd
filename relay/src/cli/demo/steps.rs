//! The story, step by step. Each does something real, says what every node saw, and fails when it is not as claimed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use landbridge_client::{Conditional, EventKind, Version};

use super::{
    StepError, World,
    layout::SITES,
    load::Load,
    node::{Local, Node, Session},
    story::took,
    words::{all_of, nodes_in_words, who},
};

/// A login at one node is seen at all.
pub(super) async fn login(world: &mut World) -> Result<(), StepError> {
    let all = nodes_in_words(&world.layout);
    world.story.step(&format!("A login at node11 is seen at all {all} nodes"));
    let session = Session::begun("alice", "node11");
    let begun = Instant::now();
    world.node("node11").sessions.put("alice-1", &session).await?;
    world
        .story
        .says("node11", format_args!("put sessions/alice-1, acknowledged and on disk after {}", took(begun.elapsed())));
    for node in &world.nodes {
        let at = node.until("the login", |local| {
            local.session("alice-1").filter(|s| **s == session)?;
            local.heard("alice-1", EventKind::Created)
        });
        let at = at.await?;
        world.story.says(node.name, format_args!("created alice-1, user alice, after {}", took(at - begun)));
    }
    world.story.verified(format_args!("all {all} nodes hold the same session"));
    Ok(())
}

/// Two sites refresh one session by compare-and-set; the one with the older version merges again.
pub(super) async fn refresh(world: &mut World) -> Result<(), StepError> {
    world.story.step("Two sites refresh the session, by compare-and-set");
    let (first, second) = (world.node("node11"), world.node("node21"));
    let known =
        first.sessions.get_versioned("alice-1").await?.ok_or_else(|| StepError::new("node11 finds no session"))?;
    let ours = known.value.refreshed("node11");
    let won = first.sessions.replace_if_version("alice-1", known.version, &ours).await?;
    let Conditional::Done(version) = won else {
        return Err(StepError::new("node11's refresh over the version that it had just read was refused"));
    };
    world.story.says("node11", "refreshed it over the version that it had read");
    second.until("node11's refresh", |local| (local.versions().get("alice-1") == Some(&version)).then_some(())).await?;
    let stale = second.sessions.replace_if_version("alice-1", known.version, &known.value.refreshed("node21")).await?;
    let Conditional::Failed(Some(present)) = stale else {
        return Err(StepError::new("node21 could overwrite a version that was no longer there"));
    };
    world.story.says("node21", "tried the same over the older version: refused, and told the one present");
    let merged = present.value.refreshed("node21");
    let won = second.sessions.replace_if_version("alice-1", present.version, &merged).await?;
    let version = won.version().ok_or_else(|| StepError::new("node21's second try was refused"))?;
    world.story.says("node21", format_args!("merged and wrote again: {} refreshes", merged.refreshes));
    for node in &world.nodes {
        node.until("both refreshes", |local| (local.versions().get("alice-1") == Some(&version)).then_some(())).await?;
    }
    let all = nodes_in_words(&world.layout);
    world.story.verified(format_args!("all {all} nodes hold the session with both refreshes"));
    Ok(())
}

/// A logout is told to all nodes; exactly one of each site acts on it.
pub(super) async fn logout(world: &mut World) -> Result<(), StepError> {
    world.story.step("A logout at node22");
    let begun = Instant::now();
    let gone = world.node("node22").sessions.remove("alice-1").await?;
    gone.ok_or_else(|| StepError::new("the logout found no session"))?;
    let mut acting = BTreeMap::<&str, u32>::new();
    for node in &world.nodes {
        let at = node.until("the logout", |local| local.heard("alice-1", EventKind::Removed)).await?;
        let (line, skip) = node.removal_line("alice-1")?;
        world.story.says(node.name, format_args!("{line}  ({})", took(at - begun)));
        *acting.entry(&node.name[..5]).or_default() += u32::from(!skip);
    }
    if acting.values().any(|n| *n != 1) {
        return Err(StepError::new(format!("not exactly one node of each site acts on the event: {acting:?}")));
    }
    for node in &world.nodes {
        if node.sessions.get("alice-1").await?.is_some() {
            return Err(StepError::new(format!("{} still finds the session", node.name)));
        }
    }
    let all = nodes_in_words(&world.layout);
    world.story.verified(format_args!("{all} event lines, one skip 'false' per site; no node finds the session"));
    Ok(())
}

/// A session with a lifespan ends at all sites.
pub(super) async fn lifespan(world: &mut World) -> Result<(), StepError> {
    const LIFESPAN: Duration = Duration::from_millis(1500);
    let sites = all_of(&world.layout);
    world.story.step(&format!("A session with a lifespan of 1.5 s runs out at {sites} sites"));
    let begun = Instant::now();
    let session = Session::begun("bob", "node12");
    let sessions = world.node("node12").sessions.clone().with_lifespan(LIFESPAN);
    sessions.put("bob-1", &session).await?;
    world.story.says("node12", "put sessions/bob-1 with a lifespan of 1.5 s");
    for node in &world.nodes {
        node.until("the session", |local| local.heard("bob-1", EventKind::Created)).await?;
    }
    for node in &world.nodes {
        let at = node.until("the expiry", |local| local.heard("bob-1", EventKind::Expired)).await?;
        world.story.says(node.name, format_args!("expired bob-1 after {}", took(at - begun)));
        if at - begun < LIFESPAN {
            return Err(StepError::new(format!("{} lost the session before its time", node.name)));
        }
        if node.sessions.get("bob-1").await?.is_some() {
            return Err(StepError::new(format!("{} still finds the session", node.name)));
        }
    }
    world.story.verified("it was there everywhere, and ended everywhere");
    Ok(())
}

/// The sites are cut apart, both go on, and are joined again.
pub(super) async fn cut(world: &mut World) -> Result<(), StepError> {
    let (sites, who) = (all_of(&world.layout), who(&world.layout));
    world.story.step(&format!("The sites are cut apart (take-offline at {sites}), and {sites} go on"));
    let session = Session::begun("carol", "node11");
    world.node("node11").sessions.put("carol-1", &session).await?;
    for node in &world.nodes {
        node.until("carol's session", |local| local.session("carol-1").map(drop)).await?;
    }
    world.links(false).await?;
    world.story.says(who, "take-offline: nothing passes between the sites now");
    for number in 0..100 {
        for node in world.first_nodes() {
            node.sessions.put(&format!("dave-{}-{number:02}", node.name), &Session::begun("dave", node.name)).await?;
        }
    }
    let logins = 100 * world.first_nodes().count();
    world.story.says(who, "100 logins at each site, each acknowledged by its own relay");
    let refreshed = session.refreshed("node21");
    world.node("node21").sessions.put("carol-1", &refreshed).await?;
    world.story.says("node21", "refreshed carol-1, of whose logout it can't know");
    let gone = world.node("node11").sessions.remove("carol-1").await?;
    gone.ok_or_else(|| StepError::new("the logout found no session"))?;
    world.story.says("node11", "logged carol-1 out");
    if world.node("node21").sessions.get("carol-1").await?.as_ref() != Some(&refreshed) {
        return Err(StepError::new("site2 does not keep serving what it has"));
    }
    let begun = Instant::now();
    world.links(true).await?;
    world.story.says(who, "bring-online");
    for node in &world.nodes {
        node.until("all logins and the logout", |local| {
            let keys = local.versions();
            let here = keys.keys().filter(|key| key.starts_with("dave-")).count();
            (here == logins && !keys.contains_key("carol-1")).then_some(())
        })
        .await?;
        world.story.says(
            node.name,
            format_args!("has all {logins} sessions, and carol-1 is gone, after {}", took(begun.elapsed())),
        );
    }
    let equal = world.equal_sessions().await?;
    world.story.verified(format_args!(
        "{sites} relays hold the same {equal} entries, version by version; carol stays logged out"
    ));
    Ok(())
}

/// A relay is killed under load, and started again.
pub(super) async fn kill(world: &mut World) -> Result<(), StepError> {
    const UNDER_LOAD: Duration = Duration::from_millis(700);
    world.story.step("The relay of site1 is killed (kill -9) under load, and started again");
    let loads: Vec<_> = world.first_nodes().map(Load::start).collect();
    tokio::time::sleep(UNDER_LOAD).await;
    world.kill_relay(0).await?;
    world.story.says("site1", "killed; node21 goes on at site2, node11's writes wait");
    tokio::time::sleep(UNDER_LOAD).await;
    let begun = Instant::now();
    world.start_relay(0).await?;
    world.story.says("site1", format_args!("started again, ready after {}", took(begun.elapsed())));
    tokio::time::sleep(UNDER_LOAD).await;
    let mut acknowledged = BTreeMap::new();
    for load in loads {
        let done = load.stop().await?;
        world.story.says(
            done.node,
            format_args!("{} writes acknowledged, the longest wait {}", done.writes, took(done.longest)),
        );
        acknowledged.extend(done.versions);
    }
    all_there(world, &acknowledged).await?;
    let equal = world.equal_sessions().await?;
    let all = all_of(&world.layout);
    world.story.verified(format_args!(
        "every acknowledged write is at {all} sites; {all} relays hold the same {equal} entries"
    ));
    let gaps: u64 = world.nodes.iter().map(|node| node.local().gaps()).sum();
    world
        .story
        .verified(format_args!("every node heard each key's last change, {gaps} gaps, and reconnected by itself"));
    Ok(())
}

/// One link of three is cut: what two sites tell each other goes by way of the third.
pub(super) async fn detour(world: &mut World) -> Result<(), StepError> {
    world.story.step("Only the link between site1 and site2 is cut: changes go by way of site3");
    world.link(0, 1, false).await?;
    world.story.says("site1", "take-offline site2, and site2 likewise; both stream with site3");
    let begun = Instant::now();
    let session = Session::begun("erin", "node11");
    world.node("node11").sessions.put("erin-1", &session).await?;
    for node in &world.nodes {
        let seen = |local: &Local| {
            local.session("erin-1").filter(|s| **s == session)?;
            local.heard("erin-1", EventKind::Created)
        };
        let at = node.until("the login", seen).await?;
        world.story.says(node.name, format_args!("created erin-1, after {}", took(at - begun)));
    }
    let begun = Instant::now();
    let gone = world.node("node22").sessions.remove("erin-1").await?;
    gone.ok_or_else(|| StepError::new("the logout found no session"))?;
    for node in &world.nodes {
        let at = node.until("the logout", |local| local.heard("erin-1", EventKind::Removed)).await?;
        world.story.says(node.name, format_args!("removed erin-1, after {}", took(at - begun)));
    }
    for (own, peer) in [(0, 1), (1, 0)] {
        let state = world.link_state(own, peer).await?;
        if state != "offline" {
            return Err(StepError::new(format!("the link from {} is {state} and not cut", SITES[own].0)));
        }
    }
    let equal = world.equal_sessions().await?;
    world.story.verified(format_args!(
        "the link stayed cut; all six nodes heard the login at site1 and the logout at site2; all three relays hold the same \
         {equal} entries"
    ));
    world.link(0, 1, true).await
}

/// Waits until each node has heard the last acknowledged version of every key, or a later one.
async fn all_there(world: &World, acknowledged: &BTreeMap<String, Version>) -> Result<(), StepError> {
    for node in &world.nodes {
        let seen = |node: &Node| {
            let known = node.local().versions();
            acknowledged.iter().filter(|(key, version)| known.get(*key).is_none_or(|v| v < version)).count()
        };
        let heard = node.until("every acknowledged write", |local| {
            let known = local.versions();
            acknowledged.iter().all(|(key, version)| known.get(key).is_some_and(|v| v >= version)).then_some(())
        });
        heard
            .await
            .map_err(|e| StepError::new(format!("{e}; {} of {} are missing", seen(node), acknowledged.len())))?;
    }
    Ok(())
}
