//! Numbers for people.

/// A count or a rate with a metric prefix, as in `1.2 M`.
pub(crate) fn number(value: f64) -> String {
    let prefixes = [
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
    ];
    match prefixes.iter().find(|(size, _)| value.abs() >= *size) {
        Some((size, prefix)) => format!("{:.1} {prefix}", value / size),
        None => format!("{value:.0}"),
    }
}

/// So many of something, as in `1 step` or `3 steps`.
pub(crate) fn count(many: usize, what: &str) -> String {
    let ending = if many == 1 { "" } else { "s" };
    format!("{many} {what}{ending}")
}

/// Bytes with a binary prefix, as in `3.4 MiB`.
pub(crate) fn bytes(value: f64) -> String {
    let prefixes = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match prefixes
        .iter()
        .find(|(power, _)| value >= (1_u64 << power) as f64)
    {
        Some((power, prefix)) => format!("{:.1} {prefix}", value / (1_u64 << power) as f64),
        None => format!("{value:.0} B"),
    }
}

/// A duration in seconds, as in `1 h 02 min`, `3 min 20 s` or `0.4 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        assert_eq!(
            [0, 1, 2].map(|many| count(many, "step")),
            ["0 steps", "1 step", "2 steps"]
        );
    }

    #[test]
    fn units_are_chosen_by_size() {
        assert_eq!(number(1_234_567.0), "1.2 M");
        assert_eq!(number(12.0), "12");
        assert_eq!(bytes(3.5 * 1024.0), "3.5 KiB");
        assert_eq!(duration(0.44), "0.4 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(3720.0), "1 h 02 min");
    }
}
