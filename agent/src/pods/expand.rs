//! `$(NAME)` in environment values, commands, arguments and `subPathExpr`, as
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/> has it.

/// `$(NAME)` becomes what `lookup` has, and stays as it is where that is `None`; `$$` becomes `$`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The first name that `expand` would not find.
pub fn missing(text: &str, known: impl Fn(&str) -> bool) -> Option<String> {
    let found = std::cell::RefCell::new(None);
    expand(text, |name| {
        if !known(name) {
            found.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        None
    });
    found.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_as_upstream_expands_them() {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let table = [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(EMPTY)|", "|"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("a$", "a$"),
            ("$()", "$()"),
            ("é$(A)é", "é1é"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
        assert_eq!(missing("a/$(A)/$(B)/$(C)", |n| n == "A").as_deref(), Some("B"));
        assert_eq!(missing("$$(B)", |_| false), None);
    }
}
