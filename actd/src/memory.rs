//! What memory the daemon holds on to. glibc's allocator keeps what was freed for a long time, and an arena for each
//! thread: after one list of ten thousand jobs that was 187 MiB, of which 35 were in use. Elsewhere nothing is done.

/// Buffers of this size and more are given back to the system as soon as they are freed, bytes. (Without a word glibc
/// raises its own bound to the size of the largest buffer that it has seen.) The buffers into which a large download is read
/// are a little smaller: made anew for each read, their page faults would cost more than the reading.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 512 << 10;

/// Arenas of the allocator: a few threads share one.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// To be called before there are other threads.
pub(crate) fn tame() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both only set parameters of the allocator; no other thread is there that could be using it.
    unsafe {
        // A refusal leaves the default in force.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives back what is free. Takes milliseconds.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
