//! (simulation)
/// Shards on a simulated machine.
#[derive(Debug)]
pub struct Simulation;
