//! Why a call of Graph gave no value: Meta's own words, and what a caller can do about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Scrubber;

/// What a caller can do, which is what Graph's many codes come down to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The token's time is over (190/463): the person authorises again.
    TokenExpired,
    /// The token is dead for another reason: the person authorises again.
    TokenInvalid,
    /// Token or app lack a permission, a role or an access level.
    MissingPermission {
        /// The permission, where Meta's text or the code names it.
        permission: Option<String>,
    },
    /// The person must do something at Meta first; [`Said::user_msg`] says what.
    ActionRequired,
    /// A throttle. Calling on while limited prolongs it, so it is never repeated here.
    RateLimited {
        /// Until Meta expects to answer again, where a usage header told it.
        retry_after: Option<Duration>,
    },
    /// Blocked for hours or days by policy (368, 1404078).
    Blocked,
    /// Meta refused this request; the same one will be refused again.
    Rejected,
    /// The answer would be too large: ask for fewer rows.
    ReduceData,
    /// The version in the path serves no ads any more (2635).
    OldVersion,
    /// Meta, or the way there, failed. A read was repeated already; a write did not happen.
    Unavailable,
    /// No answer in time. A write was not sent.
    Timeout,
    /// A write whose answer is lost: it may have happened.
    OutcomeUnknown,
    /// Never sent: this request cannot be written as a safe URL, or breaks a bound of ours.
    InvalidRequest,
}

impl ErrorKind {
    /// A name for every kind, as a label of counters.
    pub const NAMES: [&'static str; 13] = [
        "token_expired",
        "token_invalid",
        "missing_permission",
        "action_required",
        "rate_limited",
        "blocked",
        "rejected",
        "reduce_data",
        "old_version",
        "unavailable",
        "timeout",
        "outcome_unknown",
        "invalid_request",
    ];

    /// This kind's place in [`ErrorKind::NAMES`].
    #[must_use]
    pub fn index(&self) -> usize {
        match self {
            Self::TokenExpired => 0,
            Self::TokenInvalid => 1,
            Self::MissingPermission { .. } => 2,
            Self::ActionRequired => 3,
            Self::RateLimited { .. } => 4,
            Self::Blocked => 5,
            Self::Rejected => 6,
            Self::ReduceData => 7,
            Self::OldVersion => 8,
            Self::Unavailable => 9,
            Self::Timeout => 10,
            Self::OutcomeUnknown => 11,
            Self::InvalidRequest => 12,
        }
    }
}

/// What went wrong where Meta named no reason of its own.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No connection, or one that broke; without the URL.
    #[error("the connection failed")]
    Network(#[source] Arc<reqwest::Error>),
    /// A web page where JSON belongs, as from a proxy or during an outage.
    #[error("the answer is a web page")]
    Html,
    /// The answer ends too early.
    #[error("the answer is cut off")]
    Cut,
    /// The answer is not JSON, is nested too deep or has not the shape of its kind.
    #[error("the answer is malformed")]
    Malformed,
    /// The answer is over [`super::MAX_BODY_BYTES`].
    #[error("the answer is too large")]
    TooLarge,
    /// The answer points elsewhere; redirects are never followed.
    #[error("the answer is a redirect")]
    Redirect,
    /// A status of failure without an error object.
    #[error("the answer has no reason")]
    NoReason,
    /// An entry of a batch that Meta did not get to.
    #[error("the batch has no answer for this entry")]
    NoEntry,
    /// The time of the attempt or of the call is over.
    #[error("time is over")]
    TimeOver,
    /// The time of the call ended before one of the client's places was free.
    #[error("too many calls of this client at once")]
    NoPlace,
    /// The request was not made; the text says what its part may be.
    #[error("{0}")]
    Request(&'static str),
}

/// Graph's error object, its texts without the call's secrets and at most 2000 characters each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `code`; 0 where there is none.
    pub code: i64,
    /// `error_subcode`.
    pub subcode: Option<i64>,
    /// `type`, as in `OAuthException`.
    pub error_type: Option<String>,
    /// `message`, for developers. Its wording changes (Meta, error handling page, 2026).
    pub message: String,
    /// `error_user_title`, for people, in the token's language.
    pub user_title: Option<String>,
    /// `error_user_msg`, for people, in the token's language.
    pub user_msg: Option<String>,
    /// The parameters that Meta blames (`error_data.blame_field_specs`), dots between levels.
    pub blamed: Vec<String>,
    /// `fbtrace_id`, what Meta's support asks for.
    pub trace_id: Option<String>,
    /// `is_transient`.
    pub is_transient: bool,
}

