//! Columns and cells of `kubectl get`, as the server prints them.

use coracle_proto::{Tree, meta, time};
use jiff::Timestamp;
use serde_json::{Value, json};

/// One column of a `meta.k8s.io/v1 Table`.
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`, ….
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    /// 0 always, 1 with `-o wide`.
    pub priority: u8,
    pub description: &'static str,
}

pub const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    let format = if matches!(name.as_bytes(), b"Name") { "name" } else { "" };
    Column { name, kind, format, priority: 0, description }
}

/// Shown with `-o wide` only.
pub const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", priority: 1, description }
}

impl Column {
    pub fn to_tree(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

pub fn name_cell(object: &Tree) -> Value {
    meta::name(object).into()
}

/// How long ago the object was made.
pub fn age(object: &Tree, now: Timestamp) -> Value {
    since(object["metadata"]["creationTimestamp"].as_str(), now)
}

pub fn since(at: Option<&str>, now: Timestamp) -> Value {
    match at.and_then(time::parse) {
        Some(at) => human_duration(now.as_second().saturating_sub(at.as_second())).into(),
        None => "<unknown>".into(),
    }
}

/// Upstream's `duration.HumanDuration`: two units while small, one when large.
pub fn human_duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |a: i64, au: &str, b: i64, bu: &str| {
        if b == 0 { format!("{a}{au}") } else { format!("{a}{au}{b}{bu}") }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 365 * 2 {
        format!("{days}d")
    } else if days < 365 * 8 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_upstreams() {
        let table = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (601, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (9 * 3600, "9h"),
            (48 * 3600, "2d"),
            (50 * 3600, "2d2h"),
            (9 * 86400, "9d"),
            (800 * 86400, "2y70d"),
            (3000 * 86400, "8y"),
        ];
        for (seconds, text) in table {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
