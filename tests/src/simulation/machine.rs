//! The machine that a simulated relay, or node, runs on.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use landbridge_relay::machine::{Machine, Workers};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};

use super::{dice::Dice, network::Network};

/// A flush of a disk takes so many milliseconds at most.
const LONGEST_FLUSH_MS: u64 = 12;

/// One machine on the simulated network.
#[derive(Debug)]
pub struct SimulatedMachine {
    network: Network,
    address: IpAddr,
    dice: Arc<Mutex<Dice>>,
    /// Given for every random number, where a mutation asks for that.
    same_number: Option<u64>,
}

impl SimulatedMachine {
    /// A machine with this address.
    pub fn new(network: Network, address: IpAddr, dice: Dice, same_number: Option<u64>) -> Self {
        Self { network, address, dice: Arc::new(Mutex::new(dice)), same_number }
    }

    fn draw(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    fn endpoint(&self, port: u16, mut config: EndpointConfig) -> io::Result<Endpoint> {
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.draw().to_be_bytes()));
        config.rng_seed(Some(seed));
        let socket = self.network.socket((self.address, port).into())?;
        Endpoint::new_with_abstract_socket(config, None, socket, Arc::new(TokioRuntime))
    }
}

impl Machine for SimulatedMachine {
    fn listen(&self, address: SocketAddr, config: EndpointConfig) -> io::Result<Endpoint> {
        self.endpoint(address.port(), config)
    }

    fn dial_from(&self, _any: IpAddr) -> io::Result<Endpoint> {
        self.endpoint(0, EndpointConfig::default())
    }

    fn random(&self) -> Result<u64, getrandom::Error> {
        Ok(self.same_number.unwrap_or_else(|| self.draw()))
    }

    fn workers(&self) -> Workers {
        let dice = self.dice.clone();
        let flush_takes = move || {
            let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
            Duration::from_millis(dice.within(0..LONGEST_FLUSH_MS + 1))
        };
        Workers::Tasks { flush_takes: Arc::new(flush_takes) }
    }
}
