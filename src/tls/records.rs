/// Where the records of an encrypted stream end. Each begins with its type, two bytes of version, and two of length.
#[derive(Debug, Default)]
pub(super) struct Records {
    received: u64,
    /// How many bytes of the current record have been received; 0 between two records.
    partial: usize,
    /// How long the current record is after its header.
    length: usize,
}

impl Records {
    const HEADER: usize = 5;

    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        self.received += bytes.len() as u64;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.partial < Self::HEADER {
                self.length = (self.length << 8 | usize::from(byte)) & 0xffff;
                (self.partial, bytes) = (self.partial + 1, rest);
            } else {
                let here = self.left().min(bytes.len());
                (self.partial, bytes) = (self.partial + here, &bytes[here..]);
            }
            if self.partial >= Self::HEADER && self.partial == Self::HEADER + self.length {
                self.partial = 0;
            }
        }
    }

    /// How many bytes have been received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// How many of them are whole records.
    pub(super) fn complete(&self) -> u64 {
        self.received - self.partial as u64
    }

    /// How much of the current record is known to be missing; at least 1.
    pub(super) fn left(&self) -> usize {
        let end = match self.partial {
            ..Self::HEADER => Self::HEADER,
            _ => Self::HEADER + self.length,
        };
        end - self.partial
    }

    pub(super) fn is_partial(&self) -> bool {
        self.partial > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_where_their_headers_say_however_they_arrive() {
        let stream = [
            &[23, 3, 3, 0, 3, 7, 7, 7][..],
            &[21, 3, 3, 0, 0],
            &[23, 3, 3, 1, 0],
        ]
        .concat();
        for size in 1..stream.len() {
            let mut records = Records::default();
            let mut ends = Vec::new();
            for piece in stream.chunks(size) {
                records.add(piece);
                ends.push(records.complete());
            }
            assert!(
                ends.iter().all(|end| [0, 8, 13].contains(end)),
                "{size}: {ends:?}"
            );
            assert_eq!((records.complete(), records.received()), (13, 18), "{size}");
        }
    }
}
