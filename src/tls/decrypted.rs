/// What was decrypted and not yet read.
#[derive(Debug, Default)]
pub(super) struct Decrypted {
    bytes: Vec<u8>,
    start: usize,
}

impl Decrypted {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn len(&self) -> u64 {
        (self.bytes.len() - self.start) as u64
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let left = &self.bytes[self.start..];
        let n = left.len().min(out.len());
        out[..n].copy_from_slice(&left[..n]);
        self.start += n;
        if self.is_empty() {
            // An idle connection keeps no memory.
            *self = Decrypted::default();
        }
        n
    }

    pub(super) fn space(&mut self, length: usize) -> &mut [u8] {
        let end = self.bytes.len();
        self.bytes.resize(end + length, 0);
        &mut self.bytes[end..]
    }
}
