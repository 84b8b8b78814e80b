//! A file system that fails, laid between a process and its C library (`LD_PRELOAD`): the test beside builds this file
//! alone, as a shared library. What concerns files outside `FAULTY_UNDER` goes through untouched.
//!
//! `FAULTY_CALL` is `read`, `write` or `sync`; `FAULTY_HOW` is
//! - `short`: every call does a part of what was asked for;
//! - `once:ERRNO`: the `FAULTY_NTH` call fails with that error, the others do what they should;
//! - `from:ERRNO`: so do all after it.
//!
//! `FAULTY_FIRED` is the file that is made when a call was changed.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const NEXT: *mut c_void = -1_isize as *mut c_void;
const LONGEST_PATH: usize = 4096;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn readlink(path: *const c_char, into: *mut c_char, size: usize) -> isize;
    fn creat(path: *const c_char, mode: u32) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn __errno_location() -> *mut c_int;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Sync,
}

enum Verdict {
    Through,
    Short,
    Fail(c_int),
}

static CALLS: AtomicU64 = AtomicU64::new(0);

fn setting(name: &CStr) -> Option<&'static str> {
    // SAFETY: the environment is not changed while the process runs.
    let value = unsafe { getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: a string of the environment ends with NUL and lives as long as the process.
    unsafe { CStr::from_ptr(value) }.to_str().ok()
}

/// Whether the open file lies in the folder under test.
fn concerns(fd: c_int) -> bool {
    let Some(under) = setting(c"FAULTY_UNDER") else { return false };
    let mut link = *b"/proc/self/fd/0000000000\0";
    let mut rest = fd;
    for place in link[14..24].iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    // Names in /proc have no leading zeros.
    let zeros = link[14..23].iter().take_while(|digit| **digit == b'0').count();
    link.copy_within(14 + zeros.., 14);
    let mut path = [0_u8; LONGEST_PATH];
    // SAFETY: both point to arrays of at least the length stated; the link ends with NUL.
    let length = unsafe { readlink(link.as_ptr().cast(), path.as_mut_ptr().cast(), path.len()) };
    usize::try_from(length).is_ok_and(|length| path[..length].starts_with(under.as_bytes()))
}

fn verdict(call: Call, fd: c_int) -> Verdict {
    let asked = match setting(c"FAULTY_CALL") {
        Some("read") => Call::Read,
        Some("write") => Call::Write,
        Some("sync") => Call::Sync,
        _ => return Verdict::Through,
    };
    if asked != call || !concerns(fd) {
        return Verdict::Through;
    }
    let nth = setting(c"FAULTY_NTH").and_then(|nth| nth.parse().ok()).unwrap_or(1);
    let count = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    let verdict = match setting(c"FAULTY_HOW").and_then(|how| how.split_once(':')) {
        Some(("once", errno)) if count == nth => Verdict::Fail(errno.parse().unwrap_or(5)),
        Some(("from", errno)) if count >= nth => Verdict::Fail(errno.parse().unwrap_or(5)),
        None => Verdict::Short,
        Some(_) => return Verdict::Through,
    };
    if let Some(fired) = std::env::var_os("FAULTY_FIRED") {
        let mut path = [0_u8; LONGEST_PATH];
        let bytes = fired.as_encoded_bytes();
        path[..bytes.len()].copy_from_slice(bytes);
        // SAFETY: the path ends with NUL; the descriptor is this call's own.
        unsafe { close(creat(path.as_ptr().cast(), 0o600)) };
    }
    verdict
}

/// The C library's own function of the name.
fn real(name: &CStr, known: &AtomicUsize) -> usize {
    let found = known.load(Ordering::Relaxed);
    if found != 0 {
        return found;
    }
    // SAFETY: looks a name up in the libraries after this one.
    let found = unsafe { dlsym(NEXT, name.as_ptr()) } as usize;
    known.store(found, Ordering::Relaxed);
    found
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: the thread's own errno.
    unsafe { *__errno_location() = errno };
    -1
}

/// A part of what was asked for, at least one byte.
fn part(count: usize) -> usize {
    if count > 1 { count.div_ceil(3) } else { count }
}

macro_rules! transfers {
    ($($name:ident as $text:literal, $call:expr, ($($argument:ident: $type:ty),*);)*) => {$(
        /// # Safety
        /// As the C library's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, bytes: *mut c_void, count: usize $(, $argument: $type)*) -> isize {
            static REAL: AtomicUsize = AtomicUsize::new(0);
            type Function = unsafe extern "C" fn(c_int, *mut c_void, usize $(, $type)*) -> isize;
            let count = match verdict($call, fd) {
                Verdict::Through => count,
                Verdict::Short => part(count),
                Verdict::Fail(errno) => return fail(errno) as isize,
            };
            // SAFETY: the C library's function of this name and type.
            unsafe { std::mem::transmute::<usize, Function>(real($text, &REAL))(fd, bytes, count $(, $argument)*) }
        }
    )*};
}

transfers! {
    read as c"read", Call::Read, ();
    pread as c"pread", Call::Read, (offset: c_long);
    pread64 as c"pread64", Call::Read, (offset: c_long);
    write as c"write", Call::Write, ();
    pwrite as c"pwrite", Call::Write, (offset: c_long);
    pwrite64 as c"pwrite64", Call::Write, (offset: c_long);
}

macro_rules! syncs {
    ($($name:ident as $text:literal;)*) => {$(
        /// # Safety
        /// As the C library's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int) -> c_int {
            static REAL: AtomicUsize = AtomicUsize::new(0);
            type Function = unsafe extern "C" fn(c_int) -> c_int;
            match verdict(Call::Sync, fd) {
                Verdict::Fail(errno) => fail(errno),
                // SAFETY: the C library's function of this name and type.
                Verdict::Through | Verdict::Short => unsafe {
                    std::mem::transmute::<usize, Function>(real($text, &REAL))(fd)
                },
            }
        }
    )*};
}

syncs! {
    fsync as c"fsync";
    fdatasync as c"fdatasync";
}
