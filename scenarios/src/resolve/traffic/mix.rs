//! Recorded client mixes: one source for each client.
//!
//! A client's windows become a stepped rate curve. Its gaps follow one law for the whole run: the
//! law of most of its requests, with the mean of its windows' parameters (the coefficient of
//! variation for Gamma, the shape for Weibull), each weighted by the requests expected in the
//! window. A renewal process stretched by a rate has one law; measured variations of single
//! windows are noisy besides. The mean is taken over the whole mix, not over the run, so that a
//! longer run begins with the same arrivals.
//!
//! Invariants: a client's random streams depend on the names of the source and of the client
//! alone; a client without lengths is left out, and the share of the requests it carries is told.
//!
//! Deliberately absent: prefixes and sessions, because the measured prompts are whole.

use super::{Begins, Common, LengthSource, Source, mean_rate, spikes};
use crate::file::{CV, Lengths, MixFile, WEIBULL_SHAPE};
use crate::kinds::Number;
use crate::problem::{At, Problem, ProblemKind, Site};
use crate::quantity::show_span;
use crate::resolve::Resolver;
use crate::resolved::Origin;
use crate::trace::servegen::Client;
use sim::units::{Span, Time};
use sim::workload::{Gaps, RateCurve};

/// A stretch of constant rate with both its ends.
#[derive(Clone, Copy)]
struct Stretch {
    from: Time,
    to: Time,
    rate: f64,
    gaps: Option<Gaps>,
}

/// A client and the requests expected of it over the whole mix.
struct Sender<'a> {
    client: &'a Client,
    stretches: Vec<Stretch>,
    requests: f64,
}

/// What a user should know of a mix before relying on it, summed over its clients.
#[derive(Default)]
struct Tally {
    /// Clients that became sources.
    used: usize,
    /// Their requests per second over the run.
    rate: f64,
    /// Clients whose longest lengths do not fit the engine.
    cut: usize,
    /// Clients whose gaps vary beyond what the simulator takes.
    clamped: usize,
    /// Requests of the mix with 0 prompt tokens or 0 output tokens.
    zero: f64,
}

