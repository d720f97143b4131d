//! PAX records: what a header has no room for. Rule: POSIX.1-2017, `pax`, "pax Extended Header".

use super::Time;
use super::sparse::SparseRecords;
use crate::images::fault::Fault;

/// What the extension headers before a member say about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<(String, Vec<u8>)>,
    pub sparse: SparseRecords,
}

impl Extensions {
    pub fn is_empty(&self) -> bool {
        *self == Extensions::default()
    }

    pub fn add_pax(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let (record, rest) = split_record(bytes).ok_or_else(|| Fault::bad("a PAX record is damaged"))?;
            bytes = rest;
            let (key, value) = record;
            self.add_record(key, value).ok_or_else(|| Fault::bad(format!("the PAX record {key:?} is damaged")))?;
        }
        Ok(())
    }

    fn add_record(&mut self, key: &str, value: &[u8]) -> Option<()> {
        match key {
            "path" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(number(value)?),
            "uid" => self.uid = Some(number(value)?),
            "gid" => self.gid = Some(number(value)?),
            "mtime" => self.mtime = Some(time(value)?),
            _ => match key.strip_prefix("SCHILY.xattr.") {
                Some(name) => self.xattrs.push((name.to_owned(), value.to_vec())),
                None => self.sparse.add(key, value)?,
            },
        }
        Some(())
    }
}

type Record<'a> = (&'a str, &'a [u8]);

/// `<length> <key>=<value>\n`, the length that of the whole record.
fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(number(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|b| *b == b'=')?;
    let key = std::str::from_utf8(&record[..equals]).ok()?;
    Some(((key, &record[equals + 1..]), rest))
}

pub fn number(text: &[u8]) -> Option<u64> {
    match text.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(text).ok()?.parse().ok(),
        false => None,
    }
}

/// Seconds with a fraction, before 1970 with a minus.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = i64::try_from(number(whole.as_bytes())?).ok()?;
    number(fraction.as_bytes()).or(fraction.is_empty().then_some(0))?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    Some(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos: 0 },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_newlines_and_any_bytes() {
        let mut record = b"SCHILY.xattr.security.capability=\n\x01\n=\n".to_vec();
        let length = record.len() + 3;
        record.splice(0..0, format!("{length} ").into_bytes());
        record.extend(b"12 path=a\nb\n");
        let mut extensions = Extensions::default();
        extensions.add_pax(&record).unwrap();
        assert_eq!(extensions.xattrs, [("security.capability".to_owned(), b"\n\x01\n=".to_vec())]);
        assert_eq!(extensions.path, Some(b"a\nb".to_vec()));
    }

    #[test]
    fn damaged_records_are_refused() {
        for record in [
            "x",
            "9",
            "99 path=a\n",
            "3 a=\n",
            "10 path=abc",
            "11 size=-1\n\n",
            "0 a=b\n",
            "11 size=+12\n",
            "18446744073709551616 a=b\n",
        ] {
            assert!(Extensions::default().add_pax(record.as_bytes()).is_err(), "{record:?}");
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        let table = [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("3.1234567891", 3, 123_456_789),
        ];
        for (text, seconds, nanos) in table {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanos }), "{text}");
        }
        for text in ["", ".", "1.x", "--1", "9223372036854775808"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }
}
