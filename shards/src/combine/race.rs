//! The first of several.

#![allow(non_snake_case, reason = "a branch is named as its type")]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Waits for the first branch to be ready, and drops the others where they stand. The branches have the same output; where
/// several are ready at once, the first in the tuple wins.
///
/// ```
/// use shardwise_shards::{Simulation, combine::race};
/// use std::time::Duration;
///
/// Simulation::new(1).run(async |shard| {
///     let slow = async { shard.sleep(Duration::from_secs(3)).await; "slow" };
///     let fast = async { shard.sleep(Duration::from_secs(1)).await; "fast" };
///     assert_eq!(race((slow, fast)).await, "fast");
/// });
/// ```
pub fn race<B: Race>(branches: B) -> B::Future {
    branches.race()
}

/// Waits for the first branch that is ready with `Ok`, and drops the others. If all fail, gives every error, in the order of
/// the tuple.
pub fn race_ok<B: RaceOk>(branches: B) -> B::Future {
    branches.race_ok()
}

/// Tuples that can [`race`].
pub trait Race {
    /// What the first branch gives.
    type Output;
    /// The combined future.
    type Future: Future<Output = Self::Output>;
    /// See [`race`].
    fn race(self) -> Self::Future;
}

/// Tuples that can [`race_ok`].
pub trait RaceOk {
    /// What the first branch to succeed gives, or all errors.
    type Output;
    /// The combined future.
    type Future: Future<Output = Self::Output>;
    /// See [`race_ok`].
    fn race_ok(self) -> Self::Future;
}

macro_rules! races {
    ($name:ident $ok:ident $count:literal: $($branch:ident)*) => {
        pin_project! {
            /// The future of a race.
            #[must_use = "futures do nothing unless polled"]
            pub struct $name<$($branch,)*> {
                $(#[pin] $branch: $branch,)*
            }
        }

        impl<T, $($branch: Future<Output = T>,)*> Future for $name<$($branch,)*> {
            type Output = T;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
                let this = self.project();
                $(if let Poll::Ready(output) = this.$branch.poll(cx) {
                    return Poll::Ready(output);
                })*
                Poll::Pending
            }
        }

        impl<T, $($branch: Future<Output = T>,)*> Race for ($($branch,)*) {
            type Output = T;
            type Future = $name<$($branch,)*>;

            fn race(self) -> Self::Future {
                let ($($branch,)*) = self;
                $name { $($branch,)* }
            }
        }

        impl<$($branch,)*> fmt::Debug for $name<$($branch,)*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Race").finish_non_exhaustive()
            }
        }

        pin_project! {
            /// The future of a race for the first success.
            #[must_use = "futures do nothing unless polled"]
            pub struct $ok<E, $($branch,)*> {
                $(#[pin] $branch: Option<$branch>,)*
                errors: [Option<E>; $count],
            }
        }

        impl<T, E, $($branch: Future<Output = Result<T, E>>,)*> Future for $ok<E, $($branch,)*> {
            type Output = Result<T, [E; $count]>;

            #[allow(unused_assignments, reason = "the last branch needs no place after it")]
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let mut this = self.project();
                let mut place = 0;
                $(
                    if let Some(branch) = this.$branch.as_mut().as_pin_mut()
                        && let Poll::Ready(result) = branch.poll(cx)
                    {
                        match result {
                            Ok(output) => return Poll::Ready(Ok(output)),
                            Err(error) => {
                                this.errors[place] = Some(error);
                                // What has failed gives up what it holds at once.
                                this.$branch.set(None);
                            }
                        }
                    }
                    place += 1;
                )*
                match this.errors.iter().all(Option::is_some) {
                    true => Poll::Ready(Err(this.errors.each_mut().map(|error| error.take().expect("all have failed")))),
                    false => Poll::Pending,
                }
            }
        }

        impl<T, E, $($branch: Future<Output = Result<T, E>>,)*> RaceOk for ($($branch,)*) {
            type Output = Result<T, [E; $count]>;
            type Future = $ok<E, $($branch,)*>;

            fn race_ok(self) -> Self::Future {
                let ($($branch,)*) = self;
                $ok { $($branch: Some($branch),)* errors: [const { None }; $count] }
            }
        }

        impl<E, $($branch,)*> fmt::Debug for $ok<E, $($branch,)*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("RaceOk").finish_non_exhaustive()
            }
        }
    };
}

races!(Race1 RaceOk1 1: A);
races!(Race2 RaceOk2 2: A B);
races!(Race3 RaceOk3 3: A B C);
races!(Race4 RaceOk4 4: A B C D);
races!(Race5 RaceOk5 5: A B C D F);
races!(Race6 RaceOk6 6: A B C D F G);
races!(Race7 RaceOk7 7: A B C D F G H);
races!(Race8 RaceOk8 8: A B C D F G H I);
