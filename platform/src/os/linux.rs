#![allow(unsafe_code)]
//! What Linux alone has: an eventfd for wake-ups, the flags and message headers that io_uring and plain calls share, and
//! listeners that the kernel spreads connections over.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::{Descriptor, Received, Told, error_of};
use crate::limits::{MESSAGE_CONTROL_BYTES, PIPE_BYTES};
use crate::socket::{self, DatagramOptions, ListenOptions};
use crate::{OpenFile, Result};

/// The kernel's version, major and minor; zeroes if it does not say.
pub(crate) fn kernel_release() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap_or_default().split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether datagrams come with their ECN bits. An IPv6 socket may receive from IPv4 as well, and has two switches then.
pub(crate) fn tell_ecn(descriptor: &Descriptor, on: bool) -> Result<()> {
    use rustix::net::sockopt::{set_ip_recvtos, set_ipv6_recvtclass};
    let is_v6 = super::local_address(descriptor)?.is_ipv6();
    let told = match is_v6 {
        true => set_ipv6_recvtclass(descriptor, on).and_then(|()| set_ip_recvtos(descriptor, on)),
        false => set_ip_recvtos(descriptor, on),
    };
    told.map_err(|errno| error_of(errno.raw_os_error()))
}

/// Whether datagrams come with the address that they went to. An IPv6 socket tells of IPv4 too, in IPv6 form.
pub(crate) fn tell_local(descriptor: &Descriptor, on: bool) -> Result<()> {
    match super::local_address(descriptor)?.is_ipv6() {
        true => set_number(descriptor, libc::SOL_IPV6, libc::IPV6_RECVPKTINFO, on.into()),
        false => set_number(descriptor, libc::SOL_IP, libc::IP_PKTINFO, on.into()),
    }
}

/// Whether datagrams leave whole or not at all. An IPv6 socket may send to IPv4 as well, and has two switches then.
pub(crate) fn never_fragment(descriptor: &Descriptor, on: bool) -> Result<()> {
    let (v4, v6) = match on {
        true => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE),
        // What sockets begin with.
        false => (libc::IP_PMTUDISC_WANT, libc::IPV6_PMTUDISC_WANT),
    };
    if super::local_address(descriptor)?.is_ipv6() {
        set_number(descriptor, libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER, v6)?;
    }
    set_number(descriptor, libc::SOL_IP, libc::IP_MTU_DISCOVER, v4)
}

/// Whether the kernel joins datagrams of one sender.
pub(crate) fn join_datagrams(descriptor: &Descriptor, on: bool) -> Result<()> {
    set_number(descriptor, libc::SOL_UDP, libc::UDP_GRO, on.into())
}

