//! Replication of the real engine through its real senders, straight on: what arrives, what goes, what comes back.

use landbridge_protocol::{record::Merge, time::Millis};
use landbridge_tests::explorer::{scenario::Scenario, world::World};

fn settled(mut world: World) -> World {
    world.settle();
    assert_eq!(world.fault, None);
    world
}

/// The version of the live entry of the first key, equal at all sites.
#[track_caller]
fn same(world: &World, k: usize) -> bool {
    let of = |site: usize| world.live(site, k).map(|slot| (slot.version, slot.birth, slot.deadline));
    for site in 1..world.sites.len() {
        assert_eq!(of(site), of(0), "site {site} differs");
    }
    of(0).is_some()
}

#[track_caller]
fn nothing_is_kept(world: &World) {
    for site in 0..world.sites.len() {
        assert_eq!(world.slot(site, 0), None, "site {site} keeps something of a removed key");
    }
}

#[test]
fn a_put_arrives_and_a_removal_leaves_nothing_behind() {
    let mut world = World::new(&Scenario::of(2));
    world.put(0, 0);
    let mut world = settled(world);
    assert!(same(&world, 0));
    world.remove(1, 0);
    let world = settled(world);
    assert!(!same(&world, 0));
    nothing_is_kept(&world);
}

#[test]
fn a_restarted_site_goes_on() {
    let mut world = World::new(&Scenario::of(2));
    world.put(0, 0);
    world.put(1, 0);
    let mut world = settled(world);
    let commits = world.sites[0].log.len();
    world.restart(0, commits);
    let mut world = settled(world);
    assert!(same(&world, 0));
    world.remove(0, 0);
    let world = settled(world);
    nothing_is_kept(&world);
}

#[test]
fn a_lost_tail_comes_back_from_the_peers() {
    let mut world = World::new(&Scenario::of(2));
    let kept = world.sites[0].log.len();
    world.put(0, 0);
    let mut world = settled(world);
    world.restart(0, kept);
    assert_eq!(world.live(0, 0), None);
    let mut world = settled(world);
    assert!(same(&world, 0));
    world.remove(0, 0);
    nothing_is_kept(&settled(world));
}

#[test]
fn a_wiped_site_is_filled_again() {
    let mut world = World::new(&Scenario::of(2));
    world.put(0, 0);
    let mut world = settled(world);
    world.restart(0, 0);
    assert!(!world.sites[0].replica.ready(world.now));
    let mut world = settled(world);
    assert!(world.sites[0].replica.ready(world.now));
    assert!(same(&world, 0));
    world.remove(0, 0);
    nothing_is_kept(&settled(world));
}

#[test]
fn a_wiped_site_takes_no_writes_before_it_knows_what_was_removed() {
    let mut world = World::new(&Scenario::of(2));
    world.put(0, 0);
    let mut world = settled(world);
    world.remove(0, 0);
    let mut world = settled(world);
    world.restart(0, 0);
    assert!(!world.sites[0].replica.ready(world.now));
    world = settled(world);
    assert!(world.sites[0].replica.ready(world.now));
    nothing_is_kept(&world);
}

fn forced(sites: usize) -> World {
    let mut world = World::new(&Scenario { forced: true, ..Scenario::of(sites) });
    world.put(0, 0);
    world = settled(world);
    let last = sites - 1;
    for other in 0..last {
        world.cut(other, last);
    }
    world
}

#[test]
fn a_removal_that_was_forced_out_is_not_undone_by_the_isolated_site() {
    for sites in [2, 3] {
        let mut world = forced(sites);
        world.remove(0, 0);
        world.exchange();
        assert_eq!(world.slot(0, 0), None, "forced out, {sites} sites");
        assert!(world.live(sites - 1, 0).is_some());
        let world = settled(world);
        assert!(!same(&world, 0));
        nothing_is_kept(&world);
    }
}

#[test]
fn a_write_of_the_isolated_site_outlives_a_removal_that_did_not_know_it() {
    for sites in [2, 3] {
        let mut world = forced(sites);
        world.remove(0, 0);
        world.put(sites - 1, 0);
        world.exchange();
        let world = settled(world);
        assert!(same(&world, 0), "{sites} sites");
    }
}

#[test]
fn both_sides_reconcile_each_other() {
    for merge in [Merge::Latest, Merge::RemoveWins] {
        let mut world = World::new(&Scenario { forced: true, keys: 2, merge, ..Scenario::of(2) });
        world.put(0, 0);
        world.put(1, 1);
        world = settled(world);
        world.cut(0, 1);
        world.remove(0, 0);
        world.remove(1, 1);
        world.exchange();
        assert!(world.slot(0, 0).is_none() && world.slot(1, 1).is_none(), "forced out on both sides");
        let world = settled(world);
        assert!(!same(&world, 0) && !same(&world, 1));
    }
}

#[test]
fn changes_go_around_a_cut_link() {
    for wait in [Millis::ZERO, Millis::from_secs(2)] {
        let mut world = World::new(&Scenario { forward_after: wait, ..Scenario::of(3) });
        world.cut(0, 2);
        world.put(0, 0);
        world.exchange();
        for _ in 0..3 {
            world.pass(Millis::from_secs(1));
            world.exchange();
        }
        assert!(same(&world, 0));
        world.remove(2, 0);
        for _ in 0..3 {
            world.pass(Millis::from_secs(1));
            world.exchange();
        }
        assert!(!same(&world, 0));
        assert!(world.slot(0, 0).is_some(), "kept until all have said in their own streams that they know");
        nothing_is_kept(&settled(world));
    }
}

#[test]
fn an_expired_entry_leaves_nothing_behind() {
    let mut world = World::new(&Scenario { lifespan: Millis::from_secs(2), ..Scenario::of(3) });
    world.put(0, 0);
    world.exchange();
    assert!(same(&world, 0));
    let world = settled(world);
    assert!(!same(&world, 0));
    nothing_is_kept(&world);
}

#[test]
fn a_wiped_site_waits_at_first_for_the_peer_that_may_know_of_it() {
    let mut world = World::new(&Scenario::of(3));
    world.cut(0, 1);
    world.restart(1, 0);
    world.exchange();
    assert!(!world.sites[1].replica.ready(world.now), "the site that it reaches had not heard of it");
    world = settled(world);
    assert!(world.sites[1].replica.ready(world.now));
}
