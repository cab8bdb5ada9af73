//! What is wrong with a configuration: each fault with its file, its line and the reason, in the order of the lines.

use std::fmt;

/// All that is wrong with one file. Shown with a line for each fault: `FILE:LINE: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) file: String,
    pub(crate) faults: Vec<Fault>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From one. Zero is the file as a whole.
    pub(crate) line: usize,
    /// Whole sentences: what is wrong, and what would be right.
    pub(crate) what: String,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { line, what }) in self.faults.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{end}{}: {what}", self.file)?,
                line => write!(f, "{end}{}:{line}: {what}", self.file)?,
            }
        }
        Ok(())
    }
}

/// What may have been meant by a name that is not known, to be put behind what is said of it.
pub(crate) fn meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|known| (distance(name, known), known)).min();
    match nearest {
        None => String::new(),
        // A third of its letters may be wrong, and one of any.
        Some((steps, known)) if steps <= (name.len() / 3).max(1) => format!(" Did you mean `{known}`?"),
        Some(_) => format!(" Known are: {}.", known.join(", ")),
    }
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour to make one name of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut line: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let changed = line[column] + usize::from(letter != wanted);
            let mut steps = changed.min(line[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && one[row - 1] == *wanted && *letter == other[column - 1] {
                steps = steps.min(before[column - 1] + 1);
            }
            next.push(steps);
        }
        before = std::mem::replace(&mut line, next);
    }
    line[other.len()]
}
