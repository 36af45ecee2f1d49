//! Payloads sealed together, as `store/block.py` has it: cut, each with a digest, packed, compressed, checked.

use std::io;

use blake2b_simd::Params;
use blake2b_simd::many::{HashManyJob, hash_many};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use zstd::bulk::Compressor;

/// What an array and bytes begin with in `MessagePack`; their length follows, in four bytes.
const ARRAY: u8 = 0xdd;
const BYTES: u8 = 0xc6;

type Entry = (i64, PyBackedBytes);
/// What is listed of a block, and its data.
type Sealed = (Vec<u8>, Vec<u8>);

/// Return blocks of entries. `most`: bytes and payloads in each of them. Others may run meanwhile.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "pyo3 hands them over")]
pub fn seal(
    py: Python<'_>,
    entries: Vec<Entry>,
    most: (usize, usize),
    digest_bytes: usize,
    level: i32,
) -> PyResult<Vec<(Bound<'_, PyBytes>, Bound<'_, PyBytes>)>> {
    let blocks: io::Result<Vec<Sealed>> = py.detach(|| {
        let mut compressor = Compressor::new(level)?;
        let mut packed = Vec::new();
        portions(&entries, most).map(|portion| block(portion, digest_bytes, &mut compressor, &mut packed)).collect()
    });
    Ok(blocks?.iter().map(|(listed, data)| (PyBytes::new(py, listed), PyBytes::new(py, data))).collect())
}

fn portions(entries: &[Entry], most: (usize, usize)) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let (mut size, mut count) = (0, 0);
        for (_, payload) in rest {
            size += payload.len();
            if count > 0 && (size > most.0 || count == most.1) {
                break;
            }
            count += 1;
        }
        let (portion, behind) = rest.split_at_checked(count)?;
        rest = behind;
        (count > 0).then_some(portion)
    })
}

fn block(
    entries: &[Entry],
    digest_bytes: usize,
    compressor: &mut Compressor<'_>,
    packed: &mut Vec<u8>,
) -> io::Result<Sealed> {
    let mut params = Params::new();
    params.hash_length(digest_bytes);
    let mut digests: Vec<_> = entries.iter().map(|(_, payload)| HashManyJob::new(&params, payload)).collect();
    hash_many(&mut digests);
    let mut listed = Vec::with_capacity(entries.len() * (size_of::<i64>() + digest_bytes));
    for (number, _) in entries {
        listed.extend_from_slice(&number.to_ne_bytes());
    }
    for digest in &digests {
        listed.extend_from_slice(digest.to_hash().as_bytes());
    }
    packed.clear();
    begin(packed, ARRAY, entries.len())?;
    for (_, payload) in entries {
        begin(packed, BYTES, payload.len())?;
        packed.extend_from_slice(payload);
    }
    Ok((checked(&listed), checked(&compressor.compress(packed)?)))
}

fn begin(packed: &mut Vec<u8>, what: u8, length: usize) -> io::Result<()> {
    packed.push(what);
    packed.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
    Ok(())
}

/// Return bytes behind their checksum.
fn checked(data: &[u8]) -> Vec<u8> {
    [&crc32fast::hash(data).to_be_bytes(), data].concat()
}
