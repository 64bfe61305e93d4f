//! The roles of the binary: each decides, over what the modules below carry.

pub mod connect;
pub mod mcp;
pub mod sandbox;

use std::error::Error;

use crate::server::BindError;

/// Why a role does not start; the variants are the exit codes.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong: exit 78, a unit must not restart on it.
    Configuration(Box<dyn Error + Send + Sync>),
    /// An interface or service is not there yet: exit 69.
    Unavailable(Box<dyn Error + Send + Sync>),
    /// Anything else: exit 1.
    Failed(Box<dyn Error + Send + Sync>),
}

impl StartError {
    /// A fault of the configuration, in words.
    pub fn configuration(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Configuration(cause.into())
    }

    /// Any other fault.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }

    fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        match self {
            Self::Configuration(cause) | Self::Unavailable(cause) | Self::Failed(cause) => cause.as_ref(),
        }
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cause())
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause().source()
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::NotInternal { .. } | BindError::OpenFolder { .. } => Self::configuration(error),
            BindError::NoAddress { .. } => Self::Unavailable(error.into()),
            BindError::Taken { .. } | BindError::Io { .. } => Self::failed(error),
        }
    }
}
