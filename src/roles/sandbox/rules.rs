//! What the real API refuses and how it says so, its versions and usage headers, and the faults on request.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use serde_json::{Value, json};

use super::graph::{Body, Response};

/// The version that this stand-in speaks; an expired one is served as this.
pub const VERSION: &str = "v26.0";

/// An `error` object of Graph and the status that carries it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
    pub kind: &'static str,
    pub code: i64,
    pub subcode: Option<i64>,
    pub transient: bool,
    /// `error_user_title` and `error_user_msg`.
    pub user: Option<(&'static str, &'static str)>,
}

impl Refusal {
    /// An OAuthException with status 400, by far the most common form.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status: 400, message, kind: "OAuthException", code, subcode: None, transient: false, user: None }
    }

    /// Code 100 with the prefix that Graph puts before most of its texts.
    pub fn parameter(message: impl AsRef<str>) -> Self {
        Self::new(100, format!("(#100) {}", message.as_ref()))
    }

    /// Code 100, listing what would have been right.
    pub fn one_of(name: &str, values: &[&str]) -> Self {
        Self::parameter(format!("{name} must be one of the following values: {}", values.join(", ")))
    }

    /// 100/33: a wrong id and one that this token may not see answer alike.
    pub fn not_found(method: &str, id: &str) -> Self {
        Self {
            kind: "GraphMethodException",
            subcode: Some(33),
            ..Self::new(
                100,
                format!(
                    "Unsupported {method} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                     permissions, or does not support this operation. Please read the Graph API documentation at \
                     https://developers.facebook.com/docs/graph-api"
                ),
            )
        }
    }

    /// 190 without a subcode: text that is no token at all, or one of the other host.
    pub fn unreadable_token() -> Self {
        Self::new(190, "Invalid OAuth access token - Cannot parse access token")
    }

    /// 190/460, after a change of password.
    pub fn revoked_token() -> Self {
        Self {
            subcode: Some(460),
            ..Self::new(
                190,
                "Error validating access token: The session has been invalidated because the user changed their password \
                 or Facebook has changed the session for security reasons.",
            )
        }
    }

    /// 190/463: the session ended a week before `now`.
    pub fn expired_token(now: Timestamp) -> Self {
        let shown = |at: Timestamp| {
            let local = at.to_zoned_datetime(super::business::los_angeles());
            local.strftime("%A, %d-%b-%y %H:%M:%S %Z").to_string()
        };
        let ended = now.checked_sub(Duration::from_secs(7 * 86_400)).unwrap_or(now);
        let message = format!(
            "Error validating access token: Session has expired on {}. The current time is {}.",
            shown(ended),
            shown(now)
        );
        Self { subcode: Some(463), ..Self::new(190, message) }
    }

    /// 403 with code 10.
    pub fn permission() -> Self {
        Self { status: 403, ..Self::new(10, "(#10) Application does not have permission for this action") }
    }

    /// Code 2, which passes when it is tried again.
    pub fn transient() -> Self {
        let message = "An unexpected error has occurred. Please retry your request later.";
        Self { status: 500, transient: true, ..Self::new(2, message) }
    }

    /// The JSON under which Graph sends it.
    pub fn body(&self) -> Value {
        let mut error = json!({"message": self.message, "type": self.kind, "code": self.code});
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        if self.transient {
            error["is_transient"] = true.into();
        }
        if let Some((title, text)) = self.user {
            error["error_user_title"] = title.into();
            error["error_user_msg"] = text.into();
        }
        error["fbtrace_id"] = format!("Asandbox{}x", self.code).into();
        json!({ "error": error })
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let mut response = Self::json(refusal.status, refusal.body());
        if refusal.code == 190 {
            let challenge = format!("OAuth \"Facebook Platform\" \"invalid_token\" \"{}\"", refusal.message);
            response.headers.push(("www-authenticate", challenge));
        }
        response
    }
}

