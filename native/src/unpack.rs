//! The records of a batch that was fetched: where each is, and as columns.

use std::ops::Range;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::avro::{Cursor, Fault};
use crate::memory::Texts;

/// What a batch's head says: its first offset, its first timestamp, and the one that all records have where the broker
/// sets it.
type Head = (i64, i64, Option<i64>);
/// Offsets, timestamps, keys, values, headers.
type Columns<'py> =
    (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>);

/// Name, which is UTF-8, and value.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Where a record is in its batch. `memory`: bytes that it takes once it is an object of Python's.
pub struct Place {
    offset: i64,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    memory: usize,
}

/// A batch of which every record was found to be sound.
#[pyclass(module = "streamproc_native", frozen)]
pub struct Batch {
    content: Py<PyBytes>,
    places: Vec<Place>,
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.places.len()
    }

    /// Return where so many records and so many bytes of memory end, from the record `start` on, and how many bytes
    /// these are. The last one may go over the limit.
    fn fitting(&self, start: usize, records: usize, memory: usize) -> (usize, usize) {
        let (mut stop, mut taken) = (start, 0);
        for place in self.places.iter().skip(start).take(records) {
            if taken >= memory {
                break;
            }
            taken += place.memory;
            stop += 1;
        }
        (stop, taken)
    }

    /// Return the offset of a record. Raises `ValueError` where there is none.
    fn offset(&self, at: usize) -> PyResult<i64> {
        self.places.get(at).map(|place| place.offset).ok_or_else(|| PyValueError::new_err("there is no such record"))
    }
}

impl Batch {
    pub fn places(&self, span: Range<usize>) -> &[Place] {
        self.places.get(span).unwrap_or_default()
    }

    pub fn key<'a>(&'a self, py: Python<'a>, place: &Place) -> Option<&'a [u8]> {
        self.bytes(py, place.key.as_ref())
    }

    pub fn value<'a>(&'a self, py: Python<'a>, place: &Place) -> Option<&'a [u8]> {
        self.bytes(py, place.value.as_ref())
    }

    pub fn headers<'a>(&'a self, py: Python<'a>, place: &Place) -> Headers<'a> {
        Headers(Cursor::new(self.bytes(py, Some(&place.headers)).unwrap_or_default()))
    }

    fn bytes<'a>(&'a self, py: Python<'a>, at: Option<&Range<usize>>) -> Option<&'a [u8]> {
        at.and_then(|at| self.content.as_bytes(py).get(at.clone()))
    }
}

/// The headers of a record, one after the other, as far as they are sound.
pub struct Headers<'a>(Cursor<'a>);

impl<'a> Headers<'a> {
    fn read(&mut self) -> Result<Header<'a>, Fault> {
        Ok((self.0.nullable()?.ok_or(Fault::BadLength)?, self.0.nullable()?))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.read().ok()
    }
}

/// Unpacks batches. Raises `ValueError` for whatever is odd about one: then aiokafka has to read it.
#[pyclass(module = "streamproc_native")]
pub struct Unpacker {
    max_headers: i64,
    header_cost: usize,
    names: Texts,
}

#[pymethods]
impl Unpacker {
    /// `max_headers`: of a record. `header_cost`: what each takes in memory besides its bytes.
    #[new]
    fn new(max_headers: i64, header_cost: usize) -> Self {
        Self { max_headers, header_cost, names: Texts::default() }
    }

    /// Return a batch, not compressed any more, of which the records from the offset `first` on count.
    fn unpack(&self, content: &Bound<'_, PyBytes>, count: usize, head: Head, first: i64) -> PyResult<Batch> {
        let places = self.places(content.as_bytes(), count, head, first);
        let places = places.map_err(|fault| PyValueError::new_err(fault.to_string()))?;
        Ok(Batch { content: content.clone().unbind(), places })
    }

