//! The variable-length integers that Avro and Kafka's records share, and what has its length in front of it.

/// Write a zigzag integer.
pub fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// How many bytes that takes.
pub fn varint_size(number: i64) -> usize {
    (70 - (zigzag(number) | 1).leading_zeros() as usize) / 7
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Write bytes behind their length; nothing is -1.
pub fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

/// Read what `put_varint` has written.
pub fn take_varint(rest: &mut &[u8]) -> i64 {
    let (mut found, mut shift) = (0_u64, 0_u32);
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        found |= u64::from(byte & 0x7F).wrapping_shl(shift);
        shift += 7;
        if *byte < 0x80 {
            break;
        }
    }
    (found >> 1).cast_signed() ^ (found & 1).cast_signed().wrapping_neg()
}

/// Read what `put_bytes` has written.
pub fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = usize::try_from(take_varint(rest)).ok()?;
    let (found, after) = rest.split_at_checked(size)?;
    *rest = after;
    Some(found)
}
