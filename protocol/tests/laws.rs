//! Laws of names, clocks, versions, vectors and spans of time.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::FrameKind,
    name::{CacheName, MAX_KEY, MAX_NODE_NAME, MAX_SITE_NAME, NodeName, SiteName},
    record::Key,
    time::{Millis, Timestamp},
    token::ResumeToken,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};
use proptest::prelude::*;

fn origins() -> impl Strategy<Value = Origin> {
    ("site[12]", 0u64..4).prop_map(|(site, run)| Origin { site: SiteName::new(&site).unwrap(), run: RunId(run) })
}

fn vectors() -> impl Strategy<Value = Vector> {
    prop::collection::vec((origins(), (0u64..6).prop_map(Clock::from_bits)), 0..10).prop_map(Vector::from_iter)
}

fn joined(a: &Vector, b: &Vector) -> Vector {
    let mut joined = a.clone();
    assert_eq!(joined.join(b), joined != *a, "join must say whether it changed anything");
    joined
}

proptest! {
    #[test]
    fn join_and_meet_are_a_lattice(a in vectors(), b in vectors(), c in vectors()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a.clone());
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
        prop_assert_eq!(joined(&a, &a.meet(&b)), a.clone());
        prop_assert_eq!(a.meet(&joined(&a, &b)), a.clone());
        prop_assert_eq!(a.includes(&b), joined(&a, &b) == a);
        prop_assert_eq!(a.includes(&b), a.meet(&b) == b);
    }

    #[test]
    fn what_is_beyond_is_just_what_is_missing(a in vectors(), base in vectors(), origin in origins()) {
        let beyond = a.beyond(&base);
        prop_assert_eq!(joined(&base, &beyond), joined(&base, &a));
        prop_assert!(beyond.iter().all(|(o, c)| c > base.clock(&o)));
        let mut without = a.clone();
        without.forget(&origin);
        prop_assert_eq!(without.clock(&origin), Clock::ZERO);
        prop_assert!(a.includes(&without));
    }

    #[test]
    fn a_vector_covers_up_to_its_clock(a in vectors(), origin in origins(), clock in 1u64..8) {
        let version = Version { clock: Clock::from_bits(clock), origin };
        prop_assert_eq!(a.covers(&version), a.clock(&origin) >= version.clock);
        let mut raised = a.clone();
        prop_assert_eq!(raised.raise(origin, version.clock), !a.covers(&version));
        prop_assert!(raised.covers(&version) && raised.includes(&a));
        prop_assert_eq!(raised.greatest(), a.greatest().max(version.clock));
    }

    /// However it was built, an equal vector is made of the same bytes: tokens and drift hashes rely on it.
    #[test]
    fn vectors_are_kept_in_order(a in vectors()) {
        let pairs: Vec<_> = a.iter().collect();
        prop_assert!(pairs.is_sorted_by(|(a, _), (b, _)| a < b) && pairs.iter().all(|(_, c)| *c > Clock::ZERO));
        let mut raised = Vector::new();
        pairs.iter().rev().for_each(|(o, c)| assert!(raised.raise(*o, *c)));
        prop_assert_eq!(raised, a);
    }

    #[test]
    fn the_next_clock_is_later_and_not_behind_the_wall(bits in 0u64..u64::MAX, now: u64) {
        let (clock, now) = (Clock::from_bits(bits), Timestamp::from_millis(now));
        let next = clock.next(now).unwrap();
        prop_assert!(next > clock && next >= Clock::at(now));
        prop_assert!(next.wall() >= clock.wall());
    }

    #[test]
    fn versions_are_ordered_by_clock_then_site_then_run(a in origins(), b in origins(), x in 0u64..3, y in 0u64..3) {
        let (v, w) = (Version { clock: Clock::from_bits(x), origin: a }, Version { clock: Clock::from_bits(y), origin: b });
        let by_hand = x.cmp(&y).then(a.site.as_str().cmp(b.site.as_str())).then(a.run.0.cmp(&b.run.0));
        prop_assert_eq!(v.cmp(&w), by_hand);
        prop_assert_eq!(v.to_string().parse::<Version>().unwrap(), v);
    }

    #[test]
    fn any_text_is_a_name_or_an_error(text in ".*") {
        let good = |max: usize| {
            let mut bytes = text.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
                && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                && text.len() <= max
        };
        prop_assert_eq!(SiteName::new(&text).is_ok(), good(MAX_SITE_NAME));
        prop_assert_eq!(NodeName::new(&text).is_ok(), good(MAX_NODE_NAME));
        prop_assert_eq!(text.parse::<CacheName>().is_ok(), good(63));
        drop(text.parse::<Version>());
    }
}

