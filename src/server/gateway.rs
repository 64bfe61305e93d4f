//! Says once that a peer is this machine's default gateway: behind a published container port that is whoever called.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use crate::exposure::Peer;

/// The default gateways of this machine, and whether one was met as a peer.
pub(super) struct Gateways {
    known: Vec<IpAddr>,
    told: AtomicBool,
}

impl Gateways {
    /// As the kernel's tables have them now; none where they cannot be read.
    pub(super) fn of_this_machine() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
        let mut known = default_v4(&read("route"));
        known.extend(default_v6(&read("ipv6_route")));
        Self { known, told: AtomicBool::new(false) }
    }

    /// Warns at the first peer that is a gateway. It is served all the same: its address is internal.
    pub(super) fn meet(&self, peer: &Peer, listener: &str) {
        if let Peer::Ip(ip) = peer
            && self.known.contains(&ip.to_canonical())
            && !self.told.swap(true, Ordering::Relaxed)
        {
            warn!(
                listener,
                %peer,
                "a caller has the address of the default gateway: behind a published container port that is whoever \
                 called; publish internal ports on the host's 127.0.0.1 only, and set CONNECT_SERVICE_KEY"
            );
        }
    }
}

/// `/proc/net/route`: tab-separated; destination and gateway as hex digits of the number in memory.
fn default_v4(table: &str) -> Vec<IpAddr> {
    let gateways = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (to, via) = (columns.next()?, u32::from_str_radix(columns.next()?, 16).ok()?);
        (to == "00000000" && via != 0).then(|| Ipv4Addr::from(via.to_ne_bytes()).into())
    });
    gateways.collect()
}

/// `/proc/net/ipv6_route`: destination, its length, source, its length, gateway, and more.
fn default_v6(table: &str) -> Vec<IpAddr> {
    let gateways = table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        let (to, length) = (columns.next()?, columns.next()?);
        let via = u128::from_str_radix(columns.nth(2)?, 16).ok()?;
        (length == "00" && to.bytes().all(|b| b == b'0') && via != 0).then(|| Ipv6Addr::from(via).into())
    });
    gateways.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gateways_are_read_from_the_kernels_tables() {
        let gateway = u32::from_ne_bytes([172, 17, 0, 1]);
        let table = format!(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t{gateway:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
             tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\nnonsense\n"
        );
        assert_eq!(default_v4(&table), [IpAddr::from([172, 17, 0, 1])]);
        let nothing = "0".repeat(32);
        let table = format!(
            "{nothing} 00 {nothing} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
             fd000000000000000000000000000000 40 {nothing} 00 {nothing} 00000100 00000001 00000000 00000001 eth0\n\
             {nothing} 00 {nothing} 00 {nothing} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(default_v6(&table), ["fd00::1".parse::<IpAddr>().unwrap()]);
        assert!(default_v4("").is_empty() && default_v6("").is_empty());
    }

    #[test]
    fn only_a_gateway_is_met_and_only_once() {
        let gateways = Gateways { known: vec![IpAddr::from([10, 0, 0, 1])], told: AtomicBool::new(false) };
        let meet = |peer: Peer| {
            gateways.meet(&peer, "10.0.0.2:3006");
            gateways.told.load(Ordering::Relaxed)
        };
        assert!(!meet(Peer::Unix { uid: 0, pid: None }));
        assert!(!meet(Peer::Ip("10.0.0.3".parse().unwrap())));
        assert!(meet(Peer::Ip("::ffff:10.0.0.1".parse().unwrap())), "in its mapped form too");
    }
}
