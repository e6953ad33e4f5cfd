//! A UDP wire on loopback that can be cut, either way or both, that can lose, double, delay and reorder what it carries, and
//! at which those who dial can come from another address all at once, as behind a router that forgot them.
//!
//! ```text
//!  dialling side ── its port ──►  Wire  ── a socket per dialling address ──►  listening side
//!                                  │ Way::Forth: weather of its own
//!                                  │ Way::Back:  weather of its own
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// Addresses that may dial through one wire; the oldest is forgotten for one more.
const MAX_DIALLING: usize = 64;
/// Datagrams that may be under way on one wire; what comes on top is lost.
const MAX_UNDER_WAY: usize = 4096;
/// The greatest datagram there is.
const MAX_DATAGRAM: usize = 65_536;

/// A direction of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the dialling side to the listening one.
    Forth,
    /// The other way.
    Back,
}

/// What befalls the datagrams that go one way.
#[derive(Debug, Clone, PartialEq)]
pub struct Weather {
    /// Nothing passes.
    pub cut: bool,
    /// The share that is lost.
    pub loss: f64,
    /// The share that arrives twice.
    pub doubled: f64,
    /// How long each takes, drawn anew for each: where the range is wide, they arrive in another order.
    pub delay: Range<Duration>,
}

impl Weather {
    /// Everything passes at once, and once.
    pub const FAIR: Self = Self { cut: false, loss: 0.0, doubled: 0.0, delay: Duration::ZERO..Duration::ZERO };
    /// Nothing passes.
    pub const CUT: Self = Self { cut: true, ..Self::FAIR };
}

/// A wire to one listening address. It is gone when it is dropped.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    carrier: Arc<Carrier>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Carrier {
    weather: Mutex<[Weather; 2]>,
    chance: Mutex<StdRng>,
    places: Arc<Semaphore>,
    lost: AtomicU64,
    /// How often the addresses were to change.
    changes: watch::Sender<u64>,
}

