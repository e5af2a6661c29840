//! The BPF object inside this binary.

use super::Error;

#[cfg(xlvs_bpf_object)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("XLVS_BPF_OBJECT_PATH"));

/// The object's bytes, or an error where the binary was built without.
pub(super) fn bytes() -> Result<&'static [u8], Error> {
    #[cfg(xlvs_bpf_object)]
    let object = Ok(OBJECT);
    #[cfg(not(xlvs_bpf_object))]
    let object = Err(Error::NoObject);
    object
}
