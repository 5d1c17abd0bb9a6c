//! How the allocator treats the buffers of long lists: they are megabytes, several one after the other, and glibc would have
//! each mapped and its pages cleared anew, which takes as long as reading the list. Elsewhere nothing is done.

/// Buffers up to this size come from the heap, bytes; glibc takes no larger bound.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 32 << 20;

/// So much may lie free at the end of the heap, bytes.
#[cfg(target_env = "gnu")]
const FREE: libc::c_int = 64 << 20;

/// To be called before there are other threads.
pub(crate) fn keep() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both only set parameters of the allocator; no other thread is there that could be using it.
    unsafe {
        // A refusal leaves the default in force.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, FREE);
    }
}
