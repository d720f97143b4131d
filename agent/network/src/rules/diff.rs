//! From one ruleset to the next: the fewest changes, in an order the kernel accepts within one transaction.

use super::ruleset::*;

/// One step; the names are of the new ruleset, or of the old one where something goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    AddSet(&'a str, &'a Set),
    AddChain(&'a str, &'a Chain),
    RemoveElements(&'a str, Vec<&'a Key>),
    FlushChain(&'a str),
    AddRules(&'a str, &'a [Rule]),
    AddElements(&'a str, Vec<(&'a Key, Option<&'a Verdict>)>),
    RemoveChain(&'a str),
    RemoveSet(&'a str),
}

/// What turns `old` into `new`; `old` is empty where the table was made just now. What packets put into affinity maps
/// stays, as long as the map does.
pub fn diff<'a>(old: &'a Ruleset, new: &'a Ruleset) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    let kept = |name: &String, set: &Set| old.sets.get(name).is_some_and(|before| same_shape(before, set));
    let fresh_sets = || new.sets.iter().filter(|(name, set)| !kept(name, set));
    let gone_sets = old.sets.iter().filter(|(name, set)| new.sets.get(*name).is_none_or(|now| !same_shape(now, set)));
    let gone_chains = || old.chains.keys().filter(|name| !new.chains.contains_key(*name));
    let changed = |name: &String, chain: &Chain| old.chains.get(name).is_none_or(|before| before.rules != chain.rules);
    let changed_chains = || new.chains.iter().filter(|(name, chain)| changed(name, chain));

    // Chains must be there before a verdict names them, and elements must go before the chain they name.
    let fresh_chains = new.chains.iter().filter(|(name, _)| !old.chains.contains_key(*name));
    changes.extend(fresh_chains.map(|(name, chain)| Change::AddChain(name, chain)));
    for (name, before) in &old.sets {
        if let Some(now) = new.sets.get(name).filter(|now| same_shape(before, now)) {
            let keys = removed(&before.data, &now.data);
            changes.extend((!keys.is_empty()).then(|| Change::RemoveElements(name, keys)));
        }
    }
    let flushed =
        gone_chains().chain(changed_chains().map(|(name, _)| name).filter(|name| old.chains.contains_key(*name)));
    changes.extend(flushed.map(|name| Change::FlushChain(name)));
    // Sets that go, or change their shape, go when no rule speaks of them any more and before their name is used again.
    changes.extend(gone_sets.map(|(name, _)| Change::RemoveSet(name)));
    changes.extend(fresh_sets().map(|(name, set)| Change::AddSet(name, set)));
    changes.extend(
        changed_chains()
            .filter(|(_, chain)| !chain.rules.is_empty())
            .map(|(name, chain)| Change::AddRules(name, &chain.rules)),
    );
    for (name, now) in &new.sets {
        let before = old.sets.get(name).filter(|before| same_shape(before, now));
        let elements = added(before.map(|set| &set.data), &now.data);
        changes.extend((!elements.is_empty()).then(|| Change::AddElements(name, elements)));
    }
    changes.extend(gone_chains().map(|name| Change::RemoveChain(name)));
    changes
}

/// The kernel cannot change a set's type or timeout.
fn same_shape(before: &Set, now: &Set) -> bool {
    before.key == now.key
        && match (&before.data, &now.data) {
            (SetData::Members(_), SetData::Members(_)) | (SetData::Verdicts(_), SetData::Verdicts(_)) => true,
            (SetData::Affinity { timeout_seconds: before }, SetData::Affinity { timeout_seconds: now }) => {
                before == now
            }
            _ => false,
        }
}

/// Keys that go, or whose verdict changes.
fn removed<'a>(before: &'a SetData, now: &'a SetData) -> Vec<&'a Key> {
    match (before, now) {
        (SetData::Members(before), SetData::Members(now)) => before.difference(now).collect(),
        (SetData::Verdicts(before), SetData::Verdicts(now)) => {
            before.iter().filter(|(key, verdict)| now.get(key) != Some(verdict)).map(|(key, _)| key).collect()
        }
        _ => Vec::new(),
    }
}

fn added<'a>(before: Option<&'a SetData>, now: &'a SetData) -> Vec<(&'a Key, Option<&'a Verdict>)> {
    match (before, now) {
        (Some(SetData::Members(before)), SetData::Members(now)) => {
            now.difference(before).map(|key| (key, None)).collect()
        }
        (_, SetData::Members(now)) => now.iter().map(|key| (key, None)).collect(),
        (Some(SetData::Verdicts(before)), SetData::Verdicts(now)) => now
            .iter()
            .filter(|(key, verdict)| before.get(key) != Some(verdict))
            .map(|(key, v)| (key, Some(v)))
            .collect(),
        (_, SetData::Verdicts(now)) => now.iter().map(|(key, verdict)| (key, Some(verdict))).collect(),
        (_, SetData::Affinity { .. }) => Vec::new(),
    }
}
