// SPDX-License-Identifier: GPL-2.0

//! What stands for the kernel crate's module of that name.

pub(crate) mod atomic {
    use loom::sync::atomic::{AtomicU64, Ordering};
    use std::marker::PhantomData;

    pub(crate) struct Relaxed;
    pub(crate) struct Acquire;
    pub(crate) struct Full;

    pub(crate) trait Load {
        const ORDERING: Ordering;
    }

    impl Load for Relaxed {
        const ORDERING: Ordering = Ordering::Relaxed;
    }

    impl Load for Acquire {
        const ORDERING: Ordering = Ordering::Acquire;
    }

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

    impl Value for u64 {
        fn to_bits(self) -> u64 {
            self
        }

        fn from_bits(bits: u64) -> Self {
            bits
        }
    }

    impl Value for usize {
        fn to_bits(self) -> u64 {
            self as u64
        }

        fn from_bits(bits: u64) -> Self {
            bits as usize
        }
    }

    pub(crate) struct Atomic<T>(AtomicU64, PhantomData<T>);

    impl<T: Value> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(AtomicU64::new(value.to_bits()), PhantomData)
        }

        pub(crate) fn load<O: Load>(&self, _: O) -> T {
            T::from_bits(self.0.load(O::ORDERING))
        }

        pub(crate) fn store(&self, value: T, _: Relaxed) {
            self.0.store(value.to_bits(), Ordering::Relaxed);
        }

        pub(crate) fn xchg(&self, value: T, _: Relaxed) -> T {
            T::from_bits(self.0.swap(value.to_bits(), Ordering::Relaxed))
        }

        pub(crate) fn fetch_add(&self, value: T, _: Full) -> T {
            T::from_bits(self.0.fetch_add(value.to_bits(), Ordering::AcqRel))
        }

        pub(crate) fn cmpxchg(&self, old: T, new: T, _: Full) -> Result<T, T> {
            let (old, new) = (old.to_bits(), new.to_bits());
            self.0
                .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
                .map(T::from_bits)
                .map_err(T::from_bits)
        }
    }
}
