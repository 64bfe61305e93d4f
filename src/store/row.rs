//! A credential as cells of text, and back: the only place that names columns.

use super::Malformed;
use crate::credential::{AccountIds, AccountKind, Binding, Login, SealedCredential};

/// The primary key.
pub(super) const CLIENT: &str = "client_id";
/// The sealed token.
pub(super) const CELL: &str = "access_token";
const LOGIN: &str = "login";
const EXPIRES: &str = "token_expires_at";
const SCOPES: &str = "scopes";
const ISSUED: &str = "issued_at";
const UPDATED: &str = "updated_at";
/// Longer than any account id; the sealed form states lengths in two bytes.
const ID_MAX_BYTES: usize = 64;

const COUNT: usize = 11;

/// All columns, the primary key first.
pub(super) fn columns() -> [&'static str; COUNT] {
    let [instagram, page, ads, user] = AccountKind::ALL.map(AccountKind::name);
    [CLIENT, CELL, instagram, page, ads, user, LOGIN, EXPIRES, SCOPES, ISSUED, UPDATED]
}

/// What a column holds, for stores that have types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The primary key: one row per value.
    Key,
    /// The sealed token, up to 8 267 characters.
    Sealed,
    /// Text without a short bound.
    Long,
    /// Short text.
    Text,
    /// A moment in whole seconds, as text: operators edit it by hand.
    Time,
}

/// What `column` holds.
pub(super) fn kind(column: &str) -> Kind {
    match column {
        CLIENT => Kind::Key,
        CELL => Kind::Sealed,
        SCOPES => Kind::Long,
        EXPIRES | UPDATED => Kind::Time,
        // `issued_at` among them: it keeps fractions of a second, which order two tokens of one second.
        _ => Kind::Text,
    }
}

/// A cell that is neither text nor absent.
pub(super) struct NotText;

/// The cells of `credential`, in the order of [`columns`].
pub(super) fn cells(credential: &SealedCredential) -> [Option<&str>; COUNT] {
    let [instagram, page, ads, user] = AccountKind::ALL.map(|kind| credential.binding.ids.get(kind));
    [
        Some(credential.binding.client.as_str()),
        Some(&credential.cell),
        instagram,
        page,
        ads,
        user,
        Some(credential.binding.login.as_str()),
        credential.expires.as_deref(),
        credential.scopes.as_deref(),
        credential.issued_at.as_deref(),
        credential.updated_at.as_deref(),
    ]
}

/// The cells of `new` that are not those of `old`, by column; its sealed token in any case.
pub(super) fn changed<'a>(
    old: &SealedCredential,
    new: &'a SealedCredential,
) -> impl Iterator<Item = (&'static str, Option<&'a str>)> {
    let both = cells(old).map(|cell| cell.map(str::to_owned)).into_iter().zip(cells(new));
    let named = columns().into_iter().zip(both);
    named
        .filter(|(column, (old, new))| *column == CELL || old.as_deref() != *new)
        .map(|(column, (_, new))| (column, new))
}

/// A client's name as messages show it: it may be the very thing that is wrong.
pub(super) fn shown(client: &str) -> String {
    client.escape_debug().take(64).collect()
}

/// The credential whose cells `cell` gives by column name; empty cells are absent.
pub(super) fn credential(
    mut cell: impl FnMut(&'static str) -> Result<Option<String>, NotText>,
) -> Result<SealedCredential, Malformed> {
    let client = cell(CLIENT);
    let shown = match &client {
        Ok(text) => shown(text.as_deref().unwrap_or_default()),
        Err(NotText) => "?".to_owned(),
    };
    let malformed = |column| Malformed { client: shown.clone(), column, rows: Vec::new() };
    let mut text = |column| match cell(column) {
        Ok(text) => Ok(text.filter(|text| !text.is_empty())),
        Err(NotText) => Err(malformed(column)),
    };

    let client = client.ok().flatten().and_then(|text| text.parse().ok()).ok_or_else(|| malformed(CLIENT))?;
    let login = match text(LOGIN)? {
        Some(login) => login.parse().map_err(|_| malformed(LOGIN))?,
        None => Login::default(),
    };
    let mut ids = AccountIds::default();
    for kind in AccountKind::ALL {
        let id = text(kind.name())?;
        if id.as_ref().is_some_and(|id| id.len() > ID_MAX_BYTES) {
            return Err(malformed(kind.name()));
        }
        ids.set(kind, id);
    }
    Ok(SealedCredential {
        binding: Binding { client, login, ids },
        // An empty cell is no envelope, and said to be none where it is opened.
        cell: text(CELL)?.unwrap_or_default(),
        expires: text(EXPIRES)?,
        scopes: text(SCOPES)?,
        issued_at: text(ISSUED)?,
        updated_at: text(UPDATED)?,
    })
}
