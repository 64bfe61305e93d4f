//! Tokens, the user behind them, Pages and permissions.

use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use super::business::{BUSINESSES, Business};
use super::fields::{self, Field, Kind, Member, Paging};
use super::graph::{Call, Host, unknown_path};
use super::rules::{Refusal, Usage};
use super::{marketing, messages};

/// A Facebook user token of the sample business, with every permission that reading needs.
pub const TOKEN: &str = "EAAsandboxFernAndKettle";
/// The token of the sample business's Page.
pub const PAGE_TOKEN: &str = "EAAsandboxFernAndKettlePage";
/// An Instagram Login token of the sample business; works on graph.instagram.com only.
pub const INSTAGRAM_TOKEN: &str = "IGAAsandboxFernAndKettle";
/// A token that expired a week ago.
pub const EXPIRED_TOKEN: &str = "EAAsandboxExpired";
/// A token that a change of password ended.
pub const REVOKED_TOKEN: &str = "EAAsandboxRevoked";
/// A token of the sample business without `instagram_manage_insights`.
pub const NO_INSIGHTS_TOKEN: &str = "EAAsandboxNoInsights";
/// A token of the sample business whose calls all meet the fault `media_metrics_refused`: posts have ids, and so
/// faults, of their own account only.
pub const NARROW_INSIGHTS_TOKEN: &str = "EAAsandboxNarrowInsights";
/// A token of the sample business without `business_management`: its list of Pages is silently empty.
pub const NO_BUSINESS_TOKEN: &str = "EAAsandboxNoBusiness";
/// The token of a second client, who shares no account with the first.
pub const OTHER_TOKEN: &str = "EAAsandboxSakuraCycles";
/// The second client's Instagram Login token.
pub const OTHER_INSTAGRAM_TOKEN: &str = "IGAAsandboxSakuraCycles";
/// The app that all tokens belong to.
pub const APP_ID: &str = "1053092100000111";
/// The app's secret, for `appsecret_proof`.
pub const APP_SECRET: &str = "sandbox-app-secret";
/// The app's own token, for `debug_token`.
pub const APP_TOKEN: &str = "1053092100000111|sandbox-app-secret";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Expired,
    Revoked,
}

/// A token that the stand-in knows.
#[derive(Debug)]
pub struct Token {
    text: &'static str,
    pub host: Host,
    /// `USER`, `PAGE` or `APP`, as `debug_token` says.
    kind: &'static str,
    state: State,
    /// Whose accounts it reaches; the app's token reaches none.
    pub business: Option<usize>,
    permissions: &'static [&'static str],
    /// The fault that all of its calls meet.
    pub fault: Option<&'static str>,
}

impl Token {
    /// Whether the user granted `permission`.
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.contains(&permission)
    }

    /// Whether it is a Page's own.
    pub fn is_page(&self) -> bool {
        self.kind == "PAGE"
    }

    /// Why the token no longer works.
    pub fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        match self.state {
            State::Live => None,
            State::Expired => Some(Refusal::expired_token(now)),
            State::Revoked => Some(Refusal::revoked_token()),
        }
    }

    /// The business whose accounts it reaches.
    pub fn business(&self) -> Option<&'static Business> {
        BUSINESSES.get(self.business?)
    }
}

/// Both insights permissions, of the two logins.
pub const INSIGHTS: [&str; 2] = ["instagram_manage_insights", "instagram_business_manage_insights"];
/// The same of comments.
pub const COMMENTS: [&str; 2] = ["instagram_manage_comments", "instagram_business_manage_comments"];
/// The same of publishing.
pub const PUBLISH: [&str; 2] = ["instagram_content_publish", "instagram_business_content_publish"];

const ALL: &[&str] = &[
    "ads_management",
    "ads_read",
    "business_management",
    "catalog_management",
    "instagram_basic",
    "instagram_content_publish",
    "instagram_manage_comments",
    "instagram_manage_contents",
    "instagram_manage_engagement",
    "instagram_manage_insights",
    "instagram_manage_messages",
    "instagram_manage_upcoming_events",
    "instagram_shopping_tag_products",
    "pages_manage_ads",
    "pages_manage_metadata",
    "pages_read_engagement",
    "pages_show_list",
    "public_profile",
];
const WITHOUT_INSIGHTS: &[&str] = &[
    "ads_management",
    "ads_read",
    "business_management",
    "instagram_basic",
    "pages_read_engagement",
    "pages_show_list",
    "public_profile",
];
const WITHOUT_BUSINESS: &[&str] = &["ads_read", "instagram_basic", "instagram_manage_insights", "pages_show_list"];
const INSTAGRAM: &[&str] = &[
    "instagram_business_basic",
    "instagram_business_content_publish",
    "instagram_business_manage_comments",
    "instagram_business_manage_insights",
    "instagram_business_manage_messages",
];

