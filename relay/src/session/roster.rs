//! Who is connected: the site view, and which of two sessions of one name goes on.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{admin::SessionReport, node::View},
    name::{NodeName, SiteName},
    time::Timestamp,
};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tells a session that a newer one has its name now.
pub type Fence = CancellationToken;

/// A session that asks for a place.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub node: NodeName,
    /// Whether it joins the site view. One that doesn't fences nobody, is not fenced, and shares its name with anybody.
    pub member: bool,
    /// The site that it is of.
    pub home: SiteName,
    /// Where it connects from.
    pub address: SocketAddr,
    /// When it did.
    pub connected: Timestamp,
    /// What it showed. A name belongs to the certificate that took it, as long as a session of it lasts.
    pub certificate: CertificateDer<'static>,
}

/// The sessions of a relay. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Roster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seats: Mutex<Seats>,
    view: watch::Sender<View>,
}

#[derive(Debug)]
struct Seats {
    next: u64,
    bound: usize,
    bound_per_certificate: usize,
    /// Views announced so far: the first has number 0.
    views: u64,
    /// By number, which is join order.
    seats: BTreeMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    member: Member,
    fence: Fence,
    subscriptions: Arc<AtomicU32>,
}

/// A place in the roster; free again when this is dropped.
#[derive(Debug)]
pub struct Joined {
    roster: Roster,
    number: u64,
    fence: Fence,
    subscriptions: Arc<AtomicU32>,
}

/// A subscription of a session, counted until this is dropped.
#[derive(Debug)]
pub struct Subscribed(Arc<AtomicU32>);

impl Roster {
    /// With nobody, and room for so many, of one certificate for so many of these.
    pub fn new(bound: usize, bound_per_certificate: usize) -> Self {
        let view = watch::Sender::new(View { number: 0, members: Vec::new() });
        let seats = Seats { next: 0, views: 0, bound, bound_per_certificate, seats: BTreeMap::new() };
        Self(Arc::new(Shared { seats: Mutex::new(seats), view }))
    }

    /// Takes a place. A session of the same name and certificate is fenced; one with another certificate keeps the name.
    pub fn join(&self, member: Member) -> Result<Joined, Refusal> {
        let mut seats = self.seats();
        let former = seats.holder(&member);
        if let Some(number) = former {
            if seats.seats[&number].member.certificate != member.certificate {
                let text = format!("a node named {} is connected with another certificate", member.node);
                return Err(Refusal::new(ErrorCode::NameInUse, text));
            }
        } else if seats.seats.len() >= seats.bound {
            let text = format!("the relay has {} sessions, as many as it takes (limits.max_sessions)", seats.bound);
            return Err(Refusal::new(ErrorCode::Busy, text));
        } else if seats.of(&member.certificate) >= seats.bound_per_certificate {
            let most = seats.bound_per_certificate;
            let text = format!(
                "the relay has {most} sessions of this certificate, as many as it takes (limits.max_sessions_per_certificate)"
            );
            return Err(Refusal::new(ErrorCode::Busy, text));
        }
        if let Some(fenced) = former.and_then(|number| seats.seats.remove(&number)) {
            tracing::info!(node = %fenced.member.node, "a newer session of this node takes over");
            fenced.fence.cancel();
        }
        let number = seats.next;
        seats.next += 1;
        let fence = Fence::new();
        let in_view = member.member;
        let subscriptions = Arc::<AtomicU32>::default();
        seats.seats.insert(number, Seat { member, fence: fence.clone(), subscriptions: subscriptions.clone() });
        if in_view {
            self.announce(&mut seats);
        }
        Ok(Joined { roster: self.clone(), number, fence, subscriptions })
    }

