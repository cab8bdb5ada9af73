//! Medians and what they are worth.
//!
//! The interval is made of order statistics: with n independent pairs, the number of ratios below the true median is
//! binomial, so the k-th smallest and the k-th largest ratio enclose it with a probability that can be looked up. It
//! assumes nothing of the shape of the noise, and an outlier moves it by one rank at most.

/// The middle value; the mean of the two middle ones if the count is even. NaN if there are none.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// Encloses the true median with a probability of at least 95 %. `None` with fewer than six values: even the smallest
/// and the largest enclose it less surely.
pub fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let rank = rank(sorted.len())?;
    Some((sorted[rank - 1], sorted[sorted.len() - rank]))
}

/// The largest k for which the k-th smallest and k-th largest of n values enclose the median with 95 %.
fn rank(count: usize) -> Option<usize> {
    let mut probability = 0.5_f64.powi(i32::try_from(count).ok()?); // that exactly `below` values lie below it
    let mut tail = 0.0;
    let mut below = 0;
    loop {
        tail += probability;
        if tail > 0.025 || below >= count {
            return if below == 0 { None } else { Some(below) };
        }
        probability *= (count - below) as f64 / (below + 1) as f64;
        below += 1;
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests;
