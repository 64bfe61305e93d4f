//! What every store must do, as one test that runs against any of them.

use futures_util::future::join_all;

use super::CredentialStore;
use crate::credential::{AccountIds, AccountKind, Binding, ClientId, Login, SealedCredential};

/// A credential of `client` with every field set. The cell is of the stored form, sealed by no key.
///
/// # Panics
/// When `client` is no client id.
#[must_use]
pub fn sample(client: &str) -> SealedCredential {
    let mut ids = AccountIds::default();
    for (kind, id) in
        AccountKind::ALL.into_iter().zip(["17841400000000001", "108154000000001", "act_123456", "12345678"])
    {
        ids.set(kind, Some(id.to_owned()));
    }
    SealedCredential {
        binding: Binding { client: id(client), login: Login::Instagram, ids },
        cell: "a0a1a2a3a4a5a6a7a8a9aaab:019ed0224919b6be155045e444e7c84f09cbe9df20f8cad08159219b7c9dd0035e2d1edaa9a22bc152"
            .to_owned(),
        expires: Some("2027-01-10T00:00:00Z".to_owned()),
        scopes: Some("instagram_basic,pages_show_list".to_owned()),
        issued_at: Some("2026-11-11T00:00:00Z".to_owned()),
        updated_at: Some("2026-11-23T09:00:00Z".to_owned()),
    }
}

/// Runs the contract against an empty store, and leaves it empty.
///
/// # Panics
/// Where the store breaks it.
pub async fn holds(store: &dyn CredentialStore) {
    assert_eq!(clients(store).await, Vec::<String>::new(), "the contract starts with an empty store");
    assert_eq!(store.load(&id("absent")).await.expect("load"), None);
    assert!(!store.remove(&id("absent")).await.expect("remove"), "nothing to remove");

    // Every field comes back, set or absent; a second save replaces all of them.
    let full = sample("clienta");
    let bare = SealedCredential {
        binding: Binding { client: id("clienta"), login: Login::Facebook, ids: AccountIds::default() },
        cell: full.cell.clone(),
        expires: None,
        scopes: None,
        issued_at: None,
        updated_at: None,
    };
    for expected in [&full, &bare, &full] {
        store.save(expected).await.expect("save");
        assert_eq!(store.load(&id("clienta")).await.expect("load").as_ref(), Some(expected));
    }
    for kind in AccountKind::ALL {
        let mut one = full.clone();
        one.binding.ids.set(kind, None);
        store.save(&one).await.expect("save");
        assert_eq!(store.load(&id("clienta")).await.expect("load").as_ref(), Some(&one), "without {}", kind.name());
    }

    // Cells that an operator may edit come back as they stand, readable or not.
    for text in ["2027-01-10 00:00", "next summer", "'; DROP TABLE x; --", "\"quoted\" \\ ü 漢 🦜", "a,b,(c)~d", "null"]
    {
        let edited = SealedCredential { expires: Some(text.to_owned()), scopes: Some(text.to_owned()), ..full.clone() };
        store.save(&edited).await.expect("save");
        assert_eq!(store.load(&id("clienta")).await.expect("load").as_ref(), Some(&edited), "{text}");
    }

    // A replacement leaves what it does not change as somebody has edited it, and is none where the cell is another one.
    let read = SealedCredential { updated_at: None, ..full.clone() };
    let edited = SealedCredential { expires: Some("2028-02-01".to_owned()), scopes: None, ..read.clone() };
    store.save(&edited).await.expect("save");
    let new = SealedCredential {
        cell: full.cell.replace("a0a1", "b0b1"),
        updated_at: Some("2026-11-24T09:00:00Z".to_owned()),
        ..read.clone()
    };
    assert!(store.replace(&read, &new).await.expect("replace"), "the cell is the one that was read");
    let expected = SealedCredential { cell: new.cell.clone(), updated_at: new.updated_at.clone(), ..edited };
    assert_eq!(store.load(&id("clienta")).await.expect("load").as_ref(), Some(&expected));
    assert!(!store.replace(&read, &new).await.expect("replace"), "the cell is another one");
    assert_eq!(store.load(&id("clienta")).await.expect("load").as_ref(), Some(&expected));
    assert!(!store.replace(&sample("absent"), &sample("absent")).await.expect("replace"), "no row is made");
    assert_eq!(store.load(&id("absent")).await.expect("load"), None);

    // Clients are compared exactly, and listed in byte order.
    for client in ["clientb", "ClientA", "client.a", "client-a", "client_a", "0", "null"] {
        store.save(&sample(client)).await.expect("save");
    }
    let ordered = ["0", "ClientA", "client-a", "client.a", "client_a", "clienta", "clientb", "null"];
    assert_eq!(clients(store).await, ordered);
    let mut named = store.clients(100).await.expect("clients");
    named.sort_unstable();
    assert_eq!(named, ordered);
    let some = store.clients(3).await.expect("clients");
    assert!(some.len() == 3 && some.iter().all(|name| ordered.contains(&name.as_str())), "{some:?}");
    assert!(store.remove(&id("ClientA")).await.expect("remove"));
    assert!(!store.remove(&id("ClientA")).await.expect("remove"), "removed once");
    assert_eq!(store.load(&id("ClientA")).await.expect("load"), None);
    assert!(store.load(&id("clienta")).await.expect("load").is_some(), "only the named client is removed");

    // Saves of one client at once leave one row, and it is one of theirs.
    let racing: Vec<_> = (0..16)
        .map(|n| SealedCredential { updated_at: Some(format!("2026-11-23T09:00:{n:02}Z")), ..sample("racing") })
        .collect();
    for saved in join_all(racing.iter().map(|credential| store.save(credential))).await {
        saved.expect("save");
    }
    assert_eq!(clients(store).await.iter().filter(|client| *client == "racing").count(), 1);
    let left = store.load(&id("racing")).await.expect("load").expect("a row");
    assert!(racing.contains(&left));

    for client in clients(store).await {
        assert!(store.remove(&id(&client)).await.expect("remove"));
    }
    assert_eq!(clients(store).await, Vec::<String>::new());
}

async fn clients(store: &dyn CredentialStore) -> Vec<String> {
    let rows = store.list().await.expect("list");
    rows.into_iter().map(|row| row.expect("a credential").binding.client.to_string()).collect()
}

fn id(text: &str) -> ClientId {
    text.parse().expect("a client id")
}
