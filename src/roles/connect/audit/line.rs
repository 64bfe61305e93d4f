//! One line of the trail: what it says, its exact bytes, and the hash that chains it to the line before.

use std::fmt;
use std::fmt::Write as _;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::credential::ClientId;

/// The longest line in bytes, its line feed included.
pub const LINE_MAX_BYTES: usize = 4096;
/// The longest text field in bytes, escaped. Longer ones are cut, so that all of them and `kept` fit a line.
const FIELD_MAX_BYTES: usize = 192;
/// The most of a torn tail that is kept in a `repair` line: 2 KiB in base64.
pub(super) const KEPT_MAX_BYTES: usize = 1536;
/// `,"hash":"` and 64 digits and `"}`: how each line ends.
const HASH_OPENS: &[u8] = b",\"hash\":\"";
const SUFFIX_BYTES: usize = HASH_OPENS.len() + 64 + 2;

/// The reason of an `open` line by a process that had begun before and goes on in a new file.
pub(super) const NEW_FILE: &str = "new_file";

/// SHA-256 over the line before and this line: the link of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(pub(super) [u8; 32]);

impl Hash {
    /// Before the first line of all.
    pub(super) const NONE: Self = Self([0; 32]);

    /// The hash of a line, from the bytes before `,"hash":`.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        let mut chained = Vec::with_capacity(32 + bytes.len());
        chained.extend_from_slice(&self.0);
        chained.extend_from_slice(bytes);
        Self(digest(&SHA256, &chained).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Reads the one spelling there is: 64 lower-case hex digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let hash = Self(bytes);
        (hash.to_string() == text).then_some(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A process began to write, or went on in a new file.
    Open,
    /// A process ended in order.
    Stop,
    /// A token was given.
    Grant,
    /// A request was refused.
    Refuse,
    /// A credential is about to be stored.
    Save,
    /// The save, reseal or removal announced before did not happen, as far as the store says.
    SaveFailed,
    /// The save, reseal or removal announced before did happen.
    SaveConfirmed,
    /// A credential is about to be removed.
    Remove,
    /// A credential is about to be sealed anew: another key, or other account ids.
    Reseal,
    /// The file was not as it was left.
    Repair,
    /// So many refusals have no line of their own.
    Suppressed,
}

impl Event {
    /// The word in the line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stop => "stop",
            Self::Grant => "grant",
            Self::Refuse => "refuse",
            Self::Save => "save",
            Self::SaveFailed => "save_failed",
            Self::SaveConfirmed => "save_confirmed",
            Self::Remove => "remove",
            Self::Reseal => "reseal",
            Self::Repair => "repair",
            Self::Suppressed => "suppressed",
        }
    }
}

impl Event {
    /// Whether it says what is about to be made in the store.
    pub(super) fn announces(self) -> bool {
        matches!(self, Self::Save | Self::Remove | Self::Reseal)
    }
}

/// What a line is to say; number, time and hash come with the writing. Texts may be hostile: they are escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// Whose credential.
    pub client: Option<ClientId>,
    /// Who called: an address, or `uid=… pid=…` of a unix socket's peer.
    pub peer: Option<String>,
    /// On which listener.
    pub listener: Option<String>,
    /// The request, as the log and the answer name it.
    pub request_id: Option<String>,
    /// Which key: an API key by its position, or a sealing key by its id.
    pub key: Option<String>,
    /// The iv of the cell that was granted or is to be stored.
    pub envelope: Option<String>,
    /// Of a grant: whether the token's end was past.
    pub token_expired: Option<bool>,
    /// Why; one of a few words of ours.
    pub reason: Option<&'static str>,
    /// How many.
    pub count: Option<u64>,
    /// Base64 of what a repair cut off.
    pub(super) kept: Option<String>,
}