/// A call of Graph without a value.
#[derive(Clone, Debug)]
pub struct GraphError {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// What Meta said, where it said something.
    pub said: Option<Box<Said>>,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    fault: Option<Fault>,
    transient: bool,
}

impl GraphError {
    /// An error that no answer gave, as a read refused because the limits are nearly used up.
    #[must_use]
    pub fn of_kind(kind: ErrorKind) -> Self {
        Self { kind, said: None, status: None, fault: None, transient: false }
    }

    pub(super) fn fault(kind: ErrorKind, fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::of_kind(kind) }
    }

    pub(super) fn invalid(what: &'static str) -> Self {
        Self::fault(ErrorKind::InvalidRequest, Fault::Request(what))
    }

    /// An answer that is not of the shape that was asked for.
    #[must_use]
    pub fn malformed() -> Self {
        Self::fault(ErrorKind::Unavailable, Fault::Malformed)
    }

    pub(super) fn time_over() -> Self {
        Self::fault(ErrorKind::Timeout, Fault::TimeOver)
    }

    pub(super) fn network(error: reqwest::Error) -> Self {
        // reqwest prints the whole URL, and the proof is in its query.
        let error = error.without_url();
        let kind = if error.is_builder() { ErrorKind::InvalidRequest } else { ErrorKind::Unavailable };
        Self { transient: !error.is_builder(), ..Self::fault(kind, Fault::Network(Arc::new(error))) }
    }

    /// An answer without Meta's error object that is no success either.
    pub(super) fn answer(status: u16, fault: Fault) -> Self {
        let lost = matches!(fault, Fault::Html | Fault::Cut) && status < 300;
        let kind = match fault {
            Fault::TooLarge => ErrorKind::ReduceData,
            _ if status == 429 => ErrorKind::RateLimited { retry_after: None },
            Fault::NoReason if status < 500 => ErrorKind::Rejected,
            _ => ErrorKind::Unavailable,
        };
        let transient = kind == ErrorKind::Unavailable && (lost || status >= 500);
        Self { status: Some(status), transient, ..Self::fault(kind, fault) }
    }

    /// The error inside an answer, if there is one: it counts with any status, 200 too.
    pub(super) fn in_answer(status: u16, answer: &Value, scrubber: &Scrubber) -> Option<Self> {
        let said = match answer.get("error") {
            Some(error) if error.is_object() => Said::read(error, scrubber),
            // Instagram Login's own shape; a failed ads report has `error_message` alone, as a member like others.
            _ if answer.get("error_type").is_some() && answer.get("error_message").is_some() => {
                Said::read(answer, scrubber)
            }
            _ => return None,
        };
        let (kind, transient) = classify(&said, status);
        Some(Self { kind, said: Some(Box::new(said)), status: Some(status), fault: None, transient })
    }

    /// The same, of a write that was on its way: unless it was surely refused, it may have happened.
    pub(super) fn of_write(self) -> Self {
        let refused = match (&self.said, &self.fault) {
            (_, Some(Fault::Network(error))) => error.is_connect(),
            // 1, 2 and -1 are Meta's words for "something broke", at whatever point it did.
            (Some(said), _) => !matches!(said.code, -1 | 1 | 2) && self.status.is_some_and(|status| status < 500),
            (None, _) => self.status.is_some_and(|status| (400..500).contains(&status)),
        };
        let passing = matches!(self.kind, ErrorKind::Unavailable | ErrorKind::ReduceData | ErrorKind::Timeout);
        // Whatever a 5xx says: posts were seen to be live after one (content publishing, reported 2026).
        let broke = self.status.is_some_and(|status| status >= 500);
        if (passing && !refused) || broke {
            return Self { kind: ErrorKind::OutcomeUnknown, transient: false, ..self };
        }
        self
    }

    /// Whether the same read may succeed a moment later. Throttles are not meant.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// Whether it speaks of this one call, and others with the same token may well succeed: it passes, is a limit or a
    /// refusal. Not so of tokens and permissions, nor of what a person must do.
    #[must_use]
    pub fn is_of_one_call(&self) -> bool {
        use ErrorKind as K;
        let limited = matches!(self.kind, K::RateLimited { .. } | K::Blocked);
        limited || matches!(self.kind, K::Rejected | K::ReduceData | K::Unavailable | K::Timeout)
    }

    /// Meta's code and subcode; zeros where it named none.
    #[must_use]
    pub fn codes(&self) -> (i64, i64) {
        self.said.as_ref().map_or((0, 0), |said| (said.code, said.subcode.unwrap_or(0)))
    }

    /// Meta's own words, those for people first, and the parameters that it blames; where it had none, what went wrong
    /// on the way.
    #[must_use]
    pub fn words(&self) -> String {
        let Some(said) = &self.said else {
            return std::error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string);
        };
        let words = match (&said.user_title, &said.user_msg) {
            (Some(title), Some(text)) => format!("{title}: {text}"),
            (None, Some(text)) => text.clone(),
            _ => said.message.clone(),
        };
        if said.blamed.is_empty() { words } else { format!("{words} (Meta blames {})", said.blamed.join(", ")) }
    }

    /// Whether Meta's developer text has these words, in any case of letters.
    #[must_use]
    pub fn mentions(&self, words: &str) -> bool {
        self.said.as_ref().is_some_and(|said| said.mentions(words))
    }

    /// A story with too few viewers for numbers: no fault, and not the permission that code 10 means elsewhere.
    #[must_use]
    pub fn is_too_few_viewers(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.is_too_few_viewers())
    }

    /// The object is missing, not visible to this token or does not know this operation; Graph does not tell which.
    #[must_use]
    pub fn is_not_visible(&self) -> bool {
        self.codes() == (100, 33)
    }

    /// Meta could not fetch the media URL this time; trying again helps at times.
    #[must_use]
    pub fn is_media_not_fetched(&self) -> bool {
        self.codes() == (9004, 2_207_052)
    }

    /// The cursor is stale or not of this list: start the list again.
    #[must_use]
    pub fn is_bad_cursor(&self) -> bool {
        self.codes().0 == 100 && self.mentions("cursor")
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::TokenExpired => "the access token has expired",
            ErrorKind::TokenInvalid => "the access token is not valid",
            ErrorKind::MissingPermission { .. } => "a permission is missing",
            ErrorKind::ActionRequired => "the account's owner must act at Meta first",
            ErrorKind::RateLimited { .. } => "Meta's call limit is reached",
            ErrorKind::Blocked => "Meta has blocked this for now",
            ErrorKind::Rejected => "Meta refused the request",
            ErrorKind::ReduceData => "the answer would be too large",
            ErrorKind::OldVersion => "this Graph version is no longer served",
            ErrorKind::Unavailable => "Meta is not available",
            ErrorKind::Timeout => "Meta did not answer in time",
            ErrorKind::OutcomeUnknown => "the write may have happened, its answer is lost",
            ErrorKind::InvalidRequest => "the request is not valid",
        })?;
        match self.codes() {
            (0, _) => Ok(()),
            (code, 0) => write!(f, " (code {code})"),
            (code, subcode) => write!(f, " (code {code}, subcode {subcode})"),
        }
    }
}

