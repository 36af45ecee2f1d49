//! streamproc's codec in Rust. `streamproc/codec` says what each part has to do, and holds it against its reference.

mod avro;
mod encode;
mod events;
mod kind;
mod memory;
mod program;
mod read;
mod records;
mod rows;
mod seal;
mod unpack;
mod walk;
mod wire;

/// The extension module.
#[pyo3::pymodule]
mod streamproc_native {
    #[pymodule_export]
    use crate::encode::{EventEncoder, RowEncoder};
    #[pymodule_export]
    use crate::events::EventDecoder;
    #[pymodule_export]
    use crate::records::{Records, batch};
    #[pymodule_export]
    use crate::rows::{LatestDecoder, RowDecoder};
    #[pymodule_export]
    use crate::seal::seal;
    #[pymodule_export]
    use crate::unpack::{Batch, Unpacker, crc32c};
}