impl Entry {
    /// A line that says nothing but `event` yet.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self {
            event,
            client: None,
            peer: None,
            listener: None,
            request_id: None,
            key: None,
            envelope: None,
            token_expired: None,
            reason: None,
            count: None,
            kept: None,
        }
    }

    /// The line which says that this change was not made. It names the same cell, and none for a removal.
    pub(super) fn withdrawal(&self) -> Self {
        Self { event: Event::SaveFailed, ..self.clone() }
    }

    /// The line which says that it was made.
    #[must_use]
    pub fn confirmation(&self) -> Self {
        Self { event: Event::SaveConfirmed, ..self.clone() }
    }

    /// Whose credential it is about.
    #[must_use]
    pub fn client(mut self, client: &ClientId) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// Who called.
    #[must_use]
    pub fn peer(mut self, peer: impl Into<String>) -> Self {
        self.peer = Some(peer.into());
        self
    }

    /// On which listener.
    #[must_use]
    pub fn listener(mut self, listener: impl Into<String>) -> Self {
        self.listener = Some(listener.into());
        self
    }

    /// Which request.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Which key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Which cell, by its iv.
    #[must_use]
    pub fn envelope(mut self, iv: impl Into<String>) -> Self {
        self.envelope = Some(iv.into());
        self
    }

    /// Whether the token's end was past.
    #[must_use]
    pub fn token_expired(mut self, expired: bool) -> Self {
        self.token_expired = Some(expired);
        self
    }

    /// Why.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// How many.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// The line with its line feed, and its hash. An `open` line repeats `previous` as `prev`.
    pub(super) fn render(&self, seq: u64, at: Timestamp, previous: Hash) -> (String, Hash) {
        let mut line =
            format!("{{\"v\":1,\"seq\":{seq},\"time\":\"{}\",\"event\":\"{}\"", time::text(at), self.event.as_str());
        let prev = (self.event == Event::Open).then(|| previous.to_string());
        let texts = [
            ("prev", prev.as_deref()),
            ("client_id", self.client.as_ref().map(ClientId::as_str)),
            ("peer", self.peer.as_deref()),
            ("listener", self.listener.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("key", self.key.as_deref()),
            ("envelope", self.envelope.as_deref()),
        ];
        for (name, text) in texts {
            push_text(&mut line, name, text);
        }
        if let Some(expired) = self.token_expired {
            let _infallible = write!(line, ",\"token_expired\":{expired}");
        }
        push_text(&mut line, "reason", self.reason);
        if let Some(count) = self.count {
            let _infallible = write!(line, ",\"count\":{count}");
        }
        if let Some(kept) = &self.kept {
            // Base64 of a bounded length: nothing to escape or cut.
            let _infallible = write!(line, ",\"kept\":\"{kept}\"");
        }
        let hash = previous.after(line.as_bytes());
        let _infallible = writeln!(line, ",\"hash\":\"{hash}\"}}");
        debug_assert!(line.len() <= LINE_MAX_BYTES, "{} bytes", line.len());
        (line, hash)
    }
}

/// A member with JSON text that is printable ASCII, cut at a character's edge.
fn push_text(line: &mut String, name: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    let _infallible = write!(line, ",\"{name}\":\"");
    let end = line.len() + FIELD_MAX_BYTES;
    for char in text.chars() {
        let start = line.len();
        match char {
            '"' | '\\' => line.extend(['\\', char]),
            ' '..='~' => line.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _infallible = write!(line, "\\u{unit:04x}");
                }
            }
        }
        if line.len() > end {
            line.truncate(start);
            break;
        }
    }
    line.push('"');
}

/// `2026-11-23T09:00:00.000Z`, in serde's terms.
mod time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn text(at: Timestamp) -> String {
        at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A line as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Version of the form: 1.
    pub v: u32,
    /// Its number in the whole trail, from 1.
    pub seq: u64,
    /// When it was written; `seq` orders, not this.
    #[serde(with = "time")]
    pub time: Timestamp,
    /// What happened.
    pub event: Event,
    /// Of an `open` line: the hash before it, in this file or the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    /// Whose credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// On which listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which cell, by its iv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<String>,
    /// Whether the token's end was past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expired: Option<bool>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Base64 of what a repair cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// The link of the chain, in hex.
    pub hash: String,
}

impl Line {
    /// Reads a line without its line feed; `None` for bytes that have not the form, whatever they are.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (_, suffix) = split(bytes)?;
        let line: Self = serde_json::from_slice(bytes).ok()?;
        (suffix == line.hash.as_bytes() && Hash::parse(&line.hash).is_some()).then_some(line)
    }

    /// Whether the line's hash is the one that follows from `previous`; `bytes` are those that were parsed.
    pub(super) fn follows(&self, bytes: &[u8], previous: Hash) -> bool {
        split(bytes).is_some_and(|(hashed, _)| Some(previous.after(hashed)) == self.link())
    }

    /// The line's hash as bytes.
    pub(super) fn link(&self) -> Option<Hash> {
        Hash::parse(&self.hash)
    }
}

