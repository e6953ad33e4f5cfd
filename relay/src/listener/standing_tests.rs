//! What a standing owes, what it speaks for, and what it has missed: each rule by itself.

use landbridge_protocol::{
    name::SiteName,
    record::Key,
    version::{Clock, RunId},
};

use super::*;

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn cache() -> CacheName {
    CacheName::new("sessions").unwrap()
}

fn run(number: u64) -> Origin {
    Origin { site: site("site1"), run: RunId(number) }
}

/// Written at the second site.
fn version(clock: u64) -> Version {
    Version { clock: Clock::from_bits(clock), origin: Origin { site: site("site2"), run: RunId(9) } }
}

/// Covers what the second site wrote through there.
fn seen(clock: u64) -> Vector {
    [(version(clock).origin, version(clock).clock)].into_iter().collect()
}

fn at(sequence: u64) -> Sequence {
    Sequence::new(sequence)
}

/// The present run is the second, and the first has ended at 5.
fn log() -> Log {
    Log { origin: run(2), former: Some((run(1), at(5))) }
}

fn published(head: u64, clock: u64) -> Published {
    Published { head: at(head), seen: seen(clock), lacks: Vec::new() }
}

fn token(standing: &Standing) -> ResumeToken {
    ResumeToken::from_bytes(&standing.token()).unwrap()
}

fn resumed(sequence: u64, clock: u64, head: u64) -> Standing {
    let token = ResumeToken { origin: run(1), sequence: at(sequence), seen: seen(clock) };
    Standing::resumed(log(), cache(), token, at(head))
}

/// What was skipped before the token was made may be told by a record as late as the head. A store that has lost that one holds
/// the skipped one again, behind the token: the token must be of the run that is lost.
#[test]
fn a_token_of_one_who_is_owed_something_of_the_present_run_names_that_run() {
    assert_eq!(token(&resumed(3, 3, 7)).origin, run(2));
    assert_eq!(token(&resumed(3, 3, 5)).origin, run(1), "nothing is written yet");
    assert_eq!(token(&Standing::anew(log(), cache(), seen(3), &published(7, 7))).origin, run(2));
    let mut standing = resumed(3, 3, 5);
    standing.skip(at(6));
    assert_eq!(token(&standing).origin, run(2));
}

#[test]
fn a_token_speaks_for_all_that_was_published_once_the_log_is_read_through_there_and_nothing_is_owed() {
    let mut standing = resumed(3, 3, 7);
    standing.through(at(6), &published(7, 8));
    assert_eq!(token(&standing).seen, seen(3), "one is not told");
    standing.through(at(7), &published(7, 8));
    assert_eq!(token(&standing).seen, seen(8));
    standing.skip(at(9));
    standing.through(at(8), &published(8, 9));
    assert_eq!(token(&standing).seen, seen(8), "what was skipped is told at 9");
    standing.through(at(9), &published(9, 10));
    assert_eq!(token(&standing).seen, seen(10));
}

#[test]
fn one_who_comes_from_another_site_is_spoken_for_by_what_both_sites_cover_of_the_cache() {
    let anew = |told, published: &Published| token(&Standing::anew(log(), cache(), seen(told), published)).seen;
    assert_eq!(anew(5, &published(7, 7)), seen(5), "else it would be told anew, or of a gap, wherever it goes next");
    assert_eq!(anew(9, &published(7, 7)), seen(7), "the other site was ahead");
    let lacking = Published { lacks: vec![(site("site2"), cache())], ..published(7, 7) };
    assert_eq!(anew(5, &lacking), Vector::new(), "this one is yet to be sent what it covers");
}

#[test]
fn a_removal_that_was_let_go_is_missed_unless_it_was_told_or_read_past() {
    let missed = |standing: &Standing| [5, 6, 7, 8].map(|clock| standing.has_missed(&seen(clock)));
    assert_eq!(missed(&Standing::at(log(), cache(), &published(7, 7))), [false, false, false, true]);
    assert_eq!(missed(&resumed(3, 5, 7)), [false, true, true, true]);
    assert_eq!(missed(&Standing::anew(log(), cache(), seen(6), &published(7, 7))), [false, false, true, true]);
    assert_eq!(missed(&Standing::anew(log(), cache(), seen(8), &published(7, 6))), [false, false, true, true]);
    let mut standing = resumed(3, 5, 7);
    standing.through(at(6), &published(7, 7));
    assert_eq!(missed(&standing), [false, true, true, true], "one is not read");
    standing.through(at(7), &published(7, 7));
    assert_eq!(missed(&standing), [false, false, false, true]);
    standing.knows_gone(&seen(8));
    assert_eq!(missed(&standing), [false; 4]);
}

#[test]
fn what_was_told_before_the_log_was_begun_anew_is_passed_over_as_far_as_the_log_went_then() {
    let standing = Standing::anew(log(), cache(), seen(5), &published(7, 4));
    let record = |kind, clock| Record::bare(cache(), Some(Key::new(vec![b'k']).unwrap()), kind, version(clock));
    assert!(standing.was_told(at(7), &record(Kind::Live, 5)));
    assert!(!standing.was_told(at(7), &record(Kind::Live, 6)));
    assert!(!standing.was_told(at(7), &record(Kind::Mark, 5)), "no vector tells of that");
    assert!(!standing.was_told(at(8), &record(Kind::Live, 5)), "it has come since, in place of something");
    assert!(standing.has_told(&version(5)), "though this relay does not speak for it");
    assert!(!standing.has_told(&version(6)));
}
