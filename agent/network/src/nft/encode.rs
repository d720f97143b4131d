//! From changes of a ruleset to the messages of one transaction.

use super::attributes::Attributes;
use super::batch::Batch;
use super::compile::{self, Anonymous};
use super::constants::*;
use super::expressions::{Expressions, SetName, verdict_data};
use crate::limits;
use crate::rules::{Chain, ChainKind, Change, Key, KeyKind, Rule, Ruleset, Set, SetData, Target, Verdict, diff};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

/// The table and all in it, in place of whatever was there by that name.
pub fn replace_table(new: &Ruleset) -> Batch {
    let mut batch = Batch::new();
    // Deleting what may not be there needs it to be there first.
    add_table(&mut batch, &new.table, "");
    batch.message(message::DELTABLE, 0, format!("deleting table {}", new.table), |table| {
        table.string(table::NAME, &new.table);
    });
    add_table(&mut batch, &new.table, &new.comment);
    encode(&mut batch, &new.table, &diff(&Ruleset::default(), new));
    batch
}

/// What turns the table from `old` into `new`; empty if they are equal.
pub fn change(old: &Ruleset, new: &Ruleset) -> Batch {
    let mut batch = Batch::new();
    encode(&mut batch, &new.table, &diff(old, new));
    batch
}

impl Batch {
    /// Deletes a table, and makes it before if it is not there.
    pub fn delete_table(&mut self, name: &str) {
        add_table(self, name, "");
        self.message(message::DELTABLE, 0, format!("deleting table {name}"), |table| table.string(table::NAME, name));
    }
}

fn add_table(batch: &mut Batch, name: &str, comment: &str) {
    batch.message(message::NEWTABLE, NLM_F_CREATE, format!("adding table {name}"), |table| {
        table.string(table::NAME, name);
        if !comment.is_empty() {
            table.bytes(table::USERDATA, &comment_data(comment));
        }
    });
}

/// As `nft` writes comments: type 0, length, text with a zero byte at its end, at most 128 bytes of it.
pub fn comment_data(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(127)];
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend_from_slice(text);
    data.push(0);
    data
}

