//! `$NAME=VALUE` and `$NAME`: keepalived's definitions, its predefined ones, and how text refers to them.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::{
    super::source::Place,
    line::{BLANKS, Line},
};

/// The greatest number that `${_RANDOM}` gives if nothing is said.
const RANDOM: u64 = 32_767;

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: Arc<str>,
    /// No two definitions have the same, also if they define the same name again.
    pub(super) serial: u32,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Text, and the place that is shown for it.
    Text(String, Place),
    /// Lines; the first one goes where the name stands, the others come after it.
    Lines(Vec<Line>),
    Predefined(Predefined),
}

/// What keepalived defines by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predefined {
    Folder,
    Instance,
    Random,
    Environment,
    Hash,
    Bang,
}

impl Predefined {
    const ALL: [(&'static str, Self); 6] = [
        ("_PWD", Self::Folder),
        ("_INSTANCE", Self::Instance),
        ("_RANDOM", Self::Random),
        ("_ENV", Self::Environment),
        ("_HASH", Self::Hash),
        ("_BANG", Self::Bang),
    ];

    /// What is wrong with the words behind the name, if anything.
    pub(super) fn objection(self, parameters: &[&str]) -> Option<&'static str> {
        let digits = |word: &&str| word.bytes().all(|c| c.is_ascii_digit());
        match self {
            Self::Random if parameters.len() > 2 || !parameters.iter().all(digits) => {
                Some("it takes two numbers at most: `${_RANDOM LOWEST HIGHEST}`")
            }
            Self::Random if Self::range(parameters).is_none() => {
                Some("the first number must not be above the second")
            }
            Self::Environment if parameters.len() != 1 => {
                Some("it takes the name of a variable of the environment: `${_ENV NAME}`")
            }
            Self::Folder | Self::Instance | Self::Hash | Self::Bang if !parameters.is_empty() => {
                Some("it takes nothing behind its name")
            }
            _ => None,
        }
    }

    /// The bounds of `_RANDOM`.
    pub(super) fn range(parameters: &[&str]) -> Option<(u64, u64)> {
        let number = |at: usize| parameters.get(at).map(|word| word.parse().unwrap_or(u64::MAX));
        let (low, high) = (number(0).unwrap_or(0), number(1).unwrap_or(RANDOM));
        (low <= high).then_some((low, high))
    }
}

/// A use of a name: `$NAME`, `${NAME}` or `${NAME WORDS}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    pub(super) name: &'t str,
    pub(super) parameters: Vec<&'t str>,
    /// Where it ends in the text.
    pub(super) end: usize,
}

impl<'t> Reference<'t> {
    /// The use that begins at a `$`, if there is one.
    pub(super) fn read(text: &'t str, dollar: usize) -> Option<Self> {
        let after = text.get(dollar + 1..)?;
        if let Some(braced) = after.strip_prefix('{') {
            let name = name(braced)?;
            let rest = braced.get(name.len()..)?;
            let inner = rest.get(..rest.find('}')?)?;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || BLANKS.contains(&c);
            if !inner.chars().all(word) || inner.ends_with(BLANKS) {
                return None;
            }
            let parameters = inner.split(BLANKS).filter(|word| !word.is_empty()).collect();
            let end = dollar + 2 + name.len() + inner.len() + 1;
            return Some(Self { name, parameters, end });
        }
        let name = name(after)?;
        let end = dollar + 1 + name.len();
        let ends = text.get(end..)?.chars().next().is_none_or(ends_name);
        ends.then_some(Self { name, parameters: Vec::new(), end })
    }
}

/// The name that a `$` without braces seems to be about, though it must not end here.
pub(super) fn loose(text: &str, dollar: usize) -> Option<&str> {
    name(text.get(dollar + 1..)?)
}

/// What may follow a name without braces.
const fn ends_name(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',' | ')')
}

fn name(text: &str) -> Option<&str> {
    let length = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let name = text.get(..length)?;
    name.starts_with(|c: char| !c.is_ascii_digit()).then_some(name)
}

