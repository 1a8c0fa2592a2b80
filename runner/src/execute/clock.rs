//! The time of day, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    year: i64,
    month: u64,
    day: u64,
    second_of_day: u64,
    /// In parts of 65,536.
    fraction: u16,
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            fraction: (u64::from(since.subsec_nanos()) * 65_536 / 1_000_000_000) as u16,
            ..Self::from_unix(since.as_secs())
        }
    }

    /// So many seconds ago.
    pub(crate) fn before_now(seconds: u64) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix(since.as_secs().saturating_sub(seconds))
    }

    /// From seconds since 1970, by counting days in eras of 400 years that begin on 1 March.
    fn from_unix(seconds: u64) -> Self {
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = (year_of_era + era * 400) as i64 + i64::from(month <= 2);
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        Self {
            year,
            month,
            day,
            second_of_day: seconds % 86_400,
            fraction: 0,
        }
    }

    fn clock(self) -> (u64, u64, u64) {
        (
            self.second_of_day / 3600,
            self.second_of_day / 60 % 60,
            self.second_of_day % 60,
        )
    }

    /// As in `2026-01-02T03:04:05Z` (RFC 3339).
    pub(crate) fn rfc3339(self) -> String {
        let (hour, minute, second) = self.clock();
        let Self { year, month, day, .. } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// The part of the second that has passed, in parts of 65,536.
    pub(crate) const fn fraction(self) -> u16 {
        self.fraction
    }

    /// As in `20260102-030405`: sorts by time.
    pub(crate) fn compact(self) -> String {
        let (hour, minute, second) = self.clock();
        let Self { year, month, day, .. } = self;
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_read_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::from_unix(seconds).rfc3339(), text);
        }
        assert_eq!(Moment::from_unix(1_767_225_599).compact(), "20251231-235959");
    }
}