/// A Graph version: its name, until when Graph serves it, and until when its Marketing half does.
type Version = (&'static str, Option<Date>, Option<Date>);

/// Both clocks of each version, from Meta's changelog pages as stored in 2026-08. v25.0's marketing end was not set.
const VERSIONS: &[Version] = &[
    (VERSION, None, None),
    ("v25.0", Some(date(2028, 7, 29)), None),
    ("v24.0", Some(date(2028, 2, 18)), Some(date(2026, 10, 6))),
    ("v23.0", Some(date(2027, 10, 8)), Some(date(2026, 6, 9))),
    ("v22.0", Some(date(2027, 5, 20)), Some(date(2026, 2, 19))),
    ("v21.0", Some(date(2027, 1, 21)), Some(date(2025, 9, 9))),
];

/// The newest version that has ended for good whatever the date; v1.0 and all between have.
const NEWEST_DEAD: u32 = 20;

/// How a path's version is served.
pub struct Served {
    /// The version that answers.
    pub version: &'static str,
    /// The version asked for, when that one has ended.
    pub upgraded_from: Option<String>,
    /// Whether its Marketing half still answers.
    pub ads: bool,
}

/// Resolves `asked`, such as `v18.0`; none is served by the newest, except for ads, which insist on one.
///
/// # Errors
/// A version that never was.
pub fn serve(asked: Option<&str>, today: Date) -> Result<Served, Refusal> {
    let Some(asked) = asked else {
        return Ok(Served { version: VERSION, upgraded_from: None, ads: false });
    };
    let alive = |until: Option<Date>| until.is_none_or(|until| today < until);
    if let Some((name, graph, marketing)) = VERSIONS.iter().find(|(name, ..)| *name == asked) {
        let ads = alive(*marketing);
        if alive(*graph) {
            return Ok(Served { version: name, upgraded_from: None, ads });
        }
        return Ok(Served { version: VERSION, upgraded_from: Some(asked.to_owned()), ads });
    }
    let number = asked.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    match number {
        Some(number) if (1..=NEWEST_DEAD).contains(&number) => {
            Ok(Served { version: VERSION, upgraded_from: Some(asked.to_owned()), ads: false })
        }
        _ => Err(Refusal::new(2500, format!("Unknown path components: /{asked}"))),
    }
}

/// The refusal of ads calls on a version whose Marketing half has ended, or without a version.
pub fn deprecated_ads_version() -> Refusal {
    let message =
        "(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version: v26.0.";
    Refusal::new(2635, message)
}

/// Whose limits a call counts against; decides the usage headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// The app's, on plain Graph nodes.
    #[default]
    App,
    /// One Instagram account's.
    Instagram(String),
    /// One ad account's, on its objects. Digits, without `act_`.
    Ads(String),
    /// One ad account's, on insights.
    AdsInsights(String),
    /// Nobody's: the Instagram host sends no usage headers on its own user.
    Uncounted,
}

impl Usage {
    /// The headers at `call_count` per cent, with `regain` minutes to wait.
    fn headers(&self, call_count: u32, regain: u32) -> Vec<(&'static str, String)> {
        let tier = "standard_access";
        let business = |id: &str, kind: &str| {
            let mut usage = json!({
                "type": kind, "call_count": call_count, "total_cputime": 2, "total_time": 2,
                "estimated_time_to_regain_access": regain,
            });
            if kind != "instagram" {
                usage["ads_api_access_tier"] = tier.into();
            }
            ("x-business-use-case-usage", json!({id: [usage]}).to_string())
        };
        let app = || {
            let usage = json!({"call_count": call_count, "total_cputime": 1, "total_time": 1});
            ("x-app-usage", usage.to_string())
        };
        let account = || {
            let usage = json!({"acc_id_util_pct": 1.5, "reset_time_duration": 0, "ads_api_access_tier": tier});
            ("x-ad-account-usage", usage.to_string())
        };
        match self {
            Self::Uncounted => Vec::new(),
            Self::App => vec![app()],
            Self::Instagram(id) => vec![app(), business(id, "instagram")],
            Self::Ads(id) => vec![app(), business(id, "ads_management"), account()],
            Self::AdsInsights(id) => {
                let throttle = json!({"app_id_util_pct": 0.5, "acc_id_util_pct": 1.2, "ads_api_access_tier": tier});
                let throttle = ("x-fb-ads-insights-throttle", throttle.to_string());
                vec![app(), business(id, "ads_insights"), account(), throttle]
            }
        }
    }

