//! Where a checker is between two checks: when a failure counts, and when the next check is due. Each kind of checker of
//! keepalived has an `epilog()` of its own for that, in `check_tcp.c`, `check_http.c` and so on; there are three kinds of them.

use std::time::Duration;

use crate::config::{Check, Schedule};

/// Which of the epilogues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `TCP_CHECK`, `UDP_CHECK`, `PING_CHECK`, `DNS_CHECK`, `MISC_CHECK`.
    Plain,
    /// `SMTP_CHECK`: the tries start anew with each check, the first one included, whatever the server's state.
    Smtp,
    /// `HTTP_GET` and `SSL_GET`: one page after the other.
    Pages {
        /// How many, at least one.
        count: usize,
        /// `fast_recovery`.
        fast: bool,
    },
}

impl Rule {
    /// That of a check.
    pub(crate) const fn of(check: &Check) -> Self {
        match check {
            Check::Smtp(_) => Self::Smtp,
            Check::Http(http) => Self::Pages { count: http.urls.len(), fast: http.fast_recovery },
            _ => Self::Plain,
        }
    }
}

/// The state of a checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether what it checks is well.
    pub(crate) up: bool,
    /// Whether that has been seen, or is just assumed.
    pub(crate) has_run: bool,
    /// How many tries have failed since the last success.
    retries: u32,
    /// Which page is next.
    page: usize,
    /// Which page failed.
    failed: Option<usize>,
}

/// What a check has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whether the checker is up, if that is to be told: it has changed, or was seen for the first time.
    pub(crate) verdict: Option<bool>,
    /// How long to wait for the next check.
    pub(crate) delay: Duration,
}

impl Progress {
    /// Before the first check, which fails after one failure, but for SMTP.
    pub(crate) const fn new(rule: Rule, schedule: &Schedule) -> Self {
        let retries = if matches!(rule, Rule::Smtp) { 0 } else { schedule.retry };
        Self { up: !schedule.alpha, has_run: false, retries, page: 0, failed: None }
    }

    /// After a restart: what was seen counts, but for failures that had not been enough yet.
    pub(crate) const fn recalled(rule: Rule, up: bool) -> Self {
        // Which page it was is forgotten: all are asked for in turn.
        let failed = if !up && matches!(rule, Rule::Pages { .. }) { Some(0) } else { None };
        Self { up, has_run: true, retries: 0, page: 0, failed }
    }

    /// After a reload with another schedule: `migrate_checkers()` in keepalived's `ipwrapper.c`.
    pub(crate) fn rescheduled(mut self, schedule: &Schedule) -> Self {
        self.retries = if self.up {
            self.retries.min(schedule.retry)
        } else {
            schedule.retry.saturating_add(1)
        };
        self
    }

    /// The page that the next check is about; 0 for checks without.
    pub(crate) const fn page(&self) -> usize {
        self.page
    }

    /// Takes the result of a check.
    pub(crate) fn note(&mut self, rule: Rule, schedule: &Schedule, well: bool) -> Step {
        match rule {
            Rule::Plain => self.note_plain(schedule, well),
            Rule::Smtp => self.note_smtp(schedule, well),
            Rule::Pages { fast, .. } if well && fast => {
                let mut step = self.note_page_well(rule, schedule);
                if !self.has_run || (!self.up && self.failed.is_none()) {
                    step.delay = Duration::ZERO;
                }
                step
            }
            Rule::Pages { .. } if well => self.note_page_well(rule, schedule),
            // keepalived asks again at once too while `fast_recovery` finds a page failing, for ever: not so here.
            Rule::Pages { .. } => self.note_page_failed(schedule),
        }
    }

    fn note_plain(&mut self, schedule: &Schedule, well: bool) -> Step {
        let mut step = Step { verdict: None, delay: schedule.delay_loop };
        if well {
            self.retries = 0;
            step.verdict = self.tell(true);
        } else if (self.up || !self.has_run) && self.retries >= schedule.retry {
            self.retries = 0;
            step.verdict = self.tell(false);
        } else if self.up {
            self.retries += 1;
            step.delay = schedule.delay_before_retry;
        }
        self.has_run = true;
        step
    }

    fn note_smtp(&mut self, schedule: &Schedule, well: bool) -> Step {
        let mut step = Step { verdict: None, delay: schedule.delay_loop };
        if well {
            self.retries = 0;
            step.verdict = self.tell(true);
            self.has_run = true;
        } else if self.retries < schedule.retry {
            self.retries += 1;
            step.delay = schedule.delay_before_retry;
        } else {
            self.retries = 0;
            step.verdict = self.tell(false);
            self.has_run = true;
        }
        step
    }

    fn note_page_well(&mut self, rule: Rule, schedule: &Schedule) -> Step {
        let Rule::Pages { count, .. } = rule else { return self.note_plain(schedule, true) };
        let mut verdict = None;
        self.retries = 0;
        self.page += 1;
        if self.failed.take().is_some() {
            // The page that failed is well again; now for all of them.
            self.page = 0;
        } else if self.page >= count {
            self.page = 0;
            verdict = self.tell(true);
            self.has_run = true;
        }
        if !self.has_run {
            self.retries = schedule.retry;
        }
        Step { verdict, delay: schedule.delay_loop }
    }

