//! Netlink attributes: type, length, value, padded to four bytes, possibly nested.

use netlink_packet_core::{NLA_F_NESTED, NLA_HEADER_SIZE, NlasIterator};

/// Appends attributes to a message.
pub struct Attributes<'a>(pub &'a mut Vec<u8>);

impl Attributes<'_> {
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.wrap(kind, |buffer| buffer.extend_from_slice(value));
    }

    /// Numbers travel in network order, except where they are data that a packet's register is compared with.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn string(&mut self, kind: u16, value: &str) {
        self.wrap(kind, |buffer| {
            buffer.extend_from_slice(value.as_bytes());
            buffer.push(0);
        });
    }

    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.wrap(kind | NLA_F_NESTED, |buffer| fill(&mut Attributes(buffer)));
    }

    fn wrap(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; NLA_HEADER_SIZE]);
        fill(self.0);
        let length = u16::try_from(self.0.len() - start).expect("lists are cut into pieces, all else is small");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// The attributes in `buffer` up to the first that is damaged, as pairs of type and value.
pub fn parse(buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(buffer).map_while(Result::ok).map(|attribute| {
        let length = usize::from(attribute.length());
        (attribute.kind(), &attribute.into_inner()[NLA_HEADER_SIZE..length])
    })
}

/// The value of the first attribute of this type.
pub fn find(buffer: &[u8], kind: u16) -> Option<&[u8]> {
    parse(buffer).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Text that ends with a zero byte.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut buffer = Vec::new();
        let mut attributes = Attributes(&mut buffer);
        attributes.string(1, "abc");
        attributes.number(2, 7);
        attributes.nest(3, |inner| inner.bytes(4, &[1, 2, 3, 4, 5]));
        assert_eq!(buffer.len() % 4, 0);
        assert_eq!(find(&buffer, 1).map(text).as_deref(), Some("abc"));
        assert_eq!(find(&buffer, 2).and_then(number), Some(7));
        assert_eq!(find(&buffer, 3).and_then(|inner| find(inner, 4)), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(find(&buffer, 9), None);
    }

    #[test]
    fn damaged_attributes_end_the_list() {
        for damaged in [&[1, 0, 0, 0][..], &[255, 255, 1, 0], &[8], &[8, 0, 1, 0, 1]] {
            assert_eq!(parse(damaged).count(), 0);
        }
    }
}
