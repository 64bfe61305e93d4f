//! Sealing and opening of access tokens: AES-256-GCM by ring, keys by HKDF, one strict stored form.
//!
//! Version 1 of the stored cell is `<iv>:<data>` in lower-case hex, where `data` is the version byte, the id of the
//! sealing key and ciphertext with tag. What the token belongs to is bound as associated data, so a cell opens only
//! in its own row.

use std::fmt;

use base64::Engine as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// First byte of the data: the form that this module writes.
const VERSION: u8 = 1;
/// Version byte, key id, tag, and at least one byte of token.
const DATA_MIN: usize = 1 + KEY_ID_LEN + 1 + 16;
/// The longest token that is sealed, in bytes.
pub const TOKEN_MAX_BYTES: usize = 4096;
const DATA_MAX: usize = 1 + KEY_ID_LEN + TOKEN_MAX_BYTES + 16;
const KEY_ID_LEN: usize = 8;

/// What a sealed token is bound to: client, login, then the ids of Instagram account, Page, ad account and user; absent
/// ones are empty. It opens only beside exactly these.
pub type Bound<'a> = [&'a str; 6];

/// Names a key without telling anything about it. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sealed token as text, checked to be one: full match of the grammar, nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope(String);

impl Envelope {
    /// Takes a store's cell.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] for everything that is not exactly the stored form; never taken for plaintext.
    pub fn parse(cell: &str) -> Result<Self, OpenError> {
        let (iv, data) = cell.split_once(':').ok_or(OpenError::Malformed)?;
        let lower_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = iv.len() == 2 * NONCE_LEN
            && (2 * DATA_MIN..=2 * DATA_MAX).contains(&data.len())
            && data.len().is_multiple_of(2)
            && lower_hex(iv)
            && lower_hex(data);
        if fits { Ok(Self(cell.to_owned())) } else { Err(OpenError::Malformed) }
    }

    /// The cell.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nonce in hex: names this one sealing in the audit trail.
    #[must_use]
    pub fn iv(&self) -> &str {
        &self.0[..2 * NONCE_LEN]
    }

    /// Which key sealed it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; KEY_ID_LEN];
        let at = 2 * NONCE_LEN + 1 + 2;
        hex::decode_to_slice(&self.0[at..at + 2 * KEY_ID_LEN], &mut id).expect("checked by parse");
        KeyId(id)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope(iv {})", self.iv())
    }
}

/// Why a cell does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not the stored form at all.
    #[error("the cell is not a sealed token")]
    Malformed,
    /// A form of a later release.
    #[error("the cell has form version {0}, which this release does not know")]
    UnknownVersion(u8),
    /// Sealed by a key that is not configured.
    #[error("the cell was sealed by key {0}, which is not configured")]
    UnknownKey(KeyId),
    /// Altered, or moved to another client, login or account.
    #[error("the cell does not belong to this row, or was altered")]
    NotAuthentic,
}

/// Why text is no key. `Display` never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither 64 hex digits nor base64.
    #[error("a key is 32 bytes as 64 hex digits or base64; this is neither")]
    Encoding,
    /// Base64 of another length.
    #[error("a key has 32 bytes; this one has {0}")]
    Length(usize),
    /// The same key twice.
    #[error("key {0} is listed twice")]
    Duplicate(KeyId),
    /// No key.
    #[error("there is no key")]
    Missing,
}

struct Key {
    id: KeyId,
    aead: LessSafeKey,
}

/// The configured keys: the first seals, all open.
pub struct Sealer {
    sealing: Key,
    others: Vec<Key>,
    random: SystemRandom,
}

impl Sealer {
    /// Reads one or several comma-separated keys, newest first.
    ///
    /// # Errors
    /// The first part that is no key, by what is wrong with it.
    pub fn parse(keys: &Secret) -> Result<Self, KeyError> {
        let mut all: Vec<Key> = Vec::new();
        for text in keys.expose().split(',').map(str::trim) {
            let key = Key::derive(&*decode_key(text)?);
            if all.iter().any(|known| known.id == key.id) {
                return Err(KeyError::Duplicate(key.id));
            }
            all.push(key);
        }
        let mut all = all.into_iter();
        let sealing = all.next().ok_or(KeyError::Missing)?;
        Ok(Self { sealing, others: all.collect(), random: SystemRandom::new() })
    }

