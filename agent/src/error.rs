//! Why the agent could not start.

/// What the caller of [`crate::Agent::start`] can act on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("the agent's {what} is not usable: {why}")]
    Credentials { what: &'static str, why: String },
    #[error("the control plane's address {address:?} is not HOST:PORT")]
    Address { address: String },
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error("the container runtime: {0}")]
    Runtime(#[from] coracle_runtime::RuntimeError),
    #[error("the pod network: {0}")]
    Network(#[from] coracle_network::NetworkError),
    #[error("these pods could not be stopped in time, try again: {}", .0.join(", "))]
    NotStopped(Vec<String>),
    #[error("the agent has stopped")]
    Stopped,
    #[error("the control plane refused the node: {0}")]
    Refused(coracle_proto::ApiError),
}

impl AgentError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
