//! The records of a batch that was fetched, as columns.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::avro::{Cursor, Fault};
use crate::memory::Texts;

/// What a batch's head says: its first offset, its first timestamp, and the one that all records have where the broker
/// sets it.
type Head = (i64, i64, Option<i64>);
/// Offsets, timestamps, keys, values, headers, and how many bytes all of that takes in memory.
type Columns<'py> =
    (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, usize);

/// Unpacks batches. Raises `ValueError` for whatever is odd about one: then aiokafka has to read it.
#[pyclass(module = "streamproc_native")]
pub struct Unpacker {
    max_headers: i64,
    header_cost: usize,
    names: Texts,
}

/// Name and value.
type Header<'a> = (&'a str, Option<&'a [u8]>);

/// One record, as it is in its batch.
struct Unpacked<'a> {
    offset: i64,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<Header<'a>>,
}

#[pymethods]
impl Unpacker {
    /// `max_headers`: of a record. `header_cost`: what each takes in memory besides its bytes.
    #[new]
    fn new(max_headers: i64, header_cost: usize) -> Self {
        Self { max_headers, header_cost, names: Texts::default() }
    }

    /// Return the records of a batch, not compressed any more, from the offset `first` on.
    fn unpack<'py>(
        &mut self,
        py: Python<'py>,
        records: &[u8],
        count: usize,
        head: Head,
        first: i64,
    ) -> PyResult<Columns<'py>> {
        let (mut offsets, mut timestamps) = (Vec::new(), Vec::new());
        let (mut keys, mut values, mut headers) = (Vec::new(), Vec::new(), Vec::new());
        let mut memory = 0_usize;
        let mut before: Vec<(Header<'_>, Py<PyTuple>)> = Vec::new();
        let mut cursor = Cursor::new(records);
        let bytes = |found: Option<&[u8]>| found.map(|found| PyBytes::new(py, found));
        for _ in 0..count {
            let record = self.next(&mut cursor, head).map_err(|fault| PyValueError::new_err(fault.to_string()))?;
            if record.offset < first {
                continue;
            }
            offsets.push(record.offset);
            timestamps.push(record.timestamp);
            memory += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            keys.push(bytes(record.key));
            values.push(bytes(record.value));
            memory += record.headers.iter().map(|header| self.header_cost + size_of(*header)).sum::<usize>();
            before.truncate(record.headers.len());
            for (number, header) in record.headers.into_iter().enumerate() {
                // Most are those of the record before.
                match before.get_mut(number) {
                    Some((known, _)) if *known == header => {}
                    Some(place) => *place = (header, self.pair(py, header)?),
                    None => before.push((header, self.pair(py, header)?)),
                }
            }
            let pairs = before.iter().map(|(_, pair)| pair.clone_ref(py)).collect::<Vec<_>>();
            headers.push(PyTuple::new(py, pairs)?);
        }
        if cursor.left() > 0 {
            return Err(PyValueError::new_err("bytes are left over"));
        }
        let (offsets, timestamps) = (PyList::new(py, offsets)?, PyList::new(py, timestamps)?);
        let (keys, values, headers) = (PyList::new(py, keys)?, PyList::new(py, values)?, PyList::new(py, headers)?);
        Ok((offsets, timestamps, keys, values, headers, memory))
    }
}

impl Unpacker {
    fn pair(&mut self, py: Python<'_>, (name, value): Header<'_>) -> PyResult<Py<PyTuple>> {
        let value = value.map(|value| PyBytes::new(py, value));
        Ok((self.names.get(py, name), value).into_pyobject(py)?.unbind())
    }

    fn next<'a>(&self, cursor: &mut Cursor<'a>, (base, first_ms, appended_ms): Head) -> Result<Unpacked<'a>, Fault> {
        let size = cursor.long()?;
        let mut record = Cursor::new(cursor.take(size)?);
        record.byte()?; // Attributes, of which there are none.
        let timestamp = first_ms.wrapping_add(record.long()?);
        let offset = base.wrapping_add(record.long()?);
        let (key, value) = (record.nullable()?, record.nullable()?);
        let count = record.long()?;
        if !(0..=self.max_headers).contains(&count) {
            return Err(Fault::TooManyItems);
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = record.nullable()?.ok_or(Fault::BadLength)?;
            headers.push((std::str::from_utf8(name).map_err(|_| Fault::BadSymbol)?, record.nullable()?));
        }
        if record.left() > 0 {
            return Err(Fault::TrailingBytes);
        }
        Ok(Unpacked { offset, timestamp: appended_ms.unwrap_or(timestamp), key, value, headers })
    }
}

fn size_of((name, value): Header<'_>) -> usize {
    name.len() + value.map_or(0, <[u8]>::len)
}

/// Return the checksum of a batch.
#[pyfunction]
pub fn crc32c(data: &[u8]) -> u32 {
    ::crc32c::crc32c(data)
}