/// A line that defines a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header<'t> {
    /// The name, and where its value begins.
    Definition(&'t str, usize),
    /// What is wrong with it.
    Wrong(&'static str),
}

impl<'t> Header<'t> {
    /// What a line defines, if it begins with `$`, a name and `=`, or nearly so.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        let after = text.strip_prefix('$')?;
        let equals = after.find('=')?;
        let before = after.get(..equals)?;
        if let Some(name) = name(before)
            && name == before
        {
            let value = after.get(equals + 1..)?.trim_start_matches(BLANKS);
            return Some(Self::Definition(name, text.len() - value.len()));
        }
        let trimmed = before.trim_end_matches(BLANKS);
        if trimmed.is_empty() || trimmed.contains(BLANKS) || trimmed.contains(['{', '}', '$', '"'])
        {
            return None;
        }
        Some(Self::Wrong(if trimmed.len() < before.len() && name(trimmed) == Some(trimmed) {
            "no blank may stand before the `=`"
        } else {
            "a name has letters, digits and `_`, and does not begin with a digit"
        }))
    }
}

/// All definitions that hold at the moment.
#[derive(Debug)]
pub(super) struct Variables {
    by_name: HashMap<Arc<str>, Rc<Definition>>,
    count: u32,
}

impl Variables {
    /// The predefined ones.
    pub(super) fn new() -> Self {
        let mut variables = Self { by_name: HashMap::new(), count: 0 };
        for (name, predefined) in Predefined::ALL {
            variables.define(name, Value::Predefined(predefined));
        }
        variables
    }

    /// Defines a name, perhaps again.
    pub(super) fn define(&mut self, name: &str, value: Value) {
        self.count += 1;
        let name = self
            .by_name
            .get_key_value(name)
            .map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        let definition = Definition { name: Arc::clone(&name), serial: self.count, value };
        self.by_name.insert(name, Rc::new(definition));
    }

    pub(super) fn get(&self, name: &str) -> Option<&Rc<Definition>> {
        self.by_name.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_keepalived_sees_its_end() {
        let read = |text| Reference::read(text, 0).map(|found| (found.name, found.end));
        assert_eq!(read("$A"), Some(("A", 2)));
        assert_eq!(read("$A b"), Some(("A", 2)));
        assert_eq!(read("$a_1,b"), Some(("a_1", 4)));
        assert_eq!(read("$A)"), Some(("A", 2)));
        assert_eq!(read("$A.1"), None);
        assert_eq!(read("$A\""), None);
        assert_eq!(read("${A}1"), Some(("A", 4)));
        assert_eq!(read("${A }"), None);
        assert_eq!(read("${A"), None);
        assert_eq!(read("${1}"), None);
        assert_eq!(read("$"), None);
        assert_eq!(read("$1"), None);
        assert_eq!(read("${É}"), None);
        assert_eq!(loose("x$A.1", 1), Some("A"));
    }

    #[test]
    fn words_may_follow_a_name_in_braces() {
        let found = Reference::read("x${_RANDOM 1  20}y", 1).unwrap();
        assert_eq!((found.name, found.parameters, found.end), ("_RANDOM", vec!["1", "20"], 17));
        assert_eq!(Predefined::range(&["5"]), Some((5, 32_767)));
        assert_eq!(Predefined::range(&[]), Some((0, 32_767)));
        assert_eq!(Predefined::range(&["2", "1"]), None);
        for (predefined, parameters, fits) in [
            (Predefined::Random, &["1", "2"][..], true),
            (Predefined::Random, &["1", "2", "3"], false),
            (Predefined::Random, &["a"], false),
            (Predefined::Random, &["40000"], false),
            (Predefined::Environment, &["HOME"], true),
            (Predefined::Environment, &[], false),
            (Predefined::Hash, &["a"], false),
        ] {
            assert_eq!(predefined.objection(parameters).is_none(), fits, "{parameters:?}");
        }
    }

    #[test]
    fn what_defines_a_name() {
        assert_eq!(Header::read("$A=b c"), Some(Header::Definition("A", 3)));
        assert_eq!(Header::read("$A=  b"), Some(Header::Definition("A", 5)));
        assert_eq!(Header::read("$A="), Some(Header::Definition("A", 3)));
        assert!(matches!(Header::read("$A =b"), Some(Header::Wrong(_))));
        assert!(matches!(Header::read("$1=b"), Some(Header::Wrong(_))));
        assert!(matches!(Header::read("$a-b=b"), Some(Header::Wrong(_))));
        assert_eq!(Header::read("$A b=c"), None);
        assert_eq!(Header::read("${A}=c"), None);
        assert_eq!(Header::read("$A"), None);
    }
}
