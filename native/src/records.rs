//! Records as Kafka's batches of version 2 have them: gathered, then cut into batches.

use std::io::Write;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString, PyTuple};

use crate::avro::{Cursor, Fault};
use crate::wire::{put_bytes, put_varint, varint_size};

/// What stands for a time that is none.
const NO_TIMESTAMP: i64 = -1;
/// Of a batch, up to its records.
const HEAD_BYTES: usize = 61;
const LENGTH_ENDS: usize = 12;
const CRC_ENDS: usize = 21;
const MAGIC: u8 = 2;
const NO_LEADER_EPOCH: i32 = -1;

/// Key, value, timestamp, headers.
type Message<'py> = (Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>, i64, Bound<'py, PyAny>);

/// What Python bytes hold.
fn content<'a>(bytes: Option<&'a Bound<'_, PyBytes>>) -> Option<&'a [u8]> {
    bytes.map(PyBytesMethods::as_bytes)
}

/// Records in the order in which they are sent. To whoever goes through them they are messages: tuples of key, value,
/// timestamp in milliseconds, and headers.
#[pyclass(module = "streamproc_native", sequence)]
#[derive(Default)]
pub struct Records {
    /// Key, value and headers of all records, as they are in a batch.
    bodies: Vec<u8>,
    /// Of each record where its body ends, and its time.
    records: Vec<(usize, i64)>,
}

impl Records {
    /// Write a record's body: key and value here, then the headers, of which the count comes first.
    pub fn add(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl FnOnce(&mut Vec<u8>),
    ) {
        put_bytes(&mut self.bodies, key);
        put_bytes(&mut self.bodies, value);
        headers(&mut self.bodies);
        self.records.push((self.bodies.len(), timestamp));
    }

    fn body(&self, number: usize) -> (&[u8], i64) {
        let begin = number.checked_sub(1).and_then(|before| self.records.get(before)).map_or(0, |before| before.0);
        let (end, timestamp) = self.records.get(number).copied().unwrap_or_default();
        (self.bodies.get(begin..end).unwrap_or_default(), timestamp)
    }
}

#[pymethods]
impl Records {
    /// Take over messages; raises `OverflowError` for a timestamp that is no 64-bit number.
    #[new]
    #[pyo3(signature = (messages = None))]
    fn new(messages: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let mut records = Self::default();
        messages.map_or(Ok(()), |messages| records.extend(messages))?;
        Ok(records)
    }

    /// Put messages behind those that are here.
    fn extend(&mut self, messages: &Bound<'_, PyAny>) -> PyResult<()> {
        for message in messages.try_iter()? {
            let (key, value, timestamp, headers): Message<'_> = message?.extract()?;
            let headers = encoded(&headers)?;
            self.add(timestamp, content(key.as_ref()), content(value.as_ref()), |out| out.extend_from_slice(&headers));
        }
        Ok(())
    }

    fn __len__(&self) -> usize {
        self.records.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let messages = (0..self.records.len()).map(|number| self.message(py, number)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, messages)?.try_iter()
    }

    /// Cut into batches of at most so many bytes, where they are not compressed, and return of each: how many records
    /// it has, the first timestamp, the largest, and the records.
    fn batches<'py>(&self, py: Python<'py>, limit: usize) -> Vec<(usize, i64, i64, Bound<'py, PyBytes>)> {
        let mut batches = Vec::new();
        let mut batch = Batch::default();
        for number in 0..self.records.len() {
            let (body, timestamp) = self.body(number);
            // One without a time ends its batch, as it does where aiokafka builds it.
            if !batch.takes(body, timestamp, limit) {
                batches.push(batch.done(py));
                batch = Batch::default();
            }
            batch.add(body, timestamp);
        }
        if batch.count > 0 {
            batches.push(batch.done(py));
        }
        batches
    }
}

impl Records {
    fn message<'py>(&self, py: Python<'py>, number: usize) -> PyResult<Bound<'py, PyTuple>> {
        let (body, timestamp) = self.body(number);
        let mut body = Cursor::new(body);
        let unread = |fault: Fault| PyValueError::new_err(fault.to_string());
        let bytes = |found: Option<&[u8]>| found.map(|found| PyBytes::new(py, found));
        let key = bytes(body.nullable().map_err(unread)?);
        let value = bytes(body.nullable().map_err(unread)?);
        let mut headers = Vec::new();
        for _ in 0..body.long().map_err(unread)? {
            let name = PyBytes::new(py, body.bytes().map_err(unread)?);
            let name = name.call_method1("decode", ("utf-8", "surrogateescape"))?;
            headers.push((name, bytes(body.nullable().map_err(unread)?)));
        }
        (key, value, timestamp, headers).into_pyobject(py)
    }
}

