//! Records of our own schemas back to columns of Python values.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::avro::{Cursor, Fault};
use crate::kind::{Kind, Unread};
use crate::memory::Texts;
use crate::unpack::{Batch, Place};

/// Of which kind each field of a schema is, and whether its texts are few.
type Fields = Vec<(Kind, bool)>;
/// The values of each field.
type Columns<'py> = Vec<Vec<Bound<'py, PyAny>>>;
/// A batch, and which of its records: from where, to before where.
type Part<'py> = (Bound<'py, Batch>, usize, usize);
/// Keys, and for each version a list for each field.
type Latest<'py> = (Bound<'py, PyList>, Vec<Vec<Bound<'py, PyList>>>);

/// Decodes records of one schema.
#[pyclass(module = "streamproc_native")]
pub struct RowDecoder {
    fields: Fields,
    texts: Texts,
}

#[pymethods]
impl RowDecoder {
    #[new]
    fn new(fields: Fields) -> Self {
        Self { fields, texts: Texts::default() }
    }

    /// Return a list for each field, of records whose header has so many bytes. Raises `ValueError` for one that is
    /// damaged.
    fn decode<'py>(
        &mut self,
        py: Python<'py>,
        values: &Bound<'py, PyList>,
        header: usize,
    ) -> PyResult<Vec<Bound<'py, PyList>>> {
        let mut columns = columns(&self.fields, values.len());
        for (number, value) in values.iter().enumerate() {
            let value = value.cast_into::<PyBytes>()?;
            let payload = value.as_bytes().get(header..).unwrap_or_default();
            read(py, &self.fields, payload, &mut self.texts, &mut columns).map_err(|unread| damaged(number, unread))?;
        }
        lists(py, columns)
    }
}

/// Decodes the latest record of each key, each by the version of a schema that it says it was written with.
#[pyclass(module = "streamproc_native")]
pub struct LatestDecoder {
    /// Of a record's header that has the label of its version.
    name: String,
    versions: Vec<Version>,
    framings: Vec<(Vec<u8>, usize)>,
    texts: Texts,
}

/// `label`: what a record's header says. `start`: what the value of a record begins with that has none.
#[derive(FromPyObject)]
struct Version(Vec<u8>, Vec<u8>, Fields);

#[pymethods]
impl LatestDecoder {
    /// `framings`: what a value begins with in each, and how many bytes are in front of its payload.
    #[new]
    fn new(name: String, framings: Vec<(Vec<u8>, usize)>, versions: Vec<Version>) -> Self {
        Self { name, versions, framings, texts: Texts::default() }
    }

    /// Return the keys whose latest record is a tombstone, and of the others, for each version, a list for each field.
    /// Raises `ValueError` where a record is damaged, or of another version.
    fn decode<'py>(&mut self, py: Python<'py>, parts: &Bound<'py, PyAny>) -> PyResult<Latest<'py>> {
        let parts: Vec<Part<'_>> = parts.extract()?;
        let latest = latest(py, &parts);
        let mut gone = Vec::new();
        let mut found: Vec<_> =
            self.versions.iter().map(|Version(_, _, fields)| columns(fields, latest.len())).collect();
        for (number, (batch, place)) in latest.into_iter().enumerate() {
            let Some(value) = batch.value(py, place).filter(|value| !value.is_empty()) else {
                gone.push(batch.key(py, place).map(|key| PyBytes::new(py, key)));
                continue;
            };
            let label =
                batch.headers(py, place).find(|(name, _)| *name == self.name.as_bytes()).map(|(_, label)| label);
            let is_written_with = |Version(known, start, _): &Version| match label {
                Some(label) => label == Some(known),
                None => value.starts_with(start),
            };
            let framing = self.framings.iter().find(|(start, size)| value.starts_with(start) && value.len() >= *size);
            let versions = self.versions.iter().zip(&mut found);
            let version = versions.into_iter().find(|(version, _)| is_written_with(version));
            let (Some((_, size)), Some((Version(_, _, fields), columns))) = (framing, version) else {
                return Err(PyValueError::new_err("a record is of an unknown version"));
            };
            let payload = value.get(*size..).unwrap_or_default();
            read(py, fields, payload, &mut self.texts, columns).map_err(|unread| damaged(number, unread))?;
        }
        let found = found.into_iter().map(|columns| lists(py, columns)).collect::<PyResult<_>>()?;
        Ok((PyList::new(py, gone)?, found))
    }
}

/// Return the latest record of each key, at the place of its first one.
fn latest<'a>(py: Python<'a>, parts: &'a [Part<'_>]) -> Vec<(&'a Batch, &'a Place)> {
    let count = parts.iter().map(|(_, start, stop)| stop.saturating_sub(*start)).sum();
    let mut found: Vec<(&Batch, &Place)> = Vec::with_capacity(count);
    let mut numbers = HashMap::with_capacity(count);
    for (batch, start, stop) in parts {
        let batch = batch.get();
        for place in batch.places(*start..*stop) {
            match numbers.entry(batch.key(py, place)) {
                Entry::Vacant(number) => {
                    number.insert(found.len());
                    found.push((batch, place));
                }
                Entry::Occupied(number) => {
                    if let Some(earlier) = found.get_mut(*number.get()) {
                        *earlier = (batch, place);
                    }
                }
            }
        }
    }
    found
}

fn columns<'py>(fields: &Fields, count: usize) -> Columns<'py> {
    fields.iter().map(|_| Vec::with_capacity(count)).collect()
}

/// Read a record into the columns.
fn read<'py>(
    py: Python<'py>,
    fields: &Fields,
    payload: &[u8],
    texts: &mut Texts,
    columns: &mut Columns<'py>,
) -> Result<(), Unread> {
    let mut cursor = Cursor::new(payload);
    for ((kind, is_shared), column) in fields.iter().zip(columns) {
        column.push(kind.read(py, &mut cursor, is_shared.then_some(&mut *texts))?);
    }
    if cursor.left() > 0 {
        return Err(Fault::TrailingBytes.into());
    }
    Ok(())
}

fn lists<'py>(py: Python<'py>, columns: Columns<'py>) -> PyResult<Vec<Bound<'py, PyList>>> {
    columns.into_iter().map(|column| PyList::new(py, column)).collect()
}

fn damaged(number: usize, unread: Unread) -> PyErr {
    match unread {
        Unread::Fault(fault) => PyValueError::new_err(format!("record {number}: {fault}")),
        Unread::NoText => PyValueError::new_err(format!("record {number}: a text is no UTF-8")),
        Unread::Python(error) => error,
    }
}
