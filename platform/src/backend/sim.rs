//! A simulated machine.
use crate::Result;
use crate::flight::Core;
use crate::op::Wait;
use std::net::{Shutdown, SocketAddr};
use std::time::{Instant, SystemTime};
/// A simulated machine.
#[derive(Debug, Clone)]
pub struct Machine;
/// One node's socket.
#[derive(Debug)]
pub(crate) struct SimSocket;
impl SimSocket {
    pub(crate) fn shutdown(&self, _how: Shutdown) -> Result<()> {
        Ok(())
    }
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        Err(crate::Error::Closed)
    }
    pub(crate) fn peer_address(&self) -> Result<SocketAddr> {
        Err(crate::Error::Closed)
    }
}
pub(crate) struct Sim;
impl Sim {
    pub(crate) fn new(_machine: &Machine) -> Self {
        Sim
    }
    pub(crate) fn enter(&mut self, _core: &mut Core, _wait: Wait) {}
    pub(crate) fn now(&self) -> Instant {
        unimplemented!()
    }
    pub(crate) fn wall_clock(&self) -> SystemTime {
        unimplemented!()
    }
    pub(crate) fn random(&mut self) -> u64 {
        0
    }
    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        _: usize,
        _: &crate::ListenOptions,
    ) -> std::result::Result<Vec<crate::Socket>, crate::ListenError> {
        Err(crate::ListenError { address, error: crate::Error::Unsupported })
    }
    pub(crate) fn stream_socket(&mut self) -> Result<SimSocket> {
        Ok(SimSocket)
    }
    pub(crate) fn datagram_socket(&mut self, _local: SocketAddr) -> Result<SimSocket> {
        Ok(SimSocket)
    }
}