/// Return headers as they are in a record: how many, and of each the name and the value.
pub fn encoded(headers: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut out = Vec::new();
    put_varint(&mut out, i64::try_from(headers.len()?).unwrap_or(i64::MAX));
    for header in headers.try_iter()? {
        let (name, value): (Bound<'_, PyString>, Option<Bound<'_, PyBytes>>) = header?.extract()?;
        if let Ok(name) = name.to_cow() {
            put_bytes(&mut out, Some(name.as_bytes()));
        } else {
            // It was no UTF-8 where it came from, and is to be what it was.
            let name = name.call_method1("encode", ("utf-8", "surrogateescape"))?.cast_into::<PyBytes>()?;
            put_bytes(&mut out, Some(name.as_bytes()));
        }
        put_bytes(&mut out, content(value.as_ref()));
    }
    Ok(out)
}

/// A batch that is being filled.
#[derive(Default)]
struct Batch {
    records: Vec<u8>,
    count: usize,
    first: i64,
    largest: i64,
    last: i64,
}

impl Batch {
    fn takes(&self, body: &[u8], timestamp: i64, limit: usize) -> bool {
        if self.count == 0 {
            return true;
        }
        let size = self.size_of(body, timestamp);
        let is_full = HEAD_BYTES + self.records.len() + varint_size(size) + usize::try_from(size).unwrap_or(0) > limit;
        let is_timed_behind_none = self.last == NO_TIMESTAMP && timestamp != NO_TIMESTAMP;
        !(is_full || is_timed_behind_none)
    }

    fn size_of(&self, body: &[u8], timestamp: i64) -> i64 {
        let delta = if self.count == 0 { 0 } else { timestamp.wrapping_sub(self.first) };
        let size = 1 + varint_size(delta) + varint_size(as_long(self.count)) + body.len();
        as_long(size)
    }

    fn add(&mut self, body: &[u8], timestamp: i64) {
        let size = self.size_of(body, timestamp);
        if self.count == 0 {
            (self.first, self.largest) = (timestamp, timestamp);
        }
        put_varint(&mut self.records, size);
        self.records.push(0); // Attributes, of which there are none.
        put_varint(&mut self.records, timestamp.wrapping_sub(self.first));
        put_varint(&mut self.records, as_long(self.count));
        self.records.extend_from_slice(body);
        self.count += 1;
        self.largest = self.largest.max(timestamp);
        self.last = timestamp;
    }

    fn done<'py>(&self, py: Python<'py>) -> (usize, i64, i64, Bound<'py, PyBytes>) {
        (self.count, self.first, self.largest, PyBytes::new(py, &self.records))
    }
}

fn as_long(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Return a batch: `records`, compressed or not as `attributes` say, behind their head. `producer`: id, epoch, and the
/// number of the first record.
#[pyfunction]
pub fn batch<'py>(
    py: Python<'py>,
    records: &[u8],
    attributes: i16,
    count: i32,
    times: (i64, i64),
    producer: (i64, i16, i32),
) -> PyResult<Bound<'py, PyBytes>> {
    let size = HEAD_BYTES + records.len();
    let length = i32::try_from(size - LENGTH_ENDS)?;
    let mut checked = Vec::with_capacity(HEAD_BYTES - CRC_ENDS);
    checked.extend_from_slice(&attributes.to_be_bytes());
    checked.extend_from_slice(&count.wrapping_sub(1).to_be_bytes());
    checked.extend_from_slice(&times.0.to_be_bytes());
    checked.extend_from_slice(&times.1.to_be_bytes());
    checked.extend_from_slice(&producer.0.to_be_bytes());
    checked.extend_from_slice(&producer.1.to_be_bytes());
    checked.extend_from_slice(&producer.2.to_be_bytes());
    checked.extend_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&checked), records);
    PyBytes::new_with_writer(py, size, |out| {
        out.write_all(&0_i64.to_be_bytes())?; // The first offset, which the broker sets.
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&NO_LEADER_EPOCH.to_be_bytes())?;
        out.write_all(&[MAGIC])?;
        out.write_all(&crc.to_be_bytes())?;
        out.write_all(&checked)?;
        Ok(out.write_all(records)?)
    })
}
