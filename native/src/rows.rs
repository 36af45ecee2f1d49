//! Records of one of our own schemas back to columns of Python values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::avro::Cursor;
use crate::kind::{Kind, Unread};
use crate::memory::Texts;

/// Decodes records of one schema; `fields`: of which is each, and whether its texts are few.
#[pyclass(module = "streamproc_native")]
pub struct RowDecoder {
    fields: Vec<(Kind, bool)>,
    texts: Texts,
}

#[pymethods]
impl RowDecoder {
    #[new]
    fn new(fields: Vec<(Kind, bool)>) -> Self {
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
        let mut columns: Vec<_> = self.fields.iter().map(|_| Vec::with_capacity(values.len())).collect();
        for (number, value) in values.iter().enumerate() {
            let value = value.cast_into::<PyBytes>()?;
            let mut cursor = Cursor::new(value.as_bytes().get(header..).unwrap_or_default());
            for ((kind, is_shared), column) in self.fields.iter().zip(&mut columns) {
                let texts = is_shared.then_some(&mut self.texts);
                column.push(kind.read(py, &mut cursor, texts).map_err(|unread| damaged(number, unread))?);
            }
            if cursor.left() > 0 {
                return Err(PyValueError::new_err(format!("record {number}: bytes are left over")));
            }
        }
        columns.into_iter().map(|column| PyList::new(py, column)).collect()
    }
}

fn damaged(number: usize, unread: Unread) -> PyErr {
    match unread {
        Unread::Fault(fault) => PyValueError::new_err(format!("record {number}: {fault}")),
        Unread::NoText => PyValueError::new_err(format!("record {number}: a text is no UTF-8")),
        Unread::Python(error) => error,
    }
}