    /// Ids of all keys, the sealing one first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<KeyId> {
        std::iter::once(self.sealing.id).chain(self.others.iter().map(|key| key.id)).collect()
    }

    /// Seals `token` for `bound` under the first key, with a fresh nonce.
    ///
    /// # Panics
    /// When the operating system has no randomness, or for a token that is empty or over [`TOKEN_MAX_BYTES`]:
    /// its grammar is checked where it comes in.
    #[must_use]
    pub fn seal(&self, token: &Secret, bound: &Bound<'_>) -> Envelope {
        let mut iv = [0; NONCE_LEN];
        self.random.fill(&mut iv).expect("the operating system gives random bytes");
        self.sealing.seal(token, bound, iv)
    }

    /// Opens `envelope` with the one key that it names.
    ///
    /// # Errors
    /// Why it does not open; see [`OpenError`].
    pub fn open(&self, envelope: &Envelope, bound: &Bound<'_>) -> Result<Secret, OpenError> {
        let id = envelope.key_id();
        let version = u8::from_str_radix(&envelope.0[2 * NONCE_LEN + 1..][..2], 16).expect("checked by parse");
        if version != VERSION {
            return Err(OpenError::UnknownVersion(version));
        }
        let key = std::iter::once(&self.sealing)
            .chain(&self.others)
            .find(|key| key.id == id)
            .ok_or(OpenError::UnknownKey(id))?;
        key.open(envelope, bound)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.key_ids()).finish()
    }
}

/// A new 256-bit key as 64 hex digits.
///
/// # Panics
/// When the operating system has no randomness.
#[must_use]
pub fn generate_key() -> Secret {
    let mut bytes = Zeroizing::new([0u8; 32]);
    SystemRandom::new().fill(bytes.as_mut_slice()).expect("the operating system gives random bytes");
    Secret::new(hex::encode(bytes.as_slice()))
}

/// Whether a key looks typed by hand: fewer than 12 different byte values among its 32.
#[must_use]
pub fn looks_made_by_hand(keys: &Secret) -> bool {
    keys.expose().split(',').filter_map(|text| decode_key(text.trim()).ok()).any(|bytes| {
        let mut distinct: Vec<u8> = bytes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.len() < 12
    })
}

fn decode_key(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut key = Zeroizing::new([0u8; 32]);
    if text.is_empty() {
        return Err(KeyError::Missing);
    }
    if text.len() == 64 && hex::decode_to_slice(text, key.as_mut_slice()).is_ok() {
        return Ok(key);
    }
    // Standard and url-safe base64, padded or not, are one alphabet after this.
    let plain = Zeroizing::new(text.trim_end_matches('=').replace('-', "+").replace('_', "/"));
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(plain.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Encoding)?;
    if bytes.len() != key.len() {
        return Err(KeyError::Length(bytes.len()));
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

/// A length for [`hkdf::Prk::expand`].
struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    fn derive(master: &[u8; 32]) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"aiviary").extract(master);
        let mut key = Zeroizing::new([0u8; 32]);
        let mut id = [0u8; KEY_ID_LEN];
        for (label, out) in [(&b"aiviary seal v1"[..], key.as_mut_slice()), (b"aiviary key id v1", &mut id)] {
            prk.expand(&[label], Len(out.len())).and_then(|okm| okm.fill(out)).expect("the length is within HKDF's");
        }
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes"));
        Self { id: KeyId(id), aead }
    }

    fn seal(&self, token: &Secret, bound: &Bound<'_>, iv: [u8; NONCE_LEN]) -> Envelope {
        let token = token.expose().as_bytes();
        assert!((1..=TOKEN_MAX_BYTES).contains(&token.len()), "a token has 1 to {TOKEN_MAX_BYTES} bytes");
        let mut sealed = token.to_vec();
        self.aead
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(iv),
                Aad::from(associated_data(self.id, bound)),
                &mut sealed,
            )
            .expect("far below GCM's limit");
        Envelope(format!("{}:{VERSION:02x}{}{}", hex::encode(iv), self.id, hex::encode(sealed)))
    }

    fn open(&self, envelope: &Envelope, bound: &Bound<'_>) -> Result<Secret, OpenError> {
        let mut iv = [0; NONCE_LEN];
        hex::decode_to_slice(envelope.iv(), &mut iv).expect("checked by parse");
        let sealed = &envelope.0[2 * NONCE_LEN + 1 + 2 + 2 * KEY_ID_LEN..];
        let mut sealed = Zeroizing::new(hex::decode(sealed).expect("checked by parse"));
        let token = self
            .aead
            .open_in_place(Nonce::assume_unique_for_key(iv), Aad::from(associated_data(self.id, bound)), &mut sealed)
            .map_err(|_| OpenError::NotAuthentic)?;
        let token = std::str::from_utf8(token).map_err(|_| OpenError::NotAuthentic)?;
        Ok(Secret::new(token.to_owned()))
    }
}

