//! The client over HTTP/2 against servers that follow a script, frame by frame: good ones, slow ones, and those that do what no
//! server should. On a simulated machine, under some seeds; after each, nothing is left behind.

mod answers;
#[path = "../every/mod.rs"]
mod every;
mod hostile;
mod kit;
