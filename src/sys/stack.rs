//! The stacks of green tasks.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use corosensei::stack::StackPointer;

/// Memory that is never used is not counted against what the system can promise.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_RESERVE: libc::c_int = libc::MAP_NORESERVE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NO_RESERVE: libc::c_int = 0;

/// Memory for a stack: only pages that were touched are taken from the system. The lowest page is a guard: an
/// overflow ends the process.
pub(crate) struct Stack {
    lowest: *mut libc::c_void,
    /// With the guard.
    length: usize,
}

impl Stack {
    /// A stack of at least `size` bytes.
    ///
    /// # Errors
    ///
    /// There is no memory or no address space, or the process has as many mappings as the system allows
    /// (`vm.max_map_count`).
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let page = page_size();
        let size = size.max(corosensei::stack::MIN_STACK_SIZE);
        let length = size
            .checked_add(2 * page - 1)
            .map(|length| length & !(page - 1))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | NO_RESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the system chooses.
        let lowest = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, -1, 0) };
        if lowest == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Stack { lowest, length };
        install_guard(stack.lowest, page)?;
        Ok(stack)
    }

    /// The address of its guard.
    pub(super) fn guard(&self) -> usize {
        self.lowest.addr()
    }
}

// SAFETY: the memory is this value's alone, and no thread has anything of its own in it.
unsafe impl Send for Stack {}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing runs on it any more.
        unsafe { libc::munmap(self.lowest, self.length) };
    }
}

// SAFETY: the memory is this value's alone until it is dropped, of at least the minimum size, and its lowest
// page is a guard. Pages are aligned to more than a stack needs.
unsafe impl corosensei::stack::Stack for Stack {
    fn base(&self) -> StackPointer {
        let base = self.lowest.addr() + self.length;
        NonZeroUsize::new(base).expect("a mapping is not at address 0")
    }

    fn limit(&self) -> StackPointer {
        NonZeroUsize::new(self.lowest.addr()).expect("a mapping is not at address 0")
    }
}

/// Gives the memory between a stack's guard and `end` back to the system. It reads as zeroes afterwards.
///
/// # Safety
///
/// `guard` is that of a [`Stack`], and nothing in this part of it is used.
pub(super) unsafe fn give_back(guard: usize, end: usize) {
    let page = page_size();
    let lowest = guard + page;
    let length = (end & !(page - 1)).saturating_sub(lowest);
    // SAFETY: the range is in the mapping, and the caller promises that nobody uses it.
    unsafe {
        libc::madvise(
            ptr::without_provenance_mut(lowest),
            length,
            libc::MADV_DONTNEED,
        )
    };
}

fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: it only returns a number.
    *SIZE.get_or_init(|| {
        unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
            .try_into()
            .unwrap_or(4096)
    })
}

/// Makes the lowest page inaccessible.
fn install_guard(lowest: *mut libc::c_void, page: usize) -> io::Result<()> {
    /// Since Linux 6.13. It needs no mapping of its own, of which a process may have 65,530 by default.
    const MADV_GUARD_INSTALL: libc::c_int = 102;
    static IS_SUPPORTED: AtomicBool = AtomicBool::new(cfg!(target_os = "linux"));
    if IS_SUPPORTED.load(Ordering::Relaxed) {
        // SAFETY: the page is a part of a new mapping, which nobody uses yet.
        if unsafe { libc::madvise(lowest, page, MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        IS_SUPPORTED.store(false, Ordering::Relaxed);
    }
    // SAFETY: as above.
    match unsafe { libc::mprotect(lowest, page, libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

thread_local! {
    /// The address of the guard of the task that runs on this thread; 0 if none does.
    static GUARD: Cell<usize> = const { Cell::new(0) };
}

/// Sets the guard of the task that runs on this thread; 0 if none does.
pub(super) fn set_guard(address: usize) {
    GUARD.set(address);
}

/// What the process did at a fault before [`report_overflows`].
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Reports stack overflows of tasks: without it the process would end without a message.
pub(crate) fn report_overflows() {
    BEFORE.get_or_init(|| {
        // SAFETY: zeroes are a valid action.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut before = MaybeUninit::zeroed();
        // SAFETY: the handler calls what is allowed in one, and both pointers are valid.
        unsafe {
            libc::sigaction(libc::SIGSEGV, &action, before.as_mut_ptr());
            before.assume_init()
        }
    });
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the system passes a valid pointer.
    let address = unsafe { (*info).si_addr() }.addr();
    let guard = GUARD.get();
    if guard != 0 && (guard..guard + page_size()).contains(&address) {
        let text = b"a green task has overflowed its stack: raise Builder::stack_size\n";
        // SAFETY: both may be called in a signal handler.
        unsafe {
            libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
            libc::abort();
        }
    }
    if let Some(before) = BEFORE.get() {
        chain(before, signal, info, context);
    }
}

/// Does what would have happened without this handler.
fn chain(
    before: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the fault repeats when this handler returns, and then the action is the default one.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: the flag says that the handler is of this type.
            let handler: Handler = unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without the flag the handler is of this type.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
