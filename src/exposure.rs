//! THE restriction: which listeners are internal, which peers and requests may use an internal route; and the same the
//! other way, whom plain http may be spoken to.
//!
//! Three checks, in this file alone. At load: an internal listener names an internal address, a prefix or an
//! interface (of which it takes internal addresses only), or a unix socket; a wildcard is refused. Per listener: a
//! public one does not carry internal routes. Per request: peer, forwarding headers, `Host`, browser headers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use hyper::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use hyper::{HeaderMap, Uri};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Who can reach a route or a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Callers on this machine and its private networks.
    Internal,
    /// Anyone.
    Public,
}

/// Where a listener is to be bound, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// `127.0.0.1:3006`
    Address(SocketAddr),
    /// `172.30.10.0/24:3006`: this machine's addresses inside that prefix.
    Prefix(IpNet, u16),
    /// `eth0:3006`: the addresses of that interface; of either form an internal listener takes the internal ones.
    Interface(String, u16),
    /// `unix:/run/aiviary/connect.sock`
    Unix(PathBuf),
}

/// Text that is no listener.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write \"address:port\", \"prefix:port\", \"interface:port\" or \"unix:/path\"")]
pub struct ListenAtError;

impl FromStr for ListenAt {
    type Err = ListenAtError;

    fn from_str(text: &str) -> Result<Self, ListenAtError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(ListenAtError) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (place, port) = text.rsplit_once(':').ok_or(ListenAtError)?;
        let port = port.parse().map_err(|_| ListenAtError)?;
        let bare = place.trim_start_matches('[').trim_end_matches(']');
        if let Ok(prefix) = bare.parse::<IpNet>() {
            return Ok(Self::Prefix(prefix, port));
        }
        // IFNAMSIZ is 16 with its final NUL (linux/if.h).
        let is_name = (1..=15).contains(&place.len())
            && place.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@'))
            && place.bytes().any(|b| b.is_ascii_alphabetic());
        if is_name { Ok(Self::Interface(place.to_owned(), port)) } else { Err(ListenAtError) }
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Prefix(prefix, port) => write!(f, "{prefix}:{port}"),
            Self::Interface(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listener of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is bound.
    pub at: ListenAt,
    /// Which routes it carries.
    pub exposure: Exposure,
    /// The configuration key, `connect.internal[0]`: named when something is wrong with it.
    pub key: String,
}

/// Why a listener may not be internal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not internal; name one loopback or private address, a prefix, an interface or a unix socket")]
pub struct NotInternal(pub String);

/// IPv4-mapped IPv6 as the IPv4 address that it is. Other embeddings (NAT64, 6to4) are not unwrapped.
fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Loopback, RFC 1918 and RFC 4193. Link-local (metadata services, neighbours) and 100.64/10 (carriers) are not in it.
fn always_internal() -> [IpNet; 6] {
    let v4 = |a, b, len| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), len));
    [
        v4(127, 0, 8),
        v4(10, 0, 8),
        v4(172, 16, 12),
        v4(192, 168, 16),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)),
    ]
}

/// Whether `ip` is loopback, private, unique-local or in one of `more`.
#[must_use]
pub fn is_internal(ip: IpAddr, more: &[IpNet]) -> bool {
    let ip = unmapped(ip);
    always_internal().iter().chain(more).any(|net| net.contains(&ip))
}

/// Why a text is no base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// It is no URL, or more than scheme, host, port and path.
    #[error("no URL")]
    NoUrl,
    /// What is sent there could be read on the way.
    #[error("plain http to a host that is not near")]
    NotNear,
}