/// Sets an option whose value is a number.
fn set_number(descriptor: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: the call reads one number of this function's own, whose size it is told.
    let status = unsafe {
        libc::setsockopt(
            descriptor.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(error_of(last_errno().raw_os_error())) }
}

/// Both ends of a pipe.
#[derive(Debug)]
pub(crate) struct PipeEnds {
    reading: Descriptor,
    writing: Descriptor,
    room: usize,
}

impl PipeEnds {
    pub(crate) fn open() -> Result<Self> {
        let open = || {
            let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            // A user who has as many as may be keeps what a pipe has at first.
            let room = rustix::pipe::fcntl_setpipe_size(&writing, PIPE_BYTES)
                .or_else(|_| rustix::pipe::fcntl_getpipe_size(&writing))?;
            Ok(PipeEnds { reading, writing, room })
        };
        open().map_err(|errno: rustix::io::Errno| error_of(errno.raw_os_error()))
    }

    pub(crate) fn room(&self) -> usize {
        self.room
    }

    pub(crate) fn writing(&self) -> &Descriptor {
        &self.writing
    }

    /// Puts references to a file's bytes into the pipe, which is empty. May wait for a disk.
    pub(crate) fn load(&self, file: &File, offset: u64, bytes: usize) -> io::Result<usize> {
        let mut offset = offset;
        let flags = rustix::pipe::SpliceFlags::empty();
        Ok(rustix::pipe::splice(file, Some(&mut offset), &self.writing, None, bytes, flags)?)
    }

    /// Passes bytes on to a socket that does not block.
    pub(crate) fn send(&self, socket: &Descriptor, bytes: usize) -> std::result::Result<usize, rustix::io::Errno> {
        rustix::pipe::splice(&self.reading, None, socket, None, bytes, rustix::pipe::SpliceFlags::NONBLOCK)
    }
}

/// The number that a shard's wake-ups go through: an eventfd. Each write is an edge, so its counter is read only where
/// somebody waits for the level.
#[derive(Debug)]
pub(crate) struct Event(Descriptor);

impl Event {
    pub(crate) fn new() -> Result<Self> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        rustix::event::eventfd(0, flags).map(Event).map_err(|errno| error_of(errno.raw_os_error()))
    }

    pub(crate) fn raise(&self) {
        // The counter would have to be raised 2^64 times to be full, so the write cannot fail.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable until it is raised again.
    pub(crate) fn clear(&self) {
        // It does not block: a counter of zero is an error that says what is wanted.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }
}

/// Fills it with what nobody can guess.
pub(crate) fn random(bytes: &mut [u8]) {
    // So many come whole once the kernel's generator is ready, which it is before any server starts (getrandom(2)).
    assert!(bytes.len() <= 256, "more could be cut short");
    let got = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty());
    assert!(got == Ok(bytes.len()), "the kernel gives random numbers");
}

/// How open(2) is told what [`OpenFile`](crate::OpenFile) says.
pub(crate) fn open_flags(file: &crate::OpenFile) -> i32 {
    let access = match (file.read, file.write) {
        (_, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        (true, true) => libc::O_RDWR,
    };
    let create = if file.create { libc::O_CREAT } else { 0 };
    let truncate = if file.truncate { libc::O_TRUNC } else { 0 };
    access | create | truncate | libc::O_CLOEXEC
}

/// How openat2(2) is told to stay within a directory: no way out of it, and no link of /proc, which could lead anywhere.
pub(crate) const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;

/// Opens a file beneath a directory, by openat2(2), Linux 5.6. Where that is missing, or forbidden by a filter of system
/// calls, step by step, and then no symbolic link is followed.
pub(crate) fn open_beneath(directory: &File, file: &OpenFile) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let mode = if file.create { 0o666 } else { 0 };
    let flags = OFlags::from_bits_retain((open_flags(file) | libc::O_NONBLOCK) as u32);
    match rustix::fs::openat2(
        directory,
        &file.path,
        flags,
        Mode::from_raw_mode(mode),
        ResolveFlags::from_bits_retain(BENEATH),
    ) {
        Ok(opened) => Ok(opened.into()),
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => super::open_by_steps(directory, file),
        Err(errno) => Err(io::Error::from_raw_os_error(super::as_beneath(errno.raw_os_error()))),
    }
}

/// One listening socket for each shard; the kernel spreads connections over them (SO_REUSEPORT, Linux 3.9). Port zero is
/// resolved once, and all have the port that the kernel chose.
///
/// The first listens before it lets itself be joined, so that a port in use is an error and not a silent share, and the port
/// that zero means is never let go for another to take.
pub(crate) fn listeners(address: SocketAddr, count: usize, options: &ListenOptions) -> Result<Vec<socket2::Socket>> {
    // With SO_REUSEADDR a second bind passes while nobody listens; listening is what tells.
    let first = socket::open_listener(address, options, |_| Ok(()))?;
    join_group(&first)?;
    with_rest(first, address, count, |address| socket::open_listener(address, options, join_group))
}

/// One datagram socket for each shard; the kernel spreads datagrams over them. The first is alone at its address as that of the
/// listeners is. A socket's number in the group is the place in which it was bound, and stays so while none of the group is
/// closed.
pub(crate) fn datagram_sockets(
    address: SocketAddr,
    count: usize,
    options: &DatagramOptions,
) -> Result<Vec<socket2::Socket>> {
    let first = socket::open_datagram_socket(address, |socket| match options.numbered_at {
        Some(offset) => number_alone(socket, offset),
        None => Ok(()),
    })?;
    join_group(&first)?;
    with_rest(first, address, count, |address| socket::open_datagram_socket(address, join_group))
}

/// The first of a group, and those that join it at the address that it has.
fn with_rest(
    first: socket2::Socket,
    address: SocketAddr,
    count: usize,
    open: impl Fn(SocketAddr) -> Result<socket2::Socket>,
) -> Result<Vec<socket2::Socket>> {
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(open(address)?);
    }
    Ok(sockets)
}

/// Has the kernel choose by the byte at this offset, before the socket is bound: alone it would take no program afterwards.
/// Those who join the group later are chosen by the same. One that brings a program joins no other (`udp_lib_lport_inuse` of
/// Linux), so the address is its own nevertheless.
fn number_alone(socket: &socket2::Socket, offset: u32) -> io::Result<()> {
    join_group(socket)?;
    if let Err(errno) = number_by(socket, offset) {
        tracing::info!("datagrams are spread by their addresses alone: the kernel takes no program ({errno})");
        socket.set_reuse_port(false)?;
    }
    Ok(())
}