#[test]
fn names_end_at_their_bounds() {
    assert_eq!(SiteName::new(&"s".repeat(31)).unwrap().as_str().len(), 31);
    let error = SiteName::new(&"s".repeat(32)).unwrap_err().to_string();
    assert!(error.contains("too long") && error.contains("31"), "{error}");
    assert!(NodeName::new("").unwrap_err().to_string().contains("empty"));
    for bad in ["-a", ".a", "a b", "a/b", "ä", "a\n"] {
        assert!(CacheName::new(bad).is_err(), "{bad:?}");
    }
    assert!(SiteName::new("site1").unwrap() < SiteName::new("site10").unwrap());
    assert!(SiteName::new("site10").unwrap() < SiteName::new("site2").unwrap(), "names are ordered by their bytes");
}

#[test]
fn keys_have_one_to_many_bytes() {
    assert!(Key::new(vec![]).is_err());
    assert!(Key::new(vec![0; MAX_KEY]).is_ok());
    assert!(Key::new(vec![0; MAX_KEY + 1]).unwrap_err().to_string().contains("4097"));
}

#[test]
fn clocks_end_where_time_does() {
    assert_eq!(Clock::MAX.next(Timestamp::ZERO), None);
    assert_eq!(Clock::at(Timestamp::from_millis(1 << 48)), Clock::MAX);
    assert_eq!(Clock::at(Timestamp::from_millis(5)).wall(), Timestamp::from_millis(5));
    assert_eq!(Clock::ZERO.next(Timestamp::ZERO), Some(Clock::from_bits(1)));
}

/// 25 and 31 days in milliseconds: where a signed 32-bit count overflows, and where a count of seconds is taken for a date.
#[test]
fn long_spans_stay_what_they_are() {
    let now = Timestamp::from_millis(1_790_000_000_000);
    for days in [25u64, 31, 3650] {
        let span = Millis::from_secs(days * 86_400);
        assert_eq!(now.after(span).since(now), span);
        assert_eq!(std::time::Duration::from(span).as_secs(), days * 86_400);
    }
    assert_eq!(now.after(Millis::new(u64::MAX)).as_millis(), u64::MAX);
    assert_eq!(now.before(Millis::new(u64::MAX)), Timestamp::ZERO);
    assert_eq!(Timestamp::ZERO.since(now), Millis::ZERO);
}

#[test]
fn numbers_lead_back_to_what_they_name() {
    assert!(ErrorCode::ALL.iter().all(|code| ErrorCode::from_number(code.number()) == Some(*code)));
    assert!(FrameKind::ALL.iter().all(|kind| FrameKind::from_number(kind.number()) == Some(*kind)));
    assert_eq!(ErrorCode::from_number(0), None);
    assert_eq!(FrameKind::from_number(0), None);
    let refusal = Refusal { code: 60_000, retryable: true, message: "of a newer relay".into() };
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (None, "of a newer relay"));
}

#[test]
fn what_is_no_token_is_refused_with_a_way_out() {
    let error = ResumeToken::from_bytes(b"no token").unwrap_err();
    assert!(error.to_string().contains("use one that an event carried"));
}