impl Resolver<'_> {
    /// The sources of `clients = { file = … }`.
    pub(super) fn expand_mix(
        &self,
        name: &At<String>,
        common: &Common<'_>,
        mix: &MixFile,
        all: &mut Vec<Source>,
    ) {
        let file = common.file;
        self.refuse_beside_recording(
            "client mix",
            &[
                ("profile", file.profile.as_ref().map(|profile| profile.site.clone())),
                ("sessions", file.sessions.as_ref().map(|_| file.site.clone())),
                ("prefix", file.prefix.as_ref().map(|prefix| prefix.tokens.site.clone())),
                ("input", file.input.as_ref().map(|input| input.site.clone())),
                ("output", file.output.as_ref().map(|output| output.site.clone())),
            ],
        );
        let (Some(path), Some(_), Some(from)) = (&mix.file, &mix.format, &mix.from) else { return };
        let clients = match self.files.clients(&path.value) {
            Ok(clients) => clients,
            Err(messages) => return self.refuse_file(path, messages),
        };
        let run_end = Time::ZERO.after(from.value).after(common.horizon);
        let end = end_of(&clients);
        if let Some(end) = end.filter(|&end| end < run_end) {
            let message = format!(
                "the mix ends after {}, before the run, which takes {} from {} on",
                show_span(end.since(Time::ZERO)),
                show_span(common.horizon),
                show_span(from.value)
            );
            let problem = Problem::new(ProblemKind::Conflict, &mix.site, message);
            return self.push(problem.help("begin earlier or shorten the horizon"));
        }
        let senders = self.senders(&clients, end.unwrap_or(run_end), mix, &path.site);
        let mut tally = Tally::default();
        for sender in &senders {
            self.expand_client(&name.value, common, mix, sender, &mut tally, all);
        }
        if tally.used == 0 {
            let message = "no client of the mix with lengths sends anything in the run";
            return self.refuse(ProblemKind::BadValue, &path.site, message);
        }
        self.tell(&tally, &senders, common, &path.site);
        let value = format!("{} clients, {:.3} requests/s", tally.used, tally.rate);
        let how = format!("{}, {} clients, before scaling", path.value, clients.len());
        self.note(mix.site.key.clone(), value, Origin::Derived(how));
    }

    /// The clients to simulate, in the order of the mix; warns of those that have no lengths.
    fn senders<'a>(
        &self,
        clients: &'a [Client],
        end: Time,
        mix: &MixFile,
        site: &Site,
    ) -> Vec<Sender<'a>> {
        let sender = |client: &'a Client| {
            let stretches = stretches(client, end);
            let requests = stretches.iter().map(Stretch::requests).sum();
            Sender { client, stretches, requests }
        };
        let all: Vec<Sender<'_>> = clients.iter().map(sender).collect();
        let total: f64 = all.iter().map(|sender| sender.requests).sum();
        let (mut kept, without): (Vec<_>, Vec<_>) = all
            .into_iter()
            .filter(|sender| sender.requests > 0.0)
            .partition(|s| !s.client.input.is_empty() && !s.client.output.is_empty());
        if !without.is_empty() {
            let share = without.iter().map(|s| s.requests).sum::<f64>() / total;
            let message = format!(
                "{} of {} clients have no published lengths and are left out: {:.2} % of the rate",
                without.len(),
                clients.len(),
                share * 100.0
            );
            self.warn(site, message);
        }
        if let Some(largest) = &mix.largest {
            // The sort is stable, so clients of equal rate stay in the order of the mix.
            let mut by_rate: Vec<usize> = (0..kept.len()).collect();
            by_rate.sort_by(|&a, &b| kept[b].requests.total_cmp(&kept[a].requests));
            let mut chosen = vec![false; kept.len()];
            by_rate.iter().take(largest.value as usize).for_each(|&at| chosen[at] = true);
            let mut chosen = chosen.into_iter();
            kept.retain(|_| chosen.next() == Some(true));
            let share = kept.iter().map(|s| s.requests).sum::<f64>() / total;
            let how = format!("share of the rate that the largest {} carry", kept.len());
            self.derived(&format!("{}.share", mix.site.key), format!("{share:.4}"), how);
        }
        kept
    }

    fn expand_client(
        &self,
        name: &str,
        common: &Common<'_>,
        mix: &MixFile,
        sender: &Sender<'_>,
        tally: &mut Tally,
        all: &mut Vec<Source>,
    ) {
        let client = sender.client;
        let from = mix.from.as_ref().map_or(Span::ZERO, |from| from.value);
        let Some((gaps, clamped)) = law(&sender.stretches) else { return };
        let knots = knots(&sender.stretches, Time::ZERO.after(from), common.horizon);
        if knots.iter().all(|knot| knot.1 <= 0.0) {
            return;
        }
        let rate = RateCurve { knots, period: None, spikes: spikes(common.file) };
        // One token is left for the other side of the request.
        let most = common.room.map_or(u32::MAX, |room| room.tokens.saturating_sub(1).max(1));
        let histogram = |weighted: &[(u32, f64)]| Lengths::histogram(weighted, most, &mix.site);
        let histograms = histogram(&client.input).zip(histogram(&client.output));
        let Some((input, output)) = histograms else { return };
        let longest = input.law_max().max(output.law_max()).unwrap_or(0);
        tally.used += 1;
        tally.rate += mean_rate(&rate, common.horizon);
        tally.cut += usize::from(longest > most);
        tally.clamped += usize::from(clamped);
        // The larger share, because it is not published which requests have both.
        tally.zero += sender.requests * client.input_zero_share.max(client.output_zero_share);
        let correlation =
            common.call.and_then(|call| call.correlation.as_ref()).map_or(0.0, |c| c.value);
        let lengths = LengthSource::Drawn { input: &input, output: &output, correlation };
        let name = format!("{name}/{}", client.name);
        all.extend(self.source(&name, common, Begins::Measured(gaps, rate), &lengths));
    }

    fn tell(&self, tally: &Tally, senders: &[Sender<'_>], common: &Common<'_>, site: &Site) {
        let used = tally.used;
        if let (true, Some(room)) = (tally.cut > 0, common.room) {
            let message = format!(
                "lengths of {} of {used} clients are cut at what {} = {} admits",
                tally.cut, room.key, room.tokens
            );
            self.warn(site, message);
        }
        if tally.clamped > 0 {
            let message = format!(
                "gaps of {} of {used} clients vary beyond the range of the simulator and are \
                 brought to its end",
                tally.clamped
            );
            self.warn(site, message);
        }
        let requests: f64 = senders.iter().map(|sender| sender.requests).sum();
        let share = tally.zero / requests;
        if share > 0.0 {
            let percent = share * 100.0;
            let message = format!(
                "at least {percent:.2} % of the requests have lengths of 0 tokens, which are \
                 drawn anew from the others"
            );
            self.warn(site, message);
        }
    }
}

impl Stretch {
    fn requests(&self) -> f64 {
        self.rate * self.to.since(self.from).as_secs_f64()
    }
}

/// When the recording ends: each client's last window is as long as the one before it. `None` when
/// no client has two windows; rates are then constant.
fn end_of(clients: &[Client]) -> Option<Time> {
    clients.iter().filter_map(own_end).max()
}

fn own_end(client: &Client) -> Option<Time> {
    let [.., before, last] = client.windows.as_slice() else { return None };
    Some(last.start.after(last.start.since(before.start)))
}