impl std::error::Error for GraphError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.as_ref().map(|fault| fault as _)
    }
}

impl Said {
    fn read(error: &Value, scrubber: &Scrubber) -> Self {
        let text = |names: &[&str]| {
            let mut text = names.iter().find_map(|name| error.get(name)?.as_str())?.to_owned();
            scrubber.scrub(&mut text);
            let mut text = one_line(&text);
            if let Some((end, _)) = text.char_indices().nth(2000) {
                text.truncate(end);
            }
            Some(text).filter(|text| !text.is_empty())
        };
        // `subcode` is debug_token's word for it.
        let number = |name: &str| error.get(name).and_then(|n| n.as_i64().or_else(|| n.as_str()?.parse().ok()));
        Self {
            code: number("code").unwrap_or(0),
            subcode: number("error_subcode").or_else(|| number("subcode")).filter(|subcode| *subcode != 0),
            error_type: text(&["type", "error_type"]),
            message: text(&["message", "error_message"]).unwrap_or_default(),
            user_title: text(&["error_user_title"]),
            user_msg: text(&["error_user_msg"]),
            blamed: blamed(error.get("error_data"), scrubber),
            trace_id: text(&["fbtrace_id"]),
            is_transient: error.get("is_transient").and_then(Value::as_bool).unwrap_or(false),
        }
    }

