//! Several at once, until all are done or one has failed.

#![allow(non_snake_case, reason = "a branch is named as its type")]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Runs all branches and gives all outputs, in the order of the tuple.
///
/// ```
/// use shardwise_shards::{Simulation, combine::all};
///
/// Simulation::new(1).run(async |_shard| {
///     assert_eq!(all((async { 1 }, async { "two" })).await, (1, "two"));
/// });
/// ```
pub fn all<B: All>(branches: B) -> B::Future {
    branches.all()
}

/// Runs all branches until one fails, and drops the others then; or gives all outputs, in the order of the tuple.
///
/// ```
/// use shardwise_shards::{Simulation, combine::try_all};
///
/// Simulation::new(1).run(async |_shard| {
///     let both = try_all((async { Ok::<_, String>(1) }, async { Ok("two") })).await;
///     assert_eq!(both, Ok((1, "two")));
///     let one_failed = try_all((std::future::pending::<Result<(), _>>(), async { Err::<(), _>("no") })).await;
///     assert_eq!(one_failed, Err("no"));
/// });
/// ```
pub fn try_all<B: TryAll>(branches: B) -> B::Future {
    branches.try_all()
}

/// Tuples that can be run by [`all`].
pub trait All {
    /// All outputs.
    type Output;
    /// The combined future.
    type Future: Future<Output = Self::Output>;
    /// See [`all`].
    fn all(self) -> Self::Future;
}

/// Tuples that can be run by [`try_all`].
pub trait TryAll {
    /// All outputs, or the first error.
    type Output;
    /// The combined future.
    type Future: Future<Output = Self::Output>;
    /// See [`try_all`].
    fn try_all(self) -> Self::Future;
}

pin_project! {
    /// A branch, and its output once it has one: what it held is given up then.
    #[project = BranchProject]
    enum Branch<F, T> {
        Running { #[pin] future: F },
        Done { output: Option<T> },
    }
}

impl<F: Future> Branch<F, F::Output> {
    /// Runs on, and says whether it is done.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        match self.as_mut().project() {
            BranchProject::Running { future } => match future.poll(cx) {
                Poll::Ready(output) => {
                    self.set(Branch::Done { output: Some(output) });
                    true
                }
                Poll::Pending => false,
            },
            BranchProject::Done { .. } => true,
        }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Branch<F, T> {
    /// Runs on, and says whether it is done.
    fn try_poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<bool, E> {
        match self.as_mut().project() {
            BranchProject::Running { future } => match future.poll(cx) {
                Poll::Ready(result) => {
                    let output = result?;
                    self.set(Branch::Done { output: Some(output) });
                    Ok(true)
                }
                Poll::Pending => Ok(false),
            },
            BranchProject::Done { .. } => Ok(true),
        }
    }
}

impl<F, T> Branch<F, T> {
    fn take(self: Pin<&mut Self>) -> T {
        match self.project() {
            BranchProject::Done { output } => output.take().expect("a combined future is not polled after its end"),
            BranchProject::Running { .. } => unreachable!("all branches are done"),
        }
    }
}

macro_rules! alls {
    ($name:ident $try:ident: $($branch:ident $output:ident)*) => {
        pin_project! {
            /// The future of all branches.
            #[must_use = "futures do nothing unless polled"]
            pub struct $name<$($branch: Future,)*> {
                $(#[pin] $branch: Branch<$branch, $branch::Output>,)*
            }
        }

        impl<$($branch: Future,)*> Future for $name<$($branch,)*> {
            type Output = ($($branch::Output,)*);

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let mut this = self.project();
                let mut done = true;
                $(done &= this.$branch.as_mut().poll(cx);)*
                if done { Poll::Ready(($(this.$branch.take(),)*)) } else { Poll::Pending }
            }
        }

        impl<$($branch: Future,)*> All for ($($branch,)*) {
            type Output = ($($branch::Output,)*);
            type Future = $name<$($branch,)*>;

            fn all(self) -> Self::Future {
                let ($($branch,)*) = self;
                $name { $($branch: Branch::Running { future: $branch },)* }
            }
        }

        impl<$($branch: Future,)*> fmt::Debug for $name<$($branch,)*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("All").finish_non_exhaustive()
            }
        }

        pin_project! {
            /// The future of all branches, until one fails.
            #[must_use = "futures do nothing unless polled"]
            pub struct $try<$($branch, $output,)*> {
                $(#[pin] $branch: Branch<$branch, $output>,)*
            }
        }

        impl<Error, $($output, $branch: Future<Output = Result<$output, Error>>,)*> Future
            for $try<$($branch, $output,)*>
        {
            type Output = Result<($($output,)*), Error>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let mut this = self.project();
                let mut done = true;
                $(done &= this.$branch.as_mut().try_poll(cx)?;)*
                if done { Poll::Ready(Ok(($(this.$branch.take(),)*))) } else { Poll::Pending }
            }
        }

        impl<Error, $($output, $branch: Future<Output = Result<$output, Error>>,)*> TryAll for ($($branch,)*) {
            type Output = Result<($($output,)*), Error>;
            type Future = $try<$($branch, $output,)*>;

            fn try_all(self) -> Self::Future {
                let ($($branch,)*) = self;
                $try { $($branch: Branch::Running { future: $branch },)* }
            }
        }

        impl<$($branch, $output,)*> fmt::Debug for $try<$($branch, $output,)*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("TryAll").finish_non_exhaustive()
            }
        }
    };
}

alls!(All1 TryAll1: A Ta);
alls!(All2 TryAll2: A Ta B Tb);
alls!(All3 TryAll3: A Ta B Tb C Tc);
alls!(All4 TryAll4: A Ta B Tb C Tc D Td);
alls!(All5 TryAll5: A Ta B Tb C Tc D Td E Te);
alls!(All6 TryAll6: A Ta B Tb C Tc D Td E Te F Tf);
alls!(All7 TryAll7: A Ta B Tb C Tc D Td E Te F Tf G Tg);
alls!(All8 TryAll8: A Ta B Tb C Tc D Td E Te F Tf G Tg H Th);
