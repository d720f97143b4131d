//! Kubernetes' two time formats: `metav1.Time` (whole seconds) and `metav1.MicroTime`, both RFC 3339 in UTC.

use jiff::Timestamp;

/// e.g. `2026-01-02T03:04:05Z`.
pub fn render(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// e.g. `2026-01-02T03:04:05.000006Z`.
pub fn render_micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads RFC 3339 with any offset and fraction.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_kubernetes() {
        let at = parse("2026-01-02T05:04:05.000006+02:00").expect("valid");
        assert_eq!(render(at), "2026-01-02T03:04:05Z");
        assert_eq!(render_micro(at), "2026-01-02T03:04:05.000006Z");
        assert_eq!(parse("yesterday"), None);
    }
}
