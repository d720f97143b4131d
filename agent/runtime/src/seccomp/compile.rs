//! A profile as programs for the kernel. One program of seccompiler answers in two ways only, so a profile with more
//! actions becomes a stack: the first lets through what any rule names, the others each answer for one action.

use super::SeccompError;
use super::profile::{Action, Argument, Compare, Profile, Rule};
use super::syscalls::number;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

pub type Program = BpfProgram;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What a refused call returns unless the profile says otherwise.
const EPERM: u32 = 1;

pub fn compile(profile: &Profile) -> Result<Vec<Program>, SeccompError> {
    let default = action(profile.default_action, profile.default_errno_ret);
    let mut groups: Vec<(SeccompAction, Rules)> = Vec::new();
    let mut named = Rules::new();
    for rule in &profile.syscalls {
        let answer = action(rule.action, rule.errno_ret);
        if answer == default {
            continue;
        }
        add(&mut named, rule)?;
        match groups.iter_mut().find(|(one, _)| *one == answer) {
            Some((_, rules)) => add(rules, rule)?,
            None => {
                let mut rules = Rules::new();
                add(&mut rules, rule)?;
                groups.push((answer, rules));
            }
        }
    }
    let mut programs = Vec::new();
    if default != SeccompAction::Allow {
        programs.push(program(named, default, SeccompAction::Allow)?);
    }
    for (answer, rules) in
        groups.into_iter().filter(|(answer, rules)| *answer != SeccompAction::Allow && !rules.is_empty())
    {
        programs.push(program(rules, SeccompAction::Allow, answer)?);
    }
    Ok(programs)
}

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<Program, SeccompError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(invalid)?;
    SeccompFilter::new(rules, otherwise, matched, arch).map_err(invalid)?.try_into().map_err(invalid)
}

/// Calls that this machine does not have are left out, as everywhere: profiles are written for many machines.
fn add(rules: &mut Rules, rule: &Rule) -> Result<(), SeccompError> {
    for number in rule.names.iter().filter_map(|name| number(name)) {
        let fresh = !rules.contains_key(&number);
        let ways = rules.entry(number).or_default();
        if rule.args.is_empty() {
            // No condition: an empty list means always.
            ways.clear();
        } else if fresh || !ways.is_empty() {
            ways.extend(alternatives(&rule.args)?);
        }
    }
    Ok(())
}

/// Conditions on different arguments all have to hold. Several on the same one are alternatives, as runc reads them.
fn alternatives(args: &[Argument]) -> Result<Vec<SeccompRule>, SeccompError> {
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let repeated = args.iter().enumerate().any(|(at, one)| args[..at].iter().any(|other| other.index == one.index));
    let ways = if repeated { conditions.into_iter().map(|one| vec![one]).collect() } else { vec![conditions] };
    ways.into_iter().map(|way| SeccompRule::new(way).map_err(invalid)).collect()
}

fn condition(argument: &Argument) -> Result<SeccompCondition, SeccompError> {
    let (compare, value) = match argument.op {
        Compare::NotEqual => (SeccompCmpOp::Ne, argument.value),
        Compare::Less => (SeccompCmpOp::Lt, argument.value),
        Compare::LessOrEqual => (SeccompCmpOp::Le, argument.value),
        Compare::Equal => (SeccompCmpOp::Eq, argument.value),
        Compare::GreaterOrEqual => (SeccompCmpOp::Ge, argument.value),
        Compare::Greater => (SeccompCmpOp::Gt, argument.value),
        Compare::MaskedEqual => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, compare, value).map_err(invalid)
}

fn action(action: Action, errno: Option<u32>) -> SeccompAction {
    match action {
        Action::Allow => SeccompAction::Allow,
        Action::Errno => SeccompAction::Errno(errno.unwrap_or(EPERM)),
        Action::KillThread => SeccompAction::KillThread,
        Action::KillProcess => SeccompAction::KillProcess,
        Action::Trap => SeccompAction::Trap,
        Action::Trace => SeccompAction::Trace(errno.unwrap_or_default()),
        Action::Log => SeccompAction::Log,
    }
}

fn invalid(error: impl std::fmt::Display) -> SeccompError {
    SeccompError::Profile(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{default, parse};
    use super::*;

    #[test]
    fn the_default_profile_compiles_with_and_without_capabilities() {
        assert_eq!(compile(&default::profile(&[])).unwrap().len(), 2, "one to refuse, one for clone3");
        let all: Vec<String> = ["SYS_ADMIN", "SYS_PTRACE", "SYS_TIME"].map(str::to_owned).to_vec();
        assert_eq!(compile(&default::profile(&all)).unwrap().len(), 1);
    }

    #[test]
    fn every_action_has_its_own_program() {
        let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],
            "syscalls":[
              {"names":["read","not_a_call"],"action":"SCMP_ACT_ALLOW"},
              {"names":["write"],"action":"SCMP_ACT_LOG"},
              {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
              {"names":["mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
        assert_eq!(compile(&parse(json).unwrap()).unwrap().len(), 3);
        let open = br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        assert!(compile(&parse(open).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_rule_without_conditions_wins_over_one_with() {
        let rule = |args| Rule { names: vec!["read".into()], action: Action::Allow, errno_ret: None, args };
        let argument = Argument { index: 0, value: 1, value_two: 0, op: Compare::Equal };
        for order in [[vec![], vec![argument.clone()]], [vec![argument], vec![]]] {
            let mut rules = Rules::new();
            for args in order {
                add(&mut rules, &rule(args)).unwrap();
            }
            assert!(rules.values().all(Vec::is_empty));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for json in [
            &b"{"[..],
            br#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
                "args":[{"index":9,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        ] {
            assert!(parse(json).is_err(), "{}", String::from_utf8_lossy(json));
        }
    }
}
