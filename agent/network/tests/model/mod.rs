//! A model of what the kernel demands of a transaction, and the property that every change of services meets it.

use crate::rules;
use coracle_network::rules::{Change, Key, Match, Rule, Ruleset, Set, SetData, Statement, Verdict, diff};
use coracle_network::{Endpoint, Protocol, Service, ServicePort};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A table as the kernel holds it.
#[derive(Default)]
struct Table {
    sets: BTreeMap<String, Set>,
    chains: BTreeMap<String, Vec<Rule>>,
}

impl Table {
    fn apply(&mut self, change: &Change<'_>) {
        match change {
            Change::AddSet(name, set) => {
                let empty = match &set.data {
                    SetData::Members(_) => SetData::Members(Default::default()),
                    SetData::Verdicts(_) => SetData::Verdicts(Default::default()),
                    affinity => affinity.clone(),
                };
                let set = Set { key: set.key, data: empty };
                assert!(self.sets.insert((*name).into(), set).is_none(), "set {name} is there");
            }
            Change::AddChain(name, _) => {
                assert!(self.chains.insert((*name).into(), Vec::new()).is_none(), "chain {name} is there");
            }
            Change::FlushChain(name) => self.chains.get_mut(*name).expect("the chain is there").clear(),
            Change::AddRules(name, rules) => {
                rules.iter().for_each(|rule| self.check(rule));
                self.chains.get_mut(*name).expect("the chain is there").extend(rules.iter().cloned());
            }
            Change::RemoveElements(name, keys) => keys.iter().for_each(|key| self.remove(name, key)),
            Change::AddElements(name, elements) => {
                for (key, verdict) in elements {
                    self.add(name, key, *verdict);
                }
            }
            Change::RemoveChain(name) => {
                assert_eq!(self.chains.remove(*name), Some(Vec::new()), "chain {name} has rules");
                assert!(!self.mentions(|verdict| leads_to(verdict, name)), "chain {name} is still led to");
            }
            Change::RemoveSet(name) => {
                assert!(self.sets.remove(*name).is_some());
                let used = |rule: &Rule| rule.0.iter().any(|statement| set_of(statement) == Some(*name));
                assert!(!self.chains.values().flatten().any(used), "set {name} is still used");
            }
        }
    }

    /// A rule may speak only of what is there.
    fn check(&self, rule: &Rule) {
        for statement in &rule.0 {
            if let Some(set) = set_of(statement) {
                assert!(self.sets.contains_key(set), "{rule}");
            }
            if let Statement::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) = statement {
                assert!(self.chains.contains_key(chain), "{rule}");
            }
        }
    }

    fn add(&mut self, set: &str, key: &Key, verdict: Option<&Verdict>) {
        if let Some(Verdict::Goto(chain)) = verdict {
            assert!(self.chains.contains_key(chain), "{key} leads to {chain}");
        }
        let fresh = match (&mut self.sets.get_mut(set).expect("the set is there").data, verdict) {
            (SetData::Members(members), None) => members.insert(key.clone()),
            (SetData::Verdicts(verdicts), Some(verdict)) => verdicts.insert(key.clone(), verdict.clone()).is_none(),
            other => panic!("{other:?}"),
        };
        assert!(fresh, "{key} is there");
    }

    fn remove(&mut self, set: &str, key: &Key) {
        let there = match &mut self.sets.get_mut(set).expect("the set is there").data {
            SetData::Members(members) => members.remove(key),
            SetData::Verdicts(verdicts) => verdicts.remove(key).is_some(),
            SetData::Affinity { .. } => false,
        };
        assert!(there, "{key} is not there");
    }

    fn mentions(&self, wanted: impl Fn(&Verdict) -> bool) -> bool {
        let in_sets = self.sets.values().any(|set| match &set.data {
            SetData::Verdicts(verdicts) => verdicts.values().any(&wanted),
            _ => false,
        });
        let in_rule =
            |rule: &Rule| rule.0.iter().any(|one| matches!(one, Statement::Verdict(verdict) if wanted(verdict)));
        in_sets || self.chains.values().flatten().any(in_rule)
    }
}

fn leads_to(verdict: &Verdict, chain: &str) -> bool {
    matches!(verdict, Verdict::Goto(to) | Verdict::Jump(to) if to == chain)
}

fn set_of(statement: &Statement) -> Option<&str> {
    match statement {
        Statement::Match(Match::Member { set, .. }) => Some(set),
        Statement::VerdictMap { map, .. } | Statement::Stick { map, .. } | Statement::BalanceSticky { map, .. } => {
            Some(map)
        }
        _ => None,
    }
}

fn arbitrary_service() -> impl Strategy<Value = Service> {
    let endpoint = (2..6u8, any::<bool>()).prop_map(|(last, local)| Endpoint {
        address: [10, 42, 0, last].into(),
        port: 8080,
        local,
    });
    let port = (80..82u16, any::<bool>(), prop::option::of(30000..30003u16), prop::collection::vec(endpoint, 0..4));
    let port = port.prop_map(|(port, udp, node_port, endpoints)| ServicePort {
        protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
        port,
        node_port,
        endpoints,
        ..ServicePort::default()
    });
    let affinity = prop::option::of(prop::sample::select(vec![60, 10_800]));
    let policies = (any::<bool>(), any::<bool>(), any::<bool>());
    (1..4u8, 1..4u8, prop::collection::vec(port, 0..3), affinity, policies).prop_map(
        |(name, address, ports, affinity_seconds, (internal_local, external_local, external))| Service {
            namespace: "n".into(),
            name: format!("s{name}"),
            cluster_ips: vec![[10, 43, 0, address].into()],
            external_ips: external.then(|| [198, 51, 100, address].into()).into_iter().collect(),
            ports,
            affinity_seconds,
            internal_local,
            external_local,
            ..Service::default()
        },
    )
}

proptest! {
    /// From any services to any others: every step is one the kernel takes, and the last leaves exactly what is wanted.
    #[test]
    fn every_change_is_a_valid_transaction(
        before in prop::collection::vec(arbitrary_service(), 0..4),
        after in prop::collection::vec(arbitrary_service(), 0..4),
    ) {
        let mut table = Table::default();
        let mut old = Ruleset::default();
        for new in [rules(before, &[]), rules(after, &[])] {
            diff(&old, &new).iter().for_each(|change| table.apply(change));
            prop_assert_eq!(&table.sets, &new.sets);
            let wanted: BTreeMap<_, _> = new.chains.iter().map(|(name, chain)| (name.clone(), chain.rules.clone())).collect();
            prop_assert_eq!(&table.chains, &wanted);
            prop_assert_eq!(diff(&new, &new), vec![]);
            old = new;
        }
    }
}
