//! Tuples of Python values to Avro, and to records with `CloudEvents` headers.

use std::io::Write;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::kind::Kind;
use crate::records::{Records, encoded};
use crate::wire::{put_bytes, put_varint};

const MAX_TIME_MS: i64 = 253_402_300_799_999;
const DAY_S: i64 = 86_400;

/// Encodes rows as framed records of one schema. A row is a tuple; what all of a call have besides are `constants`, which
/// follow on the row's own items. `fields`: the schema's, in their order, each with the place of its value.
#[pyclass(module = "streamproc_native")]
pub struct RowEncoder {
    header: Vec<u8>,
    fields: Vec<(Kind, usize)>,
}

#[pymethods]
impl RowEncoder {
    #[new]
    fn new(header: Vec<u8>, fields: Vec<(Kind, usize)>) -> Self {
        Self { header, fields }
    }

    /// Return each row's record.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        rows: &Bound<'py, PyList>,
        constants: &Bound<'py, PyTuple>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let mut value = Vec::new();
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            self.write(&mut value, row.cast()?, constants)?;
            records.push(PyBytes::new(py, &value));
        }
        Ok(records)
    }
}

impl RowEncoder {
    fn write(&self, out: &mut Vec<u8>, row: &Bound<'_, PyTuple>, constants: &Bound<'_, PyTuple>) -> PyResult<()> {
        out.clear();
        out.extend_from_slice(&self.header);
        let width = row.len();
        for (kind, at) in &self.fields {
            let value = match at.checked_sub(width) {
                None => row.get_borrowed_item(*at)?,
                Some(further) => constants.get_borrowed_item(further)?,
            };
            kind.write(out, &value)?;
        }
        Ok(())
    }
}

/// Where in a row the record's key is, its time in milliseconds, and the offset that its id ends with.
type Places = [usize; 3];

/// Encodes rows as records with `CloudEvents` headers: see `codec/cloudevents.py`.
#[pyclass(module = "streamproc_native")]
pub struct EventEncoder {
    rows: Py<RowEncoder>,
    places: Places,
    /// What all have, with the number of all headers in front.
    headers: Vec<u8>,
}

#[pymethods]
impl EventEncoder {
    /// `headers`: those that all have. Two follow, `ce_id` and `ce_time`.
    #[new]
    fn new(rows: Py<RowEncoder>, places: Places, headers: &Bound<'_, PyList>) -> PyResult<Self> {
        let mut all = Vec::new();
        put_varint(&mut all, i64::try_from(headers.len()).unwrap_or(i64::MAX) + 2);
        // Their own count is one byte: there are five.
        all.extend_from_slice(encoded(headers)?.get(1..).unwrap_or_default());
        Ok(Self { rows, places, headers: all })
    }

    /// Return a record for each row. `place`: topic and partition, as ids begin; `ids`: of rows with another id; no
    /// record's timestamp is ahead of `wall_ms`.
    fn encode(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyList>,
        constants: &Bound<'_, PyTuple>,
        place: &[u8],
        ids: &Bound<'_, PyDict>,
        wall_ms: i64,
    ) -> PyResult<Records> {
        let [key_at, time_at, offset_at] = self.places;
        let encoder = self.rows.borrow(py);
        let all_are_offsets = ids.is_empty();
        let mut records = Records::default();
        let mut value = Vec::new();
        let mut id = Vec::new();
        let mut clock = Clock::default();
        for (number, row) in rows.iter().enumerate() {
            let row = row.cast::<PyTuple>()?;
            encoder.write(&mut value, row, constants)?;
            let key = row.get_borrowed_item(key_at)?;
            let key = key.cast::<PyString>()?;
            let key = key.to_cow()?;
            let time_ms: i64 = row.get_borrowed_item(time_at)?.extract()?;
            id.clear();
            let other = if all_are_offsets { None } else { ids.get_item(number)? };
            if let Some(other) = other {
                id.extend_from_slice(other.cast::<PyBytes>()?.as_bytes());
            } else {
                let offset: i64 = row.get_borrowed_item(offset_at)?.extract()?;
                id.extend_from_slice(place);
                write!(id, ":{offset}")?;
            }
            let time = clock.rfc3339(time_ms)?;
            records.add(time_ms.min(wall_ms), Some(key.as_bytes()), Some(&value), |out| {
                out.extend_from_slice(&self.headers);
                put_bytes(out, Some(b"ce_id"));
                put_bytes(out, Some(&id));
                put_bytes(out, Some(b"ce_time"));
                put_bytes(out, Some(time));
            });
        }
        Ok(records)
    }
}

/// Writes times; many records share a second.
#[derive(Default)]
struct Clock {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Clock {
    fn rfc3339(&mut self, time_ms: i64) -> PyResult<&[u8]> {
        const SECOND_CHARS: usize = 19;
        let time_ms = time_ms.clamp(0, MAX_TIME_MS);
        let (second, millisecond) = (time_ms / 1_000, time_ms % 1_000);
        if self.second != Some(second) {
            self.text.clear();
            let (year, month, day) = date(second / DAY_S);
            let (hour, minute, second) = (second % DAY_S / 3_600, second % 3_600 / 60, second % 60);
            write!(self.text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        }
        self.second = Some(second);
        self.text.truncate(SECOND_CHARS);
        write!(self.text, ".{millisecond:03}Z")?;
        Ok(&self.text)
    }
}

/// Return the date of a day since 1970; years begin in March while it is looked for.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 { (era * 400 + year, month + 3, of_month) } else { (era * 400 + year + 1, month - 9, of_month) }
}