    fn note_page_failed(&mut self, schedule: &Schedule) -> Step {
        let mut verdict = None;
        if self.up || !self.has_run {
            self.retries = self.retries.saturating_add(1);
            if self.retries > schedule.retry {
                verdict = self.tell(false);
                self.failed = Some(self.page);
            }
            self.has_run = true;
        }
        let delay = schedule.delay_before_retry;
        let delay = if self.failed.is_some() { delay.max(schedule.delay_loop) } else { delay };
        Step { verdict, delay }
    }

    /// Whether the state has changed or is seen for the first time, and it then.
    fn tell(&mut self, up: bool) -> Option<bool> {
        let news = self.up != up || !self.has_run;
        self.up = up;
        news.then_some(up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOP: u64 = 10;
    const RETRY: u64 = 2;

    fn schedule(retry: u32, alpha: bool) -> Schedule {
        Schedule {
            delay_loop: Duration::from_secs(LOOP),
            retry,
            delay_before_retry: Duration::from_secs(RETRY),
            warmup: Duration::ZERO,
            alpha,
            log_all_failures: false,
        }
    }

    /// What comes of a row of results, `+` or `-`: the seconds to the next check, with the verdict before.
    fn told(rule: Rule, schedule: &Schedule, results: &str) -> String {
        let mut progress = Progress::new(rule, schedule);
        let step = |result: char| {
            let step = progress.note(rule, schedule, result == '+');
            let verdict = match step.verdict {
                Some(true) => "up ",
                Some(false) => "down ",
                None => "",
            };
            format!("{verdict}{}", step.delay.as_secs())
        };
        results.chars().map(step).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_first_failure_is_enough_later_ones_are_tried_again() {
        let rule = Rule::Plain;
        assert_eq!(told(rule, &schedule(2, false), "---+"), "down 10, 10, 10, up 10");
        assert_eq!(told(rule, &schedule(2, false), "+---+"), "up 10, 2, 2, down 10, up 10");
        // A success in between, and the tries start anew.
        assert_eq!(told(rule, &schedule(2, false), "+--+--+"), "up 10, 2, 2, 10, 2, 2, 10");
        assert_eq!(told(rule, &schedule(0, false), "+-+"), "up 10, down 10, up 10");
    }

    #[test]
    fn with_alpha_the_first_result_is_told_whichever_it_is() {
        assert_eq!(told(Rule::Plain, &schedule(2, true), "--+"), "down 10, 10, up 10");
        assert_eq!(told(Rule::Plain, &schedule(2, true), "++"), "up 10, 10");
    }

    #[test]
    fn mail_is_tried_again_from_the_start_and_while_down() {
        assert_eq!(told(Rule::Smtp, &schedule(2, false), "---"), "2, 2, down 10");
        assert_eq!(
            told(Rule::Smtp, &schedule(1, false), "--".repeat(2).as_str()),
            "2, down 10, 2, 10"
        );
        assert_eq!(told(Rule::Smtp, &schedule(1, false), "+-+"), "up 10, 2, 10");
    }

    #[test]
    fn pages_are_looked_at_one_after_the_other() {
        let rule = Rule::Pages { count: 3, fast: false };
        let schedule = schedule(1, false);
        assert_eq!(told(rule, &schedule, "+++++"), "10, 10, up 10, 10, 10");
        // A page fails for good: the next check is of that page; when it is well, all are looked at again.
        assert_eq!(
            told(rule, &schedule, "++++--++++"),
            "10, 10, up 10, 10, 2, down 10, 10, 10, 10, up 10"
        );
        let mut progress = Progress::new(rule, &schedule);
        let mut pages = Vec::new();
        for result in "++++--+++".chars() {
            pages.push(progress.page());
            progress.note(rule, &schedule, result == '+');
        }
        assert_eq!(pages, [0, 1, 2, 0, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn with_fast_recovery_a_server_is_back_at_once() {
        let rule = Rule::Pages { count: 3, fast: true };
        let schedule = schedule(0, false);
        assert_eq!(told(rule, &schedule, "+++-++++"), "0, 0, up 10, down 10, 0, 0, 0, up 10");
    }

    #[test]
    fn after_a_restart_what_was_up_needs_all_tries_and_what_was_down_none() {
        for rule in [Rule::Plain, Rule::Smtp, Rule::Pages { count: 2, fast: false }] {
            let schedule = schedule(1, false);
            let mut up = Progress::recalled(rule, true);
            let verdicts = [false, false].map(|well| up.note(rule, &schedule, well).verdict);
            assert_eq!(verdicts, [None, Some(false)], "{rule:?}");
            let mut down = Progress::recalled(rule, false);
            assert_eq!(down.note(rule, &schedule, false).verdict, None, "{rule:?}");
            let mut wells = (0..9).map(|_| down.note(rule, &schedule, true).verdict);
            assert_eq!(wells.find(Option::is_some), Some(Some(true)), "{rule:?}");
        }
    }

    #[test]
    fn another_schedule_does_not_forget_what_has_failed() {
        let (old, new) = (schedule(5, false), schedule(2, false));
        let mut progress = Progress::new(Rule::Plain, &old);
        for well in [true, false, false, false] {
            progress.note(Rule::Plain, &old, well);
        }
        let mut progress = progress.rescheduled(&new);
        assert_eq!(progress.note(Rule::Plain, &new, false).verdict, Some(false));
    }
}
