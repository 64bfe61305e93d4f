//! SIGTERM and SIGINT as one stop; SIGHUP as a stream.

use std::io;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be set.
pub fn stop_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}

/// Each SIGHUP. Once this was called the signal no longer ends the process.
///
/// # Errors
/// When the handler cannot be set.
pub fn hangups() -> io::Result<impl Stream<Item = ()> + Send + Unpin> {
    let hangup = signal(SignalKind::hangup())?;
    Ok(Box::pin(unfold(hangup, |mut hangup: Signal| async move { hangup.recv().await.map(|()| ((), hangup)) })))
}
