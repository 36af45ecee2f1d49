//! streamproc's codec in Rust. `streamproc/codec` says what each part has to do, and holds it against its reference.

mod avro;
mod events;
mod memory;
mod program;
mod read;
mod walk;

/// The extension module.
#[pyo3::pymodule]
mod streamproc_native {
    #[pymodule_export]
    use crate::events::EventDecoder;
}
