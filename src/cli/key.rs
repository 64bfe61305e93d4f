//! `aiviary key`.

use zeroize::Zeroizing;

use super::credential::{OUTCOME_PATIENCE, caller};
use super::{Context, Exit, Failure, owner, print, say};
use crate::crypto::generate_key;
use crate::roles::StartError;
use crate::roles::connect::{self, Left, Rotated};
use crate::store::Mode;
use crate::telemetry::{self, LogSettings};

/// A new 256-bit key on stdout.
pub(super) fn generate() -> Result<Exit, Failure> {
    let line = Zeroizing::new(format!("{}\n", generate_key().expose()));
    print(&line)?;
    Ok(Exit::Done)
}

/// Seals every credential anew under the first key. Services go on meanwhile; a run that was cut off is repeated.
pub(super) fn rotate(context: &Context) -> Result<Exit, Failure> {
    let config = context.load()?;
    telemetry::init(&LogSettings { filter: "warn".to_owned(), ..config.log() });
    owner::check(&config, context)?;
    let settings = config.connect(&context.secrets())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connect = connect::open_to_seal(settings, Mode::Existing).await?;
        let told = |one: &Rotated| match &one.left {
            None => say(&format!("sealed anew: {}", one.client)),
            Some(Left::Malformed(row)) => say(&format!("left as it is: {row}")),
            Some(why) => say(&format!("left as it is: {}: {why}", one.client)),
        };
        let rotated = connect.rotate(&caller(), told).await;
        let closed = connect.close(OUTCOME_PATIENCE).await;
        let rotation = rotated?;
        closed.map_err(StartError::failed)?;
        let mut text = format!("{} sealed anew under {}\n", rotation.done, rotation.first);
        for (id, count) in &rotation.others {
            let then = if rotation.is_needless(id) { ": that key can be removed" } else { "" };
            text.push_str(&format!("{count} credentials left under {id}{then}\n"));
        }
        if rotation.unreadable > 0 {
            text.push_str(&format!(
                "{} rows cannot be read and may need any key: keep every key\n",
                rotation.unreadable
            ));
        }
        if rotation.done > 0 {
            text.push_str("backups made before now still need the old key\n");
        }
        print(&text)?;
        if rotation.is_whole() {
            return Ok(Exit::Done);
        }
        let message = "some credentials are not under the first key: see the lines above, then run this again";
        Err(Failure::new(Exit::Failed, message))
    })
}
