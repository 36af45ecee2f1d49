//! Values of our own schemas, as Python has them and as Avro has them.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyNone, PyString, PyTuple};

use crate::avro::{Cursor, Fault};
use crate::memory::Texts;
use crate::wire::{put_bytes, put_varint};

/// Kinds in each other.
const MAX_DEPTH: usize = 16;

/// How a value of one of our own schemas is written: see `codec/rows.py`.
pub enum Kind {
    Boolean,
    Long,
    Double,
    Text,
    Bytes,
    /// Null, or something else.
    Optional(Box<Kind>),
    Array(Box<Kind>),
    /// A tuple, of which each item has a field.
    Record(Vec<Kind>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Kind {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Self::new(&given, MAX_DEPTH)
    }
}

impl Kind {
    fn new(given: &Bound<'_, PyAny>, left: usize) -> PyResult<Self> {
        if left == 0 {
            return Err(PyValueError::new_err("kinds are in each other too deeply"));
        }
        let name: String = given.getattr("name")?.extract()?;
        let inside = given.getattr("inside")?.try_iter()?;
        let mut inside = inside.map(|kind| Self::new(&kind?, left - 1)).collect::<PyResult<Vec<_>>>()?;
        let no_kind = || PyValueError::new_err(format!("there is no kind {name} with {} inside", inside.len()));
        Ok(match (name.as_str(), inside.len()) {
            ("boolean", 0) => Kind::Boolean,
            ("int" | "long", 0) => Kind::Long,
            ("double", 0) => Kind::Double,
            ("string", 0) => Kind::Text,
            ("bytes", 0) => Kind::Bytes,
            ("optional", 1) => Kind::Optional(Box::new(inside.remove(0))),
            ("array", 1) => Kind::Array(Box::new(inside.remove(0))),
            ("record", _) => Kind::Record(inside),
            _ => return Err(no_kind()),
        })
    }

    /// Write a value behind what is there.
    pub fn write(&self, out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match self {
            Kind::Boolean => out.push(u8::from(value.extract::<bool>()?)),
            Kind::Long => put_varint(out, value.cast::<PyInt>()?.extract()?),
            Kind::Double => out.extend_from_slice(&value.cast::<PyFloat>()?.extract::<f64>()?.to_le_bytes()),
            Kind::Text => put_bytes(out, Some(value.cast::<PyString>()?.to_cow()?.as_bytes())),
            Kind::Bytes => put_bytes(out, Some(value.cast::<PyBytes>()?.as_bytes())),
            Kind::Optional(_) if value.is_none() => put_varint(out, 0),
            Kind::Optional(kind) => {
                put_varint(out, 1);
                kind.write(out, value)?;
            }
            Kind::Array(kind) => {
                let items = value.cast::<PyTuple>()?;
                if !items.is_empty() {
                    put_varint(out, i64::try_from(items.len()).unwrap_or(i64::MAX));
                    items.iter().try_for_each(|item| kind.write(out, &item))?;
                }
                put_varint(out, 0);
            }
            Kind::Record(fields) => {
                let items = value.cast::<PyTuple>()?;
                if items.len() != fields.len() {
                    return Err(PyTypeError::new_err("a record has another number of fields"));
                }
                fields.iter().zip(items).try_for_each(|(field, item)| field.write(out, &item))?;
            }
        }
        Ok(())
    }

    /// Read a value. `shared`: what gives texts of which equal ones are one object.
    pub fn read<'py>(
        &self,
        py: Python<'py>,
        from: &mut Cursor<'_>,
        shared: Option<&mut Texts>,
    ) -> Result<Bound<'py, PyAny>, Unread> {
        Ok(match self {
            Kind::Boolean => PyBool::new(py, from.boolean()?).to_owned().into_any(),
            Kind::Long => from.long()?.into_pyobject(py)?.into_any(),
            Kind::Double => PyFloat::new(py, f64::from_le_bytes(from.array()?)).into_any(),
            Kind::Text => {
                let text = std::str::from_utf8(from.bytes()?).map_err(|_| Unread::NoText)?;
                match shared {
                    Some(texts) => texts.get(py, text).into_bound(py).into_any(),
                    None => PyString::new(py, text).into_any(),
                }
            }
            Kind::Bytes => PyBytes::new(py, from.bytes()?).into_any(),
            Kind::Optional(kind) => match from.long()? {
                0 => PyNone::get(py).to_owned().into_any(),
                1 => kind.read(py, from, shared)?,
                _ => return Err(Fault::BadBranch.into()),
            },
            Kind::Array(kind) => {
                let mut shared = shared;
                let mut items = Vec::new();
                while let Some(count) = from.block()? {
                    for _ in 0..count {
                        items.push(kind.read(py, from, shared.as_deref_mut())?);
                    }
                }
                PyTuple::new(py, items)?.into_any()
            }
            Kind::Record(fields) => {
                let mut shared = shared;
                let mut items = Vec::with_capacity(fields.len());
                for field in fields {
                    items.push(field.read(py, from, shared.as_deref_mut())?);
                }
                PyTuple::new(py, items)?.into_any()
            }
        })
    }
}

/// Why a value cannot be read.
pub enum Unread {
    Fault(Fault),
    NoText,
    Python(PyErr),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<E: Into<PyErr>> From<E> for Unread {
    fn from(error: E) -> Self {
        Self::Python(error.into())
    }
}
