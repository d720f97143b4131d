//! What is in the kernel: tables, and the chains and rules of a neighbouring firewall.

use super::attributes::{find, number, text};
use super::batch::Batch;
use super::compile;
use super::constants::{chain, message, rule, table};
use super::encode::comment_data;
use super::expressions::Expressions;
use super::socket::Socket;
use crate::NetworkError;
use crate::rules::Rule;
use netlink_packet_core::NLM_F_CREATE;

/// A table of IPv4 and the comment on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub comment: String,
}

/// A chain of somebody else's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    pub name: String,
    /// What becomes of a packet that no rule decides on; only where packets enter.
    pub policy_drop: bool,
}

/// A rule of somebody else's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRule {
    pub handle: u64,
    pub comment: String,
}

impl Socket {
    pub fn tables(&self) -> Result<Vec<Table>, NetworkError> {
        let found = self.list(message::GETTABLE, |_| {})?;
        let tables = found.iter().map(|attributes| Table {
            name: find(attributes, table::NAME).map(text).unwrap_or_default(),
            comment: find(attributes, table::USERDATA).map(comment).unwrap_or_default(),
        });
        Ok(tables.collect())
    }

    /// The chains of a table of IPv4; none if there is no such table.
    pub fn chains(&self, of: &str) -> Result<Vec<ForeignChain>, NetworkError> {
        let found = self.list(message::GETCHAIN, |filter| filter.string(chain::TABLE, of))?;
        let ours = found.iter().filter(|attributes| find(attributes, chain::TABLE).map(text).as_deref() == Some(of));
        let chains = ours.map(|attributes| ForeignChain {
            name: find(attributes, chain::NAME).map(text).unwrap_or_default(),
            policy_drop: find(attributes, chain::POLICY).and_then(number) == Some(0),
        });
        Ok(chains.collect())
    }

    pub fn rules(&self, table: &str, of: &str) -> Result<Vec<ForeignRule>, NetworkError> {
        let found = self.list(message::GETRULE, |filter| {
            filter.string(rule::TABLE, table);
            filter.string(rule::CHAIN, of);
        })?;
        let rules = found.iter().filter_map(|attributes| {
            Some(ForeignRule {
                handle: u64::from_be_bytes(find(attributes, rule::HANDLE)?.try_into().ok()?),
                comment: find(attributes, rule::USERDATA).map(comment).unwrap_or_default(),
            })
        });
        Ok(rules.collect())
    }
}

impl Batch {
    /// Puts a rule before all others of somebody else's chain, marked with a comment.
    pub fn insert_foreign(&mut self, table: &str, chain: &str, rule: &Rule, comment: &str) {
        let doing = format!("inserting into {table} {chain} the rule {rule}");
        self.message(message::NEWRULE, NLM_F_CREATE, doing, |attributes| {
            attributes.string(rule::TABLE, table);
            attributes.string(rule::CHAIN, chain);
            attributes.nest(rule::EXPRESSIONS, |list| {
                let mut expressions = Expressions(list);
                for (index, statement) in rule.0.iter().enumerate() {
                    if index + 1 == rule.0.len() {
                        expressions.counter();
                    }
                    compile::statement(statement, None, &mut expressions);
                }
            });
            attributes.bytes(rule::USERDATA, &comment_data(comment));
        });
    }

    pub fn delete_foreign(&mut self, table: &str, chain: &str, handle: u64) {
        self.message(message::DELRULE, 0, format!("removing rule {handle} from {table} {chain}"), |attributes| {
            attributes.string(rule::TABLE, table);
            attributes.string(rule::CHAIN, chain);
            attributes.bytes(rule::HANDLE, &handle.to_be_bytes());
        });
    }
}

/// The comment among `nft`'s own data on an object: entries of type, length, bytes; type 0 is the comment.
fn comment(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let Some((value, after)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == 0 {
            return text(value);
        }
        data = after;
    }
    String::new()
}
