//! Avro's binary encoding, read strictly: every length, index and integer is checked before it is used.

use std::fmt;

/// Why a payload is no encoding of its schema, or is more than is taken. Python has the words for each: `skim.FAULTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    EndsEarly,
    LongInteger,
    BadBoolean,
    BadLength,
    BadSymbol,
    BadBranch,
    TooManyItems,
    TrailingBytes,
    TooManyValues,
    TooDeep,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

const LONGEST_SHIFT: u32 = 63;

/// One payload, and how far it was read.
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    pub fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.rest.split_first().ok_or(Fault::EndsEarly)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Read an `int` or a `long`, zigzag in at most ten bytes.
    pub fn long(&mut self) -> Result<i64, Fault> {
        let mut byte = self.byte()?;
        let mut found = u64::from(byte & 0x7F);
        let mut shift = 7;
        while byte >= 0x80 {
            byte = self.byte()?;
            found |= u64::from(byte & 0x7F).wrapping_shl(shift);
            if byte >= 0x80 && shift >= LONGEST_SHIFT {
                return Err(Fault::LongInteger);
            }
            shift = shift.wrapping_add(7);
        }
        Ok((found >> 1).cast_signed() ^ (found & 1).cast_signed().wrapping_neg())
    }

    /// Read so many bytes.
    pub fn take(&mut self, size: i64) -> Result<&'a [u8], Fault> {
        let size = usize::try_from(size).map_err(|_| Fault::BadLength)?;
        let (found, rest) = self.rest.split_at_checked(size).ok_or(Fault::BadLength)?;
        self.rest = rest;
        Ok(found)
    }

    /// Read a `string` or `bytes`.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let size = self.long()?;
        self.take(size)
    }

    /// Read bytes behind their length, as Kafka has them: none where that is -1.
    pub fn nullable(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        match self.long()? {
            -1 => Ok(None),
            size => self.take(size).map(Some),
        }
    }

    /// Read how many items the next block of a list or a map has; None at its end.
    pub fn block(&mut self) -> Result<Option<i64>, Fault> {
        let mut count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        if count < 0 {
            self.long()?; // How many bytes they are.
            count = count.checked_neg().unwrap_or(0); // Of the least long there is none: to all decoders, nothing.
        }
        // No item is without bytes: see `vet.py`.
        if usize::try_from(count).map_or(true, |count| count > self.left()) {
            return Err(Fault::TooManyItems);
        }
        Ok(Some(count))
    }

    /// Read `N` bytes, of a float or a double.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (found, rest) = self.rest.split_first_chunk().ok_or(Fault::BadLength)?;
        self.rest = rest;
        Ok(*found)
    }

    pub fn boolean(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::BadBoolean),
        }
    }
}
