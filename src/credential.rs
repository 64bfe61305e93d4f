//! The nouns of custody: clients, account ids, expiry, and a credential as a store holds it. No I/O.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use crate::crypto::{Bound, Envelope, OpenError};

/// A value that does not fit its grammar. `Display` says what it may be, never what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(pub &'static str);

/// The customer whose account it is: 1 to 64 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ClientId(String);

impl ClientId {
    /// What it may be, in words.
    pub const GRAMMAR: &str = "1 to 64 of the characters A-Z a-z 0-9 . _ -, and neither . nor .. alone";

    /// The client of a credential that names none and for which none is configured.
    #[must_use]
    pub fn fallback() -> Self {
        Self("default".to_owned())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        // A lone or double dot is a path segment of its own meaning.
        if fits && text != "." && text != ".." { Ok(Self(text.to_owned())) } else { Err(GrammarError(Self::GRAMMAR)) }
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Through which of Meta's two logins the token was given; hosts and permissions differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Login {
    /// Facebook Login: `graph.facebook.com`.
    #[default]
    Facebook,
    /// Instagram Login: `graph.instagram.com`.
    Instagram,
}

impl Login {
    /// The word in JSON, in the store and in the sealed form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Facebook => "facebook",
            Self::Instagram => "instagram",
        }
    }
}

impl FromStr for Login {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        match text {
            "facebook" => Ok(Self::Facebook),
            "instagram" => Ok(Self::Instagram),
            _ => Err(GrammarError("facebook or instagram")),
        }
    }
}

/// Which account id of a credential is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// `instagram_business_account_id`
    Instagram,
    /// `facebook_page_id`
    Page,
    /// `ad_account_id`, stored with `act_`
    Ads,
    /// `meta_user_id`
    User,
}

impl AccountKind {
    /// All four, in the order of columns, JSON members and the sealed form.
    pub const ALL: [Self; 4] = [Self::Instagram, Self::Page, Self::Ads, Self::User];

    /// The name of the JSON member and of the column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instagram => "instagram_business_account_id",
            Self::Page => "facebook_page_id",
            Self::Ads => "ad_account_id",
            Self::User => "meta_user_id",
        }
    }

    /// Checks `text` and brings it into the one spelling that is stored: digits, for ad accounts behind `act_`.
    ///
    /// # Errors
    /// What the id may be.
    pub fn normalise(self, text: &str) -> Result<String, GrammarError> {
        let digits = match self {
            Self::Ads => text.strip_prefix("act_").unwrap_or(text),
            _ => text,
        };
        let fits = (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        match (fits, self) {
            (true, Self::Ads) => Ok(format!("act_{digits}")),
            (true, _) => Ok(digits.to_owned()),
            (false, Self::Ads) => Err(GrammarError("1 to 32 digits, with or without act_ before them")),
            (false, _) => Err(GrammarError("1 to 32 digits")),
        }
    }
}

/// The accounts that a token was stored with; all of them are bound to the sealed token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountIds([Option<String>; 4]);

impl AccountIds {
    /// The id of that kind, if it is known.
    #[must_use]
    pub fn get(&self, kind: AccountKind) -> Option<&str> {
        self.0[kind as usize].as_deref()
    }

    /// Sets or clears the id of that kind; it is taken as it is.
    pub fn set(&mut self, kind: AccountKind, id: Option<String>) {
        self.0[kind as usize] = id.filter(|id| !id.is_empty());
    }
}

/// When a token ends, as the store's cell says it. An operator may edit that cell by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// No end is known.
    Never,
    /// The end.
    At(Timestamp),
    /// The cell holds something that is no date: nothing is known, and somebody should look.
    Unreadable,
}

impl Expiry {
    /// Reads a cell: RFC 3339, a space for its `T`, without offset (UTC), or a date alone (its midnight UTC).
    #[must_use]
    pub fn from_cell(text: Option<&str>) -> Self {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Self::Never };
        if let Ok(at) = text.parse::<Timestamp>() {
            return Self::At(at);
        }
        text.parse::<civil::DateTime>().and_then(|at| TimeZone::UTC.to_timestamp(at)).map_or(Self::Unreadable, Self::At)
    }

    /// The moment, where one is known.
    #[must_use]
    pub fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Unreadable => None,
        }
    }

    /// Whether the end has come by `now`.
    #[must_use]
    pub fn is_past(self, now: Timestamp) -> bool {
        self.at().is_some_and(|at| at <= now)
    }
}

/// What the token is bound to: it opens only beside exactly these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Whose token it is.
    pub client: ClientId,
    /// The login it came from.
    pub login: Login,
    /// The accounts it acts on.
    pub ids: AccountIds,
}

impl Binding {
    /// As the sealed form takes it.
    #[must_use]
    pub fn bound(&self) -> Bound<'_> {
        let id = |kind| self.ids.get(kind).unwrap_or_default();
        let [instagram, page, ads, user] = AccountKind::ALL.map(id);
        [self.client.as_str(), self.login.as_str(), instagram, page, ads, user]
    }
}

/// One row of a store, as read or to be written. The texts that an operator may edit stay texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCredential {
    /// Client, login and account ids.
    pub binding: Binding,
    /// The `access_token` cell as it stands in the row; see [`SealedCredential::envelope`].
    pub cell: String,
    /// `token_expires_at`; see [`Expiry::from_cell`].
    pub expires: Option<String>,
    /// Permissions, comma-separated; `None` when they are not known.
    pub scopes: Option<String>,
    /// When Meta issued the token, RFC 3339.
    pub issued_at: Option<String>,
    /// When the row was last written, RFC 3339.
    pub updated_at: Option<String>,
}

impl SealedCredential {
    /// The cell as an envelope.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] when the cell does not have the stored form.
    pub fn envelope(&self) -> Result<Envelope, OpenError> {
        Envelope::parse(&self.cell)
    }

    /// When the token ends.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        Expiry::from_cell(self.expires.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_keep_to_their_grammar() {
        for good in ["a", "clienta", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(good.parse::<ClientId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "a b", "a/b", "ü", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ad_accounts_have_one_spelling() {
        assert_eq!(AccountKind::Ads.normalise("123").as_deref(), Ok("act_123"));
        assert_eq!(AccountKind::Ads.normalise("act_123").as_deref(), Ok("act_123"));
        for bad in ["", "act_", "act_act_1", "12a", "+1", " 1"] {
            assert!(AccountKind::Ads.normalise(bad).is_err(), "{bad:?}");
        }
        assert!(AccountKind::Page.normalise("act_1").is_err());
    }

    #[test]
    fn expiry_is_read_as_an_operator_may_write_it() {
        let midnight: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        for text in [
            "2024-01-01T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00",
            "2024-01-01",
            " 2024-01-01 ",
            "2024-01-01T01:00:00+01:00",
        ] {
            assert_eq!(Expiry::from_cell(Some(text)), Expiry::At(midnight), "{text}");
        }
        for text in [None, Some(""), Some("  ")] {
            assert_eq!(Expiry::from_cell(text), Expiry::Never);
        }
        for text in ["soon", "2024-13-01", "01/02/2024", "1704067200"] {
            assert_eq!(Expiry::from_cell(Some(text)), Expiry::Unreadable, "{text}");
        }
    }
}