impl Wire {
    /// A wire to that port of loopback, in fair weather. What befalls is drawn from `seed`.
    ///
    /// # Panics
    /// When no socket can be bound.
    pub async fn to(port: u16, seed: u64) -> Self {
        let socket = bound().await;
        let own = socket.local_addr().expect("a bound socket has an address").port();
        let carrier = Arc::new(Carrier {
            weather: Mutex::new([Weather::FAIR, Weather::FAIR]),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            places: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
            lost: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(carry_forth(Arc::new(socket), (Ipv4Addr::LOCALHOST, port).into(), carrier.clone()));
        Self { port: own, carrier, _tasks: tasks }
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many datagrams were lost so far.
    pub fn lost(&self) -> u64 {
        self.carrier.lost.load(Ordering::Relaxed)
    }

    /// From now on the listening side sees other addresses; what it sends to the former ones is lost.
    pub fn change_addresses(&self) {
        self.carrier.changes.send_modify(|changes| *changes += 1);
    }

    /// How often the addresses have changed.
    pub fn changes(&self) -> u64 {
        *self.carrier.changes.borrow()
    }

    /// Changes the weather of both ways.
    pub fn set(&self, weather: &Weather) {
        *self.carrier.weather() = [weather.clone(), weather.clone()];
    }

    /// Changes the weather of one way.
    pub fn set_way(&self, way: Way, weather: &Weather) {
        self.carrier.weather()[way as usize] = weather.clone();
    }
}

impl Carrier {
    fn weather(&self) -> MutexGuard<'_, [Weather; 2]> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When each copy of the next datagram arrives, from now; none: it is lost.
    fn arrivals(&self, way: Way) -> Vec<Duration> {
        let weather = self.weather()[way as usize].clone();
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        if weather.cut || chance.random_bool(weather.loss) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        let copies = if chance.random_bool(weather.doubled) { 2 } else { 1 };
        let mut delay =
            || if weather.delay.is_empty() { weather.delay.start } else { chance.random_range(weather.delay.clone()) };
        (0..copies).map(|_| delay()).collect()
    }

    /// Sends a datagram on its way. One that can't be sent is lost, as it would be on any wire.
    async fn carry(
        &self,
        datagram: &[u8],
        way: Way,
        through: &Arc<UdpSocket>,
        to: SocketAddr,
        under_way: &mut JoinSet<()>,
    ) {
        while under_way.try_join_next().is_some() {}
        for delay in self.arrivals(way) {
            if delay.is_zero() {
                let _lost = through.send_to(datagram, to).await;
                continue;
            }
            let Ok(place) = self.places.clone().try_acquire_owned() else { return };
            let (datagram, through) = (datagram.to_vec(), through.clone());
            let arrives = Instant::now() + delay;
            under_way.spawn(async move {
                sleep_until(arrives).await;
                let _lost = through.send_to(&datagram, to).await;
                drop(place);
            });
        }
    }
}

async fn carry_forth(socket: Arc<UdpSocket>, listening: SocketAddr, carrier: Arc<Carrier>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut outward: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut by_age: VecDeque<(SocketAddr, AbortHandle)> = VecDeque::new();
    let (mut back, mut under_way) = (JoinSet::new(), JoinSet::new());
    let mut changes = carrier.changes.subscribe();
    loop {
        let received = tokio::select! {
            biased;
            // The sender is in the carrier.
            _ = changes.changed() => {
                by_age.drain(..).for_each(|(_, way_back)| way_back.abort());
                outward.clear();
                continue;
            }
            received = socket.recv_from(&mut buffer) => received,
        };
        // An error tells of an earlier datagram that nobody took.
        let Ok((length, from)) = received else { continue };
        if !outward.contains_key(&from) {
            if by_age.len() == MAX_DIALLING
                && let Some((oldest, way_back)) = by_age.pop_front()
            {
                way_back.abort();
                outward.remove(&oldest);
            }
            while back.try_join_next().is_some() {}
            let through = Arc::new(bound().await);
            by_age.push_back((from, back.spawn(carry_back(through.clone(), socket.clone(), from, carrier.clone()))));
            outward.insert(from, through);
        }
        carrier.carry(&buffer[..length], Way::Forth, &outward[&from], listening, &mut under_way).await;
    }
}

async fn carry_back(from: Arc<UdpSocket>, through: Arc<UdpSocket>, to: SocketAddr, carrier: Arc<Carrier>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut under_way = JoinSet::new();
    loop {
        let Ok((length, _)) = from.recv_from(&mut buffer).await else { continue };
        carrier.carry(&buffer[..length], Way::Back, &through, to, &mut under_way).await;
    }
}

async fn bound() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::{PATIENCE, until, until_true};

    async fn ends() -> (UdpSocket, UdpSocket, Wire) {
        let listening = bound().await;
        let wire = Wire::to(listening.local_addr().unwrap().port(), 1).await;
        let dialling = bound().await;
        dialling.connect((Ipv4Addr::LOCALHOST, wire.port())).await.unwrap();
        (dialling, listening, wire)
    }

    async fn heard(socket: &UdpSocket) -> (u8, SocketAddr) {
        let mut buffer = [0; 8];
        let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("in time").unwrap();
        assert_eq!(length, 1);
        (buffer[0], from)
    }

    #[tokio::test]
    async fn it_carries_both_ways_and_each_way_can_be_cut() {
        let (dialling, listening, wire) = ends().await;
        dialling.send(&[1]).await.unwrap();
        let (first, from) = heard(&listening).await;
        assert_eq!(first, 1);
        wire.set_way(Way::Back, &Weather::CUT);
        listening.send_to(&[2], from).await.unwrap();
        until_true("the answer to be lost", || wire.lost() == 1).await;
        dialling.send(&[3]).await.unwrap();
        assert_eq!(heard(&listening).await.0, 3);
        wire.set(&Weather::FAIR);
        listening.send_to(&[4], from).await.unwrap();
        assert_eq!(heard(&dialling).await.0, 4);
    }

    #[tokio::test]
    async fn addresses_change_and_the_former_ones_are_dead() {
        let (dialling, listening, wire) = ends().await;
        dialling.send(&[1]).await.unwrap();
        let (_, before) = heard(&listening).await;
        wire.change_addresses();
        // Some may still come from the former address: the change is carried out between two datagrams.
        let after = until("another address", async || {
            dialling.send(&[2]).await.unwrap();
            let (_, from) = heard(&listening).await;
            (from != before).then_some(from)
        })
        .await;
        listening.send_to(&[3], before).await.unwrap();
        listening.send_to(&[4], after).await.unwrap();
        assert_eq!(heard(&dialling).await.0, 4);
        assert_eq!(wire.changes(), 1);
    }

    #[tokio::test]
    async fn what_is_lost_doubled_and_late_is_as_the_weather_says() {
        let (dialling, listening, wire) = ends().await;
        wire.set_way(Way::Forth, &Weather { loss: 1.0, ..Weather::FAIR });
        dialling.send(&[1]).await.unwrap();
        until_true("the first to be lost", || wire.lost() == 1).await;
        let delay = Duration::from_millis(1)..Duration::from_millis(40);
        wire.set_way(Way::Forth, &Weather { doubled: 1.0, delay, ..Weather::FAIR });
        for number in 10..30 {
            dialling.send(&[number]).await.unwrap();
        }
        let mut arrived = Vec::new();
        while arrived.len() < 40 {
            arrived.push(heard(&listening).await.0);
        }
        assert!(!arrived.is_sorted(), "twenty in any order, each twice: {arrived:?}");
        arrived.sort_unstable();
        let twice: Vec<u8> = (10..30).flat_map(|number| [number, number]).collect();
        assert_eq!(arrived, twice);
    }
}
