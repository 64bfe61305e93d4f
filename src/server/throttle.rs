//! Wrong keys are slowed, by peer and over all; bounded in memory, and never asked about a right key.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::exposure::Peer;

/// Failures that one peer may have at once.
const BURST: f64 = 20.0;
/// Failures that one peer gets back each second: ten a minute.
const PER_SECOND: f64 = 10.0 / 60.0;
/// The same over all peers: a thousand a minute.
const ALL_BURST: f64 = 1000.0;
const ALL_PER_SECOND: f64 = 1000.0 / 60.0;
/// Peers remembered; beyond, only the bound over all holds for new ones.
const PEERS_MAX: usize = 10_000;

/// What counts as one peer: a whole IPv4 address, or an IPv6 network of 64 bits.
pub(super) fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        },
        IpAddr::V4(_) => ip,
    }
}

struct Bucket {
    left: f64,
    seen: Instant,
}

impl Bucket {
    fn full(burst: f64, now: Instant) -> Self {
        Self { left: burst, seen: now }
    }

    fn refill(&mut self, burst: f64, per_second: f64, now: Instant) {
        self.left = (self.left + now.duration_since(self.seen).as_secs_f64() * per_second).min(burst);
        self.seen = now;
    }

    fn take(&mut self, burst: f64, per_second: f64, now: Instant) -> Result<(), Duration> {
        self.refill(burst, per_second, now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.left) / per_second))
        }
    }
}

#[derive(Default)]
struct State {
    all: Option<Bucket>,
    peers: HashMap<IpAddr, Bucket>,
}

/// Counts failures; see [`Throttle::failed`].
#[derive(Default)]
pub(super) struct Throttle(Mutex<State>);

impl Throttle {
    /// Notes a failure of `peer`. Callers of a unix socket are known to the kernel and count as one peer.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(super) fn failed(&self, peer: &Peer) -> Result<(), Duration> {
        let peer = match peer {
            Peer::Ip(ip) => source(*ip),
            Peer::Unix { .. } => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.failed_at(peer, Instant::now())
    }

    fn failed_at(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock().expect("no holder panics");
        let all = state.all.get_or_insert_with(|| Bucket::full(ALL_BURST, now));
        all.take(ALL_BURST, ALL_PER_SECOND, now)?;
        if state.peers.len() >= PEERS_MAX && !state.peers.contains_key(&peer) {
            state.peers.retain(|_, bucket| {
                bucket.refill(BURST, PER_SECOND, now);
                bucket.left < BURST
            });
            if state.peers.len() >= PEERS_MAX {
                return Ok(());
            }
        }
        state.peers.entry(peer).or_insert_with(|| Bucket::full(BURST, now)).take(BURST, PER_SECOND, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_ten_a_minute() {
        let throttle = Throttle::default();
        let peer = "203.0.113.9".parse().unwrap();
        let start = Instant::now();
        let passed = (0..100).filter(|_| throttle.failed_at(peer, start).is_ok()).count();
        assert_eq!(passed, 20);
        assert_eq!(throttle.failed_at(peer, start), Err(Duration::from_secs(6)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| throttle.failed_at(peer, later).is_ok()).count(), 10);
        assert!(throttle.failed_at("203.0.113.10".parse().unwrap(), later).is_ok(), "another peer is not slowed");
    }

    #[test]
    fn a_thousand_peers_share_one_bound_and_memory_is_bounded() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let passed = (0..5000u32).filter(|n| throttle.failed_at(IpAddr::from(n.to_be_bytes()), start).is_ok()).count();
        assert_eq!(passed, 1000);
        let mut now = start;
        for n in 0..60_000u32 {
            now += Duration::from_millis(60);
            let _ = throttle.failed_at(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(throttle.0.lock().unwrap().peers.len() <= PEERS_MAX);
    }

    #[test]
    fn ipv6_neighbours_are_one_peer() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
