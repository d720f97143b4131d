use super::*;
use bytes::Bytes;

/// Appends the revision, so that a test sees who stamped what.
fn stamp(value: &Bytes, revision: Revision) -> Bytes {
    let mut out = value.to_vec();
    out.extend_from_slice(format!("@{}", revision.0).as_bytes());
    out.into()
}

fn state() -> State {
    State::new(stamp, HistoryLimits::default())
}

fn op(key: &str, expect: Expect, action: Action) -> Op {
    Op { key: key.into(), expect, action }
}

fn put(key: &str, value: &str) -> Op {
    op(key, Expect::Anything, Action::Put(Bytes::copy_from_slice(value.as_bytes())))
}

fn proposal(number: u64, ops: Vec<Op>) -> Proposal {
    Proposal { id: ProposalId { origin: 1, number }, txn: Txn { ops, term: None } }
}

const TERM: Term = Term(3);

/// Applies with a proposal id and a clock that follow the revision.
fn apply(state: &mut State, ops: Vec<Op>) -> Result<Committed, StoreError> {
    let number = state.revision().0 + 1;
    state.apply(&proposal(number, ops), TERM, Millis(number))
}

fn keys(state: &State) -> Vec<String> {
    crate::View::range(&state.view(), "", None).map(|entry| entry.key.to_string()).collect()
}

#[test]
fn an_empty_store_is_at_one_and_the_first_change_at_two() {
    let mut state = state();
    assert_eq!(state.revision(), EMPTY);
    let committed = apply(&mut state, vec![put("a", "x")]).expect("nothing refuses it");
    assert_eq!(committed.revision, Revision(2));
    let entry = committed.entries[0].clone().expect("a put gives its entry");
    assert_eq!((&entry.value[..], entry.created, entry.modified), (&b"x@2"[..], Revision(2), Revision(2)));
}

#[test]
fn a_failed_precondition_changes_nothing_and_shows_what_is_there() {
    let mut state = state();
    apply(&mut state, vec![put("a", "x")]).expect("nothing refuses it");
    let refused = [
        vec![put("b", "y"), op("a", Expect::Absent, Action::Check)],
        vec![put("b", "y"), op("a", Expect::At(Revision(1)), Action::Delete)],
        vec![put("b", "y"), op("c", Expect::At(Revision(2)), Action::Check)],
    ];
    for ops in refused {
        let key = ops[1].key.clone();
        let actual = crate::View::get(&state.view(), &key);
        assert_eq!(apply(&mut state, ops), Err(StoreError::Conflict { key, actual }));
        assert_eq!((state.revision(), keys(&state)), (Revision(2), vec!["a".to_owned()]));
    }
}

#[test]
fn all_operations_share_one_revision() {
    let mut state = state();
    apply(&mut state, vec![put("a", "x"), put("b", "y")]).expect("nothing refuses it");
    let ops = vec![
        op("a", Expect::At(Revision(2)), Action::Delete),
        op("b", Expect::At(Revision(2)), Action::Check),
        op("c", Expect::Absent, Action::Put(Bytes::from_static(b"z"))),
    ];
    let committed = apply(&mut state, ops).expect("the preconditions hold");
    assert_eq!(committed.revision, Revision(3));
    let modified: Vec<_> = committed.entries.iter().flatten().map(|entry| entry.modified.0).collect();
    assert_eq!(modified, [2, 2, 3]);
    assert_eq!(keys(&state), ["b", "c"]);
}

#[test]
fn what_changes_nothing_takes_no_revision() {
    let mut state = state();
    for ops in [vec![], vec![op("a", Expect::Absent, Action::Check)], vec![op("a", Expect::Anything, Action::Delete)]] {
        let committed = apply(&mut state, ops).expect("nothing refuses it");
        assert_eq!((committed.revision, state.revision()), (EMPTY, EMPTY));
    }
}

#[test]
fn one_key_written_twice_is_refused() {
    let mut state = state();
    let refused = apply(&mut state, vec![put("a", "x"), put("a", "y")]);
    assert_eq!(refused, Err(StoreError::WrittenTwice { key: "a".into() }));
    let checked = vec![op("a", Expect::Absent, Action::Check), put("a", "y")];
    assert!(apply(&mut state, checked).is_ok(), "a check beside a write is no second write");
}

#[test]
fn a_write_bound_to_another_term_is_refused() {
    let mut state = state();
    for (term, allowed) in [(Term(2), false), (Term(4), false), (TERM, true)] {
        let mut bound = proposal(term.0, vec![put("a", "x")]);
        bound.txn.term = Some(term);
        let outcome = state.apply(&bound, TERM, Millis(0));
        assert_eq!(outcome.is_ok(), allowed, "{term:?}: {outcome:?}");
        assert!(allowed || outcome == Err(StoreError::Deposed));
    }
}