/// Nine parts, each behind its length in two bytes, so that no two bindings give the same bytes.
fn associated_data(key: KeyId, bound: &Bound<'_>) -> Vec<u8> {
    let labels: [&[u8]; 3] = [b"aiviary sealed v1", &key.0, b"access_token"];
    let parts = labels.into_iter().chain(bound.iter().map(|part| part.as_bytes()));
    let mut bytes = Vec::with_capacity(160);
    for part in parts {
        let length = u16::try_from(part.len()).expect("ids have at most 64 bytes");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key_of(hex: &str) -> Sealer {
        Sealer::parse(&Secret::new(hex.to_owned())).unwrap()
    }

    fn vector_1() -> (Sealer, Bound<'static>, &'static str) {
        let sealer = key_of("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let bound = ["clienta", "facebook", "17841400000000001", "108154000000001", "act_123456", "12345678"];
        let cell = "a0a1a2a3a4a5a6a7a8a9aaab:019ed0224919b6be155045e444e7c84f09cbe9df20f8cad08159219b7c9dd0035e2d1edaa9a22bc152";
        (sealer, bound, cell)
    }

    #[test]
    fn both_published_vectors_seal_and_open_byte_for_byte() {
        let (sealer, first, cell) = vector_1();
        let iv = hex::decode("a0a1a2a3a4a5a6a7a8a9aaab").unwrap().try_into().unwrap();
        let token = Secret::new("EAABexampletoken".to_owned());
        assert_eq!(sealer.sealing.seal(&token, &first, iv).as_str(), cell);
        let opened = sealer.open(&Envelope::parse(cell).unwrap(), &first).unwrap();
        assert_eq!(opened.expose(), "EAABexampletoken");

        let sealer = key_of(&format!("{}{}", "ff".repeat(16), "00".repeat(16)));
        assert_eq!(sealer.key_ids()[0].to_string(), "e5f9419faa78b45c");
        let second = ["default", "instagram", "", "", "", ""];
        let cell = "000000000000000000000000:01e5f9419faa78b45c2632b22b2d25b6927e0a751be2e6930346b8b0833791d1e3fd6d9a";
        let token = Secret::new("IGAAexample".to_owned());
        assert_eq!(sealer.sealing.seal(&token, &second, [0; 12]).as_str(), cell);
        assert_eq!(sealer.open(&Envelope::parse(cell).unwrap(), &second).unwrap().expose(), "IGAAexample");
    }

    #[test]
    fn the_bound_bytes_are_the_published_ones() {
        let (sealer, first, _) = vector_1();
        assert_eq!(
            hex::encode(associated_data(sealer.sealing.id, &first)),
            "001161697669617279207365616c656420763100089ed0224919b6be15000c6163636573735f746f6b656e0007636c69656e7461000866616365626f6f6b\
             00113137383431343030303030303030303031000f313038313534303030303030303031000a6163745f31323334353600083132333435363738"
        );
    }

    #[test]
    fn a_cell_with_one_bit_changed_never_opens() {
        let (sealer, binding, cell) = vector_1();
        let mut tried = 0;
        for at in 0..cell.len() {
            for bit in 0..8 {
                let mut bytes = cell.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                tried += 1;
                let opened = Envelope::parse(&text).and_then(|envelope| sealer.open(&envelope, &binding));
                assert!(opened.is_err(), "{text}");
            }
        }
        assert_eq!(tried, 7 * cell.len(), "the eighth bit makes the text invalid");
    }

    #[test]
    fn a_cell_opens_only_beside_its_own_client_login_and_accounts() {
        let (sealer, own, cell) = vector_1();
        let envelope = Envelope::parse(cell).unwrap();
        let mut others = Vec::new();
        for (place, value) in ["clientb", "instagram", "17841400000000002", "1", "act_1", "2"].into_iter().enumerate() {
            for changed in [value, ""] {
                let mut other = own;
                other[place] = changed;
                others.push(other);
            }
        }
        // Parts that run together elsewhere are other bytes all the same.
        others.push(["client", "afacebook", own[2], own[3], own[4], own[5]]);
        for other in others {
            assert_eq!(sealer.open(&envelope, &other).unwrap_err(), OpenError::NotAuthentic, "{other:?}");
        }
    }

    #[test]
    fn nothing_but_the_stored_form_is_an_envelope() {
        let (_, _, cell) = vector_1();
        let long = format!("{}:{}", &cell[..24], "0".repeat(8244));
        let variants = [
            String::new(),
            "EAABexampletoken".to_owned(),
            cell.to_uppercase(),
            format!(" {cell}"),
            format!("{cell}\n"),
            cell[..cell.len() - 1].to_owned(),
            cell.replace(':', ""),
            cell.replace(':', "::"),
            format!("{}:", &cell[..24]),
            cell[1..].to_owned(),
            long,
            cell.replacen('a', "g", 1),
        ];
        for variant in variants {
            assert_eq!(Envelope::parse(&variant), Err(OpenError::Malformed), "{variant}");
        }
    }

    #[test]
    fn each_sealing_has_its_own_nonce() {
        let (sealer, binding, _) = vector_1();
        let token = Secret::new("t".to_owned());
        let count = 100_000;
        let ivs: HashSet<String> = (0..count).map(|_| sealer.seal(&token, &binding).iv().to_owned()).collect();
        assert_eq!(ivs.len(), count);
    }

    #[test]
    fn a_second_key_opens_and_never_seals() {
        let old = "11".repeat(32);
        let new = generate_key();
        let (_, binding, _) = vector_1();
        let sealed = key_of(&old).seal(&Secret::new("t".to_owned()), &binding);
        let both = key_of(&format!("{},{old}", new.expose()));
        assert_eq!(both.open(&sealed, &binding).unwrap().expose(), "t");
        assert_eq!(both.seal(&Secret::new("t".to_owned()), &binding).key_id(), both.key_ids()[0]);
        let only_new = Sealer::parse(&new).unwrap();
        assert_eq!(only_new.open(&sealed, &binding).unwrap_err(), OpenError::UnknownKey(sealed.key_id()));
    }

    #[test]
    fn keys_come_as_hex_or_any_base64_and_nothing_else() {
        let bytes: Vec<u8> = (0..32).map(|n| 255 - n * 3).collect();
        let engines = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
        let id = key_of(&hex::encode(&bytes)).key_ids();
        for text in [engines.as_str(), engines.trim_end_matches('='), &url, &hex::encode_upper(&bytes)] {
            assert_eq!(key_of(text).key_ids(), id);
        }
        for (text, error) in [
            ("", KeyError::Missing),
            ("abc!", KeyError::Encoding),
            ("c2hvcnQ=", KeyError::Length(5)),
            (&"zz".repeat(32), KeyError::Length(48)),
        ] {
            assert_eq!(Sealer::parse(&Secret::new(text.to_owned())).unwrap_err(), error, "{text}");
        }
        let twice = format!("{},{}", "22".repeat(32), "22".repeat(32));
        assert!(matches!(Sealer::parse(&Secret::new(twice)), Err(KeyError::Duplicate(_))));
    }
}