/// Has the kernel choose a socket of the group by the byte at this offset: see [`DatagramOptions::numbered_at`]. The number that
/// the program returns need not be one of a socket: the kernel falls back to its hash then, so the program knows nothing of
/// how many there are, and holds when more join.
fn number_by(socket: &socket2::Socket, offset: u32) -> std::result::Result<(), rustix::io::Errno> {
    const HASH: u32 = u32::MAX;
    const LONG: u32 = 0x80;
    let (ld, jmp, ret) = (libc::BPF_LD, libc::BPF_JMP, libc::BPF_RET);
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    // It begins at the datagram's first byte; the header of UDP lies before that.
    let mut program = [
        step(ld | libc::BPF_W | libc::BPF_LEN, 0, 0, 0),
        // A byte that is not there would be number zero.
        step(jmp | libc::BPF_JGT | libc::BPF_K, offset, 0, 4),
        step(ld | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
        step(jmp | libc::BPF_JSET | libc::BPF_K, LONG, 2, 0),
        step(ld | libc::BPF_B | libc::BPF_ABS, offset, 0, 0),
        step(ret | libc::BPF_A, 0, 0, 0),
        step(ret | libc::BPF_K, HASH, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the call reads the structure, whose size it is told, and the steps that it points to with their count; both are
    // this function's own and outlive the call, which keeps a copy.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Lets a socket share its address with others of this user: what the kernel calls a group.
pub(crate) fn join_group(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Lets a connection be accepted when its first bytes are there, or after so many seconds.
pub(crate) fn await_first_bytes(socket: &socket2::Socket, time: Duration) -> io::Result<()> {
    let seconds = time.as_secs().max(1).try_into().unwrap_or(libc::c_int::MAX);
    set_number(socket, libc::SOL_TCP, libc::TCP_DEFER_ACCEPT, seconds).map_err(io::Error::other)
}

/// Bounds what the kernel takes of each accepted connection before it can send it. They inherit it.
pub(crate) fn limit_unsent(socket: &socket2::Socket, bytes: u32) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(bytes)
}

pub(crate) fn is_in_group(socket: &Descriptor) -> bool {
    socket2::SockRef::from(socket).reuse_port().unwrap_or(false)
}

pub(super) fn receive_without_waiting(descriptor: &Descriptor, buffer: &mut [u8]) -> io::Result<usize> {
    use rustix::net::{RecvFlags, recv};
    let (bytes, _) = recv(descriptor, buffer, RecvFlags::DONTWAIT)?;
    Ok(bytes)
}

/// Whether a connection waits to be accepted.
pub(crate) fn has_connection(listener: &Descriptor) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut asked = [PollFd::new(listener, PollFlags::IN)];
    // Whoever could not look takes it that one waits.
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}

/// How to find out who has a port.
pub(crate) fn find_listener(port: u16) -> String {
    format!("ss -ltunp 'sport = :{port}'")
}

/// Pins the calling thread. False if the kernel refuses.
pub(crate) fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// Reads a socket address as the kernel writes it.
pub(crate) fn address_of(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = name.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((octets, port)))
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = name.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(name.get(24..28)?.try_into().ok()?);
            Some(std::net::SocketAddrV6::new(octets.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

/// Length of a control message's header, which is also the alignment of what follows: cmsg(3).
const CONTROL_HEADER_BYTES: usize = 16;

/// Finds what is told of a datagram among received control messages.
pub(crate) fn read_control(mut control: &[u8]) -> Told {
    let mut told = Told::default();
    while control.len() > CONTROL_HEADER_BYTES {
        let len = usize::from_ne_bytes(control[..8].try_into().expect("eight bytes"));
        let level = i32::from_ne_bytes(control[8..12].try_into().expect("four bytes"));
        let kind = i32::from_ne_bytes(control[12..16].try_into().expect("four bytes"));
        let Some(data) = control.get(CONTROL_HEADER_BYTES..len) else { break };
        match (level, kind, data) {
            (libc::SOL_UDP, libc::UDP_GRO, [low, high, ..]) => told.segment = Some(u16::from_ne_bytes([*low, *high])),
            (libc::SOL_IP, libc::IP_TOS, [tos, ..]) => told.ecn = tos & 3,
            (libc::SOL_IPV6, libc::IPV6_TCLASS, [class, ..]) => told.ecn = class & 3,
            (libc::SOL_IP, libc::IP_PKTINFO, data) => told.local = part::<4>(data, V4_WENT_TO).map(IpAddr::from),
            (libc::SOL_IPV6, libc::IPV6_PKTINFO, data) => told.local = part::<16>(data, 0).map(IpAddr::from),
            _ => {}
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    told
}

fn part<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk().copied()
}

/// Where the address lies in `in_pktinfo` that a datagram went to, and the one that it is to come from. Both begin with the
/// number of an interface, which is left to the route.
const V4_WENT_TO: usize = std::mem::offset_of!(libc::in_pktinfo, ipi_addr);
const V4_COMES_FROM: usize = std::mem::offset_of!(libc::in_pktinfo, ipi_spec_dst);

/// Writes the control messages of a datagram and returns how many bytes they take. Whether a datagram goes by IPv4 is not told
/// by the form of its peer's address, which an IPv6 socket writes in IPv6 form; the kernel ignores messages of the other kind.
pub(crate) fn write_control(control: &mut [u8; MESSAGE_CONTROL_BYTES], message: &crate::Datagram) -> usize {
    let mut used = 0;
    let mut put = |level: i32, kind: i32, data: &[u8]| {
        let len = CONTROL_HEADER_BYTES + data.len();
        control[used..used + 8].copy_from_slice(&len.to_ne_bytes());
        control[used + 8..used + 12].copy_from_slice(&level.to_ne_bytes());
        control[used + 12..used + 16].copy_from_slice(&kind.to_ne_bytes());
        control[used + 16..used + len].copy_from_slice(data);
        used += len.next_multiple_of(8);
    };
    if let Some(segment) = message.segment {
        put(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
    }
    if message.ecn != 0 {
        let value = i32::from(message.ecn & 3).to_ne_bytes();
        match message.peer.map(|peer| peer.ip().to_canonical()) {
            Some(IpAddr::V6(_)) => put(libc::SOL_IPV6, libc::IPV6_TCLASS, &value),
            _ => put(libc::SOL_IP, libc::IP_TOS, &value),
        }
    }
    match message.source.map(|source| source.to_canonical()) {
        Some(IpAddr::V4(source)) => {
            let mut info = [0; size_of::<libc::in_pktinfo>()];
            info[V4_COMES_FROM..V4_COMES_FROM + 4].copy_from_slice(&source.octets());
            put(libc::SOL_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(source)) => {
            let mut info = [0; size_of::<libc::in6_pktinfo>()];
            info[..16].copy_from_slice(&source.octets());
            put(libc::SOL_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    used
}

/// The header of one datagram for sendmsg(2) or recvmsg(2), and all that it points to besides the bytes themselves.
pub(crate) struct MessageHead {
    header: libc::msghdr,
    slice: libc::iovec,
    /// Where a datagram goes to.
    peer: socket2::SockAddr,
    /// Where one came from.
    name: [u8; size_of::<libc::sockaddr_in6>()],
    control: Control,
}

/// Room for control messages, aligned as their headers are.
#[repr(C, align(8))]
struct Control([u8; MESSAGE_CONTROL_BYTES]);

impl MessageHead {
    pub(crate) fn new() -> Self {
        MessageHead {
            // SAFETY: all zeroes is a valid message header.
            header: unsafe { std::mem::zeroed() },
            slice: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            peer: SocketAddr::from(([0; 4], 0)).into(),
            name: [0; size_of::<libc::sockaddr_in6>()],
            control: Control([0; MESSAGE_CONTROL_BYTES]),
        }
    }

    pub(crate) fn boxed() -> Box<Self> {
        Box::new(MessageHead::new())
    }

    /// The header for sending; it points into `self` and to the datagram's bytes, and holds while neither moves.
    pub(crate) fn set_to_send(&mut self, message: &crate::Datagram) -> *const libc::msghdr {
        self.slice = libc::iovec { iov_base: message.data.as_ptr().cast_mut().cast(), iov_len: message.data.len() };
        self.header.msg_iov = &mut self.slice;
        self.header.msg_iovlen = 1;
        (self.header.msg_name, self.header.msg_namelen) = (std::ptr::null_mut(), 0);
        if let Some(peer) = message.peer {
            self.peer = peer.into();
            self.header.msg_name = self.peer.as_ptr().cast_mut().cast();
            self.header.msg_namelen = self.peer.len();
        }
        self.header.msg_control = self.control.0.as_mut_ptr().cast();
        self.header.msg_controllen = write_control(&mut self.control.0, message) as _;
        &self.header
    }

    /// The header for receiving, into a buffer that the kernel selects; it points into `self` and holds while that does not
    /// move.
    pub(crate) fn set_to_receive(&mut self) -> *mut libc::msghdr {
        self.header.msg_iovlen = 0;
        self.header.msg_name = self.name.as_mut_ptr().cast();
        self.header.msg_namelen = self.name.len() as _;
        self.header.msg_control = self.control.0.as_mut_ptr().cast();
        self.header.msg_controllen = self.control.0.len() as _;
        &mut self.header
    }

    /// What the kernel has written into the header.
    pub(crate) fn received(&self) -> Received {
        let name = &self.name[..self.name.len().min(self.header.msg_namelen as usize)];
        let control = &self.control.0[..self.control.0.len().min(self.header.msg_controllen)];
        let truncated = self.header.msg_flags & libc::MSG_TRUNC != 0;
        Received { peer: address_of(name), told: read_control(control), truncated }
    }
}

/// Receives datagrams, each of which may be several that the kernel has joined: as many as there are rooms, or fewer if no
/// more have come. An error that is met after the first is the next call's.
#[cfg(target_os = "linux")]
pub(crate) fn receive_messages<const N: usize>(
    descriptor: &Descriptor,
    rooms: &mut [&mut [u8]],
    told: &mut [Option<(usize, Received)>; N],
) -> std::result::Result<(), rustix::io::Errno> {
    let mut heads: [MessageHead; N] = std::array::from_fn(|_| MessageHead::new());
    // SAFETY: all zeroes is a valid header.
    let mut messages: [libc::mmsghdr; N] = unsafe { std::mem::zeroed() };
    let count = rooms.len().min(N);
    for ((head, room), message) in heads.iter_mut().zip(rooms.iter_mut()).zip(&mut messages) {
        head.set_to_receive();
        head.slice = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        (head.header.msg_iov, head.header.msg_iovlen) = (&mut head.slice, 1);
        message.msg_hdr = head.header;
    }
    // SAFETY: `count` headers are set, each of which points into its head and to its room with their lengths; none of them
    // moves, and all outlive the call.
    let received = unsafe {
        libc::recvmmsg(descriptor.as_raw_fd(), messages.as_mut_ptr(), count as libc::c_uint, 0, std::ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| last_errno())?;
    for ((head, message), told) in heads.iter_mut().zip(&messages).zip(told).take(received) {
        head.header = message.msg_hdr;
        *told = Some((message.msg_len as usize, head.received()));
    }
    Ok(())
}

/// Sends one datagram, or a batch of equal ones.
pub(crate) fn send_message(
    descriptor: &Descriptor,
    message: &crate::Datagram,
) -> std::result::Result<usize, rustix::io::Errno> {
    let mut head = MessageHead::new();
    let header = head.set_to_send(message);
    // SAFETY: the header points into `head`, which does not move, and to the message's own bytes, with their lengths; the
    // call only reads them, and both outlive it.
    let bytes = unsafe { libc::sendmsg(descriptor.as_raw_fd(), header, libc::MSG_NOSIGNAL) };
    usize::try_from(bytes).map_err(|_| last_errno())
}

/// Sends datagrams, each of which may be a batch of equal ones, until one cannot be sent, and says how many bytes each has.
/// An error that is met after the first is the next call's.
pub(crate) fn send_messages<const N: usize>(
    descriptor: &Descriptor,
    messages: &[&crate::Datagram],
) -> std::result::Result<[Option<usize>; N], rustix::io::Errno> {
    let mut heads: [MessageHead; N] = std::array::from_fn(|_| MessageHead::new());
    // SAFETY: all zeroes is a valid header.
    let mut headers: [libc::mmsghdr; N] = unsafe { std::mem::zeroed() };
    let count = messages.len().min(N);
    for ((head, message), header) in heads.iter_mut().zip(messages).zip(&mut headers) {
        head.set_to_send(message);
        header.msg_hdr = head.header;
    }
    // SAFETY: `count` headers are set, each of which points into its head, which does not move, and to its message's own
    // bytes, with their lengths; the call only reads them, and all outlive it.
    let sent = unsafe {
        libc::sendmmsg(descriptor.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, libc::MSG_NOSIGNAL)
    };
    let sent = usize::try_from(sent).map_err(|_| last_errno())?;
    Ok(std::array::from_fn(|place| (place < sent).then(|| headers[place].msg_len as usize)))
}

fn last_errno() -> rustix::io::Errno {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    rustix::io::Errno::from_raw_os_error(code)
}
