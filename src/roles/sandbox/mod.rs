//! The `sandbox` role: a stand-in for Meta's Graph API with a sample business behind it.
