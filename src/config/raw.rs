//! The serde twins of the file: every key, its type and its default.
//!
//! Reading them never fails: what has the wrong type is kept as such, so that all of it is told at once.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// One value, or the kind of thing that came instead.
pub(super) struct Leaf<T>(pub Result<T, &'static str>);

/// What came, before it is known what it should be.
enum Node {
    Text(String),
    Whole(u64),
    List(Vec<Node>),
    /// Nothing that a key takes.
    Other(&'static str),
}

impl Node {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Whole(_) => "a number",
            Self::List(_) => "a list",
            Self::Other(kind) => kind,
        }
    }
}

/// What a key can hold.
pub(super) trait Kind: Sized {
    /// How messages call it.
    const NAME: &'static str;
    #[allow(private_interfaces)]
    fn take(node: Node) -> Result<Self, &'static str>;
}

impl Kind for String {
    const NAME: &'static str = "text";
    #[allow(private_interfaces)]
    fn take(node: Node) -> Result<Self, &'static str> {
        match node {
            Node::Text(text) => Ok(text),
            other => Err(other.kind()),
        }
    }
}

impl Kind for u64 {
    const NAME: &'static str = "a whole number from 0";
    #[allow(private_interfaces)]
    fn take(node: Node) -> Result<Self, &'static str> {
        match node {
            Node::Whole(number) => Ok(number),
            // Variables are text, always.
            Node::Text(text) => text.trim().parse().map_err(|_| "text"),
            other => Err(other.kind()),
        }
    }
}

impl Kind for Vec<String> {
    const NAME: &'static str = "a list of text";
    #[allow(private_interfaces)]
    fn take(node: Node) -> Result<Self, &'static str> {
        match node {
            Node::List(nodes) => nodes
                .into_iter()
                .map(|node| String::take(node).map_err(|_| "a list with something else than text in it"))
                .collect(),
            Node::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Node::Text(text) => Ok(text.split(',').map(|part| part.trim().to_owned()).collect()),
            other => Err(other.kind()),
        }
    }
}

/// Visits of what is neither text, list, table nor a whole number from 0.
macro_rules! others {
    ($wrong:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($wrong("true or false"))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($wrong("a number with a fraction"))
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($wrong("nothing"))
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
    };
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            others!(Node::Other);

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
                Ok(u64::try_from(number).map_or(Node::Other("a negative number"), Node::Whole))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Whole(number))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = seq.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                while map.next_entry::<String, Node>()?.is_some() {}
                Ok(Node::Other("a table"))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de, T: Kind> Deserialize<'de> for Leaf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node::deserialize(deserializer).map(|node| Self(T::take(node)))
    }
}

impl<T: Serialize> Serialize for Leaf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().ok().serialize(serializer)
    }
}

impl From<&str> for Leaf<String> {
    fn from(text: &str) -> Self {
        Self(Ok(text.to_owned()))
    }
}

impl From<u64> for Leaf<u64> {
    fn from(number: u64) -> Self {
        Self(Ok(number))
    }
}

impl<const N: usize> From<[&str; N]> for Leaf<Vec<String>> {
    fn from(list: [&str; N]) -> Self {
        Self(Ok(list.map(str::to_owned).to_vec()))
    }
}

/// A table, or the kind of thing that came instead.
#[derive(Default)]
pub(super) struct Section<T> {
    keys: T,
    pub wrong: Option<&'static str>,
}

impl<T> Deref for Section<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.keys
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<T>(PhantomData<T>);
        fn wrong<T: Default>(kind: &'static str) -> Section<T> {
            Section { wrong: Some(kind), ..Section::default() }
        }
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Table<T> {
            type Value = Section<T>;
            others!(wrong);

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|keys| Section { keys, wrong: None })
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(wrong("text"))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(wrong("a number"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<Node>()?.is_some() {}
                Ok(wrong("a list"))
            }
        }
        deserializer.deserialize_any(Table(PhantomData))
    }
}

impl<T: Serialize> Serialize for Section<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.keys.serialize(serializer)
    }
}

/// A table of the file: keys, types, defaults.
macro_rules! table {
    ($name:ident { $($key:ident: $type:ty = $default:expr),* $(,)? }) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub(super) struct $name { $(pub $key: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default.into(),)* }
            }
        }
    };
}

type Text = Leaf<String>;
type Count = Leaf<u64>;
type List = Leaf<Vec<String>>;

table!(Raw {
    client_id: Text = "",
    connect: Section<Connect> = Section::<Connect>::default(),
    store: Section<Store> = Section::<Store>::default(),
    audit: Section<Audit> = Section::<Audit>::default(),
    mcp: Section<Mcp> = Section::<Mcp>::default(),
    graph: Section<Graph> = Section::<Graph>::default(),
    sandbox: Section<Sandbox> = Section::<Sandbox>::default(),
    log: Section<Log> = Section::<Log>::default(),
});
table!(Connect {
    internal: List = ["127.0.0.1:3006"],
    internal_networks: List = [],
    internal_hosts: List = ["localhost", "aiviary-connect"],
    public: List = [],
    state: Text = "connect.db",
    drain: Text = "8s",
});
table!(Store { url: Text = "sqlite:aiviary.db", base: Text = "", table: Text = "meta_credentials" });
table!(Audit { path: Text = "audit.jsonl" });
table!(Mcp {
    connect_url: Text = "http://127.0.0.1:3006",
    hosts: List = ["localhost", "instagram-mcp", "meta-ads-mcp"],
    internal_networks: List = [],
    origins: List = [],
    state: Text = "mcp.db",
    drain: Text = "50s",
    instagram: Section<Instagram> = Section::<Instagram>::default(),
    meta_ads: Section<MetaAds> = Section::<MetaAds>::default(),
});
table!(Instagram { listen: List = ["127.0.0.1:3005"], writes: Text = "off", tools: List = ["*"] });
table!(MetaAds {
    listen: List = ["127.0.0.1:3004"],
    writes: Text = "off",
    tools: List = ["*"],
    max_daily_budget: List = [],
});
table!(Graph {
    base_url: Text = "https://graph.facebook.com",
    instagram_base_url: Text = "https://graph.instagram.com",
    version: Text = "v26.0",
    timeout: Text = "20s",
    concurrency: Count = 64,
});
table!(Sandbox { listen: List = ["127.0.0.1:3007"], seed: Count = 1 });
table!(Log { format: Text = "text", filter: Text = "info" });

impl Raw {
    /// Every key by its full path with its value, in the order of the file; `null` where the type was wrong.
    pub fn flat(&self) -> Vec<(String, Value)> {
        fn walk(path: &str, value: Value, flat: &mut Vec<(String, Value)>) {
            match value {
                Value::Object(members) => {
                    for (key, value) in members {
                        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                        walk(&path, value, flat);
                    }
                }
                value => flat.push((path.to_owned(), value)),
            }
        }
        let mut flat = Vec::new();
        walk("", serde_json::to_value(self).expect("texts, numbers and lists"), &mut flat);
        flat
    }
}
