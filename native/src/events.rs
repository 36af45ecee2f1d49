//! Payloads of one schema to columns of Python values: what an event has of each record, the sound ones in their order.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::memory::Memory;
use crate::program::{At, Program, Slot};
use crate::read::{Flag, MAX_NAME_CHARS, Read, Word, count, is_text, seconds, word};
use crate::walk::{Limits, Row, Value, Walk};

const MAX_NESTED: i64 = 300;
const MAX_ID_CHARS: usize = 256;
const MAX_PAIRS: usize = 16;
const MAX_KEY_CHARS: usize = 64;
const MAX_VALUE_BYTES: usize = 512;
const MAX_TOOLS: usize = 128;
const MAX_TOOL_CHARS: usize = 256;
const MAX_TOOLS_CHARS: usize = 8_192;

/// The texts: id, status, thread, assistant, model, error code.
const WORDS: usize = 6;
const ID: usize = 0;
const STATUS: usize = 1;
const THREAD: usize = 2;
const ERROR_CODE: usize = 5;
const TIMES: usize = 6;
const TOKENS: usize = 3;

/// Where the targets are: slots in the order in which they are tried.
#[derive(FromPyObject)]
struct Targets {
    words: [Vec<Slot>; WORDS],
    /// Each with how many of its units make a second.
    times: [Vec<(Slot, i64)>; TIMES],
    tokens: [Vec<Slot>; TOKENS],
    tools: Vec<Slot>,
    metadata: Vec<Slot>,
}

/// Decodes payloads of one schema.
#[pyclass(module = "streamproc_native")]
pub struct EventDecoder {
    program: Program,
    root: At,
    slots: usize,
    limits: Limits,
    targets: Targets,
    memory: Memory,
}

/// The reference decoder has to read this record.
struct Doubtful;

/// A record whose structure is sound, and what it says. `tools`: the slot with their list.
struct Found<'a> {
    words: [Option<Word<'a>>; WORDS],
    times: [Option<i64>; TIMES],
    usage: Option<(i64, i64, i64)>,
    tools: Option<Slot>,
    flags: u8,
}

#[pymethods]
impl EventDecoder {
    /// `program`: see `codec/program.py`. `limits`: values of a record beyond those it always has, and types within
    /// types. `memory`: statuses by what the producer calls them, the only ones that may be, and the names of the flags.
    #[new]
    fn new(program: &Bound<'_, PyAny>, limits: (i64, i64), memory: Memory) -> PyResult<Self> {
        let (root, slots) = (program.getattr("root")?.extract()?, program.getattr("slots")?.extract()?);
        let targets = program.getattr("targets")?.extract()?;
        let program = Program::new(&program.getattr("nodes")?.cast_into()?, slots)?;
        if program.node(root).is_none() {
            return Err(PyValueError::new_err("there is no root"));
        }
        if limits.1 > MAX_NESTED {
            return Err(PyValueError::new_err("more types within types than the stack holds"));
        }
        Ok(Self { program, root, slots, limits: Limits { values: limits.0, nested: limits.1 }, targets, memory })
    }

    /// Return the columns of the sound records, and the rows of all others: those that are none, each with the number
    /// of its fault, and those that the reference decoder has to read.
    fn decode<'py>(&mut self, py: Python<'py>, payloads: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyTuple>> {
        let payloads = payloads.iter().map(Bound::cast_into::<PyBytes>).collect::<Result<Vec<_>, _>>()?;
        let mut columns = Columns::new(payloads.len());
        let (mut bad, mut doubtful) = (Vec::new(), Vec::new());
        let mut row = Row::new(self.slots);
        for (number, payload) in payloads.iter().enumerate() {
            row.clear();
            if let Err(fault) = Walk::all(&self.program, self.root, payload.as_bytes(), self.limits, &mut row) {
                bad.push((number, fault as u8));
            } else if !columns.take(py, &self.targets, &mut self.memory, &row)? {
                doubtful.push(number);
            }
        }
        (columns.into_lists(py)?, bad, doubtful).into_pyobject(py)
    }
}

impl Targets {
    /// Read what is in the slots.
    fn found<'a>(&self, row: &Row<'a>) -> Result<Found<'a>, Doubtful> {
        if row.doubtful {
            return Err(Doubtful);
        }
        let at = |slot: Slot| row.values.get(slot).copied().unwrap_or_default();
        let mut flags = 0;
        let mut found = Found { words: [None; WORDS], times: [None; TIMES], usage: None, tools: None, flags: 0 };
        for (value, slots) in found.words.iter_mut().zip(&self.words) {
            *value = first(slots.iter().map(|slot| word(at(*slot), MAX_NAME_CHARS)), &mut flags)?;
        }
        for (value, slots) in found.times.iter_mut().zip(&self.times) {
            *value = first(slots.iter().map(|(slot, unit)| seconds(at(*slot), *unit)), &mut flags)?;
        }
        let mut tokens = [None; TOKENS];
        for (value, slots) in tokens.iter_mut().zip(&self.tokens) {
            *value = first(slots.iter().map(|slot| count(at(*slot))), &mut flags)?;
        }
        found.usage = usage(tokens);
        found.tools = first(self.tools.iter().map(|slot| tools(at(*slot), *slot, row)), &mut flags)?;
        first(self.metadata.iter().map(|slot| metadata(at(*slot), *slot, row)), &mut flags)?;
        found.flags = flags;
        Ok(found)
    }
}

/// Return the first value that can be read, and note what is odd about those before it.
fn first<T>(reads: impl Iterator<Item = Read<T>>, flags: &mut u8) -> Result<Option<T>, Doubtful> {
    for read in reads {
        match read {
            Read::Absent => {}
            Read::Found(value) => return Ok(Some(value)),
            Read::Odd(flag) => *flags |= 1 << flag as u8,
            Read::Doubtful => return Err(Doubtful),
        }
    }
    Ok(None)
}

