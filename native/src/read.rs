//! What a value says: as `codec/values.py` and `codec/moments.py` read it, where that is beyond doubt.

use crate::walk::Value;

/// What is odd about a value that is taken all the same; the number is that of its name in `arrival.FLAGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    MetadataOverLimit = 0,
    TimeUnset = 3,
    TimeUnreadable = 4,
    ValueUnreadable = 5,
}

/// What was read of a value. `Doubtful`: the reference decoder has to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Read<T> {
    Absent,
    Found(T),
    Odd(Flag),
    Doubtful,
}

/// A text, or a number whose decimal form is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word<'a> {
    Text(&'a str),
    Number(i64),
}

pub const MAX_NAME_CHARS: usize = 1_024;
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;
const MAX_DIGITS: usize = 19;
const EXACT: f64 = 9_007_199_254_740_992.0; // Two to the 53rd: every whole number below is a double.

/// Read an id, a status or a name of at most so many characters.
pub fn word(value: Value<'_>, limit: usize) -> Read<Word<'_>> {
    match value {
        Value::Absent => Read::Absent,
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= limit || text.chars().count() <= limit => Read::Found(Word::Text(text)),
            _ => Read::Doubtful,
        },
        Value::Long(number) => Read::Found(Word::Number(number)),
        Value::Double(number) => whole(number).map_or(Read::Doubtful, |number| Read::Found(Word::Number(number))),
        Value::Unreadable => Read::Odd(Flag::ValueUnreadable),
        Value::List => Read::Doubtful,
    }
}

/// Whether a text is one to be shown: `arrival.NO_TEXT`.
pub fn is_text(text: &str) -> bool {
    let is_odd = |c: char| matches!(c, '\u{0}'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    if text.is_ascii() { !text.bytes().any(|b| b < 0x20 || b == 0x7F) } else { !text.chars().any(is_odd) }
}

/// Read a count of tokens.
pub fn count(value: Value<'_>) -> Read<i64> {
    match value {
        Value::Absent => Read::Absent,
        Value::Long(number) => Read::Found(number),
        Value::Double(number) if number.abs() < EXACT => {
            whole(number).map_or(Read::Odd(Flag::ValueUnreadable), Read::Found)
        }
        Value::Text(bytes) => digits(bytes).map_or(Read::Doubtful, Read::Found),
        Value::Unreadable => Read::Odd(Flag::ValueUnreadable),
        Value::Double(_) | Value::List => Read::Doubtful,
    }
}

/// Read a time in Unix seconds, from units of which a second has so many, or from a text.
pub fn seconds(value: Value<'_>, per_second: i64) -> Read<i64> {
    let found = match value {
        Value::Absent => return Read::Absent,
        Value::Long(number) => number.div_euclid(per_second.max(1)),
        Value::Double(number) => match floored(number, per_second) {
            Some(number) => number,
            None => return Read::Odd(Flag::TimeUnreadable),
        },
        Value::Text(bytes) => match moment(bytes, per_second) {
            Some(found) => found,
            None => return Read::Doubtful,
        },
        Value::Unreadable => return Read::Odd(Flag::TimeUnreadable),
        Value::List => return Read::Doubtful,
    };
    if found <= 0 {
        Read::Odd(Flag::TimeUnset)
    } else if found > MAX_UNIX_SECONDS {
        Read::Odd(Flag::TimeUnreadable)
    } else {
        Read::Found(found)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is whole, and exact")]
fn whole(number: f64) -> Option<i64> {
    (number.abs() < EXACT && number.fract() == 0.0).then_some(number as i64)
}

/// Divide as Python's `//` does; None for what is no number, or none that is a time.
#[expect(clippy::cast_precision_loss, reason = "a second has a billion units at most")]
#[expect(clippy::cast_possible_truncation, reason = "a larger one is the largest, and no time either way")]
fn floored(number: f64, per_second: i64) -> Option<i64> {
    if !number.is_finite() {
        return None;
    }
    let by = per_second as f64;
    let rest = number % by;
    let found = (number - rest) / by - f64::from(u8::from(rest < 0.0));
    let floor = found.floor();
    Some((if found - floor > 0.5 { floor + 1.0 } else { floor }) as i64)
}

/// A whole number of up to 19 digits that fits.
fn digits(text: &[u8]) -> Option<i64> {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if unsigned.is_empty() || unsigned.len() > MAX_DIGITS || !unsigned.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time as most write it: empty, digits, or ISO 8601 with a date and a time of day. Of any other form nothing is said.
fn moment(text: &[u8], per_second: i64) -> Option<i64> {
    if text.is_empty() || text.starts_with(b"0000-") {
        return text.is_ascii().then_some(0);
    }
    if let Some(number) = (text.len() != 8).then(|| digits(text)).flatten() {
        return Some(number.div_euclid(per_second.max(1)));
    }
    let ([year, month, day, hour, minute, second], rest) = clock(text)?;
    let offset = zone(fraction(rest)?)?;
    Some(days(year, month, day)?.checked_mul(86_400)?.checked_add(hour * 3_600 + minute * 60 + second)? - offset)
}

/// The numbers of `YYYY-MM-DDThh:mm:ss`, in their bounds but for the days of a month, and what follows.
fn clock(text: &[u8]) -> Option<([i64; 6], &[u8])> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b' ', h0, h1, b':', n0, n1, b':', s0, s1] = head else {
        return None;
    };
    let found = [
        number(&[*y0, *y1, *y2, *y3])?,
        number(&[*m0, *m1])?,
        number(&[*d0, *d1])?,
        number(&[*h0, *h1])?,
        number(&[*n0, *n1])?,
        number(&[*s0, *s1])?,
    ];
    let [year, .., hour, minute, second] = found;
    (year > 0 && hour < 24 && minute < 60 && second < 60).then_some((found, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |found, digit| digit.is_ascii_digit().then(|| found * 10 + i64::from(digit - b'0')))
}

/// What follows a fraction of a second.
fn fraction(text: &[u8]) -> Option<&[u8]> {
    let Some(rest) = text.strip_prefix(b".") else { return Some(text) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=9).contains(&count).then(|| rest.get(count..)).flatten()
}

/// The offset from UTC in seconds, which is none where nothing is said.
fn zone(text: &[u8]) -> Option<i64> {
    match text {
        [] | [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (number(&[*h0, *h1])?, number(&[*m0, *m1])?);
            let size = (hours < 24 && minutes < 60).then_some(hours * 3_600 + minutes * 60)?;
            Some(if *sign == b'-' { -size } else { size })
        }
        _ => None,
    }
}

/// Days since 1970 of a date of the Gregorian calendar; None where there is no such date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lasts = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=lasts).contains(&day) {
        return None;
    }
    // Years that begin in March: a leap day is the last one of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468)
}