    /// The headers of an ordinary answer.
    pub fn ordinary(&self) -> Vec<(&'static str, String)> {
        self.headers(3, 0)
    }
}

/// A fault that a caller can ask for.
pub struct Fault {
    /// The value of the header `x-sandbox-fault`.
    pub name: &'static str,
    /// The last four digits of the account ids that always meet it.
    pub number: u32,
    /// What happens.
    pub about: &'static str,
}

impl Fault {
    /// The Instagram account that always meets this fault; [`super::TOKEN`] reaches it.
    pub fn ig_account(&self) -> String {
        format!("{IG_FAULTS}{:04}", self.number)
    }

    /// The ad account that always meets this fault; [`super::TOKEN`] reaches it.
    pub fn ad_account(&self) -> String {
        format!("act_{AD_FAULTS}{:04}", self.number)
    }

    /// The fault that the id of an Instagram account, or an ad account with or without `act_`, stands for.
    pub fn of_account(id: &str) -> Option<&'static Self> {
        let digits = id.trim_start_matches("act_");
        let number = digits.strip_prefix(IG_FAULTS).or_else(|| digits.strip_prefix(AD_FAULTS))?;
        FAULTS.iter().find(|fault| number.len() == 4 && number.parse() == Ok(fault.number))
    }

    /// The fault of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|fault| fault.name == name)
    }
}

const IG_FAULTS: &str = "1784140000000";
const AD_FAULTS: &str = "100000000000";

const fn fault(name: &'static str, number: u32, about: &'static str) -> Fault {
    Fault { name, number, about }
}

/// Every fault. Ask for one with the header `x-sandbox-fault: <name>`, or use its reserved account:
/// Instagram `1784140000000NNNN`, ads `act_100000000000NNNN`, with the number as NNNN.
/// Those accounts are the sample business in all that their fault leaves alone.
pub const FAULTS: &[Fault] = &[
    fault("rate_limit", 4, "403, code 4: the app's limit"),
    fault("user_limit", 17, "code 17: the user's limit"),
    fault("pending_action", 31, "31/3858385 with HTTP 200: a person must act"),
    fault("ig_rate_limit", 8002, "code 80002, 19 minutes to regain access"),
    fault("ads_rate_limit", 8004, "80004/2446079, 7 minutes to regain access"),
    fault("transient", 2, "HTTP 500, code 2, every time"),
    fault("transient_once", 21, "code 2 on the first call of each path, then none"),
    fault("transient_twice", 22, "code 2 on the first two calls of each path, then none"),
    fault("reduce_data", 1, "HTTP 500, code 1: reduce the amount of data"),
    fault("token_expired", 463, "190/463"),
    fault("token_revoked", 460, "190/460"),
    fault("action_required", 459, "190/459: the user has to pass a checkpoint"),
    fault("permission", 10, "403, code 10"),
    fault("permission_200", 200, "403, code 200"),
    fault("not_found", 33, "100/33"),
    fault("old_version", 2635, "code 2635: a dead version of the Marketing API"),
    fault("unavailable", 503, "HTTP 503 with HTML"),
    fault("empty_500", 500, "HTTP 500 without a body"),
    fault("hang", 600, "a correct answer after ten minutes"),
    fault("cut", 601, "HTTP 200, JSON that ends in the middle"),
    fault("garbage", 602, "HTTP 200 with HTML"),
    fault("redirect", 302, "HTTP 302 to another host"),
    fault("huge", 608, "HTTP 200, more than 8 MiB of JSON"),
    fault("token_in_error", 609, "insights refuse with the caller's token in the text; captions and names hold it too"),
    fault("empty_data", 610, "HTTP 200, an empty list"),
    fault("views_refused", 611, "account insights refuse `views` with the list of values"),
    fault(
        "follows_refused",
        620,
        "account insights refuse `follower_count` and `follows_and_unfollows` in the same way",
    ),
    fault("media_insights_refused", 612, "insights within a list of media fail the whole call; single posts answer"),
    fault(
        "media_metrics_refused",
        614,
        "insights refuse `views` of pictures and albums and `shares` of pictures, by name",
    ),
    fault("newest_day_late", 615, "`follower_count` has no value of the newest complete day yet"),
    fault("hashtag_limit", 613, "hashtag search refuses: 30 hashtags were searched in 7 days"),
];

