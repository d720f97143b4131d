//! Counts by powers of two: as much of a histogram as openraft asks for, in half a kilobyte each.

use std::fmt;
use std::marker::PhantomData;

/// How many values there were between one power of two and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// The first counts zeros, the one after it ones, then two and three, four to seven, and so on.
    counts: [u64; 65],
    data: PhantomData<T>,
}

impl<T> Histogram<T> {
    pub fn new() -> Self {
        Histogram { counts: [0; 65], data: PhantomData }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, count: u64) {
        let bits = u64::BITS - value.leading_zeros();
        self.counts[bits as usize] += count;
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.counts.iter().sum(),
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }

    /// The power of two below which this part of the values lies, rounded down.
    fn permille(&self, part: u64) -> u64 {
        let samples: u64 = self.counts.iter().sum();
        let mut seen = 0;
        for (bits, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen > 0 && u128::from(seen) * 1000 >= u128::from(samples) * u128::from(part) {
                return if bits == 0 { 0 } else { 1 << (bits - 1) };
            }
        }
        0
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Histogram::new()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p0_1, p1, p5, p10, p50, p90, p99, p99_9 } = self;
        write!(f, "[{samples} samples, 0.1 %: {p0_1}, 1 %: {p1}, 5 %: {p5}, 10 %: {p10}, 50 %: {p50}, ")?;
        write!(f, "90 %: {p90}, 99 %: {p99}, 99.9 %: {p99_9}]")
    }
}

/// Several histograms, one line each.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart(String);

impl AsciiChart {
    pub fn new() -> Self {
        AsciiChart::default()
    }

    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        use fmt::Write;
        writeln!(self.0, "{name:>24} {}", histogram.percentile_stats()).expect("a string takes everything");
        self
    }

    pub fn compact(&self) -> &str {
        &self.0
    }

    pub fn detailed(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_powers_of_two_below_the_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats(), PercentileStats::default());
        histogram.record_n(0, 1);
        histogram.record_n(5, 98);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p5, stats.p50, stats.p99), (100, 0, 4, 4, 4));
        assert_eq!(stats.p99_9, 1 << 63);
    }
}
