//! The program of a writer's schema: a flat list of nodes, made by `codec/program.py`, each of them a read or a skip.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

/// Nodes in each other: of a schema within `vet.MAX_DEPTH` there are less, two for a type at most.
const MAX_DEPTH: usize = 72;

/// The number of a node in its program.
pub type At = usize;
/// Where a value is put: the number of a read.
pub type Slot = usize;
pub type Slots = Vec<Slot>;

/// A union's branch, or a list's item: where it is, and how many values it is in the sense of `weight.values`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub at: At,
    pub cost: i64,
}

/// A key of a map, the node of its value, and the slots that another value of the same key sets again.
pub type Key = (Vec<u8>, At, Slots);

/// How a value is encoded, and where it is put; skipped where there are no slots.
#[derive(Debug)]
pub enum Node {
    Null,
    Boolean,
    Long(Slots),
    Float(Slots),
    Double(Slots),
    /// A `string`, or `bytes`.
    Text(Slots),
    Fixed(i64),
    Enum(Vec<String>, Slots),
    /// The costs are what a branch adds to what its union has cost.
    Union(Vec<Part>),
    Record(Vec<At>),
    Array(Part, Slots),
    /// The metadata, where there are slots. Of some keys the value is read.
    Map(Part, Slots, Vec<Key>),
    /// A type that may contain itself, at so many types from the one around it.
    Nested(Part, i64),
    /// A value that is seen where it cannot be read.
    Unreadable(At, Slots),
    /// A value that only the reference decoder reads.
    Doubtful(At),
}

/// Everything that a payload is walked by. No node has a number in it that there is no node for.
pub struct Program {
    nodes: Vec<Node>,
}

impl Program {
    /// Take over a list of tuples: a name, then what the node of that name has.
    pub fn new(nodes: &Bound<'_, PyList>, slots: usize) -> PyResult<Self> {
        let nodes = nodes.iter().map(|node| made(&node.cast_into()?)).collect::<PyResult<Vec<_>>>()?;
        let program = Self { nodes };
        program.nodes.iter().try_for_each(|node| program.vet(node, slots))?;
        let mut depths = vec![None; program.nodes.len()];
        (0..program.nodes.len()).try_for_each(|at| program.depth(at, MAX_DEPTH, &mut depths).map(drop))?;
        Ok(program)
    }

    pub fn node(&self, at: At) -> Option<&Node> {
        self.nodes.get(at)
    }

    /// Refuse a node that names what there is not, or costs less than nothing.
    fn vet(&self, node: &Node, slots: usize) -> PyResult<()> {
        let is_node = |part: &At| *part < self.nodes.len();
        if !node.parts().iter().all(is_node) || node.slots().iter().any(|slot| *slot >= slots) {
            return Err(PyValueError::new_err("a node names a node or a slot that there is none of"));
        }
        let costs = match node {
            Node::Union(branches) => branches.iter().map(|part| part.cost).collect(),
            Node::Array(part, _) | Node::Map(part, ..) => vec![part.cost],
            Node::Nested(part, types) => vec![part.cost, types.saturating_sub(1)],
            Node::Fixed(size) => vec![*size],
            _ => vec![],
        };
        if costs.iter().any(|cost| *cost < 0) {
            return Err(PyValueError::new_err("a node costs less than nothing"));
        }
        Ok(())
    }

    /// Return how deep nodes are in each other below one, up to those that count by themselves how deep they are. So a
    /// program that leads back to itself is refused.
    fn depth(&self, at: At, left: usize, depths: &mut [Option<usize>]) -> PyResult<usize> {
        if let Some(known) = depths.get(at).copied().flatten() {
            return Ok(known);
        }
        if left == 0 {
            return Err(PyValueError::new_err("nodes are in each other too deeply, or without an end"));
        }
        let mut deepest = 0;
        match self.node(at) {
            None | Some(Node::Nested(..)) => {}
            Some(node) => {
                for part in node.parts() {
                    deepest = deepest.max(1 + self.depth(part, left - 1, depths)?);
                }
            }
        }
        if let Some(depth) = depths.get_mut(at) {
            *depth = Some(deepest);
        }
        Ok(deepest)
    }
}

impl Node {
    /// The nodes of the values inside.
    fn parts(&self) -> Vec<At> {
        match self {
            Node::Union(branches) => branches.iter().map(|part| part.at).collect(),
            Node::Record(fields) => fields.clone(),
            Node::Array(part, _) | Node::Nested(part, _) => vec![part.at],
            Node::Map(value, _, keys) => keys.iter().map(|key| key.1).chain([value.at]).collect(),
            Node::Unreadable(part, _) | Node::Doubtful(part) => vec![*part],
            _ => vec![],
        }
    }

    fn slots(&self) -> Slots {
        match self {
            Node::Long(slots)
            | Node::Float(slots)
            | Node::Double(slots)
            | Node::Text(slots)
            | Node::Enum(_, slots)
            | Node::Array(_, slots)
            | Node::Unreadable(_, slots) => slots.clone(),
            Node::Map(_, slots, keys) => keys.iter().flat_map(|key| &key.2).chain(slots).copied().collect(),
            _ => vec![],
        }
    }
}

fn made(node: &Bound<'_, PyTuple>) -> PyResult<Node> {
    let part = |at: usize| -> PyResult<Part> { Ok(Part { at: node.get_item(at)?.extract()?, cost: cost(node, at)? }) };
    let slots = |at: usize| -> PyResult<Slots> { node.get_item(at)?.extract() };
    Ok(match node.get_item(0)?.extract::<&str>()? {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "long" => Node::Long(slots(1)?),
        "float" => Node::Float(slots(1)?),
        "double" => Node::Double(slots(1)?),
        "text" => Node::Text(slots(1)?),
        "fixed" => Node::Fixed(node.get_item(1)?.extract()?),
        "enum" => Node::Enum(node.get_item(1)?.extract()?, slots(2)?),
        "union" => {
            let branches: Vec<(At, i64)> = node.get_item(1)?.extract()?;
            Node::Union(branches.into_iter().map(|(at, cost)| Part { at, cost }).collect())
        }
        "record" => Node::Record(node.get_item(1)?.extract()?),
        "array" => Node::Array(part(1)?, slots(3)?),
        "map" => Node::Map(part(1)?, slots(3)?, node.get_item(4)?.extract()?),
        "nested" => Node::Nested(part(1)?, node.get_item(3)?.extract()?),
        "unreadable" => Node::Unreadable(node.get_item(1)?.extract()?, slots(2)?),
        "doubtful" => Node::Doubtful(node.get_item(1)?.extract()?),
        other => return Err(PyValueError::new_err(format!("there is no node {other}"))),
    })
}

fn cost(node: &Bound<'_, PyTuple>, at: usize) -> PyResult<i64> {
    node.get_item(at.saturating_add(1))?.extract()
}
