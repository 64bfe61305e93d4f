//! What a tool is: declared once, from which come the question to Graph, the flat answer, the schema and the docs.

/// Which changing tools are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writes {
    /// None. The default.
    #[default]
    Off,
    /// What can be undone.
    On,
    /// Also what deletes or spends.
    All,
}
