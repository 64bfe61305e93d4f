//! `next_cursor`: Meta's own cursor, the resolved window, and a digest of what it was asked with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Args, ArgumentError};
use crate::graph::Cursor;

/// Where a list goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Meta's cursor.
    #[serde(rename = "c")]
    pub after: String,
    /// The resolved window, so that pages of one list share it: seconds since the epoch, or days.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub window: Option<(String, String)>,
    #[serde(rename = "d")]
    digest: String,
}

/// The same tool, client and parameters give the same digest.
fn digest_of(scope: &str, args: &Args) -> String {
    let text = serde_json::to_string(&(scope, args.but_cursor())).expect("arguments are JSON");
    hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..8])
}

impl Position {
    /// A place in the list that `args` asked for. `scope` names tool and client.
    #[must_use]
    pub fn new(after: &Cursor, window: Option<(String, String)>, scope: &str, args: &Args) -> Self {
        Self { after: after.as_str().to_owned(), window, digest: digest_of(scope, args) }
    }

    /// As `next_cursor` shows it.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("three texts are JSON"))
    }

    /// Reads `cursor` of `args`, if it was sent.
    ///
    /// # Errors
    /// It is none of ours, or was made with other parameters.
    pub fn of(scope: &str, args: &Args) -> Result<Option<(Self, Cursor)>, ArgumentError> {
        let Some(text) = args.text("cursor") else { return Ok(None) };
        let not_ours = || ArgumentError::of("cursor", "this is no next_cursor of this tool; start the list again");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_ours())?;
        let position: Self = serde_json::from_slice(&bytes).map_err(|_| not_ours())?;
        let after = position.after.parse().map_err(|_| not_ours())?;
        if position.digest != digest_of(scope, args) {
            let expected = "it was made with other parameters; send the same ones, or start the list again";
            return Err(ArgumentError::of("cursor", expected));
        }
        Ok(Some((position, after)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::param::{CURSOR, ParamKind, limit};
    use super::*;

    const PARAMS: &[super::super::Param] = &[limit(ParamKind::Int(1, 100), "10"), CURSOR];

    fn args(json: serde_json::Value) -> Args {
        Args::check(PARAMS, json.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_cursor_is_good_for_what_it_was_made_with() {
        let after = "QVFIUabc==".parse().unwrap();
        let window = Some(("1".to_owned(), "2".to_owned()));
        let text = Position::new(&after, window.clone(), "tool/a", &args(json!({"limit": 5}))).encode();
        let (position, again) = Position::of("tool/a", &args(json!({"limit": "5", "cursor": text}))).unwrap().unwrap();
        assert_eq!((position.window, again), (window, after));
        for (scope, limit) in [("tool/b", 5), ("tool/a", 6)] {
            assert!(Position::of(scope, &args(json!({"limit": limit, "cursor": text}))).is_err());
        }
        assert!(Position::of("tool/a", &args(json!({"cursor": "QVFIUabc"}))).is_err(), "Meta's own is none of ours");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_-]{1,80}") {
            let _ = Position::of("tool/a", &args(json!({"cursor": text})));
        }
    }
}
