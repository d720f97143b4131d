//! What the demo counts, in Prometheus' text form.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One thread owns it.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    /// By path and status. Paths are the few it knows, so the table stays small.
    requests: BTreeMap<(&'static str, u16), u64>,
    seconds: f64,
    pub in_flight: u64,
}

const PATHS: [&str; 6] = ["/", "/burn", "/delay", "/healthz", "/metrics", "/ready"];

impl Metrics {
    pub fn new(started: SystemTime) -> Self {
        Metrics { started, requests: BTreeMap::new(), seconds: 0.0, in_flight: 0 }
    }

    pub fn count(&mut self, path: &str, status: u16, took: Duration) {
        let path = PATHS.iter().find(|known| **known == path).copied().unwrap_or("other");
        *self.requests.entry((path, status)).or_default() += 1;
        self.seconds += took.as_secs_f64();
    }

    pub fn render(&self, version: &str) -> String {
        let mut text =
            String::from("# HELP http_requests_total Requests answered.\n# TYPE http_requests_total counter\n");
        let mut line = |args: std::fmt::Arguments<'_>| text.write_fmt(args).expect("a string takes everything");
        for ((path, status), count) in &self.requests {
            line(format_args!("http_requests_total{{path=\"{path}\",code=\"{status}\"}} {count}\n"));
        }
        line(format_args!(
            "# HELP http_request_duration_seconds Time taken by requests.\n# TYPE http_request_duration_seconds summary\n"
        ));
        line(format_args!("http_request_duration_seconds_sum {}\n", self.seconds));
        line(format_args!("http_request_duration_seconds_count {}\n", self.requests.values().sum::<u64>()));
        line(format_args!(
            "# HELP http_requests_in_flight Requests being answered.\n# TYPE http_requests_in_flight gauge\n"
        ));
        line(format_args!("http_requests_in_flight {}\n", self.in_flight));
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        line(format_args!(
            "# HELP process_start_time_seconds When it started.\n# TYPE process_start_time_seconds gauge\n"
        ));
        line(format_args!("process_start_time_seconds {started}\n"));
        let version = version.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        line(format_args!(
            "# HELP demo_info What runs.\n# TYPE demo_info gauge\ndemo_info{{version=\"{version}\"}} 1\n"
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_path_and_status() {
        let mut metrics = Metrics::new(UNIX_EPOCH + Duration::from_secs(7));
        metrics.count("/", 200, Duration::from_millis(250));
        metrics.count("/", 200, Duration::from_millis(250));
        metrics.count("/nowhere/at/all", 404, Duration::ZERO);
        let text = metrics.render("v\"1\"\n");
        for line in [
            "http_requests_total{path=\"/\",code=\"200\"} 2",
            "http_requests_total{path=\"other\",code=\"404\"} 1",
            "http_request_duration_seconds_sum 0.5",
            "http_request_duration_seconds_count 3",
            "process_start_time_seconds 7",
            "demo_info{version=\"v\\\"1\\\"\\n\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
