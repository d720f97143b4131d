//! The expressions that a rule is made of: each loads, compares or acts on registers of four bytes.

use super::attributes::Attributes;
use super::constants::*;

/// Appends expressions to a rule. A register is counted from 0; data longer than four bytes takes the following too.
pub struct Expressions<'a, 'b>(pub &'a mut Attributes<'b>);

/// A set that a rule speaks of: by name, and by the number it has within the transaction if it was made there.
pub struct SetName<'a> {
    pub name: &'a str,
    pub id: Option<u32>,
}

impl Expressions<'_, '_> {
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.0.nest(NFTA_LIST_ELEM, |expression| {
            expression.string(1, name);
            expression.nest(2, fill);
        });
    }

    /// Loads `length` bytes at `offset` of a header.
    pub fn payload(&mut self, register: u32, base: u32, offset: u32, length: u32) {
        self.expression("payload", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, base);
            data.number(3, offset);
            data.number(4, length);
        });
    }

    pub fn meta(&mut self, register: u32, key: u32) {
        self.expression("meta", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, key);
        });
    }

    pub fn conntrack(&mut self, register: u32, key: u32) {
        self.expression("ct", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, key);
        });
    }

    /// Loads the type (`RTN_*`) of the packet's source or destination address.
    pub fn address_type(&mut self, register: u32, of: u32) {
        self.expression("fib", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, FIB_RESULT_ADDRTYPE);
            data.number(3, of);
        });
    }

    /// Keeps the bits of `mask`.
    pub fn mask(&mut self, register: u32, mask: &[u8]) {
        self.expression("bitwise", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, REGISTER_FIRST + register);
            data.number(3, mask.len() as u32);
            data.nest(4, |value| value.bytes(data::VALUE, mask));
            data.nest(5, |value| value.bytes(data::VALUE, &vec![0; mask.len()]));
        });
    }

    /// Goes on only if the register equals (`CMP_EQ`) or differs (`CMP_NEQ`).
    pub fn compare(&mut self, register: u32, operation: u32, value: &[u8]) {
        self.expression("cmp", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, operation);
            data.nest(3, |nested| nested.bytes(data::VALUE, value));
        });
    }

    /// Goes on only if the set has the key; with `into`, loads the data found there.
    pub fn lookup(&mut self, set: &SetName<'_>, key: u32, into: Option<u32>) {
        self.lookup_register(set, key, into.map(|register| REGISTER_FIRST + register));
    }

    /// Follows the verdict found for the key, if any.
    pub fn lookup_verdict(&mut self, set: &SetName<'_>, key: u32) {
        self.lookup_register(set, key, Some(REGISTER_VERDICT));
    }

    fn lookup_register(&mut self, set: &SetName<'_>, key: u32, into: Option<u32>) {
        self.expression("lookup", |data| {
            data.string(1, set.name);
            data.number(2, REGISTER_FIRST + key);
            if let Some(register) = into {
                data.number(3, register);
            }
            if let Some(id) = set.id {
                data.number(4, id);
            }
        });
    }

    /// Puts key and data into a map. If the key is there, its data stays and its time is renewed.
    pub fn update(&mut self, map: &str, key: u32, value: u32) {
        self.dynamic(DYNSET_UPDATE, map, key, value);
    }

    /// Takes a key out of a map, if it is there. (The kernel wants a register for the data all the same.)
    pub fn forget(&mut self, map: &str, key: u32, value: u32) {
        self.dynamic(DYNSET_DELETE, map, key, value);
    }

    fn dynamic(&mut self, operation: u32, map: &str, key: u32, value: u32) {
        self.expression("dynset", |data| {
            data.string(1, map);
            data.number(3, operation);
            data.number(4, REGISTER_FIRST + key);
            data.number(5, REGISTER_FIRST + value);
        });
    }

    /// Loads a number below `modulus`, by chance.
    pub fn random(&mut self, register: u32, modulus: u32) {
        self.expression("numgen", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.number(2, modulus);
            data.number(3, NG_RANDOM);
        });
    }

    pub fn immediate(&mut self, register: u32, value: &[u8]) {
        self.expression("immediate", |data| {
            data.number(1, REGISTER_FIRST + register);
            data.nest(2, |nested| nested.bytes(data::VALUE, value));
        });
    }

    pub fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |data| {
            data.number(1, REGISTER_VERDICT);
            data.nest(2, |nested| verdict_data(nested, code, chain));
        });
    }

    /// Counts, as iptables' own rules do, so that its tools show ours like theirs.
    pub fn counter(&mut self) {
        self.expression("counter", |_| {});
    }

    /// To the address in one register and, for a destination, the port in another.
    pub fn nat(&mut self, kind: u32, address: u32, port: Option<u32>) {
        self.expression("nat", |data| {
            data.number(1, kind);
            data.number(2, u32::from(NFPROTO_IPV4));
            data.number(3, REGISTER_FIRST + address);
            if let Some(port) = port {
                data.number(5, REGISTER_FIRST + port);
            }
        });
    }

    pub fn masquerade(&mut self) {
        // With any free port, chosen by chance: two connections at once are then unlikely to choose the same.
        self.expression("masq", |data| data.number(1, NAT_RANGE_PROTO_RANDOM_FULLY));
    }

    pub fn reject(&mut self, kind: u32, code: u8) {
        self.expression("reject", |data| {
            data.number(1, kind);
            data.bytes(2, &[code]);
        });
    }
}

/// A verdict as data, in a rule or in a map.
pub fn verdict_data(attributes: &mut Attributes<'_>, code: i32, chain: Option<&str>) {
    attributes.nest(data::VERDICT, |verdict| {
        verdict.bytes(data::VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            verdict.string(data::VERDICT_CHAIN, chain);
        }
    });
}