fn encode(batch: &mut Batch, table: &str, changes: &[Change<'_>]) {
    for change in changes {
        match change {
            Change::AddSet(name, set) => add_set(batch, table, name, set),
            Change::AddChain(name, chain) => add_chain(batch, table, name, chain),
            Change::RemoveElements(name, keys) => {
                let elements =
                    keys.iter().map(|key| Element { key: key_bytes(key), data: ElementData::None }).collect();
                elements_message(batch, message::DELSETELEM, table, &SetName { name, id: None }, elements);
            }
            Change::FlushChain(name) => {
                batch.message(message::DELRULE, 0, format!("emptying chain {name}"), |rule| {
                    rule.string(rule::TABLE, table);
                    rule.string(rule::CHAIN, name);
                });
            }
            Change::AddRules(name, rules) => rules.iter().for_each(|rule| add_rule(batch, table, name, rule)),
            Change::AddElements(name, elements) => {
                let elements = elements.iter().map(|(key, verdict)| Element {
                    key: key_bytes(key),
                    data: verdict.map_or(ElementData::None, ElementData::Verdict),
                });
                let set_name = SetName { name, id: None };
                elements_message(batch, message::NEWSETELEM, table, &set_name, elements.collect());
            }
            Change::RemoveChain(name) => {
                batch.message(message::DELCHAIN, 0, format!("removing chain {name}"), |chain| {
                    chain.string(chain::TABLE, table);
                    chain.string(chain::NAME, name);
                });
            }
            Change::RemoveSet(name) => {
                batch.message(message::DELSET, 0, format!("removing set {name}"), |set| {
                    set.string(set::TABLE, table);
                    set.string(set::NAME, name);
                });
            }
        }
    }
}

fn add_chain(batch: &mut Batch, table: &str, name: &str, chain: &Chain) {
    batch.message(message::NEWCHAIN, NLM_F_CREATE, format!("adding chain {name}"), |attributes| {
        attributes.string(chain::TABLE, table);
        attributes.string(chain::NAME, name);
        if let Some(hook) = chain.hook {
            attributes.nest(chain::HOOK, |nested| {
                nested.number(chain::HOOK_HOOKNUM, hook.number);
                nested.bytes(chain::HOOK_PRIORITY, &hook.priority.to_be_bytes());
            });
            attributes.bytes(chain::POLICY, &verdict::ACCEPT.to_be_bytes());
            attributes.string(
                chain::TYPE,
                match hook.kind {
                    ChainKind::Filter => "filter",
                    ChainKind::Nat => "nat",
                },
            );
        }
    });
}

/// Type (for `nft`'s listings) and length in bytes of a key.
fn key_type(kind: KeyKind) -> (u32, u32) {
    let concat = |types: &[u32]| types.iter().fold(0, |all, one| all << datatype::BITS | one);
    match kind {
        KeyKind::Address => (datatype::IPV4_ADDR, 4),
        KeyKind::AddressPair => (concat(&[datatype::IPV4_ADDR, datatype::IPV4_ADDR]), 8),
        KeyKind::AddressPort => (concat(&[datatype::IPV4_ADDR, datatype::INET_PROTO, datatype::INET_SERVICE]), 12),
        KeyKind::Port => (concat(&[datatype::INET_PROTO, datatype::INET_SERVICE]), 8),
    }
}

const TARGET_TYPE: u32 = datatype::IPV4_ADDR << datatype::BITS | datatype::INET_SERVICE;
const TARGET_BYTES: u32 = 8;

fn add_set(batch: &mut Batch, table: &str, name: &str, set: &Set) {
    let id = batch.next_set_id();
    let (key_type, key_len) = key_type(set.key);
    let flags = match set.data {
        SetData::Members(_) => 0,
        SetData::Verdicts(_) => set::MAP,
        SetData::Affinity { .. } => set::MAP | set::WITH_TIMEOUT | set::EVAL,
    };
    batch.message(message::NEWSET, NLM_F_CREATE, format!("adding set {name}"), |attributes| {
        set_head(attributes, table, &SetName { name, id: Some(id) }, flags, (key_type, key_len));
        match set.data {
            SetData::Members(_) => {}
            SetData::Verdicts(_) => attributes.number(set::DATA_TYPE, data::VERDICT_TYPE),
            SetData::Affinity { timeout_seconds } => {
                attributes.number(set::DATA_TYPE, TARGET_TYPE);
                attributes.number(set::DATA_LEN, TARGET_BYTES);
                attributes.bytes(set::TIMEOUT, &(u64::from(timeout_seconds) * 1000).to_be_bytes());
                attributes.nest(set::DESC, |desc| desc.number(set::DESC_SIZE, limits::AFFINITY_CLIENTS));
            }
        }
    });
}

fn set_head(out: &mut Attributes<'_>, table: &str, set: &SetName<'_>, flags: u32, (kind, length): (u32, u32)) {
    out.string(set::TABLE, table);
    out.string(set::NAME, set.name);
    out.number(set::FLAGS, flags);
    out.number(set::KEY_TYPE, kind);
    out.number(set::KEY_LEN, length);
    out.number(set::ID, set.id.unwrap_or_default());
}

fn add_rule(batch: &mut Batch, table: &str, chain: &str, rule: &Rule) {
    let sets: Vec<_> =
        rule.0.iter().map(|s| compile::anonymous(s).map(|set| add_anonymous(batch, table, &set))).collect();
    let doing = format!("adding to chain {chain} the rule {rule}");
    batch.message(message::NEWRULE, NLM_F_CREATE | NLM_F_APPEND, doing, |attributes| {
        attributes.string(rule::TABLE, table);
        attributes.string(rule::CHAIN, chain);
        attributes.nest(rule::EXPRESSIONS, |list| {
            let mut expressions = Expressions(list);
            for (statement, set) in rule.0.iter().zip(&sets) {
                let set = set.as_ref().map(|(name, id)| SetName { name, id: Some(*id) });
                compile::statement(statement, set, &mut expressions);
            }
        });
    });
}

/// Makes a set that lives as long as the rule that names it. The kernel fills in `%d`.
fn add_anonymous(batch: &mut Batch, table: &str, wanted: &Anonymous<'_>) -> (&'static str, u32) {
    let id = batch.next_set_id();
    let (name, flags, key) = match wanted {
        Anonymous::Choice(_) => ("__map%d", set::MAP, (datatype::INTEGER, 4)),
        Anonymous::Targets(_) => ("__set%d", 0, (TARGET_TYPE, TARGET_BYTES)),
    };
    let set_name = SetName { name, id: Some(id) };
    batch.message(message::NEWSET, NLM_F_CREATE, "adding a set of endpoints".into(), |attributes| {
        set_head(attributes, table, &set_name, flags | set::ANONYMOUS | set::CONSTANT, key);
        if let Anonymous::Choice(_) = wanted {
            attributes.number(set::DATA_TYPE, TARGET_TYPE);
            attributes.number(set::DATA_LEN, TARGET_BYTES);
        }
    });
    let elements = match wanted {
        Anonymous::Choice(targets) => (0u32..)
            .zip(*targets)
            .map(|(number, target)| Element { key: number.to_ne_bytes().to_vec(), data: ElementData::Target(target) })
            .collect(),
        Anonymous::Targets(targets) => targets
            .iter()
            .map(|target| Element { key: compile::target_bytes(target).to_vec(), data: ElementData::None })
            .collect(),
    };
    elements_message(batch, message::NEWSETELEM, table, &set_name, elements);
    (name, id)
}

struct Element<'a> {
    key: Vec<u8>,
    data: ElementData<'a>,
}

