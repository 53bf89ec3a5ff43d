// SPDX-License-Identifier: GPL-2.0

//! The parts of the kernel crate's module of that name that the checked files use.

pub(crate) mod atomic {
    use loom::sync::atomic::{AtomicU64, Ordering};
    use std::marker::PhantomData;

    pub(crate) struct Relaxed;

    pub(crate) trait Value {
        fn to_bits(self) -> u64;
        fn from_bits(bits: u64) -> Self;
    }

    impl Value for bool {
        fn to_bits(self) -> u64 {
            self.into()
        }

        fn from_bits(bits: u64) -> Self {
            bits != 0
        }
    }

    impl Value for u32 {
        fn to_bits(self) -> u64 {
            self.into()
        }

        fn from_bits(bits: u64) -> Self {
            bits as u32
        }
    }

    impl Value for i64 {
        fn to_bits(self) -> u64 {
            self as u64
        }

        fn from_bits(bits: u64) -> Self {
            bits as i64
        }
    }

    pub(crate) struct Atomic<T>(AtomicU64, PhantomData<T>);

    impl<T: Value> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(AtomicU64::new(value.to_bits()), PhantomData)
        }

        pub(crate) fn load(&self, _: Relaxed) -> T {
            T::from_bits(self.0.load(Ordering::Relaxed))
        }

        pub(crate) fn store(&self, value: T, _: Relaxed) {
            self.0.store(value.to_bits(), Ordering::Relaxed);
        }

        pub(crate) fn xchg(&self, value: T, _: Relaxed) -> T {
            T::from_bits(self.0.swap(value.to_bits(), Ordering::Relaxed))
        }
    }
}