    /// The site view, and its changes.
    pub fn view(&self) -> watch::Receiver<View> {
        self.0.view.subscribe()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.seats().seats.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sessions, in join order, as an operator sees them.
    pub fn report(&self, now: Timestamp) -> Vec<SessionReport> {
        let report = |Seat { member, subscriptions, .. }: &Seat| SessionReport {
            node: member.node.clone(),
            site: member.home,
            member: member.member,
            address: member.address.to_string(),
            subscriptions: subscriptions.load(Ordering::Relaxed),
            connected_ms: now.since(member.connected).get(),
        };
        self.seats().seats.values().map(report).collect()
    }

    fn announce(&self, seats: &mut Seats) {
        let members = seats.seats.values().filter(|seat| seat.member.member).map(|seat| seat.member.node.to_string());
        let members: Vec<String> = members.collect();
        // Under the lock of the seats, so that views come in the order of their numbers.
        let number = seats.views;
        seats.views += 1;
        self.0.view.send_replace(View { number, members });
        tracing::info!("Received new site view: {}", show(&self.0.view.borrow()));
    }

    fn leave(&self, number: u64) {
        let mut seats = self.seats();
        if seats.seats.remove(&number).is_some_and(|seat| seat.member.member) {
            self.announce(&mut seats);
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Each change is whole before anything can panic.
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// The session that has the name which this member asks for.
    fn holder(&self, asks: &Member) -> Option<u64> {
        let same = |seat: &Seat| asks.member && seat.member.member && seat.member.node == asks.node;
        self.seats.iter().find(|(_, seat)| same(seat)).map(|(number, _)| *number)
    }

    /// How many sessions the holder of this certificate has.
    fn of(&self, certificate: &CertificateDer<'_>) -> usize {
        self.seats.values().filter(|seat| seat.member.certificate == *certificate).count()
    }
}

impl Joined {
    /// Cancelled when a newer session has taken the name over.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Counts one more subscription, if there may be.
    pub fn subscribe(&self, bound: usize) -> Result<Subscribed, Refusal> {
        let below = |count: u32| ((count as usize) < bound).then_some(count + 1);
        if self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_err() {
            let text = format!("the session has {bound} subscriptions, as many as it may (limits.max_subscriptions)");
            return Err(Refusal::new(ErrorCode::Busy, text));
        }
        Ok(Subscribed(self.subscriptions.clone()))
    }

    /// What the fenced session is told.
    pub fn fenced() -> Refusal {
        Refusal::new(ErrorCode::Fenced, "a newer session of this node, with the same certificate, took over")
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.roster.leave(self.number);
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A view in the words of the log: `[first|number] (count) [members]`.
pub fn show(view: &View) -> String {
    let first = view.members.first().map_or("", String::as_str);
    format!("[{first}|{}] ({}) [{}]", view.number, view.members.len(), view.members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: &str, certificate: u8) -> Member {
        let certificate = CertificateDer::from(vec![certificate]);
        let home = SiteName::new("site1").unwrap();
        let (address, connected) = (([127, 0, 0, 1], 9).into(), Timestamp::from_millis(100));
        Member { node: NodeName::new(node).unwrap(), member: true, home, address, connected, certificate }
    }

    fn command(node: &str, certificate: u8) -> Member {
        Member { member: false, ..member(node, certificate) }
    }

    fn shown(roster: &Roster) -> String {
        show(&roster.view().borrow())
    }

    #[test]
    fn the_view_is_in_join_order_and_counts_its_changes_from_zero() {
        let roster = Roster::new(8, 8);
        assert_eq!(shown(&roster), "[|0] (0) []");
        let b = roster.join(member("node12", 2)).unwrap();
        let _a = roster.join(member("node11", 1)).unwrap();
        assert_eq!(shown(&roster), "[node12|1] (2) [node12, node11]");
        drop(b);
        assert_eq!(shown(&roster), "[node11|2] (1) [node11]");
    }

    #[test]
    fn a_newer_hello_fences_the_older_whose_end_then_changes_nothing() {
        let roster = Roster::new(8, 8);
        let old = roster.join(member("node11", 1)).unwrap();
        let new = roster.join(member("node11", 1)).unwrap();
        assert!(old.fence().is_cancelled() && !new.fence().is_cancelled());
        drop(old);
        assert_eq!(shown(&roster), "[node11|1] (1) [node11]");
        assert_eq!(roster.len(), 1);
    }

    #[test]
    fn a_name_in_use_by_another_certificate_is_kept_by_its_holder() {
        let roster = Roster::new(8, 8);
        let old = roster.join(member("node11", 1)).unwrap();
        assert_eq!(roster.join(member("node11", 2)).unwrap_err().code(), Some(ErrorCode::NameInUse));
        assert!(!old.fence().is_cancelled());
        drop(old);
        assert!(roster.join(member("node11", 2)).is_ok(), "free once its session has ended");
    }

    #[test]
    fn commands_are_in_no_view_and_fence_nobody() {
        let roster = Roster::new(8, 8);
        let node = roster.join(member("node11", 1)).unwrap();
        let one = roster.join(command("node11", 9)).unwrap();
        let two = roster.join(command("node11", 9)).unwrap();
        assert!([&node, &one, &two].iter().all(|joined| !joined.fence().is_cancelled()));
        drop(one);
        assert_eq!(shown(&roster), "[node11|0] (1) [node11]");
    }

    #[test]
    fn a_full_relay_takes_nobody_new_but_lets_a_restarted_node_take_over() {
        let roster = Roster::new(1, 1);
        let _old = roster.join(member("node11", 1)).unwrap();
        assert_eq!(roster.join(member("node12", 2)).unwrap_err().code(), Some(ErrorCode::Busy));
        assert!(roster.join(member("node11", 1)).is_ok());
    }

    #[test]
    fn a_certificate_has_its_share_of_sessions_and_its_node_may_take_over_all_the_same() {
        let roster = Roster::new(8, 2);
        let _old = roster.join(member("node11", 1)).unwrap();
        let command_of_it = roster.join(command("node11", 1)).unwrap();
        let refused = roster.join(command("node11", 1)).unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::Busy));
        assert!(refused.to_string().contains("max_sessions_per_certificate"), "{refused}");
        let _other = roster.join(member("node12", 2)).unwrap();
        let _new = roster.join(member("node11", 1)).unwrap();
        drop(command_of_it);
        assert!(roster.join(command("node11", 1)).is_ok(), "free once a session has ended");
    }

    #[test]
    fn watchers_are_told() {
        let roster = Roster::new(8, 8);
        let mut view = roster.view();
        assert!(!view.has_changed().unwrap());
        let _joined = roster.join(member("node11", 1)).unwrap();
        assert_eq!(view.borrow_and_update().members, ["node11"]);
    }

    #[test]
    fn subscriptions_are_bounded_and_reported_until_they_end() {
        let roster = Roster::new(8, 8);
        let joined = roster.join(member("node11", 1)).unwrap();
        let first = joined.subscribe(1).unwrap();
        assert_eq!(joined.subscribe(1).unwrap_err().code(), Some(ErrorCode::Busy));
        let report = roster.report(Timestamp::from_millis(350));
        assert_eq!((report[0].subscriptions, report[0].connected_ms), (1, 250));
        drop(first);
        assert!(joined.subscribe(1).is_ok());
    }
}