    fn mentions(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(&words.to_ascii_lowercase())
    }

    fn is_too_few_viewers(&self) -> bool {
        self.code == 10 && self.mentions("not enough viewers")
    }
}

/// Another service's words on one line, with nothing that a terminal or a reader of the log would obey.
#[must_use]
pub fn one_line(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(obeyed, " ").trim().to_owned()
}

/// `[["daily_budget"]]` as `daily_budget`. `error_data` may be an object, or that object as text.
fn blamed(data: Option<&Value>, scrubber: &Scrubber) -> Vec<String> {
    let parsed = data.and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(specs) = parsed.as_ref().or(data).and_then(|data| data.get("blame_field_specs")?.as_array()) else {
        return Vec::new();
    };
    let spec = |spec: &Value| {
        let mut path = spec.as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(".");
        scrubber.scrub(&mut path);
        let path = one_line(&path);
        (1..=200).contains(&path.len()).then_some(path)
    };
    specs.iter().take(20).filter_map(spec).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Retry,
    Reauthorise,
    Fix,
    Grant,
    Wait,
    Person,
    Upgrade,
}

/// What to do about a code and a subcode (0: none), from Meta's error pages, 2026, and public reports.
/// What is not here follows the rules of [`classify`].
#[rustfmt::skip]
const TABLE: &[(Action, &[(i64, i64)])] = &[
    (Action::Retry, &[
        (-2, 2207003), (-2, 2490547), (-1, 2207001), (-1, 2207032), (-1, 2207053), (1, 0), (2, 0), (2, 1504043),
        (2, 1504044), (24, 2207008), (9007, 2207027),
    ]),
    (Action::Reauthorise, &[
        (100, 36007), (100, 36009), (102, 0), (190, 0), (190, 458), (190, 460), (190, 463), (190, 467),
    ]),
    (Action::Grant, &[
        (3, 0), (10, 0), (100, 1815199), (100, 1885183), (100, 3191001), (190, 492), (200, 0), (270, 0), (278, 0),
        (294, 0),
    ]),
    (Action::Wait, &[
        (4, 0), (4, 1504022), (4, 1504039), (4, 2207051), (9, 2207042), (17, 0), (17, 2446079), (18, 2207034), (32, 0),
        (341, 0), (368, 0), (613, 0), (613, 1996), (80000, 2446079), (80001, 0), (80002, 0), (80003, 2446079),
        (80004, 2446079), (80005, 0), (80006, 0), (80008, 0), (80009, 0), (80014, 0), (1404078, 0),
    ]),
    (Action::Person, &[
        (25, 2207050), (31, 3858385), (100, 2446880), (190, 459), (190, 464), (200, 1870034), (1404163, 0),
    ]),
    (Action::Upgrade, &[(2635, 0)]),
    (Action::Fix, &[
        (-3, 1504045), (-2, 2207020), (1, 99), (2, 1504038), (2, 1504041), (2, 1504042), (10, 2534022), (24, 2207006),
        (24, 2207024), (100, 0), (100, 33), (100, 1487534), (100, 1487694), (100, 1487810), (100, 1504016),
        (100, 1504018), (100, 1870227), (100, 2108006), (100, 2207086), (100, 2207089), (100, 2490589), (100, 3858504),
        (100, 4834011), (104, 0), (110, 2207013), (110, 2207018), (352, 2207026), (506, 0), (803, 0), (2500, 0),
        (2654, 0), (3018, 0), (9004, 2207052), (36000, 2207004), (36001, 2207005), (36003, 2207009), (36004, 2207010),
        (1487901, 0), (1609005, 0), (1885272, 0), (1885621, 0), (1885650, 0),
    ]),
];

