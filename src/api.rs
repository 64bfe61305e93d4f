//! JSON of the credential endpoints, for both ends: what comes in, the summary, the grant.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::{parse_rfc3339, rfc3339};
use crate::credential::{AccountIds, AccountKind, ClientId, Expiry, Login, SealedCredential};
use crate::crypto::TOKEN_MAX_BYTES;
use crate::secret::Secret;

/// A member of the body that cannot be taken. Tells what it may be, never what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {expected}")]
pub struct FieldError {
    /// The member.
    pub field: &'static str,
    /// What it may be.
    pub expected: String,
}

impl FieldError {
    fn new(field: &'static str, expected: impl Into<String>) -> Self {
        Self { field, expected: expected.into() }
    }
}

/// The clients that `client_required` names, as members of its error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedClients {
    /// Of many only the first.
    pub clients: Vec<ClientId>,
    /// Whether there are more.
    pub truncated: bool,
}

impl fmt::Display for NamedClients {
    /// Their ids, for the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.clients.iter().map(ClientId::as_str).collect();
        write!(f, "{}{}", ids.join(", "), if self.truncated { " and others" } else { "" })
    }
}

/// What a body says of one account id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// Nothing: a stored id is kept.
    #[default]
    Nothing,
    /// `null`: a stored id is cleared.
    Cleared,
    /// This id.
    Id(String),
}

/// The body of `POST /api/credentials`, checked.
#[derive(Debug)]
pub struct NewCredential {
    /// The token.
    pub token: Secret,
    /// Whose it is, where the body says so.
    pub client: Option<ClientId>,
    /// Account ids, in the order of [`AccountKind::ALL`].
    pub ids: [Given; 4],
    /// Where the body says so; else what is stored, else Facebook.
    pub login: Option<Login>,
    /// When the token ends.
    pub expires: Option<Timestamp>,
    /// When Meta issued it.
    pub issued_at: Option<Timestamp>,
    /// Its permissions, where they are known.
    pub scopes: Option<Vec<String>>,
    /// Members that are not known.
    pub ignored: Vec<String>,
}

/// The longest delay that `expires_in` may tell, in seconds: ten years.
const EXPIRES_IN_MAX: i64 = 10 * 365 * 86_400;
/// Names of unknown members that are told back.
const IGNORED_MAX: usize = 32;

impl NewCredential {
    /// Reads the members of a body. `now` is when it arrived.
    ///
    /// # Errors
    /// The first member that cannot be taken, by name.
    pub fn from_members(members: &[(String, &RawValue)], now: Timestamp) -> Result<Self, FieldError> {
        let mut token = None;
        let mut expires_at: Option<Option<Timestamp>> = None;
        let mut expires_in = None;
        let mut new = Self {
            token: Secret::new(String::new()),
            client: None,
            ids: Default::default(),
            login: None,
            expires: None,
            issued_at: None,
            scopes: None,
            ignored: Vec::new(),
        };
        for (name, raw) in members {
            if let Some(kind) = AccountKind::ALL.into_iter().find(|kind| kind.name() == name) {
                new.ids[kind as usize] = given(kind, raw)?;
                continue;
            }
            match name.as_str() {
                "client_id" | "login" | "expires_in" if is_null(raw) => {}
                "access_token" => token = text(raw).filter(|token| is_token(token)),
                "client_id" => {
                    let id = text(raw).and_then(|text| text.parse().ok());
                    new.client = Some(id.ok_or_else(|| FieldError::new("client_id", ClientId::GRAMMAR))?);
                }
                "login" => {
                    let login = text(raw).and_then(|text| text.parse().ok());
                    new.login = Some(login.ok_or_else(|| FieldError::new("login", "facebook or instagram"))?);
                }
                "token_expires_at" => expires_at = Some(moment("token_expires_at", raw)?),
                "issued_at" => new.issued_at = moment("issued_at", raw)?,
                "expires_in" => expires_in = Some(seconds(raw)?),
                "scopes" => new.scopes = scopes(raw)?,
                _ if new.ignored.len() < IGNORED_MAX => new.ignored.push(name.chars().take(64).collect()),
                _ => {}
            }
        }
        let expected =
            format!("text of 1 to {TOKEN_MAX_BYTES} visible ASCII characters, without spaces or line breaks");
        new.token = Secret::new(token.ok_or_else(|| FieldError::new("access_token", expected))?);
        new.expires = match (expires_at, expires_in) {
            (Some(Some(_)), Some(_)) => {
                return Err(FieldError::new("expires_in", "send token_expires_at or expires_in, not both"));
            }
            (_, Some(0)) => None,
            (_, Some(seconds)) => {
                let from = new.issued_at.unwrap_or(now);
                let end = from.checked_add(SignedDuration::from_secs(seconds));
                Some(end.map_err(|_| FieldError::new("expires_in", "a number of seconds within the calendar"))?)
            }
            (at, None) => at.flatten(),
        };
        Ok(new)
    }
}

/// Text of a JSON string; other kinds are none.
fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

