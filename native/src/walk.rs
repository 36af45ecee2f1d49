//! One payload through a program: its values into the slots of a row, or the first fault in it.

use crate::avro::{Cursor, Fault};
use crate::program::{At, Key, Node, Part, Program, Slot};

/// What a slot holds of a payload, as it is encoded there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// Nothing, or null.
    #[default]
    Absent,
    /// Of a `string`, `bytes`, or an enum: not known to be UTF-8.
    Text(&'a [u8]),
    Long(i64),
    Double(f64),
    /// A list: its items are in the row's list of the same slot.
    List,
    /// Something is there that is of no use.
    Unreadable,
}

/// What one payload holds. `doubtful`: the reference decoder has to say what it is.
pub struct Row<'a> {
    pub values: Vec<Value<'a>>,
    pub lists: Vec<Vec<&'a [u8]>>,
    /// Bytes of the longest value among the metadata, as it is encoded; their keys are in the list of their slot.
    pub longest_value: usize,
    pub doubtful: bool,
}

impl Row<'_> {
    pub fn new(slots: usize) -> Self {
        Self { values: vec![Value::Absent; slots], lists: vec![Vec::new(); slots], longest_value: 0, doubtful: false }
    }

    pub fn clear(&mut self) {
        self.values.fill(Value::Absent);
        self.lists.iter_mut().for_each(Vec::clear);
        self.longest_value = 0;
        self.doubtful = false;
    }
}

/// How much one record may hold: see `skim`.
#[derive(Clone, Copy)]
pub struct Limits {
    pub values: i64,
    pub nested: i64,
}

/// The walk of one payload. `left`: how much of the limits is left.
pub struct Walk<'a, 'r> {
    program: &'a Program,
    cursor: Cursor<'a>,
    left: Limits,
    row: &'r mut Row<'a>,
}

impl<'a, 'r> Walk<'a, 'r> {
    /// Walk through a payload, which must be of one record and nothing else.
    pub fn all(
        program: &'a Program,
        root: At,
        payload: &'a [u8],
        limits: Limits,
        row: &'r mut Row<'a>,
    ) -> Result<(), Fault> {
        let mut walk = Self { program, cursor: Cursor::new(payload), left: limits, row };
        walk.value(root)?;
        if walk.cursor.left() > 0 { Err(Fault::TrailingBytes) } else { Ok(()) }
    }

    fn value(&mut self, at: At) -> Result<(), Fault> {
        let Some(node) = self.program.node(at) else { return Ok(()) };
        match node {
            Node::Null => {}
            Node::Boolean => _ = self.cursor.boolean()?,
            Node::Long(slots) => {
                let found = self.cursor.long()?;
                self.put(slots, Value::Long(found));
            }
            Node::Float(slots) => {
                let found = f32::from_le_bytes(self.cursor.array()?);
                self.put(slots, Value::Double(found.into()));
            }
            Node::Double(slots) => {
                let found = f64::from_le_bytes(self.cursor.array()?);
                self.put(slots, Value::Double(found));
            }
            Node::Text(slots) => {
                let found = self.cursor.bytes()?;
                self.put(slots, Value::Text(found));
            }
            Node::Fixed(size) => _ = self.cursor.take(*size)?,
            Node::Enum(symbols, slots) => {
                let found = index(self.cursor.long()?, symbols).ok_or(Fault::BadSymbol)?;
                self.put(slots, Value::Text(found.as_bytes()));
            }
            Node::Union(branches) => {
                let branch = index(self.cursor.long()?, branches).ok_or(Fault::BadBranch)?;
                self.spend(branch.cost)?;
                self.value(branch.at)?;
            }
            Node::Record(fields) => fields.iter().try_for_each(|field| self.value(*field))?,
            Node::Array(item, slots) => {
                self.put(slots, Value::List);
                self.items(*item, Self::value)?;
            }
            Node::Map(value, slots, keys) => {
                self.put(slots, Value::List);
                self.items(*value, |walk, value| walk.pair(value, slots, keys))?;
            }
            Node::Nested(part, types) => {
                self.left.nested = self.left.nested.saturating_sub(*types);
                if self.left.nested < 0 {
                    return Err(Fault::TooDeep);
                }
                self.spend(part.cost)?;
                self.value(part.at)?;
                self.left.nested = self.left.nested.saturating_add(*types);
            }
            Node::Unreadable(part, slots) => {
                self.value(*part)?;
                self.put(slots, Value::Unreadable);
            }
            Node::Doubtful(part) => {
                self.value(*part)?;
                self.row.doubtful = true;
            }
        }
        Ok(())
    }

    /// Put a value into its slots; a text of a list behind the others of that.
    fn put(&mut self, slots: &[Slot], value: Value<'a>) {
        for slot in slots {
            let (Some(place), Some(list)) = (self.row.values.get_mut(*slot), self.row.lists.get_mut(*slot)) else {
                continue;
            };
            match (value, *place) {
                (Value::Text(text), Value::List) => list.push(text),
                (Value::List, _) | (_, Value::Absent) => *place = value,
                _ => self.row.doubtful = true,
            }
        }
    }

    /// Walk through the blocks of a list or a map.
    fn items(&mut self, item: Part, mut each: impl FnMut(&mut Self, At) -> Result<(), Fault>) -> Result<(), Fault> {
        while let Some(count) = self.cursor.block()? {
            self.spend(count.saturating_mul(item.cost).saturating_add(1))?;
            for _ in 0..count {
                each(self, item.at)?;
            }
        }
        Ok(())
    }

    /// Read a pair of a map: of the metadata the key and the size of the value, of some keys the value.
    fn pair(&mut self, value: At, slots: &[Slot], keys: &[Key]) -> Result<(), Fault> {
        let key = self.cursor.bytes()?;
        self.put(slots, Value::Text(key));
        let before = self.cursor.left();
        if let Some((_, read, inside)) = keys.iter().find(|(name, ..)| name == key) {
            self.forget(inside); // The last one of a name counts.
            self.value(*read)?;
        } else {
            self.value(value)?;
        }
        let size = before.saturating_sub(self.cursor.left());
        self.row.longest_value = self.row.longest_value.max(size);
        Ok(())
    }

    fn forget(&mut self, slots: &[Slot]) {
        for slot in slots {
            if let (Some(place), Some(list)) = (self.row.values.get_mut(*slot), self.row.lists.get_mut(*slot)) {
                *place = Value::Absent;
                list.clear();
            }
        }
    }

    fn spend(&mut self, cost: i64) -> Result<(), Fault> {
        self.left.values = self.left.values.saturating_sub(cost);
        if self.left.values < 0 { Err(Fault::TooManyValues) } else { Ok(()) }
    }
}

fn index<T>(at: i64, of: &[T]) -> Option<&T> {
    usize::try_from(at).ok().and_then(|at| of.get(at))
}
