//! Every test of a program, once for each backend that Linux has.

/// Instantiates each test on both backends.
macro_rules! on_each_backend {
    ($($file:ident::$test:ident),* $(,)?) => {
        mod uring {
            $(#[test] fn $test() { crate::served::check("uring", crate::$file::$test); })*
        }

        mod epoll {
            $(#[test] fn $test() { crate::served::check("epoll", crate::$file::$test); })*
        }
    };
}
pub(crate) use on_each_backend;
