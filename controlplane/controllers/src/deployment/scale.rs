//! How many pods each ReplicaSet gets, step by step. Pure; it changes the sets it is given.

use super::objects::{Deployment, Set, Strategy};
use super::revision;
use std::cmp::Reverse;

/// Where the newest set stands among all, if it exists.
pub(crate) type Newest = Option<usize>;

fn total(sets: &[Set]) -> i32 {
    sets.iter().map(|set| set.replicas).sum()
}

fn available(sets: &[Set]) -> i32 {
    sets.iter().map(|set| set.status.available).sum()
}

fn is_old(newest: Newest) -> impl Fn(&usize) -> bool {
    move |at| Some(*at) != newest
}

/// Oldest first.
fn by_age(sets: &[Set], newest: Newest) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sets.len()).filter(is_old(newest)).collect();
    order.sort_by(|a, b| age(&sets[*a]).cmp(&age(&sets[*b])));
    order
}

fn age(set: &Set) -> (jiff::Timestamp, &str) {
    (set.meta.created, set.name())
}

/// Changes one set's size and remembers what it is a share of.
fn resize(deployment: &Deployment, set: &mut Set, replicas: i32) -> bool {
    let changed = set.replicas != replicas;
    set.resize(replicas);
    revision::annotate_sizes(deployment, set);
    changed
}

/// The size the newest set, now at `current`, may grow to.
pub(crate) fn newest_size(deployment: &Deployment, all: i32, current: i32) -> i32 {
    match deployment.strategy {
        Strategy::Recreate => deployment.replicas,
        Strategy::RollingUpdate { max_surge, .. } => {
            let room = deployment.replicas.saturating_add(max_surge) - all;
            if room <= 0 { current } else { current + room.min(deployment.replicas - current) }
        }
    }
}

/// One step for the newest set. Returns whether it changed.
pub(crate) fn reconcile_newest(deployment: &Deployment, sets: &mut [Set], newest: usize) -> bool {
    let current = sets[newest].replicas;
    if current == deployment.replicas {
        return false;
    }
    let wanted =
        if current > deployment.replicas { deployment.replicas } else { newest_size(deployment, total(sets), current) };
    wanted != current && resize(deployment, &mut sets[newest], wanted)
}

/// One step for the old sets: first pods that are not available anyway, then as many as the available ones allow.
pub(crate) fn reconcile_old(deployment: &Deployment, sets: &mut [Set], newest: usize) -> bool {
    let old_pods = total(sets) - sets[newest].replicas;
    if old_pods == 0 {
        return false;
    }
    let min_available = deployment.replicas - deployment.max_unavailable();
    let newest_unavailable = sets[newest].replicas - sets[newest].status.available;
    let may_go = total(sets) - min_available - newest_unavailable;
    if may_go <= 0 {
        return false;
    }
    let unhealthy = remove_unavailable(deployment, sets, newest, may_go);
    let healthy = remove_available(deployment, sets, newest, available(sets) - min_available);
    unhealthy + healthy > 0
}

fn remove_unavailable(deployment: &Deployment, sets: &mut [Set], newest: usize, at_most: i32) -> i32 {
    let mut removed = 0;
    for at in by_age(sets, Some(newest)) {
        let set = &mut sets[at];
        let unavailable = (set.replicas - set.status.available).min(at_most - removed);
        if set.replicas > 0 && unavailable > 0 {
            resize(deployment, set, set.replicas - unavailable);
            removed += unavailable;
        }
    }
    removed
}

fn remove_available(deployment: &Deployment, sets: &mut [Set], newest: usize, at_most: i32) -> i32 {
    let mut removed = 0;
    for at in by_age(sets, Some(newest)) {
        let set = &mut sets[at];
        let step = set.replicas.min(at_most - removed);
        if step > 0 {
            resize(deployment, set, set.replicas - step);
            removed += step;
        }
    }
    removed
}

/// Takes every old set to zero, for Recreate.
pub(crate) fn remove_old(deployment: &Deployment, sets: &mut [Set], newest: Newest) -> bool {
    let mut changed = false;
    for at in (0..sets.len()).filter(is_old(newest)) {
        if sets[at].replicas > 0 {
            changed |= resize(deployment, &mut sets[at], 0);
        }
    }
    changed
}

/// Whether the Deployment was scaled since its sets were sized.
pub(crate) fn is_pending(deployment: &Deployment, sets: &[Set]) -> bool {
    sets.iter().any(|set| set.replicas > 0 && revision::desired(set).is_some_and(|n| n != deployment.replicas))
}

/// Follows a change of `replicas` outside of a rollout's steps (scaled in the middle of one, or paused).
pub(crate) fn follow(deployment: &Deployment, sets: &mut [Set], newest: Newest) {
    if let Some(only) = active_or_latest(sets, newest) {
        resize(deployment, &mut sets[only], deployment.replicas);
        return;
    }
    let saturated = newest.is_some_and(|at| {
        let set = &sets[at];
        set.replicas == deployment.replicas
            && revision::desired(set) == Some(deployment.replicas)
            && set.status.available == deployment.replicas
    });
    if saturated {
        remove_old(deployment, sets, newest);
    } else if !deployment.recreates() {
        proportionally(deployment, sets);
    }
}

/// The only set with pods; without any, the newest.
fn active_or_latest(sets: &[Set], newest: Newest) -> Newest {
    let active: Vec<usize> = (0..sets.len()).filter(|at| sets[*at].replicas > 0).collect();
    match active.as_slice() {
        [] => newest.or_else(|| by_age(sets, None).last().copied()),
        [only] => Some(*only),
        _ => None,
    }
}

/// Spreads the change over all sets with pods, by size: a failing rollout must not take all of the new pods.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>
fn proportionally(deployment: &Deployment, sets: &mut [Set]) {
    let allowed = match deployment.replicas {
        0 => 0,
        n => n.saturating_add(deployment.max_surge()),
    };
    let mut order: Vec<usize> = (0..sets.len()).filter(|at| sets[*at].replicas > 0).collect();
    let to_add = allowed - order.iter().map(|at| sets[*at].replicas).sum::<i32>();
    if to_add >= 0 {
        // The largest first; of equals the newer, so that growth goes to the newer.
        order.sort_by_key(|at| {
            (Reverse(sets[*at].replicas), Reverse(sets[*at].meta.created), sets[*at].name().to_owned())
        });
    } else {
        order.sort_by_key(|at| (Reverse(sets[*at].replicas), sets[*at].meta.created, sets[*at].name().to_owned()));
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(order.len());
    for at in &order {
        let share = share(deployment, &sets[*at], to_add, added);
        sizes.push(sets[*at].replicas + share);
        added += share;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (at, size) in order.into_iter().zip(sizes) {
        resize(deployment, &mut sets[at], size);
    }
}

/// What of `to_add` one set takes, `added` being gone already.
fn share(deployment: &Deployment, set: &Set, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(deployment, set);
    let left = to_add - added;
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

fn fraction(deployment: &Deployment, set: &Set) -> i32 {
    if deployment.replicas == 0 {
        return -set.replicas;
    }
    let before = revision::max_size(set).filter(|n| *n != 0).unwrap_or_else(|| deployment.status_count("replicas"));
    if before == 0 {
        return 0;
    }
    let after = deployment.replicas.saturating_add(deployment.max_surge());
    let size = f64::from(set.replicas) * f64::from(after) / f64::from(before);
    // Saturates beyond i32, which validation keeps far away.
    size.round() as i32 - set.replicas
}