/// The base URL in `text` without its last slash: https, or plain http to what is near. Near is what is internal, and
/// `localhost`; with `names` any name of one label, as containers have them: no public host has such a one.
///
/// # Errors
/// What it is instead.
pub fn base_url(text: &str, names: bool, more: &[IpNet]) -> Result<String, BaseUrlError> {
    let url: Uri = text.parse().map_err(|_| BaseUrlError::NoUrl)?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return Err(BaseUrlError::NoUrl) };
    let port = authority.as_str().strip_prefix(authority.host());
    // The parser takes any number for a port.
    let is_port = |port: &str| authority.port_u16().is_some_and(|number| port == format!(":{number}"));
    let bare = port.is_some_and(|port| port.is_empty() || is_port(port)) && url.query().is_none();
    // A fragment is dropped by the parser.
    if !bare || text.contains('#') || authority.host().is_empty() {
        return Err(BaseUrlError::NoUrl);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    // Only the plain spellings of an address parse; `0x7f.1` and `2130706433` begin with a digit and are no names either.
    let near = match host.parse::<IpAddr>() {
        Ok(ip) => is_internal(ip, more),
        Err(_) => {
            let is_label = !host.contains('.') && host.starts_with(|c: char| c.is_ascii_alphabetic());
            host == "localhost" || names && is_label
        }
    };
    match scheme {
        "https" => {}
        "http" if near => {}
        "http" => return Err(BaseUrlError::NotNear),
        _ => return Err(BaseUrlError::NoUrl),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether every address of `prefix` is internal.
#[must_use]
pub fn is_internal_prefix(prefix: &IpNet, more: &[IpNet]) -> bool {
    always_internal().iter().chain(more).any(|net| net.contains(prefix))
}

/// The check at load: what an internal listener may name.
///
/// # Errors
/// [`NotInternal`] for wildcards, multicast and link-local addresses, listed in `more` or not, and for public addresses
/// that are not listed.
pub fn check_listener(listener: &Listener, more: &[IpNet]) -> Result<(), NotInternal> {
    let ListenAt::Address(address) = &listener.at else { return Ok(()) };
    let ip = unmapped(address.ip());
    if listener.exposure == Exposure::Internal && (ip.is_unspecified() || !may_take(ip, Exposure::Internal, more)) {
        return Err(NotInternal(listener.at.to_string()));
    }
    Ok(())
}

/// Whether an address of this machine may be taken by a prefix or an interface listener: internal ones by an internal
/// one, all by a public one; multicast and link-local ones (metadata services, neighbours) by neither.
#[must_use]
pub fn may_take(ip: IpAddr, exposure: Exposure, more: &[IpNet]) -> bool {
    let ip = unmapped(ip);
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !ip.is_multicast() && (exposure == Exposure::Public || is_internal(ip, more))
}

/// What an internal route asks of a request.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Networks that count as internal besides the usual ones.
    pub networks: Vec<IpNet>,
    /// Names accepted in `Host` besides the listener's own address and loopback literals.
    pub hosts: Vec<String>,
    /// Browser origins that are accepted; none by default.
    pub origins: Vec<String>,
    /// Whether `Sec-Fetch-Site` other than `none` is refused too (connect), or `Origin` alone counts (mcp).
    pub refuse_fetch_site: bool,
}

/// The far end of a connection, from the socket and never from a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Ip(IpAddr),
    /// A unix socket: its permissions decided already. User and process where the kernel tells.
    Unix {
        /// User id.
        uid: u32,
        /// Process id, when known.
        pid: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{}", unmapped(*ip)),
            Self::Unix { uid, pid: Some(pid) } => write!(f, "unix uid={uid} pid={pid}"),
            Self::Unix { uid, pid: None } => write!(f, "unix uid={uid}"),
        }
    }
}

/// Why an internal route refused a request; the words stand in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The peer is outside.
    NotInternal,
    /// A proxy stands between.
    Forwarded,
    /// `Host` is none of our names.
    Host,
    /// A web page asked.
    Browser,
    /// A key is missing or wrong.
    Unauthorized,
}