/// Permissions that Meta's texts name, of the Instagram and ads products (Meta, permissions reference, 2026).
#[rustfmt::skip]
const PERMISSIONS: &[&str] = &[
    "ads_management", "ads_read", "business_management", "catalog_management", "instagram_basic",
    "instagram_branded_content_ads_brand", "instagram_branded_content_brand", "instagram_branded_content_creator",
    "instagram_business_basic", "instagram_business_content_publish", "instagram_business_manage_comments",
    "instagram_business_manage_insights", "instagram_business_manage_messages", "instagram_content_publish",
    "instagram_manage_comments", "instagram_manage_contents", "instagram_manage_engagement",
    "instagram_manage_insights", "instagram_manage_messages", "instagram_manage_upcoming_events",
    "instagram_shopping_tag_products", "leads_retrieval", "pages_manage_ads",
    "pages_manage_metadata", "pages_messaging", "pages_read_engagement", "pages_read_user_content",
    "pages_show_list", "read_insights",
];

fn row(code: i64, subcode: i64) -> Option<Action> {
    TABLE.iter().find(|(_, rows)| rows.contains(&(code, subcode))).map(|(action, _)| *action)
}

fn classify(said: &Said, status: u16) -> (ErrorKind, bool) {
    let (code, subcode) = (said.code, said.subcode.unwrap_or(0));
    let too_much = matches!((code, subcode), (100, 1_487_534 | 1_504_018) | (2, 1_504_038));
    if too_much || (code == 1 && said.mentions("reduce the amount of data")) {
        return (ErrorKind::ReduceData, false);
    }
    let special = if subcode == 0 { None } else { row(code, subcode) };
    let action = special.unwrap_or_else(|| match row(code, 0) {
        None | Some(Action::Fix) if said.is_transient => Action::Retry,
        Some(action) => action,
        None => match code {
            -1 => Action::Retry,
            200..=299 => Action::Grant,
            80_000..=80_014 => Action::Wait,
            _ if status == 429 => Action::Wait,
            _ if status >= 500 => Action::Retry,
            _ => Action::Fix,
        },
    });
    let kind = match action {
        Action::Retry => ErrorKind::Unavailable,
        // Our choice of token was wrong; the token itself is alive.
        Action::Reauthorise if said.mentions("page access token") => ErrorKind::Rejected,
        Action::Reauthorise if subcode == 463 => ErrorKind::TokenExpired,
        Action::Reauthorise => ErrorKind::TokenInvalid,
        Action::Grant if said.is_too_few_viewers() => ErrorKind::Rejected,
        Action::Grant => ErrorKind::MissingPermission { permission: permission(said) },
        Action::Wait if matches!(code, 368 | 1_404_078) => ErrorKind::Blocked,
        Action::Wait => ErrorKind::RateLimited { retry_after: None },
        Action::Person => ErrorKind::ActionRequired,
        Action::Upgrade => ErrorKind::OldVersion,
        Action::Fix => ErrorKind::Rejected,
    };
    (kind, action == Action::Retry)
}

