//! Metrics that Meta refuses: which of them a refusal names, and remembering it. One misfit fails a whole call, so what
//! was refused is left out and the rest asked once more.

use std::time::Duration;

use crate::credential::AccountKind;
use crate::graph::{ErrorKind, GraphError};
use crate::tool::{Ask, ToolError};

/// How long a refusal of a metric is remembered, per account.
const LASTS: Duration = Duration::from_secs(6 * 3600);
/// How often a call is asked again without what was refused: Meta names the first misfit only.
pub(super) const ASKED_AGAIN: usize = 3;

/// A metric may be refused as a series and taken as a total, or refused for posts and taken for reels: `of` says which.
fn key(ask: &Ask, metric: &str, of: &str) -> Result<String, ToolError> {
    let account = ask.id(AccountKind::Instagram)?;
    Ok(format!("refused/{}/{account}/{metric}/{of}", ask.account.client))
}

/// Remembers that Meta refuses the metric.
///
/// # Errors
/// The account id is not known.
pub(super) fn remember(ask: &Ask, metric: &str, of: &str) -> Result<(), ToolError> {
    ask.memory.put(key(ask, metric, of)?, true.into(), LASTS);
    Ok(())
}

/// Takes out of `metrics` what Meta refused lately, and gives it.
///
/// # Errors
/// The account id is not known.
pub(super) fn take_out(ask: &Ask, metrics: &mut Vec<&'static str>, of: &str) -> Result<Vec<&'static str>, ToolError> {
    let mut refused = Vec::new();
    for metric in std::mem::take(metrics) {
        match ask.memory.get(&key(ask, metric, of)?) {
            Some(_) => refused.push(metric),
            None => metrics.push(metric),
        }
    }
    Ok(refused)
}

/// The metrics of `asked` that Meta's refusal names: by position, `metric[1] must be one of …`, or by name before the
/// list of what it takes.
pub(super) fn named(error: &GraphError, asked: &[&'static str]) -> Vec<&'static str> {
    let Some(said) = error.said.as_ref().filter(|said| said.code == 100 && error.kind == ErrorKind::Rejected) else {
        return Vec::new();
    };
    if let Some((_, rest)) = said.message.split_once("metric[") {
        let at = rest.split(']').next().and_then(|digits| digits.parse::<usize>().ok());
        return at.and_then(|at| asked.get(at)).copied().into_iter().collect();
    }
    // Behind these words Meta lists what it does take.
    let refused = said.message.split("must be one of").next().unwrap_or_default();
    let words: Vec<&str> = refused.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    asked.iter().filter(|metric| words.contains(metric)).copied().collect()
}
