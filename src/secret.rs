//! A value that must never be printed, serialised or copied by accident.

use std::fmt;

use zeroize::Zeroizing;

/// A token or key: no `Display`, no `Serialize`, no `Clone`; `Debug` prints `[secret]`; cleared on drop.
///
/// ```compile_fail
/// let secret = aiviary::secret::Secret::new("EAAB".to_owned());
/// println!("{secret}");
/// ```
///
/// ```compile_fail
/// let secret = aiviary::secret::Secret::new("EAAB".to_owned());
/// serde_json::to_string(&secret).unwrap();
/// ```
///
/// ```compile_fail
/// let secret = aiviary::secret::Secret::new("EAAB".to_owned());
/// let copy = secret.clone();
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of `value`.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Each call is a place where a secret leaves its wrapper: keep them few.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_tells_nothing() {
        let secret = Secret::new("EAABtoken".to_owned());
        for text in [format!("{secret:?}"), format!("{secret:#?}"), format!("{:?}", Some(&secret))] {
            assert!(text.contains("[secret]"), "{text}");
            assert!(!text.contains("EAAB"), "{text}");
        }
    }
}