const fn token(text: &'static str, kind: &'static str, business: usize, permissions: &'static [&'static str]) -> Token {
    Token { text, host: Host::Facebook, kind, state: State::Live, business: Some(business), permissions, fault: None }
}

static TOKENS: &[Token] = &[
    token(TOKEN, "USER", 0, ALL),
    token(PAGE_TOKEN, "PAGE", 0, ALL),
    Token { host: Host::Instagram, ..token(INSTAGRAM_TOKEN, "USER", 0, INSTAGRAM) },
    Token { state: State::Expired, ..token(EXPIRED_TOKEN, "USER", 0, ALL) },
    Token { state: State::Revoked, ..token(REVOKED_TOKEN, "USER", 0, ALL) },
    token(NO_INSIGHTS_TOKEN, "USER", 0, WITHOUT_INSIGHTS),
    Token { fault: Some("media_metrics_refused"), ..token(NARROW_INSIGHTS_TOKEN, "USER", 0, ALL) },
    token(NO_BUSINESS_TOKEN, "USER", 0, WITHOUT_BUSINESS),
    token(OTHER_TOKEN, "USER", 1, ALL),
    Token { host: Host::Instagram, ..token(OTHER_INSTAGRAM_TOKEN, "USER", 1, INSTAGRAM) },
    Token { business: None, ..token(APP_TOKEN, "APP", 0, &[]) },
];

/// The token that `text` is.
pub fn find(text: &str) -> Option<&'static Token> {
    TOKENS.iter().find(|token| token.text == text)
}

/// The `appsecret_proof` of a token: HMAC-SHA256 in hexadecimal, with the app's secret as the key.
pub fn proof_of(token: &str) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, APP_SECRET.as_bytes()), token.as_bytes()))
}

const USER_KIND: Kind = Kind { name: "User", known: "id name accounts permissions adaccounts", default: "name id" };
const PAGE_KIND: Kind = Kind {
    name: "Page",
    known: "id name category access_token tasks instagram_business_account connected_instagram_account \
            followers_count",
    default: "name id",
};

/// Answers for `/me`, the user, the Page and `/debug_token`; `None` when `target` is none of them.
pub fn answer(call: &Call<'_>, target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    if target == "debug_token" && edge.is_empty() {
        call.count_as(Usage::Uncounted);
        return Some(debug_token(call));
    }
    let business = match call.token.business() {
        Some(business) => business,
        None if target == "me" => {
            let message = "An active access token must be used to query information about the current user.";
            return Some(Err(Refusal::new(2500, message)));
        }
        None => return None,
    };
    let fields = || fields::parse(call.params.get("fields").unwrap_or_default());
    if target == business.page || (target == "me" && call.token.kind == "PAGE") {
        return Some(match edge {
            [] => fields().and_then(|asked| page(business, &asked)),
            ["conversations"] => messages::conversations(call, target, business.main()),
            _ => Err(unknown_path(edge)),
        });
    }
    if target != "me" && target != business.user {
        return None;
    }
    Some(fields().and_then(|asked| match edge {
        [] => fields::project(&USER_KIND, &asked, |field| user(call, business, field)),
        [name @ ("accounts" | "permissions" | "adaccounts")] => {
            let field = Field { name: (*name).to_owned(), params: call.params.clone(), fields: asked };
            match user(call, business, &field)? {
                Member::Edge(value) | Member::Plain(value) => Ok(value),
                Member::Absent => Ok(json!({"data": []})),
            }
        }
        _ => Err(unknown_path(edge)),
    }))
}

/// Changes below a Page, or `me` where the token is a Page's.
pub fn change(call: &Call<'_>, target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    let business = call.token.business().filter(|_| call.host == Host::Facebook)?;
    let is_page = target == business.page || (target == "me" && call.token.is_page());
    (is_page && edge == ["messages"]).then(|| messages::send(call, business.main()))
}

fn user(call: &Call<'_>, business: &'static Business, field: &Field) -> Result<Member, Refusal> {
    Ok(match field.name.as_str() {
        "id" => Member::Plain(business.user.into()),
        "name" => Member::Plain(business.user_name.into()),
        "accounts" => {
            // Without business_management Pages that a business owns are left out, and nothing says so.
            let pages = if call.token.may("business_management") { vec![business] } else { Vec::new() };
            let path = format!("{}/accounts", business.user);
            let paging = Paging { path: &path, limits: (25, 100), links: true };
            let key = |_, business: &&'static Business| business.page.to_owned();
            Member::Edge(fields::page(call, &paging, &field.params, &pages, key, |business| {
                page(business, &field.fields)
            })?)
        }
        "permissions" => {
            let granted = call.token.permissions.iter().map(|name| json!({"permission": name, "status": "granted"}));
            let declined = json!({"permission": "email", "status": "declined"});
            Member::Edge(json!({"data": granted.chain([declined]).collect::<Vec<_>>()}))
        }
        "adaccounts" => Member::Edge(marketing::accounts(call, business, field)?),
        _ => Member::Absent,
    })
}

