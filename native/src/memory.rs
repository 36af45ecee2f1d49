//! What a decoder remembers from batch to batch: Python's objects for texts of which there are few.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::read::{Word, is_text};

const MAX_STATUS_CHARS: usize = 64;
/// Texts that are remembered; then all are forgotten. A longer one is made anew each time.
const MAX_SHARED: usize = 8_192;
const MAX_SHARED_BYTES: usize = 128;
const FLAGS: usize = 7;

/// Texts of which equal ones are one object, as far as they are remembered.
#[derive(Default)]
pub struct Texts {
    known: HashMap<Box<str>, Py<PyString>>,
}

impl Texts {
    pub fn get(&mut self, py: Python<'_>, text: &str) -> Py<PyString> {
        if let Some(known) = self.known.get(text) {
            return known.clone_ref(py);
        }
        let found = PyString::intern(py, text).unbind();
        if text.len() <= MAX_SHARED_BYTES {
            forget_at(&mut self.known, MAX_SHARED);
            self.known.insert(text.into(), found.clone_ref(py));
        }
        found
    }
}

/// See the fields of `EventDecoder`.
pub struct Memory {
    /// What the profile calls a status, where it has another name.
    names: HashMap<String, String>,
    /// Where there are any, the only statuses that may be.
    only: Vec<String>,
    flags: [Py<PyString>; FLAGS],
    sets: HashMap<u8, Py<PyTuple>>,
    texts: Texts,
    /// None for one that is refused.
    statuses: HashMap<Box<str>, Option<Py<PyString>>>,
}

impl<'a, 'py> FromPyObject<'a, 'py> for Memory {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let (names, only, flags) = given.extract()?;
        let (sets, texts, statuses) = (HashMap::new(), Texts::default(), HashMap::new());
        Ok(Self { names, only, flags, sets, texts, statuses })
    }
}

impl Memory {
    /// Return a status as the profile names it; None where it is one that the reference decoder has to refuse.
    pub fn status(&mut self, py: Python<'_>, word: Word<'_>) -> Option<Py<PyString>> {
        with_text(word, |text| {
            if let Some(known) = self.statuses.get(text) {
                return known.as_ref().map(|status| status.clone_ref(py));
            }
            let status = self.names.get(text).map_or(text, String::as_str);
            let may_be = self.only.is_empty() || self.only.iter().any(|only| only == status);
            let is_sound = !status.is_empty() && status.chars().count() <= MAX_STATUS_CHARS && is_text(status);
            let found = (may_be && is_sound).then(|| PyString::intern(py, status).unbind());
            if text.len() <= MAX_SHARED_BYTES {
                forget_at(&mut self.statuses, MAX_SHARED);
                self.statuses.insert(text.into(), found.as_ref().map(|status| status.clone_ref(py)));
            }
            found
        })
    }

    /// Return a text of which equal ones are one object, as far as they are remembered.
    pub fn shared(&mut self, py: Python<'_>, word: Word<'_>) -> Py<PyString> {
        with_text(word, |text| self.texts.get(py, text))
    }

    /// Return texts, all of them UTF-8, as a tuple.
    pub fn tuple(&mut self, py: Python<'_>, texts: &[&[u8]]) -> PyResult<Py<PyTuple>> {
        let texts = texts.iter().filter_map(|text| std::str::from_utf8(text).ok());
        let found: Vec<_> = texts.map(|text| self.texts.get(py, text)).collect();
        Ok(PyTuple::new(py, found)?.unbind())
    }

    /// Return the names of some flags, given as bits.
    pub fn flags(&mut self, py: Python<'_>, bits: u8) -> PyResult<Py<PyTuple>> {
        if let Some(known) = self.sets.get(&bits) {
            return Ok(known.clone_ref(py));
        }
        let names = self.flags.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        let found = PyTuple::new(py, names.map(|(_, name)| name).collect::<Vec<_>>())?.unbind();
        self.sets.insert(bits, found.clone_ref(py));
        Ok(found)
    }
}

fn forget_at<V>(known: &mut HashMap<Box<str>, V>, limit: usize) {
    if known.len() >= limit {
        known.clear();
    }
}

fn with_text<T>(word: Word<'_>, use_it: impl FnOnce(&str) -> T) -> T {
    match word {
        Word::Text(text) => use_it(text),
        Word::Number(number) => use_it(&number.to_string()),
    }
}
