//! Binds all listeners of a role, or none of them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::exposure::{Exposure, ListenAt, Listener, NotInternal, Peer, check_listener, may_take};

/// Why a listener could not be bound. Each names the configuration key.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It may not be internal: the configuration is wrong.
    #[error("{key}: {source}")]
    NotInternal {
        /// The configuration key.
        key: String,
        /// What is wrong with it.
        source: NotInternal,
    },
    /// The interface or an address of the prefix is not there (yet).
    #[error("{key}: this machine has no {}address for {at} now", if *.exposure == Exposure::Internal { "internal " } else { "" })]
    NoAddress {
        /// The configuration key.
        key: String,
        /// The interface or prefix.
        at: String,
        /// Which addresses it may take.
        exposure: Exposure,
    },
    /// Another process holds it.
    #[error("{key}: {at} is taken by another process; stop that one, or set {key} to another address")]
    Taken {
        /// The configuration key.
        key: String,
        /// The address.
        at: String,
    },
    /// A unix socket's folder lets others replace the socket.
    #[error("{key}: {folder} can be written by others; give it mode 0755 or stricter")]
    OpenFolder {
        /// The configuration key.
        key: String,
        /// The folder.
        folder: String,
    },
    /// Anything else that the system says.
    #[error("{key}: cannot listen on {at}")]
    Io {
        /// The configuration key.
        key: String,
        /// The address.
        at: String,
        /// The system's words.
        source: io::Error,
    },
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where a bound listener is reached from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a unix socket.
    Unix(PathBuf),
}

/// A bound listener.
pub struct Bound {
    socket: Socket,
    /// Which routes it carries.
    pub exposure: Exposure,
}

impl Bound {
    /// Its address on TCP, with the port that it really has.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Where this process reaches it; a wildcard by loopback.
    #[must_use]
    pub fn local(&self) -> Option<Local> {
        match &self.socket {
            Socket::Unix(_, path) => Some(Local::Unix(path.clone())),
            Socket::Tcp(_) => self.address().map(|mut address| {
                if address.ip().is_unspecified() {
                    address.set_ip(match address.ip() {
                        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                    });
                }
                Local::Tcp(address)
            }),
        }
    }

    /// How the log and the audit trail call it.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.socket {
            Socket::Tcp(_) => self.address().map_or_else(|| "tcp".to_owned(), |address| address.to_string()),
            Socket::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer, Option<IpAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let local = stream.local_addr()?.ip();
                Ok((Stream::Tcp(stream), Peer::Ip(peer.ip()), Some(local)))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let cred = stream.peer_cred()?;
                Ok((Stream::Unix(stream), Peer::Unix { uid: cred.uid(), pid: cred.pid() }, None))
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

/// The bound listeners of a role, in the order of the configuration.
pub struct Listening(Vec<Bound>);

impl Listening {
    /// Their TCP addresses, with the ports that they really have.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.iter().filter_map(Bound::address).collect()
    }

