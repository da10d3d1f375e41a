//! `Trail`: the path that was looked up last, component by component. The next path mostly shares its
//! first components, so that remembered directories need not be looked up again.

/// A path, and where each of its components ends.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    path: Vec<u8>,
    ends: Vec<usize>,
}

impl Trail {
    /// How many components the path has.
    pub fn depth(&self) -> usize {
        self.ends.len()
    }

    /// One component, counted from 0.
    pub fn component(&self, index: usize) -> &[u8] {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] + 1,
            None => 0,
        };
        &self.path[start..self.ends[index]]
    }

    /// Changes to another path ([`EntryPath::as_bytes`](super::EntryPath::as_bytes)), and returns how
    /// many of its first components are those of the path before.
    pub fn change(&mut self, path: &[u8]) -> usize {
        let common = common_length(&self.path, path);
        let is_kept = |end: usize| end < common || (end == common && is_end(path, end));
        while self.ends.pop_if(|end| !is_kept(*end)).is_some() {}
        let kept = self.ends.len();
        let mut start = self.ends.last().map_or(0, |end| end + 1);
        self.path.truncate(common);
        self.path.extend_from_slice(&path[common..]);
        while start < path.len() {
            let slash = path[start..].iter().position(|&byte| byte == b'/');
            let end = slash.map_or(path.len(), |length| start + length);
            self.ends.push(end);
            start = end + 1;
        }
        kept
    }

    /// Forgets the path.
    pub fn clear(&mut self) {
        self.path.clear();
        self.ends.clear();
    }
}

fn is_end(path: &[u8], end: usize) -> bool {
    path.get(end).is_none_or(|&byte| byte == b'/')
}

fn common_length(one: &[u8], other: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let blocks = one.chunks_exact(BLOCK).zip(other.chunks_exact(BLOCK));
    let start = BLOCK * blocks.take_while(|(one, other)| one == other).count();
    let bytes = one[start..].iter().zip(&other[start..]);
    start + bytes.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::Trail;

    #[test]
    fn what_two_paths_share_is_kept() {
        let deep = "x/".repeat(40);
        let (near, far) = (format!("{deep}near"), format!("{deep}n/f"));
        for (before, after, kept) in [
            ("", "", 0),
            ("", "a/b", 0),
            ("a/b", "a/b", 2),
            ("a/b", "a/b/c", 2),
            ("a/b/c", "a/b", 2),
            ("a/b", "a/bc", 1),
            ("a/bc", "a/b", 1),
            ("a", "ab", 0),
            ("ab", "a/b", 0),
            ("a/b", "", 0),
            (&near, &far, 40),
            (&far, &near, 40),
        ] {
            let mut trail = Trail::default();
            trail.change(before.as_bytes());
            assert_eq!(trail.change(after.as_bytes()), kept, "{before} {after}");
            let components = (0..trail.depth()).map(|index| trail.component(index));
            let components: Vec<&[u8]> = components.collect();
            assert_eq!(components.join(&b'/'), after.as_bytes());
        }
    }
}