    /// Return the columns of a batch's records from `start` to before `stop`.
    fn columns<'py>(&mut self, py: Python<'py>, batch: &Batch, start: usize, stop: usize) -> PyResult<Columns<'py>> {
        let places = batch.places(start..stop);
        let bytes = |found: Option<&[u8]>| found.map(|found| PyBytes::new(py, found));
        let keys = places.iter().map(|place| bytes(batch.key(py, place)));
        let values = places.iter().map(|place| bytes(batch.value(py, place)));
        let mut headers = Vec::with_capacity(places.len());
        let mut before: Vec<(Header<'_>, Py<PyTuple>)> = Vec::new();
        for place in places {
            let mut count = 0;
            for header in batch.headers(py, place) {
                // Most are those of the record before.
                match before.get_mut(count) {
                    Some((known, _)) if *known == header => {}
                    Some(known) => *known = (header, self.pair(py, header)?),
                    None => before.push((header, self.pair(py, header)?)),
                }
                count += 1;
            }
            before.truncate(count);
            headers.push(PyTuple::new(py, before.iter().map(|(_, pair)| pair))?);
        }
        Ok((
            PyList::new(py, places.iter().map(|place| place.offset))?,
            PyList::new(py, places.iter().map(|place| place.timestamp))?,
            PyList::new(py, keys)?,
            PyList::new(py, values)?,
            PyList::new(py, headers)?,
        ))
    }
}

impl Unpacker {
    fn pair(&mut self, py: Python<'_>, (name, value): Header<'_>) -> PyResult<Py<PyTuple>> {
        let (name, value) = (std::str::from_utf8(name).unwrap_or_default(), value.map(|value| PyBytes::new(py, value)));
        Ok((self.names.get(py, name), value).into_pyobject(py)?.unbind())
    }

    fn places(&self, content: &[u8], count: usize, head: Head, first: i64) -> Result<Vec<Place>, Fault> {
        let mut cursor = Cursor::new(content);
        let mut places = Vec::new();
        for _ in 0..count {
            let size = cursor.long()?;
            let record = Cursor::new(cursor.take(size)?);
            let end = content.len().saturating_sub(cursor.left());
            let place = self.place(record, end, head)?;
            if place.offset >= first {
                places.push(place);
            }
        }
        if cursor.left() > 0 {
            return Err(Fault::TrailingBytes);
        }
        Ok(places)
    }

    /// Return where a record is that ends at `end` of its batch.
    fn place(&self, mut record: Cursor<'_>, end: usize, (base, first_ms, appended_ms): Head) -> Result<Place, Fault> {
        record.byte()?; // Attributes, of which there are none.
        let timestamp = first_ms.wrapping_add(record.long()?);
        let offset = base.wrapping_add(record.long()?);
        let mut field = || {
            let size = record.nullable()?.map(<[u8]>::len);
            let ended = end.saturating_sub(record.left());
            Ok(size.map(|size| ended.saturating_sub(size)..ended))
        };
        let (key, value) = (field()?, field()?);
        let count = record.long()?;
        if !(0..=self.max_headers).contains(&count) {
            return Err(Fault::TooManyItems);
        }
        let headers = end.saturating_sub(record.left())..end;
        let mut memory = key.as_ref().map_or(0, Range::len) + value.as_ref().map_or(0, Range::len);
        let mut each = Headers(record);
        for _ in 0..count {
            let (name, value) = each.read()?;
            std::str::from_utf8(name).map_err(|_| Fault::BadSymbol)?;
            memory += self.header_cost + name.len() + value.map_or(0, <[u8]>::len);
        }
        if each.0.left() > 0 {
            return Err(Fault::TrailingBytes);
        }
        Ok(Place { offset, timestamp: appended_ms.unwrap_or(timestamp), key, value, headers, memory })
    }
}

/// Return the checksum of a batch.
#[pyfunction]
pub fn crc32c(data: &[u8]) -> u32 {
    ::crc32c::crc32c(data)
}