fn usage([prompt, completion, total]: [Option<i64>; TOKENS]) -> Option<(i64, i64, i64)> {
    prompt.or(completion).or(total)?;
    let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
    let sum = prompt.saturating_add(completion).max(-i64::MAX);
    Some((prompt, completion, total.unwrap_or(sum)))
}

fn tools(value: Value<'_>, slot: Slot, row: &Row<'_>) -> Read<Slot> {
    match value {
        Value::Absent => Read::Absent,
        Value::List => {
            let list = row.lists.get(slot).map_or(&[][..], Vec::as_slice);
            let is_sound = |text: &&[u8]| text.len() <= MAX_TOOL_CHARS && std::str::from_utf8(text).is_ok();
            let bytes: usize = list.iter().map(|text| text.len()).sum();
            if list.len() <= MAX_TOOLS && bytes <= MAX_TOOLS_CHARS && list.iter().all(is_sound) {
                Read::Found(slot)
            } else {
                Read::Doubtful
            }
        }
        _ => Read::Doubtful,
    }
}

/// Say whether metadata are over their limits; nothing of them is kept.
fn metadata(value: Value<'_>, slot: Slot, row: &Row<'_>) -> Read<()> {
    match value {
        Value::Absent => Read::Absent,
        Value::Unreadable => Read::Odd(Flag::ValueUnreadable),
        Value::List => {
            let keys = row.lists.get(slot).map_or(&[][..], Vec::as_slice);
            let is_short = keys.iter().all(|key| key.len() <= MAX_KEY_CHARS);
            if keys.len() <= MAX_PAIRS && is_short && row.longest_value <= MAX_VALUE_BYTES {
                Read::Absent
            } else if are_over(keys) {
                Read::Odd(Flag::MetadataOverLimit)
            } else {
                Read::Doubtful
            }
        }
        _ => Read::Doubtful,
    }
}

/// Whether there are too many keys, or one is too long, beyond doubt.
fn are_over(keys: &[&[u8]]) -> bool {
    let Ok(mut texts) = keys.iter().map(|key| std::str::from_utf8(key)).collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    texts.sort_unstable();
    texts.dedup();
    texts.len() > MAX_PAIRS || texts.iter().any(|text| text.chars().count() > MAX_KEY_CHARS)
}

/// The columns of sound records, a list for each.
struct Columns {
    words: [Vec<Option<Py<PyString>>>; WORDS],
    times: [Vec<Option<i64>>; TIMES],
    usages: Vec<Option<(i64, i64, i64)>>,
    tools: Vec<Option<Py<PyTuple>>>,
    flags: Vec<Py<PyTuple>>,
}

impl Columns {
    fn new(rows: usize) -> Self {
        Self {
            words: std::array::from_fn(|_| Vec::with_capacity(rows)),
            times: std::array::from_fn(|_| Vec::with_capacity(rows)),
            usages: Vec::with_capacity(rows),
            tools: Vec::with_capacity(rows),
            flags: Vec::with_capacity(rows),
        }
    }

    /// Put a record behind the others; tell whether all of it is sound, or nothing of it was taken.
    fn take(&mut self, py: Python<'_>, targets: &Targets, memory: &mut Memory, row: &Row<'_>) -> PyResult<bool> {
        let Ok(found) = targets.found(row) else { return Ok(false) };
        let [Some(id), Some(status), ..] = found.words else { return Ok(false) };
        if !is_id(id) {
            return Ok(false);
        }
        let Some(status) = memory.status(py, status) else { return Ok(false) };
        for (at, (column, word)) in self.words.iter_mut().zip(found.words).enumerate() {
            column.push(match (at, word) {
                (STATUS, _) => Some(status.clone_ref(py)),
                (ID | THREAD, Some(Word::Text(text))) => Some(PyString::new(py, text).unbind()),
                (ERROR_CODE, Some(Word::Text(""))) | (_, None) => None, // One that is empty says that there is none.
                (_, Some(word)) => Some(memory.shared(py, word)),
            });
        }
        for (column, time) in self.times.iter_mut().zip(found.times) {
            column.push(time);
        }
        self.usages.push(found.usage);
        self.tools.push(match found.tools.and_then(|slot| row.lists.get(slot)) {
            Some(names) if !names.is_empty() => Some(memory.tuple(py, names)?),
            _ => None,
        });
        self.flags.push(memory.flags(py, found.flags)?);
        Ok(true)
    }

    fn into_lists(self, py: Python<'_>) -> PyResult<Vec<Bound<'_, PyList>>> {
        let nothing = PyTuple::empty(py).unbind();
        let tools = self.tools.into_iter().map(|names| names.unwrap_or_else(|| nothing.clone_ref(py)));
        let mut lists = self.words.map(|column| PyList::new(py, column)).into_iter().collect::<PyResult<Vec<_>>>()?;
        let error_codes = lists.pop();
        for column in self.times {
            lists.push(PyList::new(py, column)?);
        }
        lists.push(PyList::new(py, self.usages)?);
        lists.extend(error_codes);
        lists.push(PyList::new(py, tools)?);
        lists.push(PyList::new(py, self.flags)?);
        Ok(lists)
    }
}

fn is_id(id: Word<'_>) -> bool {
    match id {
        Word::Number(_) => true,
        Word::Text(text) => {
            let is_short = text.len() <= MAX_ID_CHARS || text.chars().count() <= MAX_ID_CHARS;
            !text.is_empty() && is_short && is_text(text)
        }
    }
}