/// The hashed bytes, and the digits of the hash.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (hashed, suffix) = bytes.split_at_checked(bytes.len().checked_sub(SUFFIX_BYTES)?)?;
    let digits = suffix.strip_prefix(HASH_OPENS)?.strip_suffix(b"\"}")?;
    Some((hashed, digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PUBLISHED: [&str; 2] = [
        r#"{"v":1,"seq":1,"time":"2026-11-23T09:00:00.000Z","event":"open","prev":"0000000000000000000000000000000000000000000000000000000000000000","hash":"1fb2257e84948ca6a0d5f1e0d2d2098464b11d7642913a026f2443d3a0d89347"}"#,
        r#"{"v":1,"seq":2,"time":"2026-11-23T09:00:01.000Z","event":"grant","client_id":"clienta","peer":"127.0.0.1","hash":"0d7a3159e5a282b30671c81885db46699a07606803c215128b499040c16c73f6"}"#,
    ];

    fn hostile(text: &str) -> Entry {
        let entry = Entry::new(Event::Grant).client(&"clienta".parse().unwrap());
        let entry = entry.peer(text).listener(text).request_id(text).key(text).envelope(text);
        entry.token_expired(true).reason("unreadable").count(u64::MAX)
    }

    #[test]
    fn the_published_lines_are_written_byte_for_byte_and_read_back() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (first, hash) = Entry::new(Event::Open).render(1, at("2026-11-23T09:00:00Z"), Hash::NONE);
        let grant = Entry::new(Event::Grant).client(&"clienta".parse().unwrap()).peer("127.0.0.1");
        let (second, _) = grant.render(2, at("2026-11-23T09:00:01Z"), hash);
        assert_eq!([first.trim_end(), second.trim_end()], PUBLISHED);

        let mut previous = Hash::NONE;
        for text in PUBLISHED {
            let line = Line::parse(text.as_bytes()).unwrap();
            assert!(line.follows(text.as_bytes(), previous));
            previous = line.link().unwrap();
        }
    }

    #[test]
    fn the_longest_line_stays_within_its_bound() {
        for text in ["\u{1f99c}", "\u{7f}", "\"", "x"] {
            let mut entry = hostile(&text.repeat(9000));
            entry.event = Event::SaveConfirmed;
            entry.client = Some("x".repeat(64).parse().unwrap());
            entry.kept = Some("A".repeat(KEPT_MAX_BYTES / 3 * 4));
            let (line, _) = entry.render(u64::MAX, Timestamp::MAX, Hash::NONE);
            assert!(line.len() <= LINE_MAX_BYTES, "{} bytes", line.len());
            assert!(Line::parse(line.trim_end().as_bytes()).is_some());
        }
    }

    #[test]
    fn hostile_text_stays_one_line_of_ascii_and_comes_back_whole() {
        let text = "a\r\nb\u{1b}[31m\u{2028}\u{2029}\u{85}\0\"},{\"\\u\u{1f99c}\u{7f}";
        let (line, _) = hostile(text).render(1, Timestamp::UNIX_EPOCH, Hash::NONE);
        let body = line.strip_suffix('\n').unwrap();
        assert!(body.bytes().all(|b| matches!(b, b' '..=b'~')), "{body}");
        let read = Line::parse(body.as_bytes()).unwrap();
        for field in [read.peer, read.listener, read.request_id, read.key, read.envelope] {
            assert_eq!(field.as_deref(), Some(text));
        }
    }

    #[test]
    fn nothing_but_the_form_is_a_line() {
        let good = PUBLISHED[1];
        for bad in [
            "",
            "{}",
            "null",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good} "),
            &good.to_uppercase(),
            &good.replace("\"v\":1", "\"v\":\"1\""),
            &good.replace("grant", "give"),
            &good.replace("0d7a", "0D7A"),
            &good.replace("\"seq\":2", "\"seq\":2,\"seq\":2"),
            &good.replace("\"seq\":2", "\"seq\":2,\"hash\":\"0\""),
        ] {
            assert_eq!(Line::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _line = Line::parse(&bytes);
        }

        #[test]
        fn a_line_with_any_one_byte_changed_is_no_line_or_does_not_follow(
            at in 0..PUBLISHED[1].len(),
            byte in any::<u8>(),
        ) {
            let before = Line::parse(PUBLISHED[0].as_bytes()).unwrap().link().unwrap();
            let mut bytes = PUBLISHED[1].as_bytes().to_vec();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert!(Line::parse(&bytes).is_none_or(|line| !line.follows(&bytes, before)));
        }

        #[test]
        fn any_text_makes_one_line_that_reads_back(text in "\\PC{0,40}|.{0,40}") {
            let (line, hash) = hostile(&text).render(7, Timestamp::UNIX_EPOCH, Hash::NONE);
            prop_assert!(line.is_ascii() && line.len() <= LINE_MAX_BYTES);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            let body = line.trim_end().as_bytes();
            let read = Line::parse(body).unwrap();
            prop_assert!(read.follows(body, Hash::NONE) && read.link() == Some(hash));
            prop_assert!(text.starts_with(&read.peer.unwrap()));
        }
    }
}