impl Refusal {
    /// The `reason` of the trail.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotInternal => "not_internal",
            Self::Forwarded => "forwarded",
            Self::Host => "host",
            Self::Browser => "browser",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// Exactly one `Host`, well-formed: name or literal, and digits as port where there is one.
///
/// # Errors
/// `()` when it is missing, doubled or malformed: the request is bad, whoever sent it.
#[allow(clippy::result_unit_err)]
pub fn single_host(headers: &HeaderMap) -> Result<&str, ()> {
    let mut all = headers.get_all(HOST).iter();
    let (Some(host), None) = (all.next(), all.next()) else { return Err(()) };
    let host = host.to_str().map_err(|_| ())?;
    let name = host_name(host).ok_or(())?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if name.is_empty() || !name.bytes().all(plain) { Err(()) } else { Ok(host) }
}

/// `Host` without its port; `None` when what follows the colon is no port.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (literal, rest) = rest.split_once(']')?;
            // What follows a literal is nothing, or a colon and a port.
            (literal, if rest.is_empty() { rest } else { rest.strip_prefix(':')? })
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    port.bytes().all(|b| b.is_ascii_digit()).then_some(name)
}

impl Rules {
    /// The check per request on an internal route; `local` is the listener's own address, `None` on a unix socket.
    ///
    /// # Errors
    /// The first rule that the request breaks.
    pub fn admit(&self, peer: &Peer, local: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Peer::Ip(ip) = peer
            && !is_internal(*ip, &self.networks)
        {
            return Err(Refusal::NotInternal);
        }
        if headers.keys().any(is_forwarding) {
            return Err(Refusal::Forwarded);
        }
        if let Some(local) = local
            && !single_host(headers).is_ok_and(|host| self.knows_host(host, local))
        {
            return Err(Refusal::Host);
        }
        let foreign_origin = headers
            .get_all(ORIGIN)
            .iter()
            .any(|origin| !self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes()));
        let foreign_site =
            self.refuse_fetch_site && headers.get_all("sec-fetch-site").iter().any(|site| site != "none");
        if foreign_origin || foreign_site { Err(Refusal::Browser) } else { Ok(()) }
    }

    fn knows_host(&self, host: &str, local: IpAddr) -> bool {
        let Some(name) = host_name(host) else { return false };
        let bracketed = host.starts_with('[');
        if !bracketed && self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return true;
        }
        // Only the plain spellings parse: `127.1`, `0x7f.1` and `2130706433` are no literals here.
        name.parse::<IpAddr>()
            .is_ok_and(|ip| bracketed == ip.is_ipv6() && (ip.is_loopback() || unmapped(ip) == unmapped(local)))
    }
}

