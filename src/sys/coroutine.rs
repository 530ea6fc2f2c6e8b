//! Switching between stacks.

use std::cell::Cell;
use std::ptr;

use corosensei::{CoroutineResult, Yielder};

use super::stack::{self, Stack};

/// More than what a switch puts on the stack, below [`suspend`].
const RESERVE: usize = 4096;

thread_local! {
    /// Of the coroutine that runs on this thread; null if none does.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
    /// Where the stack ended of the coroutine that was suspended last.
    static SUSPENDED_AT: Cell<usize> = const { Cell::new(0) };
}

/// A function that runs on a stack of its own, and can be left and entered again.
///
/// One that has not ended when it is dropped is leaked, with its stack.
pub(crate) struct Coroutine {
    inner: Option<corosensei::Coroutine<(), (), (), Stack>>,
    /// The address of the guard below its stack.
    guard: usize,
    /// Where its stack ends while it is suspended.
    end: usize,
}

impl Coroutine {
    /// It begins with the first [`resume`](Self::resume). `run` must not panic.
    pub(crate) fn new(stack: Stack, run: impl FnOnce() + 'static) -> Self {
        let run = move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            run();
        };
        Coroutine {
            guard: stack.guard(),
            end: stack.guard(),
            inner: Some(corosensei::Coroutine::with_stack(stack, run)),
        }
    }

    /// As [`new`](Self::new), for a function that borrows.
    ///
    /// # Safety
    ///
    /// `run` has ended, or can never go on, before what it borrows is gone.
    pub(crate) unsafe fn borrowing(stack: Stack, run: Box<dyn FnOnce() + '_>) -> Self {
        // SAFETY: only the lifetime changes, and the caller promises that the function does not outlive it.
        let run: Box<dyn FnOnce()> = unsafe { std::mem::transmute(run) };
        Coroutine::new(stack, run)
    }

    /// Runs until the function suspends or ends. Returns the stack at its end.
    pub(crate) fn resume(&mut self) -> Option<Stack> {
        let outer = YIELDER.get();
        let inner = self.inner.as_mut()?;
        stack::set_guard(self.guard);
        let result = inner.resume(());
        stack::set_guard(0);
        YIELDER.set(outer);
        match result {
            CoroutineResult::Yield(()) => {
                self.end = SUSPENDED_AT.get();
                None
            }
            CoroutineResult::Return(()) => self.inner.take().map(|ended| ended.into_stack()),
        }
    }
}

impl Coroutine {
    /// Begins to load the part of its stack that it uses first when it is resumed.
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..8 {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let address = ptr::without_provenance(self.end + RESERVE - 64 + line * 64);
            // SAFETY: a prefetch has no effect but on caches, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
    }

    /// Gives memory back to the system that its stack has used and does not need while it is suspended.
    pub(crate) fn trim(&mut self) {
        // SAFETY: it is suspended, and nothing on its stack is below the end.
        unsafe { stack::give_back(self.guard, self.end) };
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        // Unwinding it would run destructors on a stack that is not the current one.
        std::mem::forget(self.inner.take());
    }
}

/// Leaves the running coroutine until it is resumed.
///
/// # Panics
///
/// No coroutine runs on this thread.
// Not a part of its caller's frame: the caller's values are above this function's own.
#[inline(never)]
pub(crate) fn suspend() {
    let yielder = YIELDER.get();
    assert!(!yielder.is_null(), "only a coroutine is suspended");
    SUSPENDED_AT.set(ptr::from_ref(&yielder).addr() - RESERVE);
    // SAFETY: it was set when this coroutine began or was resumed, on this thread, and it lives on this
    // coroutine's stack, which is in use.
    unsafe { (*yielder).suspend(()) };
    YIELDER.set(yielder);
}