    /// Where this process reaches the first of them.
    #[must_use]
    pub fn local(&self) -> Option<Local> {
        self.iter().next()?.local()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Bound> {
        self.0.iter()
    }
}

impl IntoIterator for Listening {
    type Item = Bound;
    type IntoIter = std::vec::IntoIter<Bound>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Listening {
    type Item = &'a Bound;
    type IntoIter = std::slice::Iter<'a, Bound>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Binds every listener, or none: what was bound is dropped with the error. `more` are further internal networks.
///
/// # Errors
/// The first listener that cannot be bound.
pub async fn bind(listeners: &[Listener], more: &[IpNet]) -> Result<Listening, BindError> {
    let mut all = Vec::new();
    for listener in listeners {
        check_listener(listener, more)
            .map_err(|source| BindError::NotInternal { key: listener.key.clone(), source })?;
        let io = |source: io::Error| {
            let (key, at) = (listener.key.clone(), listener.at.to_string());
            match source.kind() {
                io::ErrorKind::AddrInUse => BindError::Taken { key, at },
                io::ErrorKind::AddrNotAvailable => BindError::NoAddress { key, at, exposure: listener.exposure },
                _ => BindError::Io { key, at, source },
            }
        };
        if let ListenAt::Unix(path) = &listener.at {
            let socket = Socket::Unix(bind_unix(path, &listener.key).await?, path.clone());
            all.push(Bound { socket, exposure: listener.exposure });
            continue;
        }
        let addresses = addresses(listener, more).map_err(io)?;
        if addresses.is_empty() {
            return Err(io(io::ErrorKind::AddrNotAvailable.into()));
        }
        for address in addresses {
            let socket = Socket::Tcp(listen(address).map_err(io)?);
            all.push(Bound { socket, exposure: listener.exposure });
        }
    }
    Ok(Listening(all))
}

/// Connections that wait to be accepted, as far as the system lets them. With the usual 128 a burst of callers fills the
/// queue; the kernel drops what else they send, and they try again a second later.
const BACKLOG: u32 = 1024;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart does not wait for the last connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The TCP addresses that `listener` means on this machine now; none for a unix socket.
///
/// # Errors
/// When the system does not tell its addresses.
pub fn addresses(listener: &Listener, more: &[IpNet]) -> io::Result<Vec<SocketAddr>> {
    let may_take = |ip| may_take(ip, listener.exposure, more);
    match &listener.at {
        ListenAt::Unix(_) => Ok(Vec::new()),
        ListenAt::Address(address) => Ok(vec![*address]),
        ListenAt::Prefix(prefix, port) => own_addresses(*port, |_, ip| prefix.contains(&ip) && may_take(ip)),
        ListenAt::Interface(name, port) => own_addresses(*port, |at, ip| at == name && may_take(ip)),
    }
}

/// The machine's addresses that `wanted` takes, by interface name and address.
fn own_addresses(port: u16, wanted: impl Fn(&str, IpAddr) -> bool) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for interface in getifaddrs()? {
        let Some(storage) = interface.address else { continue };
        let ip = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::from(v4.ip()),
            (_, Some(v6)) => IpAddr::from(v6.ip()),
            _ => continue,
        };
        let address = SocketAddr::new(ip, port);
        if wanted(&interface.interface_name, ip) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// The socket at `path`, mode 0660, in a folder that others cannot write. One that nobody answers on is replaced.
async fn bind_unix(path: &Path, key: &str) -> Result<UnixListener, BindError> {
    let (key, at) = (key.to_owned(), format!("unix:{}", path.display()));
    let io = |source| BindError::Io { key: key.clone(), at: at.clone(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let about = fs::metadata(folder).map_err(io)?;
    // A sticky folder, as /tmp, keeps others from replacing what is ours.
    if about.mode() & 0o002 != 0 && about.mode() & 0o1000 == 0 {
        return Err(BindError::OpenFolder { key, folder: folder.display().to_string() });
    }
    if let Ok(old) = fs::symlink_metadata(path) {
        if !old.file_type().is_socket() || UnixStream::connect(path).await.is_ok() {
            return Err(BindError::Taken { key, at });
        }
        fs::remove_file(path).map_err(io)?;
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(io)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(at: &str) -> Listener {
        Listener { at: at.parse().unwrap(), exposure: Exposure::Internal, key: "connect.internal[0]".into() }
    }

    #[tokio::test]
    async fn all_listeners_are_bound_or_none() {
        let held = bind(&[listener("127.0.0.1:0")], &[]).await.unwrap();
        let taken = held.addresses()[0];
        // Bound, so that the system gives it to nobody else meanwhile, and not listening.
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let free = reserved.local_addr().unwrap();
        let both = bind(&[listener(&free.to_string()), listener(&taken.to_string())], &[]).await;
        let error = both.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "connect.internal[0]: {taken} is taken by another process; stop that one, or set connect.internal[0] to another address"
            )
        );
        assert!(bind(&[listener(&free.to_string())], &[]).await.is_ok(), "the first was let go");
    }

    #[tokio::test]
    async fn prefixes_and_interfaces_take_this_machines_internal_addresses() {
        let by_prefix = bind(&[listener("127.0.0.0/8:0")], &[]).await.unwrap();
        assert!(by_prefix.iter().all(|bound| bound.address().unwrap().ip().is_loopback()));
        let by_name = bind(&[listener("lo:0")], &[]).await.unwrap();
        assert!(by_name.iter().any(|bound| bound.address().unwrap().ip() == IpAddr::from([127, 0, 0, 1])));
        for absent in ["203.0.113.0/24:0", "nosuch0:0"] {
            assert!(matches!(bind(&[listener(absent)], &[]).await, Err(BindError::NoAddress { .. })), "{absent}");
        }
    }

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let at = listener(&format!("unix:{}", path.display()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound = bind(std::slice::from_ref(&at), &[]).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(bind(std::slice::from_ref(&at), &[]).await, Err(BindError::Taken { .. })));
        drop(bound);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert!(matches!(bind(&[at], &[]).await, Err(BindError::Taken { .. })), "a file is never removed");
    }
}