fn page(business: &'static Business, asked: &[Field]) -> Result<Value, Refusal> {
    fields::project(&PAGE_KIND, asked, |field| {
        let profile = business.main();
        Ok(Member::Plain(match field.name.as_str() {
            "id" => business.page.into(),
            "name" => profile.name.into(),
            "category" => "Shopping & retail".into(),
            "access_token" => business.page_token.into(),
            "tasks" => json!(["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MANAGE", "MODERATE"]),
            "instagram_business_account" if field.fields.is_empty() => json!({"id": profile.id}),
            "instagram_business_account" => json!({
                "id": profile.id, "username": profile.username, "name": profile.name,
            }),
            "followers_count" => 2210.into(),
            _ => return Ok(Member::Absent),
        }))
    })
}

/// `/refresh_access_token` of the Instagram host: 60 days more. The real one gives new text, ours stays valid itself.
pub fn refresh(call: &Call<'_>) -> Result<Value, Refusal> {
    call.count_as(Usage::Uncounted);
    match call.params.get("grant_type") {
        Some("ig_refresh_token") => {
            Ok(json!({"access_token": call.text, "token_type": "bearer", "expires_in": 5_183_944}))
        }
        _ => Err(Refusal::parameter("grant_type must be ig_refresh_token")),
    }
}

/// What a token is, for the app itself or one of its users. A dead token is described with status 200.
fn debug_token(call: &Call<'_>) -> Result<Value, Refusal> {
    let Some(text) = call.params.get("input_token") else {
        return Err(Refusal::parameter("The parameter input_token is required"));
    };
    let Some(token) = find(text) else {
        let error = json!({"code": 190, "message": Refusal::unreadable_token().message});
        return Ok(json!({"data": {"error": error, "is_valid": false, "scopes": []}}));
    };
    let now = call.now.as_second();
    let (issued, expires) = match token.state {
        State::Live => (now - 7 * 86_400, now + 53 * 86_400),
        State::Expired => (now - 67 * 86_400, now - 7 * 86_400),
        State::Revoked => (now - 20 * 86_400, now + 40 * 86_400),
    };
    let mut data = json!({
        "app_id": APP_ID, "type": token.kind, "application": "aiviary sandbox",
        "data_access_expires_at": issued + 90 * 86_400,
    });
    let refusal = token.refusal(call.now);
    if let Some(refusal) = &refusal {
        // The inner key is `subcode` here, not `error_subcode`.
        data["error"] = json!({"code": refusal.code, "message": refusal.message, "subcode": refusal.subcode});
    }
    // A Page token made from a long-lived user token does not expire.
    data["expires_at"] = if token.kind == "USER" { expires.into() } else { 0.into() };
    data["is_valid"] = refusal.is_none().into();
    if refusal.is_none() {
        data["issued_at"] = issued.into();
    }
    data["scopes"] = if refusal.is_none() { json!(token.permissions) } else { json!([]) };
    if let Some(business) = token.business() {
        if refusal.is_none() {
            let accounts: Vec<&str> = business.profiles.iter().map(|profile| profile.id).collect();
            data["granular_scopes"] =
                json!([{"scope": "instagram_basic", "target_ids": accounts}, {"scope": "ads_read"}]);
        }
        if token.kind == "PAGE" {
            data["profile_id"] = business.page.into();
        }
        data["user_id"] = business.user.into();
    }
    Ok(json!({ "data": data }))
}

#[cfg(test)]
mod tests {
    use super::super::business;
    use super::{TOKEN, TOKENS, proof_of};

    #[test]
    fn tokens_look_unlike_real_ones() {
        for token in TOKENS {
            assert!(token.text.len() < 50 && token.text.contains("sandbox"), "{}", token.text);
        }
    }

    #[test]
    fn a_proof_is_the_hmac_that_openssl_gives() {
        // printf %s EAAsandboxFernAndKettle | openssl dgst -sha256 -hmac sandbox-app-secret
        assert_eq!(proof_of(TOKEN), "7f5627efdf8979b5997103e1b9c0c328312cae2410ba84750f21979083f50933");
    }

    #[test]
    fn businesses_share_no_account() {
        let [one, other] = business::BUSINESSES else { panic!("two businesses") };
        assert!(one.profiles.iter().all(|mine| other.profiles.iter().all(|theirs| mine.id != theirs.id)));
        assert_ne!((one.page, one.user, one.ads.id), (other.page, other.user, other.ads.id));
    }
}