/// A client's windows with their ends; a single window lasts to the end of the mix.
fn stretches(client: &Client, end: Time) -> Vec<Stretch> {
    let last = own_end(client).unwrap_or(end);
    let ends = client.windows.iter().skip(1).map(|next| next.start).chain([last]);
    let stretch = |(window, to): (&crate::trace::servegen::Window, Time)| Stretch {
        from: window.start,
        to: to.max(window.start),
        rate: window.rate,
        gaps: window.gaps,
    };
    client.windows.iter().zip(ends).map(stretch).collect()
}

/// The law of a client's gaps, and whether its parameter had to be brought into range; `None` for
/// a client that never sends.
fn law(stretches: &[Stretch]) -> Option<(Gaps, bool)> {
    let (mut gamma, mut weibull) = ((0.0, 0.0), (0.0, 0.0));
    for stretch in stretches {
        let (sums, parameter) = match stretch.gaps {
            Some(Gaps::Gamma { cv }) => (&mut gamma, cv),
            Some(Gaps::Weibull { shape }) => (&mut weibull, shape),
            _ => continue,
        };
        sums.0 += stretch.requests();
        sums.1 += stretch.requests() * parameter;
    }
    let mean = |(requests, sum): (f64, f64), range: Number| {
        let mean = sum / requests;
        let inside = mean.clamp(range.min, range.max);
        (inside, inside != mean)
    };
    if gamma.0.max(weibull.0) <= 0.0 {
        return None;
    }
    Some(if gamma.0 >= weibull.0 {
        let (cv, clamped) = mean(gamma, CV);
        (Gaps::Gamma { cv }, clamped)
    } else {
        let (shape, clamped) = mean(weibull, WEIBULL_SHAPE);
        (Gaps::Weibull { shape }, clamped)
    })
}

/// The rate curve of the run, which begins at `from`: two knots at one instant make a step, and a
/// client is idle before its first window and after its last.
fn knots(stretches: &[Stretch], from: Time, horizon: Span) -> Vec<(Time, f64)> {
    let mut knots = vec![(Time::ZERO, 0.0)];
    let mut step = |at: Time, rate: f64| {
        let at = Time::ZERO.after(at.since(from));
        let before = knots.last().map_or(0.0, |knot| knot.1);
        if at == Time::ZERO {
            knots = vec![(at, rate)];
        } else if rate != before && at < Time::ZERO.after(horizon) {
            knots.extend([(at, before), (at, rate)]);
        }
    };
    for stretch in stretches {
        step(stretch.from, stretch.rate);
    }
    if let Some(last) = stretches.last() {
        step(last.to, 0.0);
    }
    knots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Time {
        Time::ZERO.after(Span::from_secs(seconds))
    }

    fn stretch(from: u64, to: u64, rate: f64, gaps: Option<Gaps>) -> Stretch {
        Stretch { from: second(from), to: second(to), rate, gaps }
    }

    #[test]
    fn windows_become_steps() {
        let windows = [stretch(10, 20, 1.0, None), stretch(20, 30, 1.0, None)];
        let windows = [windows[0], windows[1], stretch(30, 40, 3.0, None)];
        let at = |from: u64, horizon: u64| {
            let knots = knots(&windows, second(from), Span::from_secs(horizon));
            knots.iter().map(|&(at, rate)| (at.as_secs_f64(), rate)).collect::<Vec<_>>()
        };
        let whole = [(0.0, 0.0), (10.0, 0.0), (10.0, 1.0), (30.0, 1.0), (30.0, 3.0), (40.0, 3.0)];
        assert_eq!(at(0, 100), [whole.as_slice(), &[(40.0, 0.0)]].concat());
        assert_eq!(at(0, 40), whole[..5]);
        assert_eq!(at(15, 10), [(0.0, 1.0)]);
        assert_eq!(at(25, 15), [(0.0, 1.0), (5.0, 1.0), (5.0, 3.0)]);
        assert_eq!(at(60, 10), [(0.0, 0.0)]);
    }

    #[test]
    fn the_law_of_most_requests_wins_with_its_weighted_mean() {
        let gamma = |cv| Some(Gaps::Gamma { cv });
        let weibull = |shape| Some(Gaps::Weibull { shape });
        let windows = [
            stretch(0, 10, 1.0, gamma(1.0)),
            stretch(10, 20, 3.0, gamma(2.0)),
            stretch(20, 30, 3.9, weibull(0.5)),
            stretch(30, 40, 0.0, None),
        ];
        assert_eq!(law(&windows), Some((Gaps::Gamma { cv: 1.75 }, false)));
        assert_eq!(law(&windows[2..]), Some((Gaps::Weibull { shape: 0.5 }, false)));
        assert_eq!(law(&windows[3..]), None);
        let wild = [stretch(0, 10, 1.0, gamma(1e9))];
        assert_eq!(law(&wild), Some((Gaps::Gamma { cv: 1_000.0 }, true)));
    }
}
