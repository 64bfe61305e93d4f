//! How many refusals get a line of their own: an attacker must not be able to fill the disk and so stop grants.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::line::{Entry, Event};

/// Lines of one reason within [`WINDOW`]; the rest become one `suppressed` line at its end.
const LINES_PER_WINDOW: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);

struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

/// Counts refusals by reason. Reasons are words of ours, so there are few.
#[derive(Default)]
pub(super) struct Refusals(HashMap<&'static str, Window>);

impl Refusals {
    /// Whether a refusal at `now` gets a line; if not, it is counted.
    pub(super) fn admit(&mut self, reason: &'static str, now: Instant) -> bool {
        let window = self.window(reason, now);
        // A window that is over and holds a count waits for its line; a new one would forget it.
        if now.duration_since(window.began) >= WINDOW && window.suppressed == 0 {
            *window = Window { began: now, lines: 0, suppressed: 0 };
        }
        let admitted = window.lines < LINES_PER_WINDOW;
        if admitted {
            window.lines += 1;
        } else {
            window.suppressed += 1;
        }
        admitted
    }

    /// Counts `count` refusals whose lines could not be written.
    pub(super) fn give_back(&mut self, reason: &'static str, count: u64, now: Instant) {
        self.window(reason, now).suppressed += count;
    }

    /// The `suppressed` lines of windows that are over at `now`; of all windows, when `now` is `None`.
    pub(super) fn due(&mut self, now: Option<Instant>) -> Vec<Entry> {
        let over = |window: &Window| now.is_none_or(|now| now.duration_since(window.began) >= WINDOW);
        let mut due: Vec<_> = self.0.extract_if(|_, window| over(window)).collect();
        due.sort_unstable_by_key(|(reason, _)| *reason);
        due.retain(|(_, window)| window.suppressed > 0);
        due.into_iter()
            .map(|(reason, window)| Entry::new(Event::Suppressed).reason(reason).count(window.suppressed))
            .collect()
    }

    /// When the next `suppressed` line is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter(|window| window.suppressed > 0).map(|window| window.began + WINDOW).min()
    }

    fn window(&mut self, reason: &'static str, now: Instant) -> &mut Window {
        self.0.entry(reason).or_insert(Window { began: now, lines: 0, suppressed: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_sixty_a_minute_refusals_are_counted_by_reason() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let admitted = |refusals: &mut Refusals, reason, now| (0..1000).filter(|_| refusals.admit(reason, now)).count();
        assert_eq!(admitted(&mut refusals, "host", start), 60);
        assert_eq!(admitted(&mut refusals, "peer", start), 60, "each reason has its own measure");
        assert_eq!(refusals.next_due(), Some(start + WINDOW));
        assert_eq!(refusals.due(Some(start + WINDOW / 2)), []);

        let later = start + WINDOW;
        assert_eq!(admitted(&mut refusals, "host", later), 0, "the count of the last minute is not forgotten");
        let line = |reason, count| Entry::new(Event::Suppressed).reason(reason).count(count);
        assert_eq!(refusals.due(Some(later)), [line("host", 1940), line("peer", 940)]);
        assert_eq!(refusals.next_due(), None);
        assert_eq!(admitted(&mut refusals, "host", later), 60);
        refusals.give_back("host", 60, later);
        assert_eq!(refusals.due(None), [line("host", 1000)]);
    }
}