/// The answer of a fault that replaces every call, or `None` for one that only changes some: `transient_once`,
/// `transient_twice`, `hang`, `token_in_error`, `views_refused`, `follows_refused`, `media_insights_refused`,
/// `media_metrics_refused`, `newest_day_late` and `hashtag_limit`.
pub fn faulty(fault: &Fault, method: &str, target: &str, usage: &Usage, now: Timestamp) -> Option<Response> {
    let limited = |refusal: Refusal, usage: &Usage, regain: u32| {
        let mut response = Response::from(refusal);
        response.headers.extend(usage.headers(100, regain));
        response
    };
    let account = || match usage {
        Usage::Instagram(id) | Usage::Ads(id) | Usage::AdsInsights(id) => id.clone(),
        Usage::App | Usage::Uncounted => target.trim_start_matches("act_").to_owned(),
    };
    let advice = "Wait a bit and try again. For more info, please refer to \
                  https://developers.facebook.com/docs/graph-api/overview/rate-limiting";
    let response = match fault.name {
        "rate_limit" => {
            let refusal = Refusal::new(4, "(#4) Application request limit reached");
            limited(Refusal { status: 403, transient: true, ..refusal }, &Usage::App, 0)
        }
        "user_limit" => limited(Refusal::new(17, "(#17) User request limit reached"), &Usage::App, 0),
        "ig_rate_limit" => {
            let message = format!("(#80002) There have been too many calls to this Instagram account. {advice}.");
            limited(Refusal::new(80002, message), &Usage::Instagram(account()), 19)
        }
        "ads_rate_limit" => {
            let message =
                format!("(#80004) There have been too many calls to this ad-account. {advice}#ads-management.");
            let refusal = Refusal { subcode: Some(2_446_079), ..Refusal::new(80004, message) };
            limited(refusal, &Usage::Ads(account()), 7)
        }
        "pending_action" => {
            let refusal = Refusal::new(31, "(#31) This request requires the user to take a pending action");
            let user = Some(("Please verify your identity", "Open Ads Manager and complete the pending step."));
            Refusal { status: 200, subcode: Some(3_858_385), user, ..refusal }.into()
        }
        "transient" => Refusal::transient().into(),
        "reduce_data" => {
            let message = "Please reduce the amount of data you're asking for, then retry your request";
            Refusal { status: 500, ..Refusal::new(1, message) }.into()
        }
        "token_expired" => Refusal::expired_token(now).into(),
        "token_revoked" => Refusal::revoked_token().into(),
        "action_required" => {
            let message = "Error validating access token: You cannot access the app till you log in to \
                           www.facebook.com and follow the instructions given.";
            Refusal { subcode: Some(459), ..Refusal::new(190, message) }.into()
        }
        "permission" => Refusal::permission().into(),
        "permission_200" => Refusal { status: 403, ..Refusal::new(200, "(#200) Permissions error") }.into(),
        "not_found" => Refusal::not_found(method, target).into(),
        "old_version" => deprecated_ads_version().into(),
        "unavailable" => Response::html(503, "<html><body><h1>Sorry, something went wrong.</h1></body></html>"),
        "empty_500" => Response::raw(500, "text/plain", String::new()),
        "cut" => Response::raw(200, "application/json", r#"{"data":[{"id":"178414"#.to_owned()),
        "garbage" => Response::html(200, "<!DOCTYPE html><html><title>Facebook</title></html>"),
        "redirect" => {
            let mut response = Response::raw(302, "text/html", String::new());
            response.headers.push(("location", "https://elsewhere.example.test/login".to_owned()));
            response
        }
        "huge" => {
            let padding = "x".repeat(9 << 20);
            Response::raw(200, "application/json", format!(r#"{{"data":[],"padding":"{padding}"}}"#))
        }
        "empty_data" => Response::json(200, json!({"data": []})),
        _ => return None,
    };
    Some(response)
}

/// How long the fault `hang` holds an answer back: longer than any caller waits.
pub const HANG: Duration = Duration::from_secs(600);

impl Response {
    /// A JSON answer, typed as Graph types it.
    pub fn json(status: u16, body: Value) -> Self {
        let kind = (CONTENT_TYPE, "application/json; charset=UTF-8".to_owned());
        Self { status, headers: vec![kind], body: Body::Json(body), delay: None }
    }

    fn raw(status: u16, kind: &str, body: String) -> Self {
        Self { status, headers: vec![(CONTENT_TYPE, kind.to_owned())], body: Body::Raw(body), delay: None }
    }

    fn html(status: u16, body: &str) -> Self {
        Self::raw(status, "text/html; charset=utf-8", body.to_owned())
    }
}

const CONTENT_TYPE: &str = "content-type";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::civil::date;

    use super::{FAULTS, Fault, serve};

    #[test]
    fn every_fault_has_its_own_name_and_accounts() {
        let names: HashSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
        let numbers: HashSet<_> = FAULTS.iter().map(|fault| fault.number).collect();
        assert_eq!((names.len(), numbers.len()), (FAULTS.len(), FAULTS.len()));
        for fault in FAULTS {
            assert_eq!(fault.ig_account().len(), 17, "{}", fault.name);
            for id in [fault.ig_account(), fault.ad_account()] {
                assert_eq!(Fault::of_account(&id).map(|found| found.name), Some(fault.name), "{id}");
            }
        }
        assert!(Fault::of_account(super::super::IG_ACCOUNT).is_none());
        assert!(Fault::of_account(super::super::AD_ACCOUNT).is_none());
    }

    #[test]
    fn a_version_is_served_upgraded_or_unknown_by_the_date() {
        let today = date(2026, 11, 23);
        for (asked, served, upgraded, ads) in [
            (Some("v26.0"), "v26.0", false, true),
            (Some("v25.0"), "v25.0", false, true),
            (Some("v24.0"), "v24.0", false, false),
            (Some("v21.0"), "v21.0", false, false),
            (Some("v18.0"), "v26.0", true, false),
            (Some("v2.12"), "v26.0", true, false),
            (None, "v26.0", false, false),
        ] {
            let found = serve(asked, today).unwrap_or_else(|_| panic!("{asked:?}"));
            assert_eq!((found.version, found.upgraded_from.is_some(), found.ads), (served, upgraded, ads), "{asked:?}");
        }
        let later = serve(Some("v21.0"), date(2027, 2, 1)).expect("upgraded");
        assert_eq!(later.upgraded_from.as_deref(), Some("v21.0"));
        for never in ["v99.0", "v0.1", "v27.0", "v99999999999.0"] {
            assert!(serve(Some(never), today).is_err_and(|refusal| refusal.code == 2500), "{never}");
        }
    }
}