fn is_token(text: &str) -> bool {
    (1..=TOKEN_MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An id as text or as a JSON number of any size, which keeps its digits.
fn given(kind: AccountKind, raw: &RawValue) -> Result<Given, FieldError> {
    if is_null(raw) {
        return Ok(Given::Cleared);
    }
    let written = text(raw).unwrap_or_else(|| raw.get().to_owned());
    match kind.normalise(&written) {
        Ok(id) => Ok(Given::Id(id)),
        Err(expected) => Err(FieldError::new(kind.name(), expected.0)),
    }
}

fn moment(field: &'static str, raw: &RawValue) -> Result<Option<Timestamp>, FieldError> {
    if is_null(raw) {
        return Ok(None);
    }
    let at = text(raw).and_then(|text| parse_rfc3339(&text));
    at.map(Some).ok_or_else(|| FieldError::new(field, "a moment in RFC 3339, as 2026-11-23T09:00:00Z"))
}

fn seconds(raw: &RawValue) -> Result<i64, FieldError> {
    let written = text(raw).unwrap_or_else(|| raw.get().to_owned());
    let seconds = written.parse().ok().filter(|seconds| (0..=EXPIRES_IN_MAX).contains(seconds));
    seconds.ok_or_else(|| {
        FieldError::new("expires_in", format!("a whole number of seconds, 0 to {EXPIRES_IN_MAX}; 0: no end"))
    })
}

fn scopes(raw: &RawValue) -> Result<Option<Vec<String>>, FieldError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scopes {
        Text(String),
        List(Vec<String>),
    }
    if is_null(raw) {
        return Ok(None);
    }
    let expected = || FieldError::new("scopes", "a list or comma-separated text of permission names, 100 at most");
    let list = match serde_json::from_str(raw.get()).map_err(|_| expected())? {
        Scopes::Text(text) => split_scopes(&text),
        Scopes::List(list) => list,
    };
    let is_name = |name: &String| {
        (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
    };
    if list.len() > 100 || !list.iter().all(is_name) {
        return Err(expected());
    }
    Ok(Some(list))
}

/// Comma-separated permissions, as a store's cell holds them.
#[must_use]
pub fn split_scopes(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What may be known of a credential by every internal caller: all but the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Whose it is.
    pub client_id: ClientId,
    /// Digits.
    pub instagram_business_account_id: Option<String>,
    /// Digits.
    pub facebook_page_id: Option<String>,
    /// `act_` and digits.
    pub ad_account_id: Option<String>,
    /// Digits.
    pub meta_user_id: Option<String>,
    /// RFC 3339; `null` when no end is known.
    pub token_expires_at: Option<String>,
    /// Whether that is past.
    pub token_expired: bool,
    /// Permissions; `null` when they are not known.
    pub scopes: Option<Vec<String>>,
    /// The login that the token came from.
    pub login: Login,
    /// When the row was last written.
    pub updated_at: Option<String>,
}

impl Summary {
    /// Of a stored row, as of `now`.
    #[must_use]
    pub fn of(row: &SealedCredential, now: Timestamp) -> Self {
        let id = |kind| row.binding.ids.get(kind).map(str::to_owned);
        let expiry = row.expiry();
        Self {
            client_id: row.binding.client.clone(),
            instagram_business_account_id: id(AccountKind::Instagram),
            facebook_page_id: id(AccountKind::Page),
            ad_account_id: id(AccountKind::Ads),
            meta_user_id: id(AccountKind::User),
            token_expires_at: expiry.at().map(rfc3339),
            token_expired: expiry.is_past(now),
            scopes: row.scopes.as_deref().map(split_scopes),
            login: row.binding.login,
            updated_at: row.updated_at.clone(),
        }
    }

    /// The account ids.
    #[must_use]
    pub fn ids(&self) -> AccountIds {
        let mut ids = AccountIds::default();
        ids.set(AccountKind::Instagram, self.instagram_business_account_id.clone());
        ids.set(AccountKind::Page, self.facebook_page_id.clone());
        ids.set(AccountKind::Ads, self.ad_account_id.clone());
        ids.set(AccountKind::User, self.meta_user_id.clone());
        ids
    }

    /// When the token ends.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        Expiry::from_cell(self.token_expires_at.as_deref())
    }
}

/// A summary with the token.
#[derive(Debug)]
pub struct Grant {
    /// All but the token.
    pub summary: Summary,
    /// The token.
    pub access_token: Secret,
    /// Meta's `appsecret_proof` of it, where the app secret is configured.
    pub appsecret_proof: Option<Secret>,
}

/// The one function in which a token becomes JSON.
impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let serde_json::Value::Object(summary) =
            serde_json::to_value(&self.summary).map_err(serde::ser::Error::custom)?
        else {
            return Err(serde::ser::Error::custom("a summary is an object"));
        };
        for (name, value) in &summary {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("access_token", self.access_token.expose())?;
        if let Some(proof) = &self.appsecret_proof {
            map.serialize_entry("appsecret_proof", proof.expose())?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(flatten)]
            summary: Summary,
            access_token: String,
            appsecret_proof: Option<String>,
        }
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            summary: wire.summary,
            access_token: Secret::new(wire.access_token),
            appsecret_proof: wire.appsecret_proof.map(Secret::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<NewCredential, FieldError> {
        let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(body).unwrap();
        let members: Vec<_> = members.into_iter().collect();
        NewCredential::from_members(&members, "2026-11-23T09:00:00Z".parse().unwrap())
    }

    #[test]
    fn ids_come_as_numbers_or_text_and_stay_exact() {
        let new = parse(
            r#"{"access_token":"t","instagram_business_account_id":17841400000000000123,"facebook_page_id":"9007199254740993",
                "ad_account_id":123456789012345678901234567890,"meta_user_id":null,"colour":"red"}"#,
        )
        .unwrap();
        let id = |text: &str| Given::Id(text.to_owned());
        assert_eq!(
            new.ids,
            [
                id("17841400000000000123"),
                id("9007199254740993"),
                id("act_123456789012345678901234567890"),
                Given::Cleared
            ]
        );
        assert_eq!(new.ignored, ["colour"]);
    }

    #[test]
    fn expiry_comes_as_a_date_or_as_seconds() {
        let ends = |more: &str| parse(&format!(r#"{{"access_token":"t"{more}}}"#)).unwrap().expires.map(rfc3339);
        assert_eq!(ends(""), None);
        assert_eq!(ends(r#","expires_in":3600"#).as_deref(), Some("2026-11-23T10:00:00Z"));
        assert_eq!(
            ends(r#","expires_in":"60","issued_at":"2026-11-01T00:00:00Z""#).as_deref(),
            Some("2026-11-01T00:01:00Z")
        );
        assert_eq!(ends(r#","expires_in":0"#), None);
        assert_eq!(ends(r#","token_expires_at":"2027-01-10T01:00:00+01:00""#).as_deref(), Some("2027-01-10T00:00:00Z"));
        assert_eq!(ends(r#","token_expires_at":null"#), None);
        assert_eq!(ends(r#","expires_in":null,"client_id":null,"login":null"#), None);
    }

    #[test]
    fn what_does_not_fit_is_named_and_never_repeated() {
        let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(4097));
        for (body, field) in [
            ("{}", "access_token"),
            (r#"{"access_token":""}"#, "access_token"),
            (r#"{"access_token":"EAAB secret"}"#, "access_token"),
            (r#"{"access_token":"EAAB\nsecret"}"#, "access_token"),
            (r#"{"access_token":"EAAB\u0000"}"#, "access_token"),
            (r#"{"access_token":"EAAÄ"}"#, "access_token"),
            (r#"{"access_token":5}"#, "access_token"),
            (&long, "access_token"),
            (r#"{"access_token":"t","client_id":"a b"}"#, "client_id"),
            (r#"{"access_token":"t","login":"google"}"#, "login"),
            (r#"{"access_token":"t","ad_account_id":"act_x"}"#, "ad_account_id"),
            (r#"{"access_token":"t","facebook_page_id":1.5}"#, "facebook_page_id"),
            (r#"{"access_token":"t","meta_user_id":-3}"#, "meta_user_id"),
            (r#"{"access_token":"t","token_expires_at":"soon"}"#, "token_expires_at"),
            (r#"{"access_token":"t","token_expires_at":"-000001-01-10T00:00:00Z"}"#, "token_expires_at"),
            (r#"{"access_token":"t","issued_at":"2026-01-10T00:00:00Z[Europe/Berlin]"}"#, "issued_at"),
            (r#"{"access_token":"t","expires_in":-1}"#, "expires_in"),
            (r#"{"access_token":"t","expires_in":1.5}"#, "expires_in"),
            (r#"{"access_token":"t","expires_in":5,"token_expires_at":"2027-01-10T00:00:00Z"}"#, "expires_in"),
            (r#"{"access_token":"t","issued_at":1700000000}"#, "issued_at"),
            (r#"{"access_token":"t","scopes":{"a":1}}"#, "scopes"),
            (r#"{"access_token":"t","scopes":["a b"]}"#, "scopes"),
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error.field, field, "{body}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_grant_survives_its_way_to_the_other_end() {
        let json = r#"{"client_id":"a","instagram_business_account_id":"1","facebook_page_id":null,"ad_account_id":"act_2","meta_user_id":null,
            "token_expires_at":"2027-01-10T00:00:00Z","token_expired":false,"scopes":["x"],"login":"instagram","updated_at":null,"access_token":"EAAB","later":1}"#;
        let grant: Grant = serde_json::from_str(json).unwrap();
        assert_eq!(grant.access_token.expose(), "EAAB");
        let again: Grant = serde_json::from_str(&serde_json::to_string(&grant).unwrap()).unwrap();
        assert_eq!(again.summary, grant.summary);
        assert!(!format!("{grant:?}").contains("EAAB"));
    }
}
