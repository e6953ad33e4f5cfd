//! What a relay takes of the machine that it runs on, besides the time ([`crate::clock`]) and the log
//! ([`crate::store::log`]): sockets, random numbers, and who does what can't be done in a task.
//!
//! Production has [`ThisMachine`]. A simulation can put a machine of its own in place: sockets on a network that loses and
//! delays, numbers from a seed, and tasks instead of threads, so that one seed is one run.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::task::JoinHandle;

/// A machine, as far as a relay needs one.
pub trait Machine: Send + Sync {
    /// QUIC at an address, to be dialled there.
    fn listen(&self, address: SocketAddr, config: EndpointConfig) -> io::Result<Endpoint>;

    /// QUIC to dial from; `any` is the unspecified address of the family that is dialled.
    fn dial_from(&self, any: IpAddr) -> io::Result<Endpoint>;

    /// 64 random bits.
    fn random(&self) -> Result<u64, getrandom::Error>;

    /// Who does what blocks.
    fn workers(&self) -> Workers;
}

/// The machine that the process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn listen(&self, address: SocketAddr, config: EndpointConfig) -> io::Result<Endpoint> {
        Endpoint::new(config, None, UdpSocket::bind(address)?, Arc::new(TokioRuntime))
    }

    fn dial_from(&self, any: IpAddr) -> io::Result<Endpoint> {
        Endpoint::client((any, 0).into())
    }

    fn random(&self) -> Result<u64, getrandom::Error> {
        getrandom::u64()
    }

    fn workers(&self) -> Workers {
        Workers::Threads
    }
}

/// Who does what blocks: the store's writing, long reads, files.
#[derive(Clone)]
pub enum Workers {
    /// Threads.
    Threads,
    /// Tasks of the runtime that the relay runs on, in the order that it gives them.
    Tasks {
        /// How long the next flush of the log takes. Between what is written and its flush a machine may fail.
        flush_takes: Arc<dyn Fn() -> Duration + Send + Sync>,
    },
}

impl Workers {
    /// Has something done apart. To be called on a tokio runtime.
    pub fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match self {
            Workers::Threads => tokio::task::spawn_blocking(work),
            Workers::Tasks { .. } => tokio::spawn(async move { work() }),
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workers::Threads => "Threads",
            Workers::Tasks { .. } => "Tasks",
        })
    }
}
