//! Who may do what: bearer tokens, the rules of the built-in identities, the node authoriser.

mod authorise;
mod node;
mod rules;
mod signer;

pub use authorise::{Attributes, Decision};
pub use rules::listed;
pub use signer::{Claims, SignerError, TokenSigner};