fn permission(said: &Said) -> Option<String> {
    let mut words = said.message.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let named = words.find(|word| PERMISSIONS.contains(word));
    let meant = match said.code {
        278 => Some("ads_read"),
        294 => Some("ads_management"),
        _ => None,
    };
    named.or(meant).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    fn error(status: u16, error: Value) -> GraphError {
        GraphError::in_answer(status, &json!({ "error": error }), &Scrubber::default()).expect("an error object")
    }

    #[test]
    fn every_published_row_is_in_the_table_with_its_action() {
        let shared = std::env::var_os("AIVIARY_SHARED").map(PathBuf::from);
        let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
        let Ok(text) = std::fs::read_to_string(shared.join("graph-api/data/errors.json")) else {
            println!("skipped: no errors.json");
            return;
        };
        let published: Value = serde_json::from_str(&text).unwrap();
        let published = published["errors"].as_array().unwrap();
        for rule in published {
            let (code, subcode) = (rule["code"].as_i64().unwrap(), rule["subcode"].as_i64().unwrap_or(0));
            let wanted = match rule["action"].as_str().unwrap() {
                "retry_backoff" => Action::Retry,
                "reauthorise" => Action::Reauthorise,
                "fix_input" => Action::Fix,
                "grant_permission" => Action::Grant,
                "wait_rate_limit" => Action::Wait,
                "user_action" => Action::Person,
                "upgrade_version" => Action::Upgrade,
                other => panic!("unknown action {other}"),
            };
            assert_eq!(row(code, subcode), Some(wanted), "{code}/{subcode}");
        }
        assert_eq!(TABLE.iter().map(|(_, rows)| rows.len()).sum::<usize>(), published.len());
    }

    #[test]
    fn codes_and_texts_become_kinds() {
        use ErrorKind as K;
        let limited = || K::RateLimited { retry_after: None };
        let lacks = |name: Option<&str>| K::MissingPermission { permission: name.map(str::to_owned) };
        let cases = [
            ("expired", 400, json!({"code": 190, "error_subcode": 463}), K::TokenExpired, false),
            ("password changed", 401, json!({"code": 190, "error_subcode": 460}), K::TokenInvalid, false),
            ("unknown subcode of a dead token", 400, json!({"code": 190, "error_subcode": 1}), K::TokenInvalid, false),
            (
                "wrong token type",
                400,
                json!({"code": 190, "message": "(#190) This method must be called with a Page Access Token"}),
                K::Rejected,
                false,
            ),
            ("checkpoint", 400, json!({"code": 190, "error_subcode": 459}), K::ActionRequired, false),
            ("few viewers", 400, json!({"code": 10, "message": "(#10) Not enough viewers for…"}), K::Rejected, false),
            ("no permission", 403, json!({"code": 10, "message": "(#10) no"}), lacks(None), false),
            (
                "named permission",
                403,
                json!({"code": 200, "message": "(#200) Requires 'instagram_manage_insights' permission"}),
                lacks(Some("instagram_manage_insights")),
                false,
            ),
            ("meant permission", 403, json!({"code": 278}), lacks(Some("ads_read")), false),
            ("200 to 299", 403, json!({"code": 283}), lacks(None), false),
            ("throttle that calls itself transient", 403, json!({"code": 4, "is_transient": true}), limited(), false),
            ("throttle without its subcode", 400, json!({"code": 80004}), limited(), false),
            ("block", 400, json!({"code": 368, "error_subcode": 7}), K::Blocked, false),
            (
                "too much data",
                500,
                json!({"code": 1, "message": "Please reduce the amount of data you're asking for"}),
                K::ReduceData,
                false,
            ),
            ("insights too large", 400, json!({"code": 100, "error_subcode": 1487534}), K::ReduceData, false),
            ("sync timeout", 400, json!({"code": 2, "error_subcode": 1504038}), K::ReduceData, false),
            ("unknown", 500, json!({"code": 1}), K::Unavailable, true),
            ("wrong level", 400, json!({"code": 1, "error_subcode": 99}), K::Rejected, false),
            ("text for a number", 400, json!({"code": "2"}), K::Unavailable, true),
            ("transient without a rule", 400, json!({"code": 7777, "is_transient": true}), K::Unavailable, true),
            ("5xx without a rule", 500, json!({"code": 7777}), K::Unavailable, true),
            ("no rule", 400, json!({"code": 7777}), K::Rejected, false),
            ("no rule, 429", 429, json!({"code": 7777}), limited(), false),
            ("old version", 400, json!({"code": 2635}), K::OldVersion, false),
            ("error in a success", 200, json!({"code": 31, "error_subcode": 3858385}), K::ActionRequired, false),
        ];
        for (name, status, object, kind, transient) in cases {
            let error = error(status, object);
            assert_eq!((&error.kind, error.is_transient()), (&kind, transient), "{name}");
        }
    }

    #[test]
    fn special_cases_have_a_question_each() {
        assert!(error(400, json!({"code": 10, "message": "(#10) NOT enough viewers"})).is_too_few_viewers());
        assert!(!error(400, json!({"code": 10, "message": "no permission"})).is_too_few_viewers());
        assert!(error(400, json!({"code": 100, "error_subcode": 33})).is_not_visible());
        assert!(error(400, json!({"code": 9004, "error_subcode": 2207052})).is_media_not_fetched());
        assert!(error(400, json!({"code": 100, "message": "Invalid cursor"})).is_bad_cursor());
    }

    #[test]
    fn a_write_is_unknown_unless_it_was_surely_refused() {
        use ErrorKind as K;
        let cases = [
            ("5xx", error(500, json!({"code": 2})), K::OutcomeUnknown),
            ("code 2 with 400", error(400, json!({"code": 2, "is_transient": true})), K::OutcomeUnknown),
            ("5xx without a rule", error(503, json!({"code": 7777})), K::OutcomeUnknown),
            ("not ready yet", error(400, json!({"code": 9007, "error_subcode": 2207027})), K::Unavailable),
            ("refused", error(400, json!({"code": 100})), K::Rejected),
            ("html 503", GraphError::answer(503, Fault::Html), K::OutcomeUnknown),
            ("cut 200", GraphError::answer(200, Fault::Cut), K::OutcomeUnknown),
            ("large 200", GraphError::answer(200, Fault::TooLarge), K::OutcomeUnknown),
            ("redirect", GraphError::answer(302, Fault::Redirect), K::OutcomeUnknown),
            ("html 404", GraphError::answer(404, Fault::Html), K::Unavailable),
            ("time", GraphError::time_over(), K::OutcomeUnknown),
        ];
        for (name, error, kind) in cases {
            assert_eq!(error.of_write().kind, kind, "{name}");
        }
    }

    #[test]
    fn blame_is_read_from_an_object_and_from_its_text() {
        let data = json!({"blame_field_specs": [["daily_budget"], ["targeting", "age_min"]]});
        for data in [data.clone(), Value::String(data.to_string())] {
            let blaming = error(400, json!({"code": 100, "message": "Too low", "error_data": data}));
            assert_eq!(blaming.words(), "Too low (Meta blames daily_budget, targeting.age_min)");
            assert_eq!(blaming.said.unwrap().blamed, ["daily_budget", "targeting.age_min"]);
        }
        assert!(error(400, json!({"code": 100, "error_data": "nonsense"})).said.unwrap().blamed.is_empty());
    }

    #[test]
    fn texts_come_on_one_line() {
        for (text, line) in [
            ("a\r\nb", "a  b"),
            ("\u{1b}[31mred\u{9b}m", "[31mred m"),
            ("a\u{2028}b\u{202e}c\u{2066}", "a b c"),
            ("\u{fc}ber \u{201e}Tests\u{201c}", "\u{fc}ber \u{201e}Tests\u{201c}"),
            ("\n", ""),
        ] {
            assert_eq!(one_line(text), line, "{text:?}");
        }
        let said = error(400, json!({"code": 100, "message": "a\nb", "fbtrace_id": "\r"})).said.unwrap();
        assert_eq!((said.message.as_str(), said.trace_id), ("a b", None));
    }

    #[test]
    fn display_has_codes_and_no_texts() {
        let error = error(400, json!({"code": 100, "error_subcode": 33, "message": "Object 17 does not exist"}));
        assert_eq!(error.to_string(), "Meta refused the request (code 100, subcode 33)");
        assert_eq!(ErrorKind::NAMES[ErrorKind::InvalidRequest.index()], "invalid_request");
    }
}