#[test]
fn a_proposal_that_comes_again_applies_once_and_gets_the_same_answer() {
    let mut state = state();
    apply(&mut state, vec![put("gone", "x")]).expect("nothing refuses it");
    let ops = vec![put("a", "x"), op("gone", Expect::Anything, Action::Delete), op("b", Expect::Absent, Action::Check)];
    let sent = proposal(77, ops);
    let first = state.apply(&sent, TERM, Millis(0));
    assert_eq!(state.apply(&sent, TERM, Millis(1)), first);
    assert_eq!(state.revision(), Revision(3));
    let mut restored = State::from_image(state.image(), stamp, HistoryLimits::default());
    let again = restored.apply(&sent, TERM, Millis(2)).expect("a snapshot keeps the table");
    assert_eq!((again.revision, restored.revision()), (Revision(3), Revision(3)));
    assert_eq!(again.entries[0], first.expect("nothing refused it").entries[0]);
}

#[test]
fn the_table_of_proposals_is_bounded() {
    let mut proposals = Proposals::default();
    for number in 0..crate::limits::PROPOSALS as u64 + 10 {
        proposals.record(ProposalId { origin: 1, number }, Revision(number));
    }
    assert_eq!(proposals.iter().len(), crate::limits::PROPOSALS);
    assert_eq!(proposals.find(ProposalId { origin: 1, number: 9 }), None);
    assert_eq!(proposals.find(ProposalId { origin: 1, number: 10 }), Some(Revision(10)));
}

#[test]
fn an_earlier_revision_can_be_read_while_the_history_has_it() {
    let mut state = state();
    apply(&mut state, vec![put("a", "1")]).expect("nothing refuses it");
    apply(&mut state, vec![put("a", "2"), put("b", "2")]).expect("nothing refuses it");
    apply(&mut state, vec![op("a", Expect::Anything, Action::Delete)]).expect("nothing refuses it");
    let shown = |revision| {
        let view = state.view_at(Revision(revision)).map(Rewind::finish);
        view.map(|view| crate::View::range(&view, "", None).map(|entry| entry.value).collect::<Vec<_>>())
    };
    assert_eq!(shown(1), Ok(vec![]));
    assert_eq!(shown(2), Ok(vec!["1@2".into()]));
    assert_eq!(shown(3), Ok(vec!["2@3".into(), "2@3".into()]));
    assert_eq!(shown(4), Ok(vec!["2@3".into()]));
    assert_eq!(shown(5), Err(StoreError::Future { requested: Revision(5), newest: Revision(4) }));
    assert_eq!(shown(0), Err(StoreError::Compacted { requested: Revision(0), oldest: Revision(1) }));
}

#[test]
fn the_history_is_bounded_by_bytes() {
    let limits =
        HistoryLimits { bytes: 3 * (crate::limits::CHANGE_OVERHEAD + 1), age: std::time::Duration::from_secs(9) };
    let mut state = State::new(stamp, limits);
    for key in ["a", "b", "c", "d", "e"] {
        apply(&mut state, vec![put(key, "x")]).expect("nothing refuses it");
    }
    assert_eq!((state.oldest(), state.revision()), (Revision(3), Revision(6)));
    let kept =
        state.changes_after(Revision(3)).map(|records| records.map(|record| record.revision.0).collect::<Vec<_>>());
    assert_eq!(kept, Ok(vec![4, 5, 6]));
}

#[test]
fn the_newest_change_is_kept_even_if_it_is_larger_than_the_history() {
    let mut state = State::new(stamp, HistoryLimits { bytes: 10, age: std::time::Duration::from_secs(9) });
    for _ in 0..3 {
        apply(&mut state, vec![put("a", "a value that is longer than that")]).expect("nothing refuses it");
        assert_eq!(state.oldest().0 + 1, state.revision().0);
    }
}

#[test]
fn the_history_is_bounded_by_age() {
    let mut state = State::new(stamp, HistoryLimits { bytes: 1 << 20, age: std::time::Duration::from_millis(10) });
    for (number, now) in [(1, 100), (2, 105), (3, 112)] {
        state.apply(&proposal(number, vec![put("a", "x")]), TERM, Millis(now)).expect("nothing refuses it");
    }
    assert_eq!(state.oldest(), Revision(2));
    let backwards = state.apply(&proposal(4, vec![put("a", "x")]), TERM, Millis(5));
    assert!(backwards.is_ok() && state.oldest() == Revision(2), "a clock that steps back forgets nothing");
}

#[test]
fn a_range_starts_after_a_key_and_ends_with_its_prefix() {
    let mut state = state();
    apply(&mut state, ["p/a", "p/b", "p/c", "pa", "q"].map(|key| put(key, "")).into()).expect("nothing refuses it");
    let cases: [(&str, Option<&str>, &[&str]); 6] = [
        ("p/", None, &["p/a", "p/b", "p/c"]),
        ("p/", Some("p/a"), &["p/b", "p/c"]),
        ("p/", Some("p/bb"), &["p/c"]),
        ("p/", Some("a"), &["p/a", "p/b", "p/c"]),
        ("p/", Some("q"), &[]),
        ("", Some("p/c"), &["pa", "q"]),
    ];
    let view = state.view();
    for (prefix, after, expected) in cases {
        let found: Vec<_> = crate::View::range(&view, prefix, after).map(|entry| entry.key.to_string()).collect();
        assert_eq!(found, expected, "{prefix} {after:?}");
    }
    assert_eq!(crate::View::count(&view, "p/"), 3);
}
