//! What is refused: services without endpoints, at once and audibly, as kube-proxy does; and what would do harm.

use super::render::{BY_PORT, BY_SERVICE, FORWARD, INPUT, OUTPUT, REFUSED_ADDRESSES, REFUSED_PORTS, group, loopback};
use super::ruleset::*;
use crate::{Config, Protocol};

const REFUSE: &str = "refuse";
const UNANSWERED: &str = "unanswered";

pub(super) fn chains(config: &Config) -> [(String, Chain); 5] {
    let established = || Rule::of([Match::Established.into(), Verdict::Accept.into()]);
    let unanswered = || Rule::of([Verdict::Jump(UNANSWERED.into()).into()]);
    let filter = |hook, rules| Chain::at(ChainKind::Filter, hook, 0, rules);
    let forward = [
        Match::Source { net: config.cluster_range, inside: true },
        Match::Destination { net: config.cluster_range, inside: true },
    ]
    // Tracking did not undo the change of address of such a packet: its receiver would reset a sound connection.
    .map(|ours| Rule::of([Match::Invalid.into(), ours.into(), Verdict::Drop.into()]));
    // Pods share one link with themselves only; a redirect could make them forget the way to the gateway.
    let redirect =
        Rule::of([Match::OutGroup(group(&config.id)).into(), Match::IcmpRedirect.into(), Verdict::Drop.into()]);
    // As the chain `guard`, for where a changed destination leads; answers to the host's own requests pass before.
    let guard = Rule::of([
        Match::InGroup(group(&config.id)).into(),
        Match::Destination { net: loopback(), inside: true }.into(),
        Verdict::Drop.into(),
    ]);
    [
        ("forward".into(), filter(FORWARD, [established()].into_iter().chain(forward).chain([unanswered()]).collect())),
        ("input".into(), filter(INPUT, vec![established(), guard, unanswered()])),
        ("output-filter".into(), filter(OUTPUT, vec![redirect, established(), unanswered()])),
        (UNANSWERED.into(), Chain::of(unanswered_rules(config))),
        (REFUSE.into(), Chain::of(refuse_rules())),
    ]
}

/// What was not led to an endpoint and yet wants a service.
fn unanswered_rules(config: &Config) -> Vec<Rule> {
    let refuse = || Statement::from(Verdict::Goto(REFUSE.into()));
    vec![
        Rule::of([Match::Destination { net: config.service_range, inside: true }.into(), refuse()]),
        Rule::of([Match::Member { fields: BY_SERVICE, set: REFUSED_ADDRESSES.into() }.into(), refuse()]),
        Rule::of([
            Match::DestinationLocal.into(),
            Match::Member { fields: BY_PORT, set: REFUSED_PORTS.into() }.into(),
            refuse(),
        ]),
    ]
}

fn refuse_rules() -> Vec<Rule> {
    vec![
        Rule::of([Match::Protocol(Protocol::Tcp).into(), Statement::Reject(Refusal::TcpReset)]),
        Rule::of([Statement::Reject(Refusal::PortUnreachable)]),
    ]
}