enum ElementData<'a> {
    None,
    Verdict(&'a Verdict),
    Target(&'a Target),
}

/// Adds or removes elements, in as many messages as their number needs.
fn elements_message(batch: &mut Batch, kind: u8, table: &str, set: &SetName<'_>, elements: Vec<Element<'_>>) {
    let doing = if kind == message::NEWSETELEM { "adding elements to" } else { "removing elements from" };
    let mut rest = elements.as_slice();
    while !rest.is_empty() {
        batch.message(kind, NLM_F_CREATE, format!("{doing} set {}", set.name), |attributes| {
            attributes.string(element::LIST_TABLE, table);
            attributes.string(element::LIST_SET, set.name);
            if let Some(id) = set.id {
                attributes.number(element::LIST_SET_ID, id);
            }
            attributes.nest(element::LIST_ELEMENTS, |list| {
                let start = list.0.len();
                while let Some((first, after)) = rest.split_first()
                    && list.0.len() - start < limits::ELEMENT_LIST_BYTES
                {
                    add_element(list, first);
                    rest = after;
                }
            });
        });
    }
}

fn add_element(list: &mut Attributes<'_>, element: &Element<'_>) {
    list.nest(NFTA_LIST_ELEM, |attributes| {
        attributes.nest(element::KEY, |key| key.bytes(data::VALUE, &element.key));
        match element.data {
            ElementData::None => {}
            ElementData::Target(target) => {
                attributes.nest(element::DATA, |data| data.bytes(data::VALUE, &compile::target_bytes(target)));
            }
            ElementData::Verdict(verdict) => attributes.nest(element::DATA, |data| {
                let (code, chain) = compile::verdict_code(verdict);
                verdict_data(data, code, chain);
            }),
        }
    });
}

/// A key as the kernel compares it: every part from the start of its own four bytes.
fn key_bytes(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12);
    let port = |protocol: crate::Protocol, port: u16| {
        let [high, low] = port.to_be_bytes();
        [compile::protocol_number(protocol), 0, 0, 0, high, low, 0, 0]
    };
    match key {
        Key::AddressPair(source, destination) => {
            bytes.extend_from_slice(&source.octets());
            bytes.extend_from_slice(&destination.octets());
        }
        Key::AddressPort(address, protocol, number) => {
            bytes.extend_from_slice(&address.octets());
            bytes.extend_from_slice(&port(*protocol, *number));
        }
        Key::Port(protocol, number) => bytes.extend_from_slice(&port(*protocol, *number)),
    }
    bytes
}