/// Headers by which a proxy shows itself, whatever they hold.
fn is_forwarding(name: &HeaderName) -> bool {
    let text = name.as_str();
    name == FORWARDED
        || name == VIA
        || text.starts_with("x-forwarded-")
        || text.starts_with("x-original-")
        || matches!(
            text,
            "x-forwarded"
                | "x-real-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-rewrite-url"
                | "cf-connecting-ip"
                | "true-client-ip"
        )
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn listener(at: &str) -> Listener {
        Listener { at: at.parse().unwrap(), exposure: Exposure::Internal, key: "connect.internal[0]".into() }
    }

    #[test]
    fn listeners_are_read_in_their_four_forms() {
        assert_eq!("127.0.0.1:3006".parse(), Ok(ListenAt::Address("127.0.0.1:3006".parse().unwrap())));
        assert_eq!("[::1]:3006".parse(), Ok(ListenAt::Address("[::1]:3006".parse().unwrap())));
        assert_eq!("172.30.10.0/24:3006".parse(), Ok(ListenAt::Prefix("172.30.10.0/24".parse().unwrap(), 3006)));
        assert_eq!("[fd00::/8]:3006".parse(), Ok(ListenAt::Prefix("fd00::/8".parse().unwrap(), 3006)));
        assert_eq!("eth0:3006".parse(), Ok(ListenAt::Interface("eth0".into(), 3006)));
        assert_eq!("unix:/run/a.sock".parse(), Ok(ListenAt::Unix("/run/a.sock".into())));
        for bad in
            ["", "3006", "127.0.0.1", "eth0", "unix:relative", "a b:1", "eth0:70000", "127.0.0.300:1", "1.2:3006"]
        {
            assert_eq!(bad.parse::<ListenAt>(), Err(ListenAtError), "{bad}");
        }
    }

    #[test]
    fn wildcards_and_public_addresses_are_no_internal_listeners() {
        for good in [
            "127.0.0.1:1",
            "10.1.2.3:1",
            "172.31.0.1:1",
            "192.168.1.1:1",
            "[::1]:1",
            "[fd00::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert_eq!(check_listener(&listener(good), &[]), Ok(()), "{good}");
        }
        let more = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        for bad in [
            "0.0.0.0:1",
            "[::]:1",
            "[::ffff:0.0.0.0]:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "169.254.1.1:1",
            "[::ffff:169.254.1.1]:1",
            "[fe80::1]:1",
        ] {
            assert!(check_listener(&listener(bad), &more).is_err(), "{bad}, even when its network is listed");
        }
        assert_eq!(check_listener(&listener("100.64.0.1:1"), &more), Ok(()), "listed");
        for bad in ["8.8.8.8:1", "169.254.1.1:1", "100.64.0.1:1", "[fe80::1]:1", "[2001:db8::1]:1", "172.32.0.1:1"] {
            assert!(check_listener(&listener(bad), &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_an_interface_an_internal_listener_takes_what_is_internal_and_a_public_one_what_is_routed() {
        for (ip, internal, public) in [
            ("127.0.0.1", true, true),
            ("10.1.2.3", true, true),
            ("100.64.0.1", true, true),
            ("8.8.8.8", false, true),
            ("2001:db8::1", false, true),
            ("169.254.1.1", false, false),
            ("fe80::1", false, false),
            ("ff02::1", false, false),
        ] {
            let more = ["100.64.0.0/10".parse().unwrap(), "169.254.0.0/16".parse().unwrap()];
            let may = [Exposure::Internal, Exposure::Public].map(|which| may_take(ip.parse().unwrap(), which, &more));
            assert_eq!(may, [internal, public], "{ip}");
        }
    }

    #[test]
    fn plain_http_stays_near() {
        let more = ["100.64.0.0/10".parse().unwrap()];
        for (good, read) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/sub/", "https://a.example/sub"),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x"),
            ("http://[::1]:1", "http://[::1]:1"),
            ("http://[fd00::1]", "http://[fd00::1]"),
            ("http://[::ffff:10.0.0.1]", "http://[::ffff:10.0.0.1]"),
            ("http://10.0.0.1/", "http://10.0.0.1"),
            ("http://100.64.0.1", "http://100.64.0.1"),
            ("http://localhost:1", "http://localhost:1"),
        ] {
            assert_eq!(base_url(good, false, &more).as_deref(), Ok(read), "{good}");
        }
        assert_eq!(base_url("http://nocodb:8080/", true, &[]).as_deref(), Ok("http://nocodb:8080"));
        let far = [
            "http://nocodb:8080",
            "http://a.example",
            "http://8.8.8.8",
            "http://100.64.0.1",
            "http://[::ffff:8.8.8.8]",
            "http://[2001:db8::1]",
            "http://127.1",
            "http://127.0.0.1.example",
        ];
        assert!(far.iter().all(|text| base_url(text, false, &[]) == Err(BaseUrlError::NotNear)));
        // Numbers that a resolver might take for an address are no names.
        for text in ["http://0x08080808", "http://134744072", "http://a.example", "http://8.8.8.8"] {
            assert_eq!(base_url(text, true, &[]), Err(BaseUrlError::NotNear), "{text}");
        }
        for text in [
            "",
            "a",
            "http://",
            "ftp://a",
            "https://user@a.example",
            "https://:p@a",
            "https://a?b",
            "https://a#b",
            "http://10.0.0.1\\@a.example",
            "http://10.0.0.1 .example",
            "//10.0.0.1",
            "http://10.0.0.1:65536",
            "http://10.0.0.1:+80",
            "http://10.0.0.1:",
        ] {
            assert_eq!(base_url(text, true, &[]), Err(BaseUrlError::NoUrl), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_internal_when_all_of_it_is() {
        let more = ["100.64.0.0/10".parse().unwrap()];
        for (prefix, internal) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/7", false),
            ("100.64.7.0/24", true),
            ("0.0.0.0/0", false),
            ("fd00::/8", true),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(is_internal_prefix(&prefix.parse().unwrap(), &more), internal, "{prefix}");
        }
    }

    #[test]
    fn all_of_ipv4_is_judged_as_a_naive_reference_does() {
        for high in 0..=u16::MAX {
            let [a, b] = high.to_be_bytes();
            let naive = a == 127 || a == 10 || (a == 172 && (16..32).contains(&b)) || (a == 192 && b == 168);
            let ip = Ipv4Addr::new(a, b, 7, 9);
            assert_eq!(is_internal(ip.into(), &[]), naive, "{ip}");
            assert_eq!(is_internal(ip.to_ipv6_mapped().into(), &[]), naive, "mapped {ip}");
        }
        for (text, internal) in [
            ("::1", true),
            ("fd12::1", true),
            ("fc00::", true),
            ("fe00::1", false),
            ("fe80::1", false),
            ("::", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
            ("::10.0.0.1", false),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(is_internal(text.parse().unwrap(), &[]), internal, "{text}");
        }
        assert!(is_internal("100.64.0.1".parse().unwrap(), &["100.64.0.0/10".parse().unwrap()]));
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn rules() -> Rules {
        Rules { hosts: vec!["localhost".into(), "aiviary-connect".into()], refuse_fetch_site: true, ..Rules::default() }
    }

    #[test]
    fn host_must_be_one_of_the_listeners_names() {
        let local = "10.0.0.5".parse().ok();
        let admit =
            |host: &str| rules().admit(&Peer::Ip(Ipv4Addr::LOCALHOST.into()), local, &headers(&[("host", host)]));
        for good in [
            "localhost",
            "LOCALHOST:3006",
            "localhost:",
            "aiviary-connect:9",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:3006",
            "10.0.0.5:80",
        ] {
            assert_eq!(admit(good), Ok(()), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.",
            "localhost.evil.example",
            "127.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "::1",
            "[127.0.0.1]",
            "[localhost]",
            "10.0.0.6",
            "user@localhost",
            "localhost:80a",
            "localhost:80:90",
            "",
            ":80",
            "[::1",
            "[::1]80",
            "ⓛocalhost",
            "xn--localhost",
        ] {
            assert_eq!(admit(bad), Err(Refusal::Host), "{bad}");
        }
        let peer = Peer::Ip(Ipv4Addr::LOCALHOST.into());
        assert_eq!(rules().admit(&peer, local, &headers(&[])), Err(Refusal::Host));
        let two = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(rules().admit(&peer, local, &two), Err(Refusal::Host));
        let unix = Peer::Unix { uid: 1, pid: None };
        assert_eq!(rules().admit(&unix, None, &headers(&[("host", "anything")])), Ok(()));
    }

    #[test]
    fn proxies_and_pages_are_refused() {
        let peer = Peer::Ip(Ipv4Addr::LOCALHOST.into());
        let admit = |name: &'static str, value: &str| {
            rules().admit(&peer, "127.0.0.1".parse().ok(), &headers(&[("host", "localhost"), (name, value)]))
        };
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-anything",
            "x-real-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-original-url",
            "x-rewrite-url",
            "cf-connecting-ip",
            "true-client-ip",
        ] {
            assert_eq!(admit(name, ""), Err(Refusal::Forwarded), "{name}");
        }
        for (name, value) in [
            ("origin", "null"),
            ("origin", "http://localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            assert_eq!(admit(name, value), Err(Refusal::Browser), "{name}: {value}");
        }
        // Node's fetch sends this mode without being a browser.
        assert_eq!(admit("sec-fetch-mode", "cors"), Ok(()));
        assert_eq!(admit("sec-fetch-site", "none"), Ok(()));
        let outside = Peer::Ip("8.8.8.8".parse().unwrap());
        assert_eq!(rules().admit(&outside, None, &headers(&[("via", "x")])), Err(Refusal::NotInternal));
    }
}
