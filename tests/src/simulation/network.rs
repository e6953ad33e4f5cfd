//! A network of datagrams in virtual time: it loses, delays, reorders and repeats, and cuts ways, each direction by itself.
//!
//! ```text
//!  quinn ─ try_send ─► weather of that way ─► under way (by time of arrival) ─ postman ─► mailbox ─ poll_recv ─► quinn
//! ```
//!
//! Each way has dice of its own, and what arrives at one moment comes in the order of its ways: in which order two tasks send
//! on two ways at one moment makes no difference.
//!
//! A machine that fails is unplugged: its sockets neither send nor hear any more, whoever still holds them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::{sync::Notify, time::Instant};

use super::dice::Dice;

/// Datagrams that a socket keeps for who does not read; more are lost, as the kernel does it.
const MAILBOX: usize = 1024;

/// How one way is, from a machine to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Nothing arrives.
    pub cut: bool,
    /// Of a thousand datagrams so many are lost.
    pub lost: u64,
    /// Of a thousand datagrams so many arrive twice.
    pub twice: u64,
    /// Milliseconds on the way, at least.
    pub delay_ms: u64,
    /// Milliseconds more, at most, drawn for each: that is what reorders.
    pub jitter_ms: u64,
}

impl Weather {
    /// A good day.
    pub const FAIR: Self = Self { cut: false, lost: 0, twice: 0, delay_ms: 1, jitter_ms: 1 };
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    earlier: Notify,
}

struct State {
    seed: u64,
    weather: BTreeMap<(IpAddr, IpAddr), Weather>,
    sockets: BTreeMap<SocketAddr, Arc<Mailbox>>,
    ways: BTreeMap<Way, Sent>,
    /// By time of arrival, way, and the datagram's number on it.
    under_way: BTreeMap<(Instant, Way, u64), Vec<u8>>,
    sent: u64,
    next_port: u16,
}

/// From where to where.
type Way = (SocketAddr, SocketAddr);

/// What was sent on a way.
struct Sent {
    dice: Dice,
    count: u64,
}

#[derive(Default)]
struct Mailbox(Mutex<Letters>);

#[derive(Default)]
struct Letters {
    letters: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    /// A network without sockets, in fair weather.
    pub fn new(seed: u64) -> Self {
        let state = State {
            seed,
            weather: BTreeMap::new(),
            sockets: BTreeMap::new(),
            ways: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            next_port: 40_000,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), earlier: Notify::new() }))
    }

    /// A socket; port 0 is one that is free.
    pub fn socket(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let mut state = self.state();
        let mut address = address;
        if address.port() == 0 {
            address.set_port(state.next_port);
            state.next_port += 1;
        }
        let mailbox = Arc::new(Mailbox::default());
        if state.sockets.insert(address, mailbox.clone()).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(Arc::new(Socket { network: self.clone(), address, mailbox }))
    }

    /// The machine fails.
    pub fn unplug(&self, machine: IpAddr) {
        self.state().sockets.retain(|address, _| address.ip() != machine);
    }

    /// The weather on the way from one machine to another, from now on.
    pub fn set(&self, from: IpAddr, to: IpAddr, weather: Weather) {
        self.state().weather.insert((from, to), weather);
    }

    /// Fair weather everywhere.
    pub fn clear_up(&self) {
        self.state().weather.clear();
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    /// Brings what is under way, for as long as it is polled.
    pub async fn postman(self) {
        loop {
            let next = self.deliver(Instant::now());
            let earlier = self.0.earlier.notified();
            match next {
                Some(at) => drop(tokio::time::timeout_at(at, earlier).await),
                None => earlier.await,
            }
        }
    }

    fn deliver(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        while let Some(entry) = state.under_way.first_entry() {
            let arrives = entry.key().0;
            if arrives > now {
                return Some(arrives);
            }
            let (_, (from, to), _) = *entry.key();
            let bytes = entry.remove();
            if let Some(mailbox) = state.sockets.get(&to) {
                mailbox.put(from, bytes);
            }
        }
        None
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8], mailbox: &Arc<Mailbox>) {
        let mut state = self.state();
        // The socket of a machine that has failed, or of its former run.
        if !state.sockets.get(&from).is_some_and(|there| Arc::ptr_eq(there, mailbox)) {
            return;
        }
        let weather = state.weather.get(&(from.ip(), to.ip())).copied().unwrap_or(Weather::FAIR);
        let first = state.under_way.first_key_value().map(|((at, ..), _)| *at);
        let seed = state.seed;
        let way = state
            .ways
            .entry((from, to))
            .or_insert_with(|| Sent { dice: Dice::of(seed ^ number_of(from, to)), count: 0 });
        let lost = way.dice.chance(weather.lost);
        let copies = if way.dice.chance(weather.twice) { 2 } else { 1 };
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let jitter = way.dice.within(0..weather.jitter_ms + 1);
            way.count += 1;
            arrivals.push((Instant::now() + Duration::from_millis(weather.delay_ms + jitter), way.count));
        }
        state.sent += 1;
        if weather.cut || lost {
            return;
        }
        for (at, number) in arrivals {
            state.under_way.insert((at, (from, to), number), bytes.to_vec());
            if first.is_none_or(|first| at < first) {
                self.0.earlier.notify_one();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number for a way.
fn number_of(from: SocketAddr, to: SocketAddr) -> u64 {
    let number = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()) << 16 | u64::from(address.port()),
        IpAddr::V6(_) => 0,
    };
    Dice::of(number(from)).draw() ^ number(to)
}

impl Mailbox {
    fn put(&self, from: SocketAddr, bytes: Vec<u8>) {
        let mut letters = self.letters();
        if letters.letters.len() < MAILBOX {
            letters.letters.push_back((from, bytes));
        }
        if let Some(waker) = letters.waker.take() {
            waker.wake();
        }
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Socket {
    network: Network,
    address: SocketAddr,
    mailbox: Arc<Mailbox>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.address)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.network.state();
        if state.sockets.get(&self.address).is_some_and(|there| Arc::ptr_eq(there, &self.mailbox)) {
            state.sockets.remove(&self.address);
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.network.send(self.address, transmit.destination, transmit.contents, &self.mailbox);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut letters = self.mailbox.letters();
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some((addr, bytes)) = letters.letters.pop_front() else { break };
            let len = bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&bytes[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        letters.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
