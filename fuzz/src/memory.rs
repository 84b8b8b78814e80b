//! How much memory is held at once, counted by the allocator, for each thread.
#![allow(unsafe_code)] // Only an allocator can count, and Rust's trait for one is unsafe.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Compiled expressions and tables that are made once.
const ONCE: usize = 8 << 20;

/// What an input may take for each of its bytes: a JSON item of two bytes becomes a row of 1.2 KiB.
const A_BYTE: usize = 1 << 10;

/// However long the input is, no more than this beside eight times its length.
const MOST: usize = 128 << 20;

/// Runs `work` on an input of `len` bytes.
///
/// # Panics
/// When it holds more memory than such an input may take.
pub fn within<T>(len: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    let peak = (PEAK.get() - before).max(0) as usize;
    let most = (ONCE + A_BYTE * len).min(MOST + 8 * len);
    assert!(peak <= most, "{peak} bytes of memory for an input of {len}, expected {most} at most");
    result
}

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        // For a moment there may be both.
        count(new as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, new) }
    }
}
