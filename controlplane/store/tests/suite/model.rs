//! Random transactions against a model so simple that it is obviously right.

use crate::subject::{HISTORY, next, op, txn};
use bytes::Bytes;
use coracle_store::{Action, Expect, Op, Revision, Store, StoreError};
use futures::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Key to value, created and modified.
type State = BTreeMap<String, (String, u64, u64)>;

#[derive(Default)]
struct Model {
    /// The state at each revision from 1.
    states: Vec<State>,
}

impl Model {
    fn new() -> Model {
        Model { states: vec![State::new()] }
    }

    fn revision(&self) -> u64 {
        self.states.len() as u64
    }

    fn now(&self) -> &State {
        self.states.last().expect("it starts with one")
    }

    /// Whether the transaction happens.
    fn apply(&mut self, ops: &[Step]) -> bool {
        let before = self.now().clone();
        let holds = ops.iter().all(|step| match (step.expect, before.get(&step.key)) {
            (Wish::Anything, _) | (Wish::Absent, None) => true,
            (Wish::Present, Some(_)) => true,
            (Wish::Absent, Some(_)) | (Wish::Present | Wish::Stale, _) => false,
        });
        if !holds {
            return false;
        }
        let mut after = before.clone();
        let revision = self.revision() + 1;
        for step in ops {
            match &step.put {
                Some(value) => {
                    let created = before.get(&step.key).map_or(revision, |(_, created, _)| *created);
                    after.insert(step.key.clone(), (format!("{value}@{revision}"), created, revision));
                }
                None => {
                    after.remove(&step.key);
                }
            }
        }
        if after != before {
            self.states.push(after);
        }
        true
    }
}

#[derive(Clone, Copy, Debug)]
enum Wish {
    Anything,
    Absent,
    /// At the revision it has.
    Present,
    /// At a revision that nothing has.
    Stale,
}

#[derive(Clone, Debug)]
struct Step {
    key: String,
    expect: Wish,
    /// `None` deletes.
    put: Option<String>,
}

impl Step {
    fn op(&self, model: &Model) -> Op {
        let expect = match self.expect {
            Wish::Anything => Expect::Anything,
            Wish::Absent => Expect::Absent,
            Wish::Stale => Expect::At(Revision(u64::MAX)),
            Wish::Present => Expect::At(Revision(model.now().get(&self.key).map_or(0, |(_, _, modified)| *modified))),
        };
        let action = self.put.as_ref().map_or(Action::Delete, |value| Action::Put(Bytes::from(value.clone())));
        op(&self.key, expect, action)
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let wish = prop_oneof![
        5 => Just(Wish::Anything),
        2 => Just(Wish::Absent),
        3 => Just(Wish::Present),
        1 => Just(Wish::Stale),
    ];
    let step = move |key: String| {
        (wish.clone(), prop::option::weighted(0.7, "[a-z]{0,3}")).prop_map(move |(expect, put)| Step {
            key: key.clone(),
            expect,
            put,
        })
    };
    let keys = prop::sample::subsequence(vec!["a/1", "a/2", "a/3", "b/1", "b", "ä/1"], 1..4);
    let txn = keys.prop_flat_map(move |keys| keys.into_iter().map(|key| step(key.to_owned())).collect::<Vec<_>>());
    prop::collection::vec(txn, 1..25)
}

/// Commits everything to both, and compares the state, all earlier states, and what two watchers see.
async fn compare(store: Arc<dyn Store>, txns: Vec<Vec<Step>>) -> Result<(), TestCaseError> {
    let mut model = Model::new();
    let mut all = store.watch("", Revision(1)).expect("revision 1 is kept");
    for steps in &txns {
        let ops: Vec<_> = steps.iter().map(|step| step.op(&model)).collect();
        let outcome = store.commit(txn(ops)).await;
        let happens = model.apply(steps);
        prop_assert_eq!(outcome.is_ok(), happens, "{:?} gave {:?}", steps, outcome);
        if let Err(error) = outcome {
            prop_assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
        }
        prop_assert_eq!(store.view().revision(), Revision(model.revision()));
    }
    for (revision, state) in (1..).zip(&model.states) {
        let view = store.view_at(Revision(revision)).expect("the history is long enough");
        let found = view.range("", None).map(|entry| {
            let value = String::from_utf8(entry.value.to_vec()).expect("the values are text");
            (entry.key.to_string(), (value, entry.created.0, entry.modified.0))
        });
        prop_assert_eq!(&found.collect::<State>(), state);
        prop_assert_eq!(view.count("a/"), state.keys().filter(|key| key.starts_with("a/")).count());
    }
    let middle = model.revision() / 2 + 1;
    let mut late = store.watch("a/", Revision(middle)).expect("it is kept");
    let everything = replay(&mut all).await;
    prop_assert_eq!(&rebuild(&State::new(), &everything)?, model.now());
    let state = &model.states[middle as usize - 1];
    let of_a = |state: &State| state.clone().into_iter().filter(|(key, _)| key.starts_with("a/")).collect::<State>();
    prop_assert_eq!(rebuild(&of_a(state), &replay(&mut late).await)?, of_a(model.now()));
    Ok(())
}

async fn replay(watch: &mut coracle_store::Watch) -> Vec<coracle_store::Change> {
    let mut changes = Vec::new();
    while let Some(Some(Ok(change))) = next(watch).now_or_never() {
        changes.push(change);
    }
    changes
}

/// Applies changes to a state; each must fit what it claims was there before.
fn rebuild(from: &State, changes: &[coracle_store::Change]) -> Result<State, TestCaseError> {
    let mut state = from.clone();
    let text = |entry: &coracle_store::Entry| {
        let value = String::from_utf8(entry.value.to_vec()).expect("the values are text");
        (value, entry.created.0, entry.modified.0)
    };
    prop_assert!(changes.is_sorted_by_key(|change| change.revision));
    for change in changes {
        prop_assert_eq!(state.get(&*change.key).cloned(), change.before.as_ref().map(text));
        match &change.after {
            Some(after) => state.insert(change.key.to_string(), text(after)),
            None => state.remove(&*change.key),
        };
    }
    Ok(state)
}

fn check(cases: u32, run: impl Fn(Vec<Vec<Step>>) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    if let Err(error) = runner.run(&steps(), run) {
        panic!("{error}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn the_memory_store_is_as_the_model() {
    let runtime = runtime();
    check(300, |txns| {
        let mut outcome = Ok(());
        runtime.block_on(crate::subject::memory(HISTORY, async |store| outcome = compare(store, txns).await));
        outcome
    });
}

#[test]
fn the_raft_store_is_as_the_model() {
    let runtime = runtime();
    check(16, |txns| {
        let mut outcome = Ok(());
        runtime.block_on(crate::subject::raft(HISTORY, async |store| outcome = compare(store, txns).await));
        outcome
    });
}
