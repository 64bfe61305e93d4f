//! A request as its path and parameters, made from a template so that no value can lead it astray.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::GraphError;

/// What RFC 3986 calls unreserved stands for itself, all else is escaped: right for a segment, a query and a form.
pub(super) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What to ask of Graph. `Debug` shows path and names, never values.
#[derive(Clone)]
pub struct Request {
    path: String,
    json: bool,
    for_token: bool,
    params: Vec<(&'static str, String)>,
}

impl Request {
    /// A path from a template like `"{}/insights"` or `"me/permissions"`. Each segment in braces, with or without
    /// a name inside, takes the next of `nodes`, which must be one of Meta's ids ([`is_node`]).
    ///
    /// # Errors
    ///
    /// [`super::ErrorKind::InvalidRequest`] where an id does not fit, or there are too few or too many of them.
    pub fn new(template: &'static str, nodes: &[&str]) -> Result<Self, GraphError> {
        let mut nodes = nodes.iter();
        let mut path = String::new();
        for segment in template.split('/') {
            path.push('/');
            if segment.starts_with('{') && segment.ends_with('}') {
                let node = nodes.next().ok_or(GraphError::invalid("an id is missing for the path"))?;
                if !is_node(node) {
                    return Err(GraphError::invalid("an id of the path has not the form of Meta's ids"));
                }
                path.extend(utf8_percent_encode(node, ESCAPED));
            } else if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                path.push_str(segment);
            } else {
                return Err(GraphError::invalid("a segment of a path template is a lower-case word or {}"));
            }
        }
        match nodes.next() {
            None => Ok(Self { path, json: false, for_token: false, params: Vec::new() }),
            Some(_) => Err(GraphError::invalid("there are more ids than the path takes")),
        }
    }

    /// The root of a version, where batches go.
    pub(super) fn root() -> Self {
        Self { path: "/".to_owned(), json: false, for_token: false, params: Vec::new() }
    }

    /// Adds a parameter: in the query of a read or a deletion, in the form of a write. Lists and objects are JSON text.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.params.push((name, value.into()));
        self
    }

    /// Adds `fields`, in Graph's fields language.
    #[must_use]
    pub fn fields(self, fields: impl Into<String>) -> Self {
        self.query("fields", fields)
    }

    /// Asks for another token: the only request whose answer keeps one.
    pub(super) fn for_token(self) -> Self {
        Self { for_token: true, ..self }
    }

    pub(super) fn is_for_token(&self) -> bool {
        self.for_token
    }

    /// As JSON where it is posted, which messages want; a parameter that is an object's text becomes the object.
    #[must_use]
    pub fn as_json(self) -> Self {
        Self { json: true, ..self }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// The body of a posted [`Request::as_json`].
    pub(super) fn json(&self, proof: Option<&str>) -> String {
        let value = |text: &str| match serde_json::from_str(text) {
            Ok(object @ serde_json::Value::Object(_)) => object,
            _ => text.into(),
        };
        let params = self.params.iter().map(|(name, text)| ((*name).to_owned(), value(text)));
        let proof = proof.map(|proof| ("appsecret_proof".to_owned(), proof.into()));
        serde_json::Value::Object(params.chain(proof).collect()).to_string()
    }

    /// What would be sent, for people: method, path and parameters. Holds no secret, as no parameter does.
    #[must_use]
    pub fn described(&self, method: &str) -> serde_json::Value {
        let params: serde_json::Map<_, _> =
            self.params.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        serde_json::json!({ "method": method, "path": self.path, "params": params })
    }

    /// Begins with a slash.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The parameters and the proof as a query or form, escaped; may be empty.
    pub(super) fn encoded(&self, proof: Option<&str>) -> String {
        let params = self.params.iter().map(|(name, value)| (*name, value.as_str()));
        let mut text = String::new();
        for (name, value) in params.chain(proof.map(|proof| ("appsecret_proof", proof))) {
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(utf8_percent_encode(name, ESCAPED));
            text.push('=');
            text.extend(utf8_percent_encode(value, ESCAPED));
        }
        text
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.params.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request").field("path", &self.path).field("params", &names).finish()
    }
}

/// Whether `text` has the form of one of Meta's ids: digits (up to 32), `act_` or `t_` and digits, two numbers joined
/// by `_` (a Page's post) or a number, `:` and 32 hex digits (an ad image), `me`, or the opaque id of a message or
/// thread (16 to 512 of `A-Z a-z 0-9 _ = -`, with a digit and a capital, which no name of an edge has).
#[must_use]
pub fn is_node(text: &str) -> bool {
    let number = |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let hash = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let opaque = |text: &str| {
        (16..=512).contains(&text.len())
            && text.bytes().any(|b| b.is_ascii_digit())
            && text.bytes().any(|b| b.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'=' | b'-'))
    };
    text == "me"
        || number(text)
        || text.strip_prefix("act_").or_else(|| text.strip_prefix("t_")).is_some_and(number)
        || text.split_once('_').is_some_and(|(page, post)| number(page) && number(post))
        || text.split_once(':').is_some_and(|(account, image)| number(account) && hash(image))
        || opaque(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_takes_ids_as_whole_segments() {
        let hash = format!("12:{}", "0a".repeat(16));
        let cases: &[(&'static str, &[&str], &str)] = &[
            ("me/permissions", &[], "/me/permissions"),
            ("{}/insights", &["17841400000000001"], "/17841400000000001/insights"),
            ("{account}/campaigns", &["act_12"], "/act_12/campaigns"),
            ("{}", &["108_99"], "/108_99"),
            ("{}", &[&hash], &format!("/{}", hash.replace(':', "%3A"))),
            ("{}", &["aWdfZAG06MTpJR01lc3NhZA=="], "/aWdfZAG06MTpJR01lc3NhZA%3D%3D"),
        ];
        for (template, nodes, path) in cases {
            assert_eq!(Request::new(template, nodes).unwrap().path(), *path);
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        let long = "1".repeat(33);
        let bad =
            ["", ".", "..", "1/2", "1?a", "1#a", "act_", "act_1x", "//evil.test", "1%2f2", "1_", "accounts", "1:x"];
        for node in bad.into_iter().chain([long.as_str(), "instagram_business_account", "1 2", "١"]) {
            assert!(Request::new("{}/media", &[node]).is_err(), "{node}");
        }
        for (template, nodes) in
            [("{}", &[][..]), ("me", &["1"]), ("../x", &[]), ("", &[]), ("a//b", &[]), ("me?x", &[])]
        {
            assert!(Request::new(template, nodes).is_err(), "{template}");
        }
    }

    #[test]
    fn parameters_are_escaped_and_not_shown() {
        let request = Request::new("{}", &["1"]).unwrap().fields("id,a{b}").query("q", "a&b=c d/ü");
        assert_eq!(request.encoded(Some("f0")), "fields=id%2Ca%7Bb%7D&q=a%26b%3Dc%20d%2F%C3%BC&appsecret_proof=f0");
        assert_eq!(format!("{request:?}"), r#"Request { path: "/1", params: ["fields", "q"] }"#);
    }

    proptest! {
        #[test]
        fn no_id_changes_the_shape_of_a_path(node in "\\PC{0,40}") {
            if let Ok(request) = Request::new("{}/media", &[&node]) {
                let url = reqwest::Url::parse(&format!("https://graph.test/v1.0{}", request.path())).unwrap();
                prop_assert_eq!(url.path_segments().unwrap().count(), 3);
                prop_assert_eq!((url.host_str(), url.query(), url.fragment()), (Some("graph.test"), None, None));
            }
        }
    }
}
