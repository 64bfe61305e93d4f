//! Keys that callers carry, compared in constant time.

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

/// One or several keys, of which a caller may carry any.
pub struct Keys(Vec<[u8; 32]>);

/// Why text holds no keys. Never tells the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing between two commas.
    #[error("a key is empty")]
    Empty,
    /// The same key twice: its position would say nothing.
    #[error("a key is listed twice")]
    Twice,
    /// Line breaks and the like could never be sent in a header.
    #[error("a key holds spaces or control characters")]
    Control,
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Keys {
    /// Reads comma-separated keys.
    ///
    /// # Errors
    /// When one of them could not be a header's value.
    pub fn parse(keys: &Secret) -> Result<Self, KeysError> {
        let parts: Vec<&str> = keys.expose().split(',').map(str::trim).collect();
        if parts.iter().any(|key| key.is_empty()) {
            return Err(KeysError::Empty);
        }
        if parts.iter().any(|key| key.bytes().any(|b| !b.is_ascii_graphic())) {
            return Err(KeysError::Control);
        }
        if (1..parts.len()).any(|at| parts[..at].contains(&parts[at])) {
            return Err(KeysError::Twice);
        }
        Ok(Self(parts.iter().map(|key| hash(key.as_bytes())).collect()))
    }

    /// The shortest key's length would be a hint, so only this is told: whether any has fewer than `least` bytes.
    #[must_use]
    pub fn any_shorter_than(keys: &Secret, least: usize) -> bool {
        keys.expose().split(',').any(|key| key.trim().len() < least)
    }

    /// Which key this is, counted from 1. All are compared, whichever fits; a missing one is compared as well.
    #[must_use]
    pub fn find(&self, came: Option<&[u8]>) -> Option<usize> {
        let hashed = hash(came.unwrap_or_default());
        self.position(|key| u64::from(key.ct_eq(&hashed).unwrap_u8()))
    }

    /// Asks `same` (0 or 1) of every key, wherever the one is that fits.
    fn position(&self, mut same: impl FnMut(&[u8; 32]) -> u64) -> Option<usize> {
        let mut found = 0;
        for (position, key) in (1..).zip(&self.0) {
            found |= same(key) * position;
        }
        (found != 0).then(|| usize::try_from(found).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_keys_opens_and_nothing_else() {
        let keys = Keys::parse(&Secret::new("new-key-0123456789, old-key".into())).unwrap();
        assert_eq!(keys.find(Some(b"new-key-0123456789")), Some(1));
        assert_eq!(keys.find(Some(b"old-key")), Some(2));
        for wrong in [
            None,
            Some(&b""[..]),
            Some(b"old-key "),
            Some(b"OLD-KEY"),
            Some(b"old-ke"),
            Some(b"new-key-0123456789, old-key"),
        ] {
            assert_eq!(keys.find(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_key_is_compared_wherever_the_right_one_is() {
        let keys = Keys::parse(&Secret::new("a,b,c,d".into())).unwrap();
        for came in ["a", "b", "d", "none of them"] {
            let mut compared = 0;
            let found = keys.position(|key| {
                compared += 1;
                u64::from(*key == hash(came.as_bytes()))
            });
            assert_eq!((compared, found), (4, keys.find(Some(came.as_bytes()))), "{came}");
        }
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused() {
        for (text, error) in [
            ("", KeysError::Empty),
            ("a,,b", KeysError::Empty),
            ("a\nb", KeysError::Control),
            ("a b", KeysError::Control),
            ("a,b,a", KeysError::Twice),
        ] {
            assert_eq!(Keys::parse(&Secret::new(text.into())).err(), Some(error), "{text:?}");
        }
    }
}
