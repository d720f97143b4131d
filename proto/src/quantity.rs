//! `resource.Quantity`: exact decimal amounts such as `100m`, `1.5Gi`, `2e3`.

use std::cmp::Ordering;
use std::fmt;

/// An amount in units of 10⁻⁹ (upstream's finest), exact. Bytes, cores and counts alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Which suffixes the amount is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    #[default]
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// Upstream's message for any text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct QuantityError;

const NANO: i128 = 1_000_000_000;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// With the power of ten of each.
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Whole units.
    pub const fn units(n: i64) -> Self {
        Self { nanos: n as i128 * NANO, format: Format::DecimalSi }
    }

    /// Thousandths: millicores.
    pub const fn millis(n: i64) -> Self {
        Self { nanos: n as i128 * (NANO / 1000), format: Format::DecimalSi }
    }

    /// Bytes, written with binary suffixes.
    pub const fn bytes(n: i64) -> Self {
        Self { nanos: n as i128 * NANO, format: Format::BinarySi }
    }

    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let digits_end = text
            .char_indices()
            .find(|&(at, c)| !(c.is_ascii_digit() || c == '.' || (at == 0 && (c == '+' || c == '-'))))
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at(digits_end);
        let (factor, format) = suffix_factor(suffix)?;
        let nanos = scaled(number, factor)?;
        Ok(Self { nanos, format })
    }

    /// Rounded up, as upstream's `Value()`; saturates at the ends of `i64`.
    pub fn value(self) -> i64 {
        clamp(div_up(self.nanos, NANO))
    }

    /// Rounded up, as upstream's `MilliValue()`.
    pub fn milli_value(self) -> i64 {
        clamp(div_up(self.nanos, NANO / 1000))
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether this is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    pub fn saturating_add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), format: self.format }
    }

    pub fn saturating_sub(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.format }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos).then_with(|| (self.format as u8).cmp(&(other.format as u8)))
    }
}

fn clamp(n: i128) -> i64 {
    n.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Upstream rounds away from zero.
fn div_up(n: i128, by: i128) -> i128 {
    let (whole, rest) = (n / by, n % by);
    whole + rest.signum()
}

/// A factor as (multiplier, power of ten).
fn suffix_factor(suffix: &str) -> Result<((i128, i32), Format), QuantityError> {
    if let Some(power) = BINARY.iter().skip(1).position(|s| *s == suffix) {
        return Ok(((1i128 << (10 * (power + 1)), 0), Format::BinarySi));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok(((1, *exponent), Format::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError)?;
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError)?;
    Ok(((1, exponent), Format::DecimalExponent))
}

/// `number × multiplier × 10^exponent` in nanos, rounded away from zero, capped at ±2⁶³ units.
fn scaled(number: &str, (multiplier, exponent): (i128, i32)) -> Result<i128, QuantityError> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError);
    }
    let cap = i128::from(i64::MAX) * NANO;
    let (mut mantissa, mut lost) = (0i128, 0i32);
    let mut inexact = false;
    for digit in whole.bytes().chain(fraction.bytes()) {
        // Past 28 digits nothing within the cap can change but the rounding.
        if mantissa > 10i128.pow(28) {
            lost += 1;
            inexact |= digit != b'0';
        } else {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
    }
    let mut power = i64::from(exponent) + 9 - fraction.len() as i64 + i64::from(lost);
    let mut value = mantissa;
    let mut multiplier = multiplier;
    while power < 0 && multiplier > 1 && value.checked_mul(multiplier).is_none() {
        inexact |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    value = value.saturating_mul(std::mem::replace(&mut multiplier, 1));
    while power > 0 && value != 0 && value < cap {
        value = value.saturating_mul(10);
        power -= 1;
    }
    while power < 0 && value != 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    let value = (value + i128::from(inexact)).min(cap);
    Ok(if negative { -value } else { value })
}

impl fmt::Display for Quantity {
    /// Upstream's canonical form: the largest suffix that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.nanos.abs();
        // Binary suffixes are for whole amounts of at least one Ki.
        let binary = self.format == Format::BinarySi && magnitude % NANO == 0;
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if binary {
            let mut units = self.nanos / NANO;
            let mut power = 0;
            while units % 1024 == 0 && power + 1 < BINARY.len() {
                units /= 1024;
                power += 1;
            }
            return write!(f, "{units}{}", BINARY[power]);
        }
        let (mut n, mut at) = (self.nanos, 0);
        while n % 1000 == 0 && at + 1 < DECIMAL.len() {
            n /= 1000;
            at += 1;
        }
        let (suffix, exponent) = DECIMAL[at];
        if self.format == Format::DecimalExponent && exponent != 0 {
            write!(f, "{n}e{exponent}")
        } else {
            write!(f, "{n}{suffix}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_are_upstreams() {
        let table = [
            ("0", "0"),
            ("1000m", "1"),
            ("0.1", "100m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1500", "1500"),
            ("2000", "2k"),
            ("1e3", "1e3"),
            ("100E", "9223372036854775807"),
            ("-5m", "-5m"),
            (".5", "500m"),
            ("0.5Ki", "512"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("123456789012345678901234567890", "9223372036854775807"),
        ];
        for (text, canonical) in table {
            assert_eq!(Quantity::parse(text).expect(text).to_string(), canonical, "{text}");
        }
        for bad in ["", "m", "1.2.3", "1x", "1 Gi", "--1", "1e", "1KiB", "e3"] {
            assert_eq!(Quantity::parse(bad), Err(QuantityError), "{bad}");
        }
    }

    #[test]
    fn values_round_up() {
        let q = |s| Quantity::parse(s).expect(s);
        assert_eq!(q("1.1").value(), 2);
        assert_eq!(q("100m").milli_value(), 100);
        assert_eq!(q("1u").milli_value(), 1);
        assert_eq!(q("1Gi").value(), 1 << 30);
        assert!(q("1Gi") > q("1G"));
    }
}
